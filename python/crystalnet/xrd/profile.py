"""A profile as a diffractometer would record it, from a known crystal.

Line shape: pseudo-Voigt, its width following Caglioti, Paoletti & Ricci, Nucl. Instrum. 3, 223 (1958);
texture: March–Dollase, Dollase, J. Appl. Cryst. 19, 267 (1986).
"""

from __future__ import annotations

import numpy as np

from crystalnet.bragg import at_other_wavelength, inverse_d_of_two_theta, polarisation_ratio
from crystalnet.crystal.elements import atomic_numbers
from crystalnet.crystal.symmetry import bare_symmetry
from crystalnet.ops.reflections import reflections
from crystalnet.records import AtomSites, Pattern, Peaks, Radiation

CU_RANGE, CU_KALPHA, STEP = (10.0, 90.0), 1.5406, 0.02  # the usual laboratory scan, degrees and Å
LARGEST_ANGLE = 150.0  # where a goniometer stops
CAGLIOTI = (0.8, -0.3, 0.9)  # (FWHM/fwhm)² = u tan²θ + v tanθ + w: fwhm is met near 2θ = 50°, 1.2 fwhm at 90°
REACH = 50.0  # FWHM; the Lorentzian tails left out hold below 1% of a line
B_ISO = 0.5  # Å²; an inorganic crystal at room temperature
IDEAL_COUNTS = 1e4  # at the highest point of a profile without noise
TEXTURE_AXES = np.array([[1, 0, 0], [0, 0, 1], [1, 1, 0], [1, 1, 1], [1, 0, 1], [0, 1, 2]])  # usual habits
# What a good laboratory diffractometer gives; `measured_like` draws uniformly from these.
FWHM_RANGE = (0.06, 0.15)  # degrees
MIXING_RANGE = (0.3, 0.8)  # Lorentzian share
ZERO_RANGE = (-0.05, 0.05)  # degrees
COUNTS_RANGE = (3.7, 5.0)  # log10 of the counts at the highest point
LEVEL_RANGE = (0.003, 0.02)  # background, as a share of the highest point: constant,
RISE_RANGE = (0.0, 0.04)  # air scatter at the low-angle end,
RISE_WIDTH = 6.0  # degrees, falling to 1/e within this,
HUMP_RANGE = (0.0, 0.02)  # amorphous hump, about a d-spacing of
HUMP_D_RANGE = (3.3, 4.5)  # Å, as glass and organic binders have it,
HUMP_WIDTH = 0.15  # relative in 1/d
MARCH_RANGE = (0.9, 1.1)  # March parameter, 1 = no texture


def simulate_profile(
    sites: AtomSites,
    radiation: Radiation,
    two_theta: np.ndarray | None = None,
    *,
    measured_like: bool = False,
    seed: int = 0,
    fwhm: float = 0.1,
    mixing: float = 0.5,
    zero_shift: float = 0.0,
    b_iso: float = B_ISO,
    march_range: tuple[float, float] = MARCH_RANGE,
) -> Pattern:
    """The profile of a crystal: every line of the source, Lorentz-polarisation, width and overall B.

    Parameters
    ----------
    sites : AtomSites
        Sites named "X" (unexplained density) do not scatter.
    radiation : Radiation
    two_theta : ndarray, shape (n,), optional
        Ascending, degrees; without it `default_range`.
    measured_like : bool
        Draw width, mixing and zero shift (those arguments are then ignored), a mild texture, a smooth background and
        the count level from `seed`, and add counting noise.
    seed : int
        The same seed gives the same profile.
    fwhm : float
        Degrees, near 2θ = 50°.
    mixing : float
        Lorentzian share of the pseudo-Voigt.
    zero_shift : float
        Degrees, added to 2θ of the lines.
    b_iso : float
        Å², of all atoms.
    march_range : tuple of float
        March parameters that texture is drawn from, 1 = none.

    Raises
    ------
    ValueError
        For elements without a form factor, and where no line falls into the range.
    """
    x = default_range(radiation) if two_theta is None else np.asarray(two_theta, dtype=np.float64)
    if not measured_like:
        profile = _lines(sites, radiation, x, fwhm, mixing, zero_shift, b_iso)
        counts = IDEAL_COUNTS * profile / profile.max()
        return Pattern(x, counts, np.sqrt(np.maximum(counts, 1.0)), radiation)

    rng = np.random.default_rng(seed)
    fwhm, mixing, zero_shift = (rng.uniform(*limits) for limits in (FWHM_RANGE, MIXING_RANGE, ZERO_RANGE))
    axis, march = TEXTURE_AXES[rng.integers(len(TEXTURE_AXES))], rng.uniform(*march_range)
    profile = _lines(sites, radiation, x, fwhm, mixing, zero_shift, b_iso, (axis, march))
    expected = profile / profile.max() + _background(x, radiation, rng)
    counts = rng.poisson(10 ** rng.uniform(*COUNTS_RANGE) * expected).astype(np.float64)
    return Pattern(x, counts, np.sqrt(np.maximum(counts, 1.0)), radiation)


def calculated_peaks(sites: AtomSites, radiation: Radiation, two_theta: np.ndarray, fwhm: float = 0.1) -> Peaks:
    """The lines of a crystal as peak search would find them in a perfect profile.

    Parameters
    ----------
    sites : AtomSites
    radiation : Radiation
    two_theta : ndarray, shape (n,)
        Axis of the profile, degrees.
    fwhm : float
        Degrees, near 2θ = 50°.
    """
    numbers = atomic_numbers(sites.species)
    known = numbers > 0
    lines = reflections(sites.lattice, sites.frac_coords[known], numbers[known], radiation.wavelength, two_theta[-1])
    inside = lines.two_theta >= two_theta[0]
    position = lines.two_theta[inside]
    return Peaks(
        two_theta=position,
        d_spacing=lines.d_spacing[inside],
        area=lines.intensity[inside] * polarisation_ratio(position, radiation),
        fwhm=_width(position, fwhm),
        background=np.zeros(len(two_theta)),
        two_theta_min=float(two_theta[0]),
        two_theta_max=float(two_theta[-1]),
        radiation=radiation,
        noise=0.0,
        precision=0.02,  # a fifth of a step: rounding of the axis is all that is left
    )


def _width(two_theta: np.ndarray, fwhm: float) -> np.ndarray:
    """FWHM in degrees at each position (Caglioti)."""
    t = np.tan(np.radians(two_theta / 2))
    u, v, w = CAGLIOTI
    return np.asarray(fwhm * np.sqrt(u * t * t + v * t + w))


def default_range(radiation: Radiation) -> np.ndarray:
    """2θ in degrees, 0.02° apart: the d-spacings that Cu Kα reaches from 10 to 90°, up to LARGEST_ANGLE."""
    low, high = at_other_wavelength(np.array(CU_RANGE), radiation.wavelength / CU_KALPHA)
    first, last = round(low / STEP), round(min(high, LARGEST_ANGLE) / STEP)
    return np.arange(first, last + 1) * STEP


def _lines(
    sites: AtomSites,
    radiation: Radiation,
    x: np.ndarray,
    fwhm: float,
    mixing: float,
    zero_shift: float,
    b_iso: float,
    texture: tuple[np.ndarray, float] | None = None,
) -> np.ndarray:
    """Sum of all lines on the axis, unscaled."""
    numbers = atomic_numbers(sites.species)
    known = numbers > 0
    profile = np.zeros(len(x))
    # a line just outside still reaches in; at 180° the Lorentz factor has its pole
    end = min(x[-1] + 1.0, 179.0)
    for wavelength, weight in radiation.lines:
        lines = reflections(sites.lattice, sites.frac_coords[known], numbers[known], wavelength, end, b_iso)
        area = weight * lines.intensity * polarisation_ratio(lines.two_theta, radiation)
        if texture is not None:
            area = area * _march_dollase(lines.hkl, sites, *texture)
        width = _width(lines.two_theta, fwhm)
        center = lines.two_theta + zero_shift
        first = np.searchsorted(x, center - REACH * width)
        last = np.searchsorted(x, center + REACH * width)
        for i in range(len(lines)):
            window = slice(first[i], last[i])
            profile[window] += area[i] * _pseudo_voigt((x[window] - center[i]) / width[i], mixing) / width[i]
    if not profile.any():
        raise ValueError(f"no Bragg line between 2θ = {x[0]:g} and {x[-1]:g}°")
    return profile


def _pseudo_voigt(z: np.ndarray, mixing: float) -> np.ndarray:
    """Unit area; z: distance from the centre in FWHM."""
    gauss = 2 * np.sqrt(np.log(2) / np.pi) * np.exp(-4 * np.log(2) * z * z)
    lorentz = 2 / np.pi / (1 + 4 * z * z)
    return np.asarray((1 - mixing) * gauss + mixing * lorentz)


def _march_dollase(hkl: np.ndarray, sites: AtomSites, axis: np.ndarray, march: float) -> np.ndarray:
    """(n,) intensity factors, averaged over the symmetry equivalents of each hkl."""
    symmetry = bare_symmetry(sites)
    rotations = np.unique(symmetry.rotations, axis=0) if symmetry else np.eye(3, dtype=int)[None]
    reciprocal = np.linalg.inv(sites.lattice).T
    vectors = np.einsum("nj,kji->nki", hkl, rotations) @ reciprocal
    preferred = axis @ reciprocal
    cosine = vectors @ preferred / (np.linalg.norm(vectors, axis=-1) * np.linalg.norm(preferred))
    factors = (march**2 * cosine**2 + (1 - cosine**2) / march) ** -1.5
    return np.asarray(factors.mean(axis=1))


def _background(x: np.ndarray, radiation: Radiation, rng: np.random.Generator) -> np.ndarray:
    """Level, low-angle rise and one amorphous hump, as a share of the highest point."""
    level, rise, hump = (rng.uniform(*limits) for limits in (LEVEL_RANGE, RISE_RANGE, HUMP_RANGE))
    spacing = rng.uniform(*HUMP_D_RANGE)
    inverse_d = inverse_d_of_two_theta(x, radiation.wavelength)
    glass = np.exp(-0.5 * ((inverse_d * spacing - 1) / HUMP_WIDTH) ** 2)
    return np.asarray(level + rise * np.exp(-(x - x[0]) / RISE_WIDTH) + hump * glass)

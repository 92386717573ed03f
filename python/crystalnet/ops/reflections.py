"""Bragg lines of a crystal, kinematic, from neutral-atom form factors. Needs numpy only.

I(hkl) = |Σ_j f_j exp(2πi h·x_j)|² · (1 + cos²2θ) / (sin²θ cosθ), f(s) = Z − 41.78214 s² Σ_k a_k exp(−b_k s²),
s = sinθ/λ, as in De Graef & McHenry, "Structure of Materials", chapters 11 and 12, and in pymatgen's
XRDCalculator. A line at 2θ = 180° exactly, where LP is infinite, is left out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crystalnet.bragg import (
    bragg_angle,
    inverse_d_of_two_theta,
    lorentz_polarisation,
    sine_of_inverse_d,
    two_theta_of_inverse_d,
)
from crystalnet.ops._native import native

FORM_FACTOR_SCALE = 41.78214
MERGE_DEGREES = 1e-5  # 2θ rounded to this: reflections with the same value are one line
RELATIVE_CUT = 1e-5  # weaker lines are the rounding noise of absent reflections
SPHERE_TOLERANCE = 1e-8  # 1/Å; keeps a reflection that lies on the limiting sphere
BACKSCATTERING = 1 - 1e-12  # sinθ; d = λ/2 happens (a = 7.11 Å at 0.711 Å), and LP is infinite there


@dataclass(frozen=True)
class Reflections:
    """Lines of a powder pattern, ascending in 2θ; symmetry equivalents and exact overlaps are one line.

    two_theta: (n,) degrees. d_spacing: (n,) Å. intensity: (n,) |F|²·LP summed over the line, e², unscaled.
    hkl: (n, 3), the strongest member of the line, of equals the largest indices. multiplicity: (n,) members.
    """

    two_theta: NDArray[np.float64]
    d_spacing: NDArray[np.float64]
    hkl: NDArray[np.int64]
    multiplicity: NDArray[np.int64]
    intensity: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.two_theta)

    def _select(self, keep: NDArray[np.bool_] | slice) -> Reflections:
        return Reflections(
            self.two_theta[keep],
            self.d_spacing[keep],
            self.hkl[keep],
            self.multiplicity[keep],
            self.intensity[keep],
        )


@cache
def form_factor_table() -> NDArray[np.float64]:
    """(99, 4, 2) pairs (a, b) by atomic number; row 0 is unused. Source: form_factors.json in this folder."""
    text = files("crystalnet.ops").joinpath("form_factors.json").read_text(encoding="utf-8")
    table = np.array([[[0.0, 0.0]] * 4, *json.loads(text)["elements"].values()])
    table.setflags(write=False)
    return table


def check_atomic_numbers(atomic_numbers: NDArray[np.int64]) -> None:
    """Raise ValueError for an element without a form factor (beyond californium)."""
    last = len(form_factor_table()) - 1
    if atomic_numbers.size and not (atomic_numbers.min() >= 1 and atomic_numbers.max() <= last):
        bad = next(int(z) for z in atomic_numbers if not 1 <= z <= last)
        raise ValueError(f"no X-ray form factor for atomic number {bad}: 1 to {last} are known")


def reflections(
    lattice: ArrayLike,
    frac_coords: ArrayLike,
    atomic_numbers: Sequence[int] | NDArray[np.int64],
    wavelength: float,
    two_theta_max: float,
    b_iso: float = 0.0,
    cut: float = RELATIVE_CUT,
) -> Reflections:
    """Every line of one crystal from 0 to `two_theta_max` degrees at one wavelength (Å).

    lattice: (3, 3) rows in Å. frac_coords: (N, 3). atomic_numbers: (N,).
    b_iso: overall Debye–Waller B in Å²; intensities get exp(−2 B sin²θ/λ²).
    cut: lines not above this fraction of the strongest are left out; −1 keeps all, absent ones included.
    Raises ValueError for shapes that do not fit, a flat cell, an unknown element or an impossible range.

    >>> iron = reflections(2.866 * np.eye(3), [[0, 0, 0], [0.5, 0.5, 0.5]], [26, 26], 1.5406, 90)
    >>> iron.hkl.tolist(), iron.two_theta.round(2).tolist(), iron.multiplicity.tolist()
    ([[1, 1, 0], [2, 0, 0], [2, 1, 1]], [44.68, 65.03, 82.35], [12, 6, 24])
    """
    cell = np.ascontiguousarray(lattice, dtype=np.float64)
    coords = np.ascontiguousarray(frac_coords, dtype=np.float64).reshape(-1, 3)
    numbers = np.ascontiguousarray(atomic_numbers, dtype=np.int64)
    if cell.shape != (3, 3) or numbers.shape != (len(coords),):
        raise ValueError(f"lattice {cell.shape}, {len(coords)} coordinates, atomic numbers {numbers.shape}")
    if not (np.isfinite(cell).all() and np.isfinite(coords).all()):
        raise ValueError("lattice and coordinates must be finite")
    if not (wavelength > 0 and 0 < two_theta_max <= 180):
        raise ValueError(f"wavelength {wavelength} Å, 2θ up to {two_theta_max}°: need > 0 and (0, 180]")
    if not abs(np.linalg.det(cell)) > 1e-3:
        raise ValueError("the lattice vectors span no volume")
    check_atomic_numbers(numbers)
    lines = (_native_lines if native() else reference_lines)(cell, coords, numbers, wavelength, two_theta_max, b_iso)
    return lines._select(lines.intensity > cut * lines.intensity.max(initial=0.0))


def _native_lines(
    lattice: NDArray[np.float64],
    frac_coords: NDArray[np.float64],
    atomic_numbers: NDArray[np.int64],
    wavelength: float,
    two_theta_max: float,
    b_iso: float,
) -> Reflections:
    module = native()
    assert module is not None
    capacity = module.reflection_capacity(lattice.ctypes.data, wavelength, two_theta_max)
    lines = Reflections(
        np.empty(capacity),
        np.empty(capacity),
        np.empty((capacity, 3), np.int64),
        np.empty(capacity, np.int64),
        np.empty(capacity),
    )
    count = module.reflections(
        lattice.ctypes.data,
        len(atomic_numbers),
        frac_coords.ctypes.data,
        atomic_numbers.ctypes.data,
        form_factor_table().ctypes.data,
        wavelength,
        two_theta_max,
        b_iso,
        lines.two_theta.ctypes.data,
        lines.d_spacing.ctypes.data,
        lines.hkl.ctypes.data,
        lines.multiplicity.ctypes.data,
        lines.intensity.ctypes.data,
    )
    return lines._select(slice(count))


def reference_lines(
    lattice: NDArray[np.float64],
    frac_coords: NDArray[np.float64],
    atomic_numbers: NDArray[np.int64],
    wavelength: float,
    two_theta_max: float,
    b_iso: float = 0.0,
) -> Reflections:
    """All lines of one crystal, uncut, in plain numpy: the oracle of the kernel. See `reflections`."""
    radius = inverse_d_of_two_theta(two_theta_max, wavelength) + SPHERE_TOLERANCE
    hkl, length = _half_sphere(lattice, min(radius, 2 * BACKSCATTERING / wavelength))
    theta = bragg_angle(sine_of_inverse_d(length, wavelength))
    two_theta = np.degrees(2 * theta)
    s_squared = (length / 2) ** 2

    factor = np.zeros(len(length), dtype=np.complex128)
    for number in np.unique(atomic_numbers):
        form = form_factor(number, s_squared)
        for x in frac_coords[atomic_numbers == number]:
            factor += form * np.exp(2j * np.pi * (hkl @ x))
    visible = lorentz_polarisation(np.sin(theta), np.cos(theta))
    # 2: the Friedel mate
    intensity = 2 * np.abs(factor) ** 2 * visible * np.exp(-2 * b_iso * s_squared)

    starts = _line_starts(two_theta)
    if not len(starts):
        return Reflections(two_theta, length, hkl, np.zeros(0, np.int64), intensity)
    multiplicity = 2 * np.diff(starts, append=len(two_theta))
    line = np.repeat(np.arange(len(starts)), multiplicity // 2)
    # The strongest member speaks for the line; equivalents tie up to rounding, then the largest indices do.
    strong = intensity >= (1 - 1e-6) * np.maximum.reduceat(intensity, starts)[line]
    order = np.lexsort((*hkl.T[::-1], strong, line))
    last = order[np.cumsum(multiplicity // 2) - 1]
    return Reflections(
        two_theta[starts], 1 / length[starts], hkl[last], multiplicity, np.add.reduceat(intensity, starts)
    )


class LatticeLines:
    """Lines of a lattice whatever its atoms: for the intensities of many crystals in one cell.

    |Σ_g f_g S_g|² = Σ_gh f_g f_h Re(S_g S_h*), S_g being the geometric structure factor of the atoms of group g: summed
    over the members of a line, the products S_g S_h* serve every naming of the groups.
    two_theta: (n,) degrees, ascending. d_spacing: (n,) Å. All lines are kept, absent ones included. hkl: (R, 3), one of
    each Friedel pair, ascending in |G|; starts: (n,) the first of each line. weight: (n,) of |F|².
    """

    def __init__(self, lattice: NDArray[np.float64], wavelength: float, two_theta_max: float) -> None:
        radius = inverse_d_of_two_theta(two_theta_max, wavelength) + SPHERE_TOLERANCE
        self.hkl, length = _half_sphere(lattice, min(radius, 2 * BACKSCATTERING / wavelength))
        two_theta = two_theta_of_inverse_d(length, wavelength)
        self.starts = _line_starts(two_theta)
        self.two_theta, self.d_spacing = two_theta[self.starts], 1 / length[self.starts]
        theta = np.radians(self.two_theta / 2)
        self.weight = 2 * lorentz_polarisation(np.sin(theta), np.cos(theta))  # 2: the Friedel mate
        self._forms: dict[int, NDArray[np.float64]] = {}

    def products(self, frac_coords: NDArray[np.float64], groups: NDArray[np.int64]) -> NDArray[np.float64]:
        """(n, G, G): Re(S_g S_h*)·LP summed over each line. frac_coords: (N, 3); groups: (N,) of 0 to G − 1."""
        lowest, highest = self.hkl.min(axis=0, initial=0), self.hkl.max(axis=0, initial=0)
        index = tuple((self.hkl - lowest).T)
        axes = zip(lowest, highest, frac_coords.T, strict=True)
        waves = [np.exp(2j * np.pi * np.outer(np.arange(low, high + 1), x)) for low, high, x in axes]
        factors = []
        for group in range(int(groups.max()) + 1):
            h, k, el = (wave[:, groups == group] for wave in waves)
            factors.append(((h[:, None] * k) @ el.T)[index])
        factor = np.stack(factors, axis=1)
        sums = [np.add.reduceat((s[:, None] * factor.conj()).real, self.starts) for s in factors]
        products: NDArray[np.float64] = np.stack(sums, axis=1) * self.weight[:, None, None]
        return products

    def intensities(self, products: NDArray[np.float64], atomic_numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        """(K, n) intensities as `reflections` has them, of K namings: atomic_numbers (K, G), one number a group.

        Lines not above RELATIVE_CUT of a crystal's strongest are 0.
        """
        check_atomic_numbers(atomic_numbers)
        for number in np.unique(atomic_numbers).tolist():
            if number not in self._forms:
                self._forms[number] = form_factor(number, 1 / (2 * self.d_spacing) ** 2)
        form = np.array([[self._forms[z] for z in row] for row in atomic_numbers.tolist()]).transpose(2, 0, 1)
        intensity = ((form @ products) * form).sum(axis=-1).T
        return np.where(intensity > RELATIVE_CUT * intensity.max(axis=1, keepdims=True, initial=0.0), intensity, 0.0)


def form_factor(number: int, s_squared: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of a neutral atom, at s² = (sinθ/λ)² in 1/Å²."""
    a, b = form_factor_table()[number].T
    return np.asarray(number - FORM_FACTOR_SCALE * s_squared * (a * np.exp(-b * s_squared[:, None])).sum(axis=1))


def _line_starts(two_theta: NDArray[np.float64]) -> NDArray[np.int64]:
    """First reflection of each line, of ascending 2θ in degrees."""
    return np.flatnonzero(np.diff(np.round(two_theta / MERGE_DEGREES), prepend=-1.0))


def _half_sphere(lattice: NDArray[np.float64], radius: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """hkl (m, 3) with |G| < radius (1/Å), lexicographically positive (Friedel), and |G|, ascending."""
    reach = (radius * np.linalg.norm(lattice, axis=1)).astype(int)  # |h| = |G·a| <= |G||a|
    axes = [np.arange(0, reach[0] + 1), *(np.arange(-n, n + 1) for n in reach[1:])]
    hkl = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    h, k, el = hkl.T
    hkl = hkl[(h > 0) | (k > 0) | ((k == 0) & (el > 0))]
    length = np.linalg.norm(hkl @ np.linalg.inv(lattice).T, axis=1)
    hkl, length = hkl[length < radius], length[length < radius]
    order = np.argsort(length, kind="stable")
    return hkl[order], length[order]

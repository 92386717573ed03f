"""A candidate and a diffractometer in the terms of rietx, which refines them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from crystalnet.records import AtomSites, Peaks, Radiation, short_reason
from crystalnet.xrd.decay import least_b

if TYPE_CHECKING:
    from rietx import Instrument, Phase
    from rietx.schemas.instrument import Dispersion, ProfileTCHZ

BACKGROUND_TERMS = 6  # Chebyshev terms added to the background under the peaks: level and slope, no lines
BACKGROUND_POINTS = 400  # of the smooth curve handed to the library, which copies it at every stage
CELL_FREEDOM = 0.02  # relative; an indexed cell is better than this, farther off is another lattice
ZERO_FREEDOM = 0.3  # degrees; specimens sit up to ~0.2° off, and more correlates with the cell
# Times the width of a broad measured line: a wrong crystal gains by lines as wide as the pattern, and each point of
# each costs time (LaB6 with eighteen atoms: 10 s and 2 GB a candidate, 1 s with this limit).
WIDEST = 3.0
B_START, B_MAX = 0.5, 6.0  # Å²
STAND_IN = "Si"  # scatters for an unexplained site "X", with a free occupancy
NEUTRAL = (0.0, 0.0)  # f′, f″ of an atom that scatters as f₀ alone


def phase(sites: AtomSites, symbol: str, operations: list[str], wavelength: float) -> Phase:
    """A candidate as rietx has it: edges within CELL_FREEDOM, one B an atom, angles fixed.

    Parameters
    ----------
    sites : AtomSites
        One atom of each orbit in a conventional cell.
    symbol : str
        Of the space group.
    operations : list of str
        Its operations, "x,y,z".
    wavelength : float
        Å.
    """
    from pymatgen.core.lattice import Lattice
    from rietx import Atom, Cell, Parameter
    from rietx import Phase as RietxPhase

    lattice = Lattice(sites.lattice)
    edges = {
        name: Parameter(value=edge, min=(1 - CELL_FREEDOM) * edge, max=(1 + CELL_FREEDOM) * edge)
        for name, edge in zip("abc", lattice.abc, strict=True)
    }
    angles = {
        name: Parameter(value=round(angle, 6))  # exactly 90 and 120, or the library sees another system
        for name, angle in zip(("alpha", "beta", "gamma"), lattice.angles, strict=True)
    }
    atoms = [
        Atom(
            label=f"{symbol}{i}",
            species=STAND_IN if symbol == "X" else symbol,
            x=Parameter(value=x),
            y=Parameter(value=y),
            z=Parameter(value=z),
            biso=Parameter(value=B_START, min=least_b(wavelength), max=B_MAX),
        )
        for i, (symbol, (x, y, z)) in enumerate(zip(sites.species, sites.frac_coords.tolist(), strict=True))
    ]
    return RietxPhase(
        name="candidate",
        space_group=symbol,
        symmetry_operations=operations,
        cell=Cell(**edges, **angles),
        atoms=atoms,
        floating_origin="hold",
    )


def dispersion(species: Iterable[str], radiation: Radiation) -> tuple[Dispersion, tuple[str, ...]]:
    """Anomalous scattering of the elements at the lines of a source, and a remark on each that has none tabulated.

    Parameters
    ----------
    species : iterable of str
        Symbols; "X" scatters as STAND_IN.
    radiation : Radiation

    Returns
    -------
    dispersion : rietx Dispersion
    remarks : tuple of str

    Notes
    -----
    The tables (Cromer & Liberman, J. Chem. Phys. 53, 1891, 1970; as rietx has them) cannot be interpolated where an
    absorption edge lies in the interval around the wavelength (Eu and Ho at Cu Kα, Ru at Ag Kα), and end at 3 and
    70 keV. There an element scatters as f₀ alone, which misses its line intensities by some per cent.
    """
    from rietx.crystallography.dispersion import resolve
    from rietx.schemas.instrument import Dispersion

    wavelengths = tuple(wavelength for wavelength, _ in radiation.lines)
    refused = {}
    for symbol in sorted({STAND_IN if s == "X" else s for s in species}):
        try:
            resolve([symbol], wavelengths)
        except (KeyError, ValueError) as error:
            refused[symbol] = short_reason(error)
    remarks = tuple(
        f"{symbol} scatters without its anomalous part (f₀ alone) at {radiation.wavelength:.4f} Å: {reason}"
        for symbol, reason in refused.items()
    )
    return Dispersion(overrides=dict.fromkeys(refused, NEUTRAL)), remarks


def instrument(peaks: Peaks, zero_shift: float, two_theta: np.ndarray, background: np.ndarray) -> Instrument:
    """The diffractometer as rietx has it: radiation, zero, line widths like the peaks', background.

    Parameters
    ----------
    peaks : Peaks
    zero_shift : float
        Degrees, the start.
    two_theta, background : ndarray, shape (n,)
        The curve under the lines.
    """
    from rietx import Instrument, Parameter
    from rietx.schemas.instrument import (
        BackgroundChebyshev,
        BackgroundFixedPlusChebyshev,
        EmissionLine,
        Geometry,
        Source,
    )

    radiation = peaks.radiation
    source = Source(
        lines=[
            EmissionLine(
                wavelength=Parameter(value=wavelength),
                weight=Parameter(value=weight / radiation.lines[0][1], min=0.0, max=1.0),
            )
            for wavelength, weight in radiation.lines
        ],
        polarization=Parameter(value=1 / (1 + radiation.polarisation), min=0.0, max=1.0),  # σ-polarised part
    )
    knots = np.unique(np.linspace(0, len(two_theta) - 1, BACKGROUND_POINTS).astype(int))
    return Instrument(
        source=source,
        geometry=Geometry(kind="debye_scherrer"),
        zero_shift=Parameter(value=zero_shift, min=zero_shift - ZERO_FREEDOM, max=zero_shift + ZERO_FREEDOM),
        profile=_widths(peaks),
        background=BackgroundFixedPlusChebyshev(
            fixed_two_theta=two_theta[knots].tolist(),
            fixed_intensity=background[knots].tolist(),
            chebyshev=BackgroundChebyshev.with_terms(BACKGROUND_TERMS),
        ),
    )


def _widths(peaks: Peaks) -> ProfileTCHZ:
    """Line widths: about those of the peaks, and never more than WIDEST of a broad one's."""
    from rietx import Parameter
    from rietx.schemas.instrument import ProfileTCHZ

    fwhm, most = float(np.median(peaks.fwhm)), WIDEST * float(np.percentile(peaks.fwhm, 90))
    return ProfileTCHZ(
        u=Parameter(value=0.0, min=-(most**2), max=most**2),
        v=Parameter(value=0.0, min=-(most**2), max=most**2),
        w=Parameter(value=(0.7 * fwhm) ** 2, min=1e-8, max=most**2),  # with x about as wide as the lines
        x=Parameter(value=0.4 * fwhm, min=0.0, max=most),
        y=Parameter(value=0.0, min=-most, max=most),
    )

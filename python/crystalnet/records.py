"""The things that travel between the stages: plain frozen records, numpy only.

A measured pattern walks `Pattern → Peaks → Cell → DensityGrid → AtomSites → Candidate → Solution`.
Lengths are in Å, angles in degrees, densities in e/Å³; lattices are 3×3 with the cell vectors as rows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from crystalnet.crystal.lattice import Cell


class InputError(ValueError):
    """Something the user gave cannot be used. The message is one line: what is wrong and what to do."""


def short_reason(error: BaseException) -> str:
    """The first sentence of a library's complaint, on one line of at most 160 characters."""
    words = " ".join(str(error).split()) or type(error).__name__
    sentence = re.split(r"(?<=[^.]{20})\. |; ", words)[0]
    return sentence if len(sentence) <= 160 else sentence[:157] + "..."


@dataclass(frozen=True)
class Radiation:
    """X-ray lines of the source.

    lines: ((wavelength Å, relative weight), ...), the strongest (Kα1) first.
    assumed: nobody said the wavelength; Cu Kα was taken.
    kalpha2_known: False where the data must decide whether Kα2 is present (a bare number near a tube's Kα1).
    polarisation: K of the polarisation factor (1 + K cos²2θ) / (1 + K); 1 for an unpolarised tube,
        cos²2θ_M behind a monochromator, near 0 for a synchrotron with vertical scattering plane.
    """

    lines: tuple[tuple[float, float], ...]
    assumed: bool = False
    kalpha2_known: bool = True
    polarisation: float = 1.0

    @property
    def wavelength(self) -> float:
        """Wavelength of the first line (Kα1), Å."""
        return self.lines[0][0]


@dataclass(frozen=True)
class Pattern:
    """A measured (or simulated) profile on an ascending 2θ axis.

    two_theta, intensity, sigma: (n,) float64; 2θ in degrees, sigma the esd of the intensity.
    remarks: what was decided in reading that the user must know, one sentence or two each.
    """

    two_theta: np.ndarray
    intensity: np.ndarray
    sigma: np.ndarray
    radiation: Radiation
    file: str | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Peaks:
    """Bragg lines picked from a pattern, Kα1 positions only, ascending in 2θ.

    two_theta, d_spacing, area, fwhm: (m,) float64; area in counts·degrees.
    background: (n,) on the pattern's axis.
    two_theta_min, two_theta_max: the observed range, degrees.
    noise: strength, of the strongest line, below which a line may be none; precision: of a position, in widths.
    """

    two_theta: np.ndarray
    d_spacing: np.ndarray
    area: np.ndarray
    fwhm: np.ndarray
    background: np.ndarray
    two_theta_min: float
    two_theta_max: float
    radiation: Radiation
    noise: float = 0.004
    precision: float = 0.25

    def __len__(self) -> int:
        return len(self.two_theta)


@dataclass(frozen=True)
class DensityGrid:
    """Density at fractional coordinates i/n along the cell vectors: values (n, n, n) e/Å³, lattice (3, 3) Å."""

    values: np.ndarray
    lattice: np.ndarray


@dataclass(frozen=True)
class Transformation:
    """From one setting of a crystal to another: what stands at u in the new setting stands at u M + t in the old one.

    Fractional coordinates are rows. Attributes:
    matrix: M (3, 3), the new axes in terms of the old ones, integer where the new cell is no smaller.
    shift: t (3,), the new origin in the old axes.
    """

    matrix: np.ndarray
    shift: np.ndarray

    def to_old(self, u: np.ndarray) -> np.ndarray:
        """Coordinates (..., 3) in the old setting of points of the new one."""
        return np.asarray(u @ self.matrix + self.shift)

    def to_new(self, x: np.ndarray) -> np.ndarray:
        """Coordinates (..., 3) in the new setting of points of the old one."""
        return np.asarray((x - self.shift) @ np.linalg.inv(self.matrix))


@dataclass(frozen=True)
class AtomSites:
    """Every atom of one cell: lattice (3, 3) Å, species N symbols, frac_coords (N, 3)."""

    lattice: np.ndarray
    species: tuple[str, ...]
    frac_coords: np.ndarray

    def __len__(self) -> int:
        return len(self.species)

    @property
    def volume(self) -> float:
        """Å³."""
        return float(abs(np.linalg.det(self.lattice)))

    @classmethod
    def from_structure(cls, structure: Structure) -> AtomSites:
        """From an ordered pymatgen Structure."""
        return cls(
            np.array(structure.lattice.matrix),
            tuple(site.specie.symbol for site in structure),
            np.array(structure.frac_coords),
        )

    def structure(self) -> Structure:
        """As a pymatgen Structure; unexplained sites ("X") become DummySpecies."""
        from pymatgen.core import DummySpecies, Lattice, Structure

        species = [DummySpecies("X") if s == "X" else s for s in self.species]
        return Structure(Lattice(self.lattice), species, self.frac_coords)


@dataclass(frozen=True)
class Fit:
    """A candidate fitted to the measured profile.

    sites: the refined atoms (conventional cell). rwp: fraction, background excluded, √(Σw(y_o−y_c)²/Σw(y_o−y_b)²).
    r_expected: the Rwp of a perfect model, which has only noise left, √(n/Σw(y_o−y_b)²); 0 where it is not known.
    calculated, background: (n,) on the pattern's 2θ axis. hkl_two_theta: positions of the allowed lines, degrees.
    failure: why the candidate could not be refined, None where it was. remarks: what was left out, and why.
    """

    sites: AtomSites
    rwp: float
    calculated: np.ndarray
    background: np.ndarray
    hkl_two_theta: np.ndarray
    zero_shift: float = 0.0
    failure: str | None = None
    remarks: tuple[str, ...] = ()
    r_expected: float = 0.0

    @property
    def excess(self) -> float:
        """Rwp without the share of noise, at least 0.3 of it: esds may be too large.

        A pattern of few counts, or of lines on a high background, has a large Rwp with the right crystal too.
        """
        return float(np.sqrt(max(self.rwp**2 - self.r_expected**2, (0.3 * self.rwp) ** 2)))


@dataclass(frozen=True)
class Candidate:
    """One answer to "what is it?": a crystal, where it came from, and how well the pattern likes it."""

    source: str  # "known", "catalogue", "search" or "network"
    formula: str
    space_group_number: int
    space_group_symbol: str
    conventional: AtomSites
    wyckoff: tuple[dict[str, Any], ...]  # one dict per orbit: element, x, y, z, wyckoff, multiplicity
    fit: Fit
    score: float
    density: DensityGrid
    confidence: float | None = None
    evidence: dict[str, float] = field(default_factory=dict)  # what confidence was calculated from
    reference: str | None = None  # of a known crystal: where it was published
    setting: Transformation | None = None  # from the density's cell to `conventional`; None where it has no such cell


@dataclass(frozen=True)
class Solution:
    """Everything `solve` found for one pattern; `given` and `seconds` as in solution.json."""

    pattern: Pattern
    peaks: Peaks
    given: dict[str, Any]
    model: dict[str, Any]
    cell: Cell | None
    candidates: tuple[Candidate, ...]
    guesses: np.ndarray  # (N, 50, 50, 50) network densities in the primitive cell, as drawn: the latent mean first
    guess_rank: np.ndarray  # (N,) rank of each guess by the pattern, 1 the best
    spread: np.ndarray  # (50, 50, 50) voxel-wise standard deviation of the guesses, laid on that of rank 1
    lattice: np.ndarray | None  # (3, 3) primitive cell of the guesses, Å
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

"""The things that travel between the stages: plain frozen records, numpy only.

A measured pattern walks `Pattern → Peaks → Cell → DensityGrid → AtomSites → Candidate → Solution`.
Lengths are in Å, angles in degrees, densities in e/Å³; lattices are 3×3 with the cell vectors as rows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from pymatgen.core import Structure

    from crystalnet.crystal.lattice import Cell


class InputError(ValueError):
    """Something the user gave cannot be used. The message is one line: what is wrong and what to do."""


BELIEVED = 0.5  # probability from which a candidate is a confident match


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


@dataclass(frozen=True, repr=False)
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

    def part(self, points: np.ndarray) -> Pattern:
        """The pattern of some of its points (n,), which are True."""
        columns = {name: getattr(self, name)[points] for name in ("two_theta", "intensity", "sigma")}
        return replace(self, **columns)

    @classmethod
    def from_arrays(
        cls,
        two_theta: ArrayLike,
        intensity: ArrayLike,
        sigma: ArrayLike | None = None,
        *,
        wavelength: str | float | None = None,
        name: str = "pattern",
    ) -> Pattern:
        """A pattern from numbers in memory, checked and ordered as those of a file are.

        Parameters
        ----------
        two_theta : array_like, shape (n,)
            Degrees, in any order.
        intensity : array_like, shape (n,)
            Counts, or anything proportional to them.
        sigma : array_like, shape (n,), optional
            Esds of the intensities; estimated from the counts where they are not given.
        wavelength : str or float, optional
            A name (CuKa, MoKa1, ...) or Å; without it Cu Kα is assumed, or sought where `solve` knows the elements.
        name : str
            What messages call the pattern.

        Raises
        ------
        InputError
            In one line that says what is wrong with the numbers.

        Examples
        --------
        >>> import numpy as np
        >>> two_theta = np.arange(10, 90, 0.02)
        >>> Pattern.from_arrays(two_theta, 100 + 50 * np.cos(two_theta), wavelength="CuKa")
        Pattern of 4000 points, 10.00 to 89.98° 2θ, λ 1.540593 Å
        """
        from crystalnet.xrd.radiation import parse_wavelength
        from crystalnet.xrd.reader import pattern_of_arrays

        radiation = None if wavelength is None else parse_wavelength(wavelength)
        return pattern_of_arrays(two_theta, intensity, sigma, radiation, name)

    def __len__(self) -> int:
        return len(self.two_theta)

    def __repr__(self) -> str:
        span = f"{self.two_theta[0]:.2f} to {self.two_theta[-1]:.2f}° 2θ, " if len(self) else ""
        assumed = " (assumed)" if self.radiation.assumed else ""
        return f"Pattern of {len(self)} points, {span}λ {round(self.radiation.wavelength, 6)} Å{assumed}"


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

    @property
    def visible(self) -> AtomSites:
        """Without hydrogen, which X-rays hardly see beside other atoms; the whole where there are no others."""
        seen = [number for number, symbol in enumerate(self.species) if symbol != "H"]
        if len(seen) in (0, len(self)):
            return self
        return AtomSites(self.lattice, tuple(self.species[number] for number in seen), self.frac_coords[seen])

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
class Lines:
    """The reflections of a refined crystal in the measured range, ascending in 2θ; equivalent ones are one.

    hkl: (m, 3) int, in the axes of the refined cell. multiplicity: (m,) int. d_spacing: (m,) Å.
    two_theta: (m,) degrees, of the first wavelength, zero shift included.
    f_squared: (m,) |F|² in e², displacements and dispersion included.
    calculated: (m,) area over all wavelengths, in the pattern's intensity × degrees.
    observed: (m,) what the measured profile has of it: net intensity shared among overlapping reflections as calculated
        (Rietveld, 1969); nan where there is nothing to share.
    """

    hkl: np.ndarray
    multiplicity: np.ndarray
    d_spacing: np.ndarray
    two_theta: np.ndarray
    f_squared: np.ndarray
    calculated: np.ndarray
    observed: np.ndarray

    def __len__(self) -> int:
        return len(self.two_theta)


@dataclass(frozen=True)
class Fit:
    """A candidate fitted to the measured profile.

    sites: the refined atoms (conventional cell). rwp: fraction, background excluded, √(Σw(y_o−y_c)²/Σw(y_o−y_b)²).
    r_expected: the Rwp of a perfect model, which has only noise left, √(n/Σw(y_o−y_b)²); 0 where it is not known.
    calculated, background: (n,) on the pattern's 2θ axis. hkl_two_theta: positions of the allowed lines, degrees.
    failure: why the candidate could not be refined, None where it was. remarks: what was left out, and why.
    refined: scale, b_iso (Å²) and the widths u, v, w (degrees²), x, y (degrees) by which other programs go on
        (`export.project.Refined` defines them); empty where nothing was refined.
    esd: standard uncertainties of the cell ("a" to "gamma"), "zero_shift" and what `refined` has, where refined, times
        Bérar and Lelann's factor for residuals that are not independent. coordinate_esd: (N, 3) of `sites`, nan where
        fixed or not known; None without refined coordinates.
    parameters: how many were refined. lines: the reflections; None where nothing was refined.
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
    refined: dict[str, float] = field(default_factory=dict)
    esd: dict[str, float] = field(default_factory=dict)
    coordinate_esd: np.ndarray | None = None
    parameters: int = 0
    lines: Lines | None = None

    @property
    def excess(self) -> float:
        """Rwp without the share of noise, at least 0.3 of it: esds may be too large.

        A pattern of few counts, or of lines on a high background, has a large Rwp with the right crystal too.
        """
        return float(np.sqrt(max(self.rwp**2 - self.r_expected**2, (0.3 * self.rwp) ** 2)))


@dataclass(frozen=True, repr=False)
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
    confidence: float  # probability that it is right
    evidence: dict[str, float] = field(default_factory=dict)  # what confidence was calculated from
    reference: str | None = None  # of a known crystal: where it was published
    setting: Transformation | None = None  # from the density's cell to `conventional`; None where it has no such cell

    @property
    def structure(self) -> Structure:
        """The conventional cell as a pymatgen Structure."""
        return self.conventional.structure()

    def __repr__(self) -> str:
        a, b, c = np.linalg.norm(self.conventional.lattice, axis=1)
        return (
            f"{self.formula}, {self.space_group_symbol}, a {a:.4f} b {b:.4f} c {c:.4f} Å,"
            f" Rwp {self.fit.rwp:.1%}, confidence {self.confidence:.0%} ({self.source})"
        )


@dataclass(frozen=True, repr=False)
class Solution:
    """Everything `solve` found for one pattern; `given` and `seconds` as in solution.json.

    The likeliest candidate comes first. A notebook shows the candidates as a table.
    """

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

    @property
    def best(self) -> Candidate | None:
        """The likeliest candidate; None where nothing was found."""
        return self.candidates[0] if self.candidates else None

    @property
    def structure(self) -> Structure | None:
        """The likeliest candidate's conventional cell as a pymatgen Structure."""
        return self.best.structure if self.best else None

    def write(self, folder: str | Path) -> dict[str, Any]:
        """Write what `crystalnet solve --out FOLDER` writes: solution.json, whose content is returned, CIFs, report.

        Raises
        ------
        InputError
            Where the folder cannot be written or holds files of the user's by these names.
        """
        from crystalnet.report import write_solution

        return write_solution(self, Path(folder))

    def __repr__(self) -> str:
        """Five lines at most: the pattern, the cell and three candidates."""
        lines = [f"Solution of {self.pattern!r}"]
        lines += [f"{rank}. {candidate!r}" for rank, candidate in enumerate(self.candidates[:3], 1)]
        further = len(self.candidates) - 3
        lines += [f"and {further} more in .candidates"] if further > 0 else []
        return "\n".join(lines if self.candidates else [*lines, "no candidate"])

    def _repr_html_(self) -> str:
        head = "".join(
            f"<th>{name}</th>" for name in ("", "formula", "space group", "cell / Å, °", "Rwp", "confidence")
        )
        rows = []
        for rank, one in enumerate(self.candidates, 1):
            lattice = one.structure.lattice
            cell = ", ".join(f"{v:.4f}" for v in lattice.abc) + "; " + ", ".join(f"{v:.2f}" for v in lattice.angles)
            fits, sure = f"{one.fit.rwp:.1%}", f"{one.confidence:.0%}"
            values = (rank, one.formula, one.space_group_symbol, cell, fits, sure)
            rows.append("<tr>" + "".join(f"<td>{escape(str(value))}</td>" for value in values) + "</tr>")
        said = "".join(f"<li>{escape(warning)}</li>" for warning in self.warnings)
        caption = f"<caption>{escape(repr(self.pattern))}</caption>"
        return f"<table>{caption}<tr>{head}</tr>{''.join(rows)}</table>" + (f"<ul>{said}</ul>" if said else "")

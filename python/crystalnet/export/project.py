"""What every program is told of a candidate, read from the folder that `solve` wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from crystalnet.crystal.lattice import axes_of, one_of_each
from crystalnet.export.setting import Described, Site, described
from crystalnet.records import AtomSites, InputError, Pattern, Radiation
from crystalnet.report.solution_file import DOCUMENT
from crystalnet.runtime.whole_folder import is_inside
from crystalnet.xrd.background import background_under
from crystalnet.xrd.reader import read_pattern

LEAST_WIDTH = 1e-3  # degrees; a synchrotron's lines are wider
SAME_ATOM = 0.01  # Å; images of one atom, whose coordinates a CIF rounds
# Of a laboratory's diffractometer: where a candidate could not be refined a program still needs widths to begin with.
TYPICAL = {"zero_shift": 0.0, "scale": 1.0, "b_iso": 0.5, "u": 0.0, "v": 0.0, "w": 0.005, "x": 0.04, "y": 0.0}


@dataclass(frozen=True)
class Refined:
    """What the refinement found, the start of the other program's.

    Attributes
    ----------
    zero_shift : float
        Degrees 2θ, added to the calculated positions.
    scale : float
        y = scale · multiplicity · |F|² · Lp · profile, F of the whole cell, Lp = (1 + K cos²2θ) / ((1 + K) sin²θ cosθ).
    b_iso : float
        Å², one for all atoms.
    u, v, w : float
        Gaussian part of the line width: FWHM² = u tan²θ + v tanθ + w, degrees².
    x, y : float
        Lorentzian part: FWHM = x / cosθ + y tanθ, degrees.
    """

    zero_shift: float
    scale: float
    b_iso: float
    u: float
    v: float
    w: float
    x: float
    y: float

    def with_real_widths(self, start: float, end: float) -> Refined:
        """One width for a part of the lines that is imaginary or negative somewhere between two 2θ.

        The refinement cuts such a part off at 0, at which other programs stop.
        """
        theta = np.radians(np.linspace(start, end, 200) / 2)
        squared = np.polyval((self.u, self.v, self.w), np.tan(theta))
        lorentzian = self.x / np.cos(theta) + self.y * np.tan(theta)
        real = self
        if (squared <= 0).any():
            real = replace(real, u=0.0, v=0.0, w=max(float(squared.clip(0).mean()), LEAST_WIDTH**2))
        if (lorentzian < 0).any():
            real = replace(real, x=float((lorentzian * np.cos(theta)).clip(0).mean()), y=0.0)
        return real


@dataclass(frozen=True)
class Project:
    """A candidate and the pattern that it explains, ready to be written in the words of any program.

    Attributes
    ----------
    name : str
        candidate-K: what the files are called.
    formula : str
    title : str
        Formula, rank, pattern and version, one line.
    crystal : Described
        In its reference setting; sites of unexplained density (X) among them.
    pattern : Pattern
        As it was solved, with the radiation that was decided.
    refined : Refined
    is_refined : bool
        False where the candidate could not be refined and `refined` holds typical values.
    density, cif : Path
        The solution's own files, in one setting: the axes and origin that `solve` found.
    """

    name: str
    formula: str
    title: str
    crystal: Described
    pattern: Pattern
    refined: Refined
    is_refined: bool
    density: Path
    cif: Path

    @property
    def atoms(self) -> tuple[Site, ...]:
        """The sites that scatter: X is no element."""
        return tuple(site for site in self.crystal.sites if site.element != "X")

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the user must know before refining, a line each."""
        said = (
            [] if self.is_refined else ["this candidate could not be refined: scale, zero and widths are typical ones"]
        )
        for site in self.crystal.sites:
            if site.element == "X":
                x, y, z = site.x
                where = f"{x:.5f} {y:.5f} {z:.5f} (multiplicity {site.multiplicity})"
                said.append(f"unexplained density at {where} is left out: give it an element")
        return tuple(said)

    @property
    def radiation(self) -> Radiation:
        """The X-ray lines."""
        return self.pattern.radiation

    @cached_property
    def background(self) -> np.ndarray:
        """(n,) the curve under the lines, on the pattern's points."""
        return background_under(self.pattern.two_theta, self.pattern.intensity)


def read_project(folder: Path, rank: int = 1) -> Project:
    """A candidate of a solution.

    Parameters
    ----------
    folder : Path
        What `crystalnet solve --out` wrote.
    rank : int
        Number of the candidate, 1 the best.

    Raises
    ------
    InputError
        There is no such solution or candidate, or a file of it is missing or damaged.
    """
    content = _document(folder)
    try:
        entries, pattern = content["candidates"], content["pattern"]
        if not entries:
            raise InputError(f"{folder}: this solution has no candidate to export")
        if not 1 <= rank <= len(entries):
            raise InputError(f"{folder}: there is no candidate {rank}; choose --candidate from 1 to {len(entries)}")
        if "data" not in pattern:
            raise InputError(f"{folder}: holds no measured pattern, as earlier versions left it; solve it again")
        entry, beam = entries[rank - 1], pattern["radiation"]
        lines = tuple((float(line["wavelength_angstrom"]), float(line["weight"])) for line in beam["lines"])
        radiation = Radiation(lines, polarisation=float(beam["polarisation"]))
        data, cif, density = (_file(folder, name) for name in (pattern["data"], entry["cif"], entry["density"]))
        refined = entry.get("refined")
        measured = read_pattern(data, radiation, axis="two-theta")
        start = Refined(**{name: float((refined or TYPICAL)[name]) for name in TYPICAL})
        return Project(
            name=f"candidate-{rank}",
            formula=entry["formula"],
            title=f"{entry['formula']}, candidate {rank} of {_plain(Path(pattern['file'] or 'a pattern').name)}, "
            f"by CrystalNet {content['crystalnet']}",
            crystal=described(_sites(cif, entry["lattice"]), int(entry["space_group"]["number"])),
            pattern=measured,
            refined=start.with_real_widths(float(measured.two_theta[0]), float(measured.two_theta[-1])),
            is_refined=refined is not None,
            density=density,
            cif=cif,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{folder / DOCUMENT}: is damaged, or not CrystalNet's; solve the pattern again") from error


def _plain(name: str) -> str:
    """A file's name without what would end a comment or a string in one of the programs' languages."""
    return "".join(c if c.isascii() and c.isprintable() and c not in "\\\"'`" else "_" for c in name)


def _document(folder: Path) -> dict[str, Any]:
    path = folder / DOCUMENT
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the one that `crystalnet solve` wrote")
    if not path.is_file():
        raise InputError(f"{folder}: holds no {DOCUMENT}; give the folder that `crystalnet solve` wrote")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read; solve the pattern again") from error
    return content if isinstance(content, dict) else {}


def _file(folder: Path, name: str) -> Path:
    """A file of the solution, by the name that solution.json has for it."""
    path = folder / name
    if not (is_inside(name) and path.is_file()):
        raise InputError(f"{folder}: {name} is missing; solve the pattern again")
    return path


def _sites(path: Path, lattice: Mapping[str, float]) -> AtomSites:
    """Every atom of a candidate's CIF, sites X included, in the cell that solution.json has to more digits."""
    import gemmi

    axes = axes_of(*(float(lattice[name]) for name in ("a", "b", "c", "alpha", "beta", "gamma")))
    try:
        crystal = gemmi.read_small_structure(str(path))
        operations = [gemmi.Op(triplet) for triplet in crystal.symops]
        species, coords = [], np.zeros((0, 3))
        for site in crystal.sites:
            images = np.array([operation.apply_to_xyz(site.fract.tolist()) for operation in operations])
            orbit = images[one_of_each(images, axes, SAME_ATOM)] % 1.0
            species += [site.type_symbol] * len(orbit)
            coords = np.concatenate([coords, orbit])
    except (RuntimeError, ValueError, OSError) as error:
        raise InputError(f"{path}: cannot be read as the CIF that `crystalnet solve` wrote") from error
    if not species or not np.isfinite(coords).all():
        raise InputError(f"{path}: lists no atoms")
    return AtomSites(axes, tuple(species), coords)

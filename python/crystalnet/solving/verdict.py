"""What the user must know before believing the answer."""

from __future__ import annotations

from collections.abc import Sequence

from crystalnet.crystal.chemistry import volume_ratio
from crystalnet.crystal.elements import visible
from crystalnet.crystal.lattice import Cell
from crystalnet.records import BELIEVED, Candidate, Pattern, Peaks
from crystalnet.solving.confidence import VOLUME_RANGE
from crystalnet.solving.tube import Tube
from crystalnet.xrd.foreign_lines import ForeignLine, foreign_lines
from crystalnet.xrd.indexing.lattices import line_positions

LISTED = 5  # lines named in a warning


def warnings_of(
    pattern: Pattern,
    peaks: Peaks,
    cells: Sequence[Cell],
    found: tuple[Candidate, ...],
    tube: Tube | None,
    elements: Sequence[str] = (),
    nearest: Cell | None = None,
) -> tuple[str, ...]:
    """What the user must know before believing the answer, in plain words.

    elements: those given. nearest: where no cell convinces, the one that comes nearest to it.
    """
    said = list(pattern.remarks)
    if tube:
        said.append(tube.remark)
    elif pattern.radiation.assumed:
        said.append(
            "The wavelength is not in the file and was not given: Cu Kα was assumed. Give --wavelength if wrong."
        )
    if not cells:
        said.append(
            f"No cell explains the {len(peaks)} lines: the sample may have more than one phase, or too few lines to"
            " tell. If you know the cell, give --cell."
        )
        said += _of_nearest(nearest, peaks) if nearest else []
    elif not found:
        said.append("A cell was found, but no arrangement of the atoms that fits it.")
    else:
        ratio = volume_ratio(found[0].conventional)
        if ratio is not None and not VOLUME_RANGE[0] < ratio < VOLUME_RANGE[1]:
            said.append(
                f"The cell has {ratio:.2f} times the volume expected for {found[0].formula}:"
                " check the wavelength and the elements."
            )
    said += [
        f"Candidate {rank} ({c.formula}) could not be refined ({c.fit.failure}): its Rwp of {c.fit.rwp:.2f} tells"
        " nothing."
        for rank, c in enumerate(found, 1)
        if c.fit.failure
    ]
    remarks = dict.fromkeys(remark for c in found for remark in c.fit.remarks)  # each once, in order
    said += [f"In the refinement {remark}." for remark in remarks]
    if found and "X" in found[0].conventional.species:
        said.append(
            "The pattern asks for atoms (X) that none of the given elements explains:"
            " is an element missing from --elements?"
        )
    if found:
        said += _of_foreign_lines(foreign_lines(peaks, found[0].fit.hkl_two_theta))
    missing = [e for e in elements if found and e not in found[0].conventional.species]
    if "H" in missing:
        said.append(
            f"Hydrogen is not among the atoms of {found[0].formula}: X-rays hardly show it. Place it where the bonds"
            " ask for it before you publish."
        )
    if heavier := visible(missing):
        said.append(f"{' and '.join(heavier)} of the given elements has no place in {found[0].formula}: another phase?")
    if found and not is_believed(found[0].confidence):
        said.append(
            f"No confident match: the best candidate (Rwp = {found[0].fit.rwp:.2f})"
            f" is right with a probability of {found[0].confidence:.0%}."
        )
    return tuple(said)


def _of_nearest(cell: Cell, peaks: Peaks) -> list[str]:
    """Which lines stand in the way of a cell that does not convince."""
    lines = foreign_lines(peaks, line_positions(cell, peaks))
    if not 0 < len(lines) < len(peaks) / 2:  # too many for a second phase: the cell is none
        return []
    edges = (f"{edge:.4f}" for edge in (cell.a, cell.b, cell.c))
    option = ",".join([*edges, *(f"{angle:.2f}" for angle in (cell.alpha, cell.beta, cell.gamma))])
    others = _listed([f"{line.two_theta:.2f}° ({line.share:.0%})" for line in lines])
    return [
        f"The cell that comes nearest ({cell.system}) leaves the lines at {others} unexplained: a second phase?"
        f" To go on with it, give --cell {option}."
    ]


def _of_foreign_lines(lines: Sequence[ForeignLine]) -> list[str]:
    """What lines that are not the crystal's may be."""
    ghosts = [f"{line.two_theta:.2f}° ({line.ghost_of})" for line in lines if line.ghost_of]
    others = [f"{line.two_theta:.2f}° ({line.share:.0%})" for line in lines if not line.ghost_of]
    said = []
    if ghosts:
        said.append(f"These lines may come from the X-ray tube, not from the sample: {_listed(ghosts)}.")
    if others:
        said.append(
            f"The first candidate does not explain the lines at {_listed(others)} (area over that of the strongest)."
            " There may be a second phase or a larger cell."
        )
    return said


def _listed(named: Sequence[str]) -> str:
    more = f" and {len(named) - LISTED} more" if len(named) > LISTED else ""
    return ", ".join(named[:LISTED]) + more


def is_believed(confidence: float) -> bool:
    """Whether a candidate of this confidence may be believed."""
    return confidence >= BELIEVED


def is_confident(candidates: Sequence[Candidate]) -> bool:
    """Whether the first candidate may be believed."""
    return bool(candidates) and is_believed(candidates[0].confidence)

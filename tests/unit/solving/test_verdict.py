"""What the user is told of an answer, and when it is believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from crystalnet.crystal.lattice import Cell
from crystalnet.records import BELIEVED, Candidate, Pattern, Peaks
from crystalnet.solving.confidence import VOLUME_RANGE
from crystalnet.solving.tube import Tube
from crystalnet.solving.verdict import is_confident, warnings_of
from crystalnet.xrd.radiation import assumed_cu
from solved_salt import CELL, PATTERN, PEAKS, SALT, answer


def said(*found: Candidate, pattern: Pattern = PATTERN, cells: Sequence[Cell] = (CELL,), tube: Any = None) -> str:
    return "\n".join(warnings_of(pattern, PEAKS, list(cells), found, tube))


def test_a_sound_answer_has_no_warnings() -> None:
    assert said(answer(0.9)) == ""
    assert said(answer(BELIEVED)) == ""


def test_a_given_element_without_a_place_is_said() -> None:
    def of(*elements: str) -> str:
        return "\n".join(warnings_of(PATTERN, PEAKS, [CELL], (answer(0.9),), None, elements))

    assert of("Na", "Cl") == ""
    assert "Hydrogen is not among the atoms of NaCl" in of("Na", "Cl", "H") and "another phase" not in of("Na", "H")
    assert "Br and K of the given elements has no place in NaCl" in of("Na", "Br", "K")


def test_where_no_cell_convinces_the_lines_in_the_way_are_said() -> None:
    def of(nearest: Cell | None, peaks: Peaks = PEAKS) -> str:
        return "\n".join(warnings_of(PATTERN, peaks, [], (), None, (), nearest))

    foreign = replace(PEAKS, two_theta=np.sort(np.append(PEAKS.two_theta[1:], 51.33)))
    found = of(CELL, foreign)
    assert "51.33° (" in found and f"--cell {f'{CELL.a:.4f},' * 3}90.00,90.00,90.00" in found
    assert "51.33" not in of(None, foreign) and "--cell" in of(None, foreign)
    assert "nearest" not in of(CELL)  # it explains all lines
    assert "nearest" not in of(replace(CELL, a=0.83 * CELL.a), foreign)  # hardly any


def test_what_the_user_must_know_is_said() -> None:
    assumed = replace(PATTERN, radiation=assumed_cu(), remarks=("Two scans.",))
    assert said(answer(0.9), pattern=assumed).startswith("Two scans.\nThe wavelength is not in the file")
    tube = Tube("Co", assumed_cu(), 0.4, (("Co", 1.0), ("Cu", 0.7)))
    assert tube.remark in said(answer(0.9), pattern=assumed, tube=tube)
    assert "Cu Kα was assumed" not in said(answer(0.9), pattern=assumed, tube=tube)
    assert "cell explains the 8 lines" in said(cells=())
    assert "no arrangement" in said()
    assert "No confident match" in said(answer(BELIEVED - 0.01)) and "49%" in said(answer(BELIEVED - 0.01))
    others = said(answer(0.9, hkl_two_theta=PEAKS.two_theta[2:]))  # the two first are of another phase
    assert f"lines at {PEAKS.two_theta[1]:.2f}°" in others or f"{PEAKS.two_theta[0]:.2f}°" in others
    assert "a second phase" in others and said(answer(0.9, hkl_two_theta=PEAKS.two_theta)) == ""
    assert "asks for atoms (X)" in said(answer(0.9, replace(SALT, species=("X",) * 4 + ("Cl",) * 4)))
    failed = said(answer(0.9), answer(0.9, rwp=1.0, failure="singular matrix", remarks=("Eu was left out",)))
    assert "Candidate 2 (NaCl) could not be refined (singular matrix): its Rwp of 1.00" in failed
    assert failed.count("In the refinement Eu was left out.") == 1


@pytest.mark.parametrize(("scale", "warned"), [(1.0, False), (0.85, True), (1.3, True)])
def test_an_impossible_volume_is_said(scale: float, warned: bool) -> None:
    ratio = 0.925 * scale**3  # of rock salt with this edge
    assert warned is not (VOLUME_RANGE[0] < ratio < VOLUME_RANGE[1])
    text = said(answer(0.9, replace(SALT, lattice=scale * SALT.lattice)))
    assert (f"{ratio:.2f} times the volume expected for NaCl" in text) is warned


def test_confidence_is_of_the_first_candidate() -> None:
    assert is_confident((answer(BELIEVED), answer(0.1)))
    assert not is_confident((answer(BELIEVED - 1e-6), answer(0.9)))
    assert not is_confident(())

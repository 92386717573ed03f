"""The seams of indexing: where the lines of a lattice lie, which is nearest, and cells as states."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from crystalnet.crystal.lattice import Cell
from crystalnet.records import Peaks, Radiation
from crystalnet.xrd.indexing.comparison import Comparison
from crystalnet.xrd.indexing.lattices import CENTRINGS, Lattice, lattice_of, state_of
from crystalnet.xrd.indexing.least_squares import refine
from crystalnet.xrd.indexing.lines import Lines
from crystalnet.xrd.indexing.rating import rate

LATTICES = [Lattice(system, centring) for system, centrings in CENTRINGS.items() for centring in centrings]
EDGES = {"cubic": (5.43, 5.43), "trigonal": (4.91, 13.4)}


def cell_of(lattice: Lattice) -> Cell:
    return Cell(lattice.system, lattice.centring, *EDGES[lattice.system], 0.05)


def by_hand(cell: Cell, q_max: float) -> np.ndarray:
    """Distinct 1/d² from all hkl that the centring allows."""
    found = set()
    for h, k, m in product(range(-12, 13), range(-12, 13), range(31)):
        allowed = {
            "P": True,
            "I": (h + k + m) % 2 == 0,
            "F": len({h % 2, k % 2, m % 2}) == 1,
            "R": (-h + k + m) % 3 == 0,
        }[cell.centring]
        if cell.system == "cubic":
            q = (h * h + k * k + m * m) / cell.a**2
        else:
            q = 4 / 3 * (h * h + h * k + k * k) / cell.a**2 + m * m / cell.c**2
        if allowed and 0 < q <= q_max:
            found.add(round(q, 9))
    return np.array(sorted(found))


@pytest.mark.parametrize("lattice", LATTICES, ids=str)
def test_calculated_lines_are_those_of_all_hkl(lattice: Lattice) -> None:
    cell = cell_of(lattice)
    lines = lattice.calculated(state_of(cell)[0, :2], 1.0)
    assert np.unique(lines.round(9)) == pytest.approx(by_hand(cell, 1.0), abs=2e-9)


@pytest.mark.parametrize("lattice", LATTICES, ids=str)
def test_nearest_and_distance_agree(lattice: Lattice) -> None:
    state = state_of(cell_of(lattice))
    metric = state[:, :2]
    lines = lattice.calculated(metric[0], 0.8)
    q = (lines[:-1] + np.random.default_rng(0).uniform(-5e-4, 5e-4, len(lines) - 1))[None]
    number, square = lattice.nearest(metric, q)
    miss = np.abs(q - metric[:, :1] * number - metric[:, 1:] * square)
    true = np.abs(q[:, :, None] - lines).min(2)
    assert miss == pytest.approx(true, abs=1e-9)
    assert lattice.distance(metric, q) == pytest.approx(true, rel=0.1, abs=1e-5)


@pytest.mark.parametrize("lattice", LATTICES, ids=str)
def test_a_cell_comes_back_from_its_state(lattice: Lattice) -> None:
    cell = cell_of(lattice)
    back = lattice_of(cell).cell(state_of(cell)[0])
    assert (back.a, back.c, back.zero_shift) == pytest.approx((cell.a, cell.c, cell.zero_shift))
    assert (back.system, back.centring) == (cell.system, cell.centring)


@pytest.mark.parametrize("lattice", LATTICES, ids=str)
def test_the_right_cell_gains_and_is_refined(lattice: Lattice) -> None:
    """Lines of a cell that is 0.3% larger: refinement finds it, and its score and gain are above those of the start."""
    cell = cell_of(lattice)
    q = np.unique(lattice.calculated(state_of(cell)[0, :2], 0.6))
    two_theta = 2 * np.degrees(np.arcsin(1.5406 * np.sqrt(q) / 2)) + cell.zero_shift
    ones = np.ones(len(q))
    beam = Radiation(((1.5406, 1.0),))
    lines = Lines.of(Peaks(two_theta, q**-0.5, 100 * ones, 0.1 * ones, np.zeros(10), 5.0, 80.0, beam))
    start = state_of(cell) * [1.006, 1.006, 0, 0]
    found = refine(lines, lattice, start, slack=0.1)
    assert lattice.cell(found[0]).a == pytest.approx(cell.a, rel=1e-4)
    assert rate(lines, lattice, found[0]).score > rate(lines, lattice, start[0]).score
    match, every = Comparison(lines, lattice), np.arange(len(lines))
    corrected = lines.q(*found[:, 2:].T)
    assert match.distance(found[:, :2], corrected, every).max() < 1
    assert match.gain(found[:, :2], corrected, every) > 0

"""The seams of indexing: the kernel's table, cells as states, where the lines of a lattice lie, related lattices."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from crystalnet.crystal.lattice import PRIMITIVE_AXES, Cell
from crystalnet.crystal.systems import SYSTEMS, system_named
from crystalnet.ops.index_cells import LATTICE_ROWS
from crystalnet.xrd.indexing.lattices import LATTICES, Lattice, cell_of, chosen, line_indices, row_of, state_of
from crystalnet.xrd.indexing.related import (
    METRIC_TOLERANCES,
    contains,
    primitive_axes,
    reduced,
    related_axes,
    same_lattice,
    states_of,
    sublattice_matrices,
)

GIVEN = {"a": 5.43, "b": 6.91, "c": 13.4, "alpha": 84.0, "beta": 99.0, "gamma": 78.0}


def a_cell(lattice: Lattice) -> Cell:
    free = {name: GIVEN[name] for name in system_named(lattice.system).free}
    return Cell(lattice.system, lattice.centring, zero_shift=0.05, **free)  # type: ignore[arg-type]


def by_hand(cell: Cell, q_max: float) -> np.ndarray:
    """Distinct 1/d² from all hkl that the centring allows."""
    found = set()
    for h, k, m in product(range(-9, 10), range(-10, 11), range(-16, 17)):
        allowed = {
            "P": True,
            "C": (h + k) % 2 == 0,
            "I": (h + k + m) % 2 == 0,
            "F": len({h % 2, k % 2, m % 2}) == 1,
            "R": (-h + k + m) % 3 == 0,
        }[cell.centring]
        if allowed and (h, k, m) != (0, 0, 0):
            q = float(cell.d_spacing(np.array([h, k, m])) ** -2)
            if q <= q_max:
                found.add(round(q, 9))
    return np.array(sorted(found))


@pytest.mark.parametrize("lattice", LATTICES, ids=str)
def test_calculated_lines_are_those_of_all_hkl(lattice: Lattice) -> None:
    cell = a_cell(lattice)
    hkl, q = line_indices(cell, 0.5)
    assert np.unique(q.round(9)) == pytest.approx(by_hand(cell, 0.5), abs=2e-9)
    assert q == pytest.approx(cell.d_spacing(hkl) ** -2) and (np.diff(q) >= 0).all()
    assert not ({tuple(x) for x in hkl} & {tuple(x) for x in -hkl})


@pytest.mark.parametrize("lattice", LATTICES, ids=str)
def test_a_cell_comes_back_from_its_state(lattice: Lattice) -> None:
    cell = a_cell(lattice)
    back = cell_of(state_of(cell)[0])
    names = ("a", "b", "c", "alpha", "beta", "gamma", "zero_shift")
    assert [getattr(back, x) for x in names] == pytest.approx([getattr(cell, x) for x in names])
    assert (back.system, back.centring) == (cell.system, cell.centring)
    assert lattice.free == LATTICE_ROWS[row_of(lattice.system, lattice.centring)][2]


def test_every_system_has_its_lattices() -> None:
    assert chosen(SYSTEMS).all() and chosen(()).sum() == 0
    assert [int(chosen((system,)).sum()) for system in SYSTEMS] == [3, 1, 2, 2, 4, 2, 1]


@pytest.mark.parametrize("lattice", LATTICES, ids=str)
def test_a_bare_lattice_is_known_again_from_any_primitive_axes(lattice: Lattice) -> None:
    state = state_of(a_cell(lattice))[0]
    other = np.array([[1, 1, 0], [0, 1, 0], [1, 1, 1]]) @ primitive_axes(state)
    found = list(states_of(other, state, np.ones(len(LATTICES), bool), METRIC_TOLERANCES[:1]))
    assert [LATTICES[int(one[0]["lattice"])] for one in found] == [lattice]
    assert same_lattice(reduced(primitive_axes(found[0][0])), reduced(other))
    none = np.zeros(len(LATTICES), bool)
    assert not list(states_of(other, state, none, METRIC_TOLERANCES))


def test_sublattices_are_counted_once() -> None:
    """σ(n) summed over divisors: 7, 13, 35 (Cassels, An Introduction to the Geometry of Numbers)."""
    assert [len(sublattice_matrices(n)) for n in (1, 2, 3, 4)] == [1, 7, 13, 35]
    assert all(round(np.linalg.det(matrix)) == n for n in (2, 3, 4) for matrix in sublattice_matrices(n))


def test_related_lattices_contain_each_other() -> None:
    state = state_of(a_cell(LATTICES[-1]))[0]
    axes = primitive_axes(state)
    own = reduced(axes)
    volumes = [round(reduced(other)[6] / own[6], 6) for other in related_axes(axes)]
    assert sorted(volumes) == pytest.approx([1 / 3] * 13 + [1 / 2] * 7 + [1] + [2] * 7 + [3] * 13, abs=1e-5)
    for other in related_axes(axes):
        assert contains(own, state, reduced(other)) == (np.linalg.det(other) > 1.5 * np.linalg.det(axes))
    assert not contains(own, state, reduced(axes * 1.1))


def test_primitive_axes_hold_one_point() -> None:
    points = {"P": 1, "A": 2, "C": 2, "I": 2, "F": 4, "R": 3}
    assert {centring: round(1 / np.linalg.det(rows)) for centring, rows in PRIMITIVE_AXES.items()} == points

"""The seams of indexing: the kernel's table, cells as states, where the lines of a lattice lie, related lattices."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from crystalnet.bragg import two_theta_of_inverse_d
from crystalnet.crystal.lattice import PRIMITIVE_AXES, Cell
from crystalnet.crystal.systems import SYSTEMS, system_named
from crystalnet.ops.index_cells import LATTICE_ROWS
from crystalnet.records import Peaks, Radiation
from crystalnet.xrd.indexing.equal_scatterers import hidden_lattices, larger_lattices, roomier_lattices
from crystalnet.xrd.indexing.lattices import (
    LATTICES,
    Lattice,
    cell_of,
    chosen,
    line_indices,
    line_positions,
    row_of,
    state_of,
)
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


# --- larger lattices with the same lines ------------------------------------------------------------------------------


def forms(cells: list[Cell]) -> set[tuple[str, str, float, float, float]]:
    return {(c.system, c.centring, round(c.a, 2), round(c.b, 2), round(c.c, 2)) for c in cells}


@pytest.mark.parametrize(
    ("cell", "index", "expected"),
    [
        (Cell("cubic", "P", 3.15), 2, {("cubic", "F", 6.3, 6.3, 6.3)}),  # KCl
        (Cell("cubic", "P", 3.15), 3, set()),
        (Cell("cubic", "P", 3.15), 4, {("cubic", "I", 6.3, 6.3, 6.3)}),
        (Cell("cubic", "F", 3.7), 4, {("cubic", "P", 3.7, 3.7, 3.7)}),  # Cu3Au
        (Cell("cubic", "I", 4.1), 2, {("cubic", "P", 4.1, 4.1, 4.1)}),  # CsCl
        (Cell("trigonal", "R", 5.0, 8.5), 2, {("trigonal", "R", 5.0, 5.0, 17.0)}),  # calcite
        (Cell("trigonal", "R", 5.0, 8.5), 3, {("trigonal", "P", 5.0, 5.0, 8.5)}),
        (
            Cell("tetragonal", "I", 3.74, 5.21),
            4,
            {
                ("tetragonal", "I", 5.29, 5.29, 10.42),  # chalcopyrite
                ("tetragonal", "P", 5.29, 5.29, 5.21),
                ("tetragonal", "P", 3.74, 3.74, 10.42),
            },
        ),
    ],
)
def test_sublattices_that_keep_the_symmetry(cell: Cell, index: int, expected: set[tuple[str, str, float]]) -> None:
    found = larger_lattices(cell, index)
    assert forms(found) == expected
    assert all(c.primitive_volume == pytest.approx(index * cell.primitive_volume) for c in found)
    assert all(c.zero_shift == cell.zero_shift for c in found)


def test_a_metric_that_is_higher_by_chance_keeps_its_own_sublattices() -> None:
    """Enargite, whose subcell is nearly hexagonal."""
    subcell = Cell("orthorhombic", "C", 6.423, 6.156, b=3.709)  # a = 1.7317 b; √3 = 1.7321
    found = larger_lattices(subcell, 4)
    assert ("orthorhombic", "P", 6.16, 6.42, 7.42) in forms(found)
    assert {c.system for c in found} == {"orthorhombic"}


def test_all_sublattices_of_a_triclinic_lattice() -> None:
    """Of index 2, 3 and 4 there are 7, 13 and 35 (Santoro & Mighell, 1972), each of which keeps the inversion."""
    cell = Cell("triclinic", "P", 5.0, 7.0, b=6.0, alpha=80.0, beta=85.0, gamma=95.0)
    assert [len(larger_lattices(cell, n)) for n in (2, 3, 4)] == [7, 13, 35]


def test_hidden_lattices_are_few_and_small() -> None:
    assert forms(hidden_lattices(Cell("cubic", "P", 3.15))) == {("cubic", c, 6.3, 6.3, 6.3) for c in "FI"}
    many = hidden_lattices(Cell("orthorhombic", "P", 5.0, 7.0, b=6.0))
    assert len(many) == 4 and all(c.primitive_volume == pytest.approx(420) for c in many)


def test_lattices_with_room_for_whole_formula_units() -> None:
    subcell = Cell("tetragonal", "I", 3.74, 5.21)  # 36.4 Å³; a formula unit of chalcopyrite has 73
    found = roomier_lattices([subcell], 73.0)
    units = [c.primitive_volume / 73.0 for c in found]
    assert units and all(abs(u / round(u) - 1) < 0.3 for u in units)
    edges = [max(c.a, c.b, c.c) for c in found]
    assert edges == sorted(edges) and ("tetragonal", "I", 5.29, 5.29, 10.42) in forms(found)
    assert roomier_lattices([subcell], 36.0) == []  # it has room itself


@pytest.mark.parametrize("zero", [-0.25, 0.0, 0.25])
def test_lines_of_a_cell_are_those_in_the_range(zero: float) -> None:
    """The range is of the measured angles, the zero shift among them."""
    cell = Cell("cubic", "P", 5.0, 5.0, zero_shift=zero)
    every = two_theta_of_inverse_d(np.sqrt([1, 2, 3, 4, 5, 6, 8, 9]) / 5.0, 1.5406) + zero
    for low, high in ((every[1] - 0.1, every[5] + 0.1), (every[1] + 0.1, every[5] - 0.1)):
        peaks = Peaks(
            np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(1), low, high, Radiation(((1.5406, 1.0),))
        )
        assert line_positions(cell, peaks) == pytest.approx(every[(every > low) & (every < high)])

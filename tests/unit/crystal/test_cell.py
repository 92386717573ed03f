"""The cell of any crystal system."""

from dataclasses import replace

import numpy as np
import pytest
from pymatgen.core import Lattice

from crystalnet.crystal.lattice import Cell
from crystalnet.crystal.systems import CRYSTAL_SYSTEMS

PARAMETERS = {"a": 5.0, "b": 6.0, "c": 7.0, "alpha": 80.0, "beta": 95.0, "gamma": 112.0}
POINTS = {"P": 1, "A": 2, "C": 2, "I": 2, "F": 4, "R": 3}
CELLS = [
    Cell(system.name, centring, **{name: PARAMETERS[name] for name in system.free})
    for system in CRYSTAL_SYSTEMS
    for centring in system.centrings
]


def named(cell: Cell) -> str:
    return f"{cell.system} {cell.centring}"


@pytest.mark.parametrize("cell", CELLS, ids=named)
def test_metric_is_that_of_the_six_parameters(cell: Cell) -> None:
    lattice = Lattice(cell.conventional_lattice)
    assert lattice.parameters == pytest.approx((cell.a, cell.b, cell.c, cell.alpha, cell.beta, cell.gamma))
    assert cell.primitive_volume * POINTS[cell.centring] == pytest.approx(lattice.volume)
    hkl = np.array([[1, 0, 0], [1, 2, -3], [0, -1, 4]])
    assert cell.d_spacing(hkl) == pytest.approx([lattice.d_hkl(tuple(x)) for x in hkl.tolist()])


@pytest.mark.parametrize(
    "cell", [c for c in CELLS if c.centring != "R"], ids=lambda cell: f"{cell.system} {cell.centring}"
)
def test_primitive_axes_are_points_of_the_centring(cell: Cell) -> None:
    points = cell.primitive_lattice @ np.linalg.inv(cell.conventional_lattice)
    odd = (np.rint(2 * points).astype(int) % 2).tolist()
    assert points == pytest.approx(np.rint(2 * points) / 2)
    allowed = {"P": [], "A": [[0, 1, 1]], "C": [[1, 1, 0]], "I": [[1, 1, 1]], "F": [[0, 1, 1], [1, 0, 1], [1, 1, 0]]}
    assert all(point in [[0, 0, 0], *allowed[cell.centring]] for point in odd)


def test_rhombohedral_axes() -> None:
    primitive = Lattice(Cell("trigonal", "R", 4.759, 12.993).primitive_lattice)
    assert np.ptp(primitive.abc) < 1e-9
    assert np.ptp(primitive.angles) < 1e-9


def test_replace_keeps_what_symmetry_asks() -> None:
    cell = replace(Cell("cubic", "F", 5.0), a=6.0)
    assert (cell.a, cell.b, cell.c) == (6.0, 6.0, 6.0)
    assert cell == Cell("cubic", "F", 6.0)
    assert hash(cell) == hash(Cell("cubic", "F", 6.0, 6.0))
    layers = replace(Cell("trigonal", "P", 4.0, 9.0), a=5.0)
    assert (layers.b, layers.c, layers.gamma) == (5.0, 9.0, 120.0)
    assert replace(layers, system="cubic", a=3.0).gamma == 90.0


def test_a_free_parameter_must_be_given() -> None:
    with pytest.raises(ValueError, match="c is missing"):
        Cell("trigonal", "P", 4.0)

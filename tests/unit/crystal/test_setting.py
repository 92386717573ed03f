"""One setting of a crystal, however it was given."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from crystalnet.crystal.lattice import Cell, holohedry
from crystalnet.crystal.record_file import structure_of
from crystalnet.crystal.setting import standard_primitive
from crystalnet.crystal.types import types_table
from crystalnet.density import promolecule
from crystalnet.records import InputError

CUBIC = Lattice.cubic


def test_holohedry_orders() -> None:
    assert len(holohedry(np.eye(3) * 4)) == 48
    for centring in "IF":
        assert len(holohedry(Cell("cubic", centring, 5.0, 5.0).primitive_lattice)) == 48
    assert len(holohedry(Cell("trigonal", "P", 5.0, 6.0).primitive_lattice)) == 24
    assert len(holohedry(Cell("trigonal", "R", 5.0, 14.0).primitive_lattice)) == 12
    assert len(holohedry(Cell("trigonal", "P", 3.0, 120.0).primitive_lattice)) == 24  # a tall cell has no more


def test_rarest_element_lies_on_the_origin() -> None:
    for shift in ([0, 0, 0], [0.5, 0.5, 0.5]):
        perovskite = Structure.from_spacegroup(
            "Pm-3m", CUBIC(3.9), ["Sr", "Ti", "O"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]
        )
        perovskite.translate_sites(list(range(5)), shift)
        primitive = standard_primitive(perovskite)
        strontium = [site.frac_coords for site in primitive if site.specie.symbol == "Sr"]
        assert strontium[0] == pytest.approx([0, 0, 0])


def test_enantiomorphs_are_one() -> None:
    left = Structure.from_spacegroup(
        "P3_221", Lattice.hexagonal(4.9, 5.4), ["Si", "O"], [[0.47, 0, 2 / 3], [0.41, 0.27, 0.785]]
    )
    right = Structure(left.lattice, left.species, -left.frac_coords)
    assert promolecule(standard_primitive(left), 20) == pytest.approx(
        promolecule(standard_primitive(right), 20), abs=1e-6
    )


def test_disorder_is_refused() -> None:
    alloy = Structure(CUBIC(3), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])
    with pytest.raises(InputError, match="partially occupied"):
        standard_primitive(alloy)


@pytest.mark.parametrize("system", ["cubic", "trigonal"])
def test_any_setting_gives_the_same_density(system: str) -> None:
    """Origin, axes, handedness, orientation, atom order and supercell do not matter."""
    rng = np.random.default_rng(0)
    # Types with one known crystal are left out: some are long polytypes, all but equal in several settings.
    records = [r for r in types_table(system) if len(r["species"]) <= 24 and r["count"] > 1]
    for record in [records[i] for i in rng.choice(len(records), 12, replace=False)]:
        original = structure_of(record)
        operations = holohedry(original.lattice.matrix)
        operation = operations[rng.integers(len(operations))]
        other = Structure(
            Lattice(operation.T @ original.lattice.matrix @ np.linalg.qr(rng.normal(size=(3, 3)))[0]),
            original.species,
            original.frac_coords @ np.linalg.inv(operation).T,
        )
        other.translate_sites(list(range(len(other))), rng.random(3))
        if len(other) < 12:
            other.make_supercell([[1, 1, 0], [-1, 1, 0], [0, 0, 1]])
        order = rng.permutation(len(other))
        other = Structure(other.lattice, [other[i].specie for i in order], [other[i].frac_coords for i in order])
        one, two = standard_primitive(original), standard_primitive(other)
        assert promolecule(two, 20) == pytest.approx(promolecule(one, 20), abs=1e-3 * promolecule(one, 20).max())

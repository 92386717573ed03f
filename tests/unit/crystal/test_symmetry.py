"""The symmetry of known crystals, and of what has none."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from crystalnet.crystal.lattice import image_beside, nearest_image, periodic_distances
from crystalnet.crystal.symmetry import (
    SYMPREC,
    SYMPREC_RELAXED,
    Symmetry,
    SymmetryError,
    bare_symmetry,
    one_hand,
    orbits_of,
    protostructure,
    space_group_of,
    space_group_of_operations,
    space_group_types,
    wyckoff_rows,
)
from crystalnet.records import AtomSites
from crystals import SALT

QUARTZ = Structure.from_spacegroup(
    "P3_121", Lattice.hexagonal(4.913, 5.405), ["Si", "O"], [[0.4697, 0, 1 / 3], [0.4133, 0.2672, 0.4521]]
)
CORUNDUM = Structure.from_spacegroup(
    "R-3c", Lattice.hexagonal(4.759, 12.991), ["Al", "O"], [[0, 0, 0.3522], [0.3063, 0, 0.25]]
)
KNOWN = [
    (SALT, 225, 2, "AB_cF8_225_a_b"),
    (QUARTZ, 152, 9, "AB2_hP9_152_a_c"),
    (CORUNDUM, 167, 10, "A2B3_hR30_167_c_e"),
]


@pytest.mark.parametrize(("structure", "number", "atoms", "label"), KNOWN)
def test_known_crystals(structure: Structure, number: int, atoms: int, label: str) -> None:
    found = Symmetry(structure, SYMPREC)
    assert found.number == number == space_group_of(AtomSites.from_structure(structure))
    assert len(found.primitive) == atoms
    assert len(found.conventional) == len(structure)
    assert protostructure(structure) == label
    rotations, translations = Symmetry(found.primitive, SYMPREC).one_a_rotation()
    assert len(rotations) == len(translations) == len({r.tobytes() for r in rotations})


def test_both_doors_find_the_same_orbits() -> None:
    sites = AtomSites.from_structure(CORUNDUM)
    dataset = bare_symmetry(sites)
    assert dataset is not None
    assert dataset.number == 167
    assert sorted((row["wyckoff"], row["multiplicity"]) for row in wyckoff_rows(sites)) == [("c", 12), ("e", 18)]


def test_a_tolerance_decides() -> None:
    rough = SALT.copy()
    rough.translate_sites([0], [0.004, 0, 0])  # 0.023 Å
    assert space_group_of(rough, SYMPREC) < 225
    assert space_group_of(rough, SYMPREC_RELAXED) == 225
    mended = orbits_of(AtomSites.from_structure(rough), SYMPREC_RELAXED)
    assert mended is not None
    distances = periodic_distances(mended.frac_coords, SALT.frac_coords, SALT.lattice.matrix)
    assert distances.min(1).max() < 0.02


def test_no_symmetry_is_an_answer() -> None:
    twice = AtomSites(4 * np.eye(3), ("Na", "Na"), np.zeros((2, 3)))
    assert space_group_of(twice) == 0
    assert bare_symmetry(twice) is None
    assert orbits_of(twice, SYMPREC) is None
    assert protostructure(twice) is None
    with pytest.raises(SymmetryError):
        Symmetry(twice, SYMPREC)


def test_enantiomorphs_have_one_hand() -> None:
    assert (one_hand(154), one_hand(152), one_hand(225)) == (152, 152, 225)


def test_nearest_images() -> None:
    assert nearest_image(np.array([0.9, -0.6, 2.25])) == pytest.approx([-0.1, 0.4, 0.25])
    distances = periodic_distances(np.array([[0.05, 0, 0]]), np.array([[0.95, 0, 0], [0.5, 0.5, 0.5]]), 10 * np.eye(3))
    assert distances[0] == pytest.approx([1.0, np.sqrt(4.5**2 + 50)])
    assert image_beside(np.array([0.05, 0.5, -2.0]), np.array([0.9, 0.4, 3.1])) == pytest.approx([1.05, 0.5, 3.0])


def test_tables_of_space_groups() -> None:
    kinds = space_group_types()
    assert (len(kinds), kinds[0].number, kinds[-1].number) == (530, 1, 230)
    found = Symmetry(QUARTZ, SYMPREC)
    assert space_group_of_operations(found.rotations, found.translations) == 152
    assert space_group_of_operations(np.array([[[0, -1, 0], [1, 0, 0], [0, 0, 1]]]), np.zeros((1, 3))) == 0

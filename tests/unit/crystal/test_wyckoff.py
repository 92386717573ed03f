"""Space groups on a lattice and their Wyckoff positions, against gemmi and spglib."""

from __future__ import annotations

import gemmi
import numpy as np
import pytest

from crystalnet.crystal.lattice import PRIMITIVE_AXES, Cell
from crystalnet.crystal.symmetry import bare_symmetry, space_group_of_operations
from crystalnet.crystal.wyckoff import _reference, groups_on
from crystalnet.records import AtomSites

CELLS = (
    Cell("cubic", "F", 8.0),
    Cell("trigonal", "P", 5.0, 7.3),
    Cell("trigonal", "R", 5.0, 14.1),
    Cell("tetragonal", "I", 5.0, 7.3),
    Cell("orthorhombic", "P", 5.0, 7.3, b=6.1),
    Cell("orthorhombic", "C", 5.0, 7.3, b=6.1),
    Cell("monoclinic", "P", 5.0, 7.3, b=6.1, beta=98.0),
    Cell("monoclinic", "C", 9.0, 7.3, b=6.1, beta=98.0),
    Cell("triclinic", "P", 5.0, 7.3, b=6.1, alpha=81.0, beta=98.0, gamma=77.0),
)


@pytest.mark.parametrize("number", range(1, 231, 7))
def test_multiplicities_are_those_of_the_table(number: int) -> None:
    """An atom on a position has as many images as the table says, and the general one as many as operations."""
    group = gemmi.get_spacegroup_reference_setting(number).operations()
    operations = [np.array(op.float_seitz()) for op in group]
    positions = _reference(number).positions
    assert positions[-1][1] == len(operations) and positions[-1][3].shape == (3, 3)
    for _, multiplicity, shift, free in positions:
        x = shift + np.array([0.1234, 0.2718, 0.3141])[: len(free)] @ free
        images = np.array([op[:3, :3] @ x + op[:3, 3] for op in operations]) % 1.0
        assert len(np.unique(np.round(images, 5) % 1.0, axis=0)) == multiplicity


@pytest.mark.parametrize("cell", CELLS, ids=lambda c: f"{c.system}-{c.centring}")
def test_groups_are_what_they_say(cell: Cell) -> None:
    """Operations on primitive axes have the group's type and leave the metric; atoms have the group's symmetry."""
    lattice = PRIMITIVE_AXES[cell.centring] @ cell.conventional_lattice
    metric = lattice @ lattice.T
    for group in groups_on(cell):
        assert space_group_of_operations(group.rotations, group.translations) == group.number
        turned = group.rotations.transpose(0, 2, 1) @ metric @ group.rotations
        assert np.abs(turned - metric).max() < 1e-6 * metric.max()
        crystal = group.crystal(lattice, ("Na", "Cl"), (len(group.positions) - 1, len(group.positions) - 1))
        x = crystal.moved(np.array([0.113, 0.271, 0.383, 0.421, 0.159, 0.067]))
        found = bare_symmetry(AtomSites(lattice, crystal.species, x % 1.0), 1e-4)
        assert found is not None and found.number == group.number
        assert len(crystal) == 2 * len(group.rotations)


def test_the_settings_that_an_orthorhombic_lattice_allows() -> None:
    """Pnma has six, P2₁2₁2₁ one, P222₁ three; C222₁ has one where C is given."""
    count = {n: sum(g.number == n for g in groups_on(CELLS[4])) for n in (16, 17, 19, 62)}
    assert count == {16: 1, 17: 3, 19: 1, 62: 6}
    assert sum(g.number == 20 for g in groups_on(CELLS[5])) == 1
    assert {g.number for g in groups_on(CELLS[8])} == {1, 2}
    # P2₁/c, P2₁/n and P2₁/a are one group on one lattice.
    assert sum(g.number == 14 for g in groups_on(CELLS[6])) == 3


def test_origins_permute_positions() -> None:
    """The origins of rock salt at sodium and at chlorine, and the eight inversion centres of P-1."""
    salt = next(g for g in groups_on(CELLS[0]) if g.number == 225)
    letters = [p.letter for p in salt.positions]
    assert {(letters[p[0]], letters[p[1]]) for p in salt.permutations} == {("a", "b"), ("b", "a")}
    centres = next(g for g in groups_on(CELLS[8]) if g.number == 2)
    assert {p[0] for p in centres.permutations} == set(range(8))


def test_absences_are_gemmis() -> None:
    group = next(g for g in groups_on(CELLS[4]) if g.number == 62)
    hkl = np.array([(h, k, m) for h in range(-3, 4) for k in range(-3, 4) for m in range(4)])
    settings = [s for s in gemmi.spacegroup_table() if s.number == 62]
    answers = [np.array([s.operations().is_systematically_absent(h) for h in hkl.tolist()]) for s in settings]
    assert any(np.array_equal(group.absent(hkl), answer) for answer in answers)

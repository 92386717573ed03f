"""Densities in the conventional cell of their atoms."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from crystalnet.crystal.symmetry import SYMPREC, Symmetry
from crystalnet.density.grid import resample
from crystalnet.density.placement import placed, placement
from crystalnet.density.promolecule import promolecule_density
from crystalnet.records import AtomSites, DensityGrid

CRYSTALS = {
    "Pm-3m": (Lattice.cubic(3.9), ["Sr", "Ti", "O"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]),
    "Fm-3m": (Lattice.cubic(5.46), ["Ca", "F"], [[0, 0, 0], [0.25, 0.25, 0.25]]),
    "Ia-3": (Lattice.cubic(9.41), ["Mn", "Mn", "O"], [[0, 0, 0], [0.285, 0, 0.25], [0.128, 0.147, 0.416]]),
    "P-3m1": (Lattice.hexagonal(3.64, 5.9), ["Ti", "S"], [[0, 0, 0], [1 / 3, 2 / 3, 0.25]]),
    "R-3c": (Lattice.hexagonal(4.759, 12.991), ["Al", "O"], [[0, 0, 0.3522], [0.3063, 0, 0.25]]),
}


def analysed(space_group: str) -> Symmetry:
    return Symmetry(Structure.from_spacegroup(space_group, *CRYSTALS[space_group]), SYMPREC)


def cells(symmetry: Symmetry) -> tuple[AtomSites, AtomSites]:
    return symmetry.primitive_of_conventional[0], AtomSites.from_structure(symmetry.conventional)


def density_of(sites: AtomSites, grid: int = 50) -> np.ndarray:
    return promolecule_density(sites.lattice, sites.species, sites.frac_coords, grid)


@pytest.mark.parametrize("space_group", CRYSTALS)
def test_the_conventional_cell_of_a_primitive_one_is_known(space_group: str) -> None:
    symmetry = analysed(space_group)
    primitive, conventional = cells(symmetry)
    setting = symmetry.primitive_of_conventional[1]
    x = setting.to_old(conventional.frac_coords)
    difference = x[:, None] - primitive.frac_coords
    distance = np.linalg.norm((difference - np.round(difference)) @ primitive.lattice, axis=-1)
    assert distance.min(1).max() < 1e-6
    assert [primitive.species[i] for i in distance.argmin(1)] == list(conventional.species)
    assert setting.to_new(x) == pytest.approx(conventional.frac_coords)
    grid = placed(density_of(primitive), setting)
    expected = density_of(conventional, len(grid))
    assert np.abs(grid - expected).max() < 2e-3 * expected.max()


@pytest.mark.parametrize("space_group", CRYSTALS)
def test_correlation_finds_what_is_known(space_group: str) -> None:
    symmetry = analysed(space_group)
    primitive, conventional = cells(symmetry)
    found = placement(conventional, DensityGrid(density_of(primitive), primitive.lattice))
    assert found is not None and not found.shift.any()
    assert np.array_equal(found.matrix, symmetry.primitive_of_conventional[1].matrix)


@pytest.mark.parametrize("shift", [(0, 0, 0), (3, 0, 0), (10, 5, 35)])
@pytest.mark.parametrize("space_group", ["Fm-3m", "R-3c"])
def test_density_is_brought_onto_the_atoms(space_group: str, shift: tuple[int, int, int]) -> None:
    """Primitive to conventional axes, rhombohedral to hexagonal ones, and another origin."""
    primitive, conventional = cells(analysed(space_group))
    values = np.roll(density_of(primitive), shift, axis=(0, 1, 2))
    setting = placement(conventional, DensityGrid(values, primitive.lattice))
    assert setting is not None
    grid = placed(values, setting)
    expected = density_of(conventional, len(grid))
    assert np.abs(grid - expected).mean() < (0.1 if any(shift) else 0.01) * expected.mean()


def test_given_origin_is_kept() -> None:
    """Rock salt: half a cell away both elements lie on density too; what was given stands."""
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    primitive, conventional = cells(Symmetry(salt, SYMPREC))
    setting = placement(conventional, DensityGrid(density_of(primitive), primitive.lattice))
    assert setting is not None and not setting.shift.any()


def test_foreign_cell_is_refused() -> None:
    _, conventional = cells(analysed("Fm-3m"))
    assert placement(conventional, DensityGrid(np.ones((50, 50, 50)), np.diag([3.0, 3.0, 7.1]))) is None


def test_resample_keeps_the_electrons() -> None:
    values = density_of(cells(analysed("Fm-3m"))[0])
    for shape in ((60, 60, 60), (30, 44, 70)):
        assert resample(values, shape, smooth=1.0).mean() == pytest.approx(values.mean())
    assert resample(values, (100, 100, 100))[::2, ::2, ::2] == pytest.approx(values, abs=1e-3 * values.max())

"""Atoms of a density an orbit at a time."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from crystalnet.crystal.lattice import Cell, holohedry
from crystalnet.density.orbits import decompose_orbits, symmetries_of
from crystalnet.density.promolecule import promolecule_density
from crystalnet.records import AtomSites, DensityGrid

FACE_CENTRED = Cell("cubic", "F", 6.11, 6.11)
RHOMBOHEDRAL = Cell("trigonal", "R", 2.97, 15.97)


def density_of(sites: AtomSites, noise: float = 0.0) -> DensityGrid:
    values = promolecule_density(sites.lattice, sites.species, sites.frac_coords)
    rough = np.random.default_rng(0).normal(0, noise * values.std(), values.shape)
    return DensityGrid(values + rough, sites.lattice)


HEUSLER = AtomSites(
    FACE_CENTRED.primitive_lattice,
    ("Li", "Pd", "Al", "Al"),
    np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.25, 0.25, 0.25], [0.75, 0.75, 0.75]]),
)
CHROMITE = AtomSites(  # NaCrO2
    RHOMBOHEDRAL.primitive_lattice,
    ("Na", "Cr", "O", "O"),
    np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.266, 0.266, 0.266], [0.734, 0.734, 0.734]]),
)


@pytest.mark.parametrize(("sites", "order"), [(HEUSLER, 48), (CHROMITE, 12)])
def test_a_density_obeys_its_space_group(sites: AtomSites, order: int) -> None:
    (strict, *_) = symmetries_of(density_of(sites, noise=0.02))
    assert len(strict.rotations) == order
    for image in strict.images(sites.frac_coords[0]):
        difference = sites.frac_coords - image
        difference -= np.round(difference)
        assert np.linalg.norm(difference @ sites.lattice, axis=1).min() < 0.1


@pytest.mark.parametrize("sites", [HEUSLER, CHROMITE])
def test_orbits_are_found_on_their_places(sites: AtomSites) -> None:
    density = density_of(sites, noise=0.02)
    elements = tuple(sorted(set(sites.species)))
    answers = [a for s in symmetries_of(density) for a in decompose_orbits(density, elements, s)]
    best = next(a for a in answers if Counter(a.sites.species) == Counter(sites.species))
    for symbol, x in zip(best.sites.species, best.sites.frac_coords, strict=True):
        difference = sites.frac_coords[np.array(sites.species) == symbol] - x
        difference -= np.round(difference)
        assert np.linalg.norm(difference @ sites.lattice, axis=1).min() < 0.2  # Å; refinement does the rest


@pytest.mark.parametrize("z", [0.345, 0.352, 0.36])
def test_a_place_that_holds_more_than_an_atom_is_taken_apart(z: float) -> None:
    """Aluminium of corundum, three valence electrons spread wide, adds up to more on the empty octahedra between."""
    crystal = Structure.from_spacegroup(
        "R-3c", Lattice.hexagonal(4.759, 12.993), ["Al", "O"], [[0, 0, z], [0.306, 0, 0.25]]
    )
    primitive = SpacegroupAnalyzer(crystal).get_primitive_standard_structure()
    test_orbits_are_found_on_their_places(AtomSites.from_structure(primitive))


def test_an_empty_density_has_no_orbits() -> None:
    empty = DensityGrid(np.zeros((50, 50, 50)), HEUSLER.lattice)
    (strict, *_) = symmetries_of(density_of(HEUSLER))
    assert decompose_orbits(empty, ("Li", "Pd"), strict) == []


@pytest.mark.parametrize(("a", "ratio"), [(10.309, 0.49976), (11.759, 0.49982), (9.24, 1.0006)])
def test_a_metric_that_is_nearly_of_higher_symmetry_breaks_nothing(a: float, ratio: float) -> None:
    """Rhombohedral axes of nearly cubic shape: equivalent terms on either side of the limit of length."""
    lattice = Cell("trigonal", "R", a, a * 6**0.5 * ratio).primitive_lattice
    assert len(holohedry(lattice)) == 48
    values = np.random.default_rng(0).normal(size=(50, 50, 50))
    assert isinstance(symmetries_of(DensityGrid(values, lattice)), list)

"""Atoms with the freedom of their space group, the library that keeps them, and lattices into which they are put."""

from __future__ import annotations

import numpy as np
import pytest

from crystalnet.crystal.free_sites import FreeSites
from crystalnet.crystal.lattice import axes_of, nearest_image
from crystalnet.crystal.lattice_maps import LatticeMaps, unimodular_matrices
from crystalnet.crystal.library import Library, library, library_of, packed
from crystalnet.crystal.symmetry import SYMPREC, bare_symmetry
from crystalnet.records import AtomSites
from crystalnet.xrd.vector import pattern_vector


def some(count: int = 40) -> list[int]:
    return np.random.default_rng(2).choice(len(library()), count, replace=False).tolist()


@pytest.mark.parametrize("i", some())
def test_moving_keeps_the_space_group(i: int) -> None:
    crystal, entry = library().sites(i), library().entries[i]
    u = 0.02 * np.random.default_rng(i).standard_normal(crystal.free)
    for sites in (AtomSites(crystal.lattice, crystal.species, x) for x in (crystal.frac_coords, crystal.moved(u))):
        found = bare_symmetry(sites, 2e-3)
        assert found is not None and found.number == entry.space_group
    assert len(crystal) == library().atoms[i] == sum(library().counts[i].values())


def test_the_library_holds_every_system_and_says_where_from() -> None:
    known = library()
    assert len(known) > 9000 and sum(e.measured for e in known.entries) > 3600
    zinc = [e for e in known.entries if e.formula == "ZnO" and e.space_group == 186 and e.measured]
    assert zinc and zinc[0].name == "Zincite" and "Physical Review" in zinc[0].reference
    assert all(e.reference for e in known.entries)
    lattice = known.sites(0).lattice
    metric = lattice @ lattice.T / np.linalg.det(lattice) ** (2 / 3)
    assert metric[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]] == pytest.approx(known.metrics[0], rel=1e-4)


def test_a_library_of_nothing() -> None:
    empty = library_of([])
    assert isinstance(empty, Library) and len(empty) == 0 and empty.metrics.shape == (0, 6)


def test_a_large_crystal_of_the_users_comes_back_whole() -> None:
    """More orbits than a byte counts."""
    coords = np.random.default_rng(0).random((300, 3))
    large = AtomSites(20.0 * np.eye(3), ("Si",) * 299 + ("O",), coords)
    back = library_of([(library().entries[0], packed(large, 0.01))]).sites(0)
    assert np.sort(back.frac_coords, axis=0) == pytest.approx(np.sort(coords % 1, axis=0), abs=1e-5)
    (oxygen,) = (x for x, element in zip(back.frac_coords, back.species, strict=True) if element == "O")
    assert oxygen == pytest.approx(coords[299], abs=1e-4)


@pytest.mark.parametrize("i", some(25))
def test_a_crystal_is_found_in_its_own_lattice_whatever_its_axes(i: int) -> None:
    """On any axes of the same lattice it comes back, once, with the pattern that it has."""
    crystal = library().sites(i)
    maps = LatticeMaps(unimodular_matrices()[np.random.default_rng(i).integers(1740)] @ crystal.lattice)
    lattice = maps.lattice
    images = maps.images(crystal, maps.near(library().metrics[[i]])[0])
    assert images
    own = pattern_vector(AtomSites(crystal.lattice, crystal.species, crystal.frac_coords).structure())
    vectors = [pattern_vector(AtomSites(lattice, p.species, p.frac_coords).structure()) for p in images]
    assert min(np.abs(v - own).max() for v in vectors) < 1e-4
    # Arrangements that only a rotation of the lattice tells apart have one pattern: none may come twice.
    for a in range(len(vectors)):
        for b in range(a):
            assert np.abs(vectors[a] - vectors[b]).max() > 1e-9 or _low(images[a])


def _low(crystal: FreeSites) -> bool:
    """Whether different arrangements of so few atoms may have one pattern."""
    return len(crystal) <= 2 or len(crystal.rotations) <= 2


def test_a_type_needs_the_symmetry_of_the_lattice() -> None:
    i = next(i for i, e in enumerate(library().entries) if e.formula == "NaCl" and e.space_group == 225)
    salt = library().sites(i)
    for angle, fits in ((60.0, True), (61.5, False)):
        maps = LatticeMaps(axes_of(4.0, 4.0, 4.0, angle, angle, angle))
        assert bool(maps.images(salt, maps.near(library().metrics[[i]])[0])) is fits


def test_a_monoclinic_type_lies_in_an_orthorhombic_lattice_in_several_ways() -> None:
    """ZrO2 in a box: each axis may be the unique one; the strain limit says which."""
    i = next(i for i, e in enumerate(library().entries) if e.formula == "ZrO2" and e.space_group == 14 and e.measured)
    maps = LatticeMaps(np.diag([5.1, 5.2, 5.3]))
    images = maps.images(library().sites(i), maps.near(library().metrics[[i]])[0])
    assert len(images) >= 3
    axes = {tuple(np.abs(next(r for r in p.rotations if np.trace(r) == -1)).diagonal()) for p in images}
    unique = {
        int(np.flatnonzero((next(r for r in p.rotations if np.trace(r) == -1)).diagonal() == 1)[0]) for p in images
    }
    assert unique == {0, 1, 2} and axes == {(1, 1, 1)}


def test_operations_that_are_not_those_of_the_atoms_are_refused() -> None:
    from crystalnet.crystal.free_sites import orbits_of_atoms

    sites = AtomSites(5 * np.eye(3), ("Na", "Cl"), np.array([[0, 0, 0], [0.3, 0.1, 0.2]]))
    with pytest.raises(ValueError, match="not those of the atoms"):
        orbits_of_atoms(sites, np.array([np.eye(3), -np.eye(3)], int), np.zeros((2, 3)))
    kept = packed(AtomSites(4 * np.eye(3), ("Po",), np.zeros((1, 3))), SYMPREC)
    assert kept.orbits.free.any() == False and len(kept.rotations) == 48  # noqa: E712
    assert np.abs(nearest_image(kept.orbits.first)).max() == 0

"""Atoms out of a density."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from crystalnet.crystal.lattice import Cell
from crystalnet.crystal.symmetry import orbits_of
from crystalnet.density.atoms import SHAPES, _basis, decompose
from crystalnet.density.promolecule import atom_factors, element_table, promolecule_density
from crystalnet.records import AtomSites, DensityGrid

CELL = Cell("cubic", "F", 5.5, 5.5)


@pytest.mark.parametrize(
    ("species", "coordinates"),
    [
        (("Na", "Cl"), [[0, 0, 0], [0.5, 0.5, 0.5]]),
        (("Si", "Si"), [[0, 0, 0], [0.25, 0.25, 0.25]]),  # hollow valence shells: no maximum on the nucleus
        (("Ca", "F", "F"), [[0, 0, 0], [0.25, 0.25, 0.25], [0.75, 0.75, 0.75]]),
    ],
)
def test_finds_every_atom(species: tuple[str, ...], coordinates: list[list[float]]) -> None:
    x = np.array(coordinates) + 0.013  # off the grid points
    density = promolecule_density(CELL.primitive_lattice, species, x)
    found = decompose(DensityGrid(density, CELL.primitive_lattice), tuple(sorted(set(species))))
    assert Counter(found.sites.species) == Counter(species)
    for symbol, position in zip(species, x, strict=True):
        distance = min(
            np.linalg.norm((d - np.round(d)) @ CELL.primitive_lattice)
            for s, p in zip(found.sites.species, found.sites.frac_coords, strict=True)
            if s == symbol
            for d in [p - position]
        )
        assert distance < 0.06  # Å


def test_all_elements_are_sums_of_a_few_shapes() -> None:
    elements = tuple(element_table())
    transforms = atom_factors(CELL.primitive_lattice, elements, 24)
    shapes, shares = _basis(transforms)
    assert len(shapes) == SHAPES < len(elements)
    error = np.tensordot(shares, shapes, 1) - transforms
    flat = error.reshape(len(elements), -1), transforms.reshape(len(elements), -1)
    assert (np.linalg.norm(flat[0], axis=1) / np.linalg.norm(flat[1], axis=1)).max() < 1e-3
    # So nothing is lost where any element may be anywhere.
    density = promolecule_density(CELL.primitive_lattice, ("Na", "Cl"), np.array([[0, 0, 0], [0.5, 0.5, 0.5]]))
    assert set(decompose(DensityGrid(density, CELL.primitive_lattice), elements).sites.species) == {"Na", "Cl"}


def test_factors_are_those_of_an_atom_at_the_origin() -> None:
    density = promolecule_density(CELL.primitive_lattice, ("Cl",), np.zeros((1, 3)))
    np.testing.assert_allclose(atom_factors(CELL.primitive_lattice, ("Cl",))[0], np.fft.rfftn(density), atol=1e-6)


def test_an_empty_density_holds_no_atoms() -> None:
    found = decompose(DensityGrid(np.zeros((50, 50, 50)), CELL.primitive_lattice), ("Na", "Cl"))
    assert len(found.sites) == 0


def test_orbits_are_averaged_onto_exact_positions() -> None:
    rng = np.random.default_rng(0)
    x = np.array([[0, 0, 0], [0.25, 0.25, 0.25], [0.75, 0.75, 0.75]])
    sites = AtomSites(CELL.primitive_lattice, ("Ca", "F", "F"), x + rng.normal(0, 0.005, x.shape))
    crystal = orbits_of(sites, 0.3)
    assert crystal is not None and crystal.space_group == 225
    assert crystal.orbits.tolist() in ([0, 1, 1], [1, 0, 0])
    apart = crystal.frac_coords[1] - crystal.frac_coords[0]
    assert (apart - np.round(apart)) % 0.5 == pytest.approx([0.25] * 3, abs=1e-6)

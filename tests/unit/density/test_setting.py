"""Densities in the setting of their atoms."""

from __future__ import annotations

import numpy as np
import pytest

from crystalnet.crystal.lattice import Cell
from crystalnet.crystal.setting import standard_primitive
from crystalnet.density.promolecule import promolecule_density
from crystalnet.density.setting import canonical_operation, in_canonical_setting, in_setting_of
from crystalnet.records import AtomSites

LATTICE = Cell("cubic", "F", 6.0, 6.0).primitive_lattice
ORIGINS = [[0.0, 0, 0], [0.5, 0.5, 0.5], [0.25, 0.25, 0.25], [0.75, 0.75, 0.75]]


def half_heusler(origin: list[float]) -> AtomSites:
    x = np.array([[0.0, 0, 0], [0.25, 0.25, 0.25], [0.5, 0.5, 0.5]]) + origin
    return AtomSites(LATTICE, ("Li", "Sn", "Pr"), x % 1.0)


def density_of(sites: AtomSites) -> np.ndarray:
    return promolecule_density(sites.lattice, sites.species, sites.frac_coords)


@pytest.mark.parametrize("origin", ORIGINS)
def test_every_setting_of_a_crystal_gives_one_density(origin: list[float]) -> None:
    sites = half_heusler(origin)
    canonical = AtomSites.from_structure(standard_primitive(sites.structure()))
    wanted = density_of(canonical)
    moved = in_canonical_setting(density_of(sites), sites)
    assert np.abs(moved - wanted).max() < 0.02 * wanted.max()  # a shift of 12.5 voxels is interpolated


def test_what_stands_right_is_left_alone() -> None:
    sites = half_heusler([0.0, 0, 0])
    canonical = AtomSites.from_structure(standard_primitive(sites.structure()))
    assert canonical_operation(canonical) is None
    values = density_of(canonical)
    assert in_canonical_setting(values, canonical) is values


@pytest.mark.parametrize("origin", ORIGINS[1:])
def test_a_density_is_laid_on_another_of_its_lattice(origin: list[float]) -> None:
    wanted, other = density_of(half_heusler(ORIGINS[0])), density_of(half_heusler(origin))
    moved = in_setting_of(wanted, other, LATTICE)
    assert np.abs(moved - wanted).max() < 0.02 * wanted.max()
    assert in_setting_of(wanted, moved, LATTICE) is moved


def test_a_density_that_no_move_makes_alike_is_left_alone() -> None:
    wanted = density_of(half_heusler(ORIGINS[0]))
    other = density_of(AtomSites(LATTICE, ("Li", "Li"), np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]])))
    assert in_setting_of(wanted, np.roll(wanted, 2, 0), LATTICE) is not wanted
    moved = in_setting_of(wanted, other, LATTICE)
    assert np.corrcoef(moved.ravel(), wanted.ravel())[0, 1] >= np.corrcoef(other.ravel(), wanted.ravel())[0, 1]
    noise = np.random.default_rng(0).random(wanted.shape)
    assert in_setting_of(wanted, noise, LATTICE) is noise


def test_a_multiple_cell_is_left_alone() -> None:
    double = AtomSites(LATTICE, ("Se", "Se"), np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]]))
    assert canonical_operation(double) is None

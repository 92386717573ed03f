"""Usual distances: what is strained, what is not, and what relaxation makes of atoms put at random."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crystalnet.crystal.free_sites import FreeSites
from crystalnet.crystal.lattice import Cell
from crystalnet.crystal.library import library
from crystalnet.crystal.symmetry import conventional_sites
from crystalnet.records import AtomSites
from crystalnet.solving.proposals import Proposal, distinct
from crystalnet.solving.ranking import WORTH_REFINING, _promising
from crystalnet.solving.usual_bonds import (
    MOST_STRAINED,
    STRAINED,
    UNKNOWN_SHORTEST,
    UsualBonds,
    anions_of,
    kind_of,
    strain_of,
    usual_distances,
)

FORMULAS = ("SiO2", "TiO2", "CaCO3", "MgAl2O4", "KNO3", "FeS2", "NaCl", "CaSO4")  # short axes among them


def crystal(formula: str) -> FreeSites:
    return library().sites(next(i for i, e in enumerate(library().entries) if e.formula == formula))


def strain(one: FreeSites) -> float:
    return float(UsualBonds(one).strain(np.zeros((1, one.free)))[0])


@pytest.mark.parametrize("formula", FORMULAS)
def test_known_crystals_are_hardly_strained(formula: str) -> None:
    one = crystal(formula)
    assert strain(one) < 0.01
    assert strain(replace(one, lattice=0.75 * one.lattice)) > 0.01  # pressed together


def test_random_atoms_are_strained_until_they_are_relaxed() -> None:
    one = crystal("KNO3")
    bonds, starts = UsualBonds(one), np.random.default_rng(4).random((20, one.free))
    before, after = bonds.strain(starts), bonds.strain(bonds.relaxed(starts))
    assert np.median(before) > 0.1 and np.median(after) < 0.02 and (after < before).all()


@pytest.mark.parametrize(("centre", "bond"), [("Si", 1.62), ("P", 1.54)])
def test_a_cation_without_its_anions_is_strained(centre: str, bond: float) -> None:
    """At oxygen's usual distance from two of four it is half as wrong as from none."""
    lattice, corner = 12.0 * np.eye(3), bond / 3**0.5 / 12.0
    tetrahedron = corner * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    strains = []
    for near in (4, 2, 0):
        x = np.vstack([np.zeros(3), np.where(np.arange(4)[:, None] < near, 1.0, 3.5) * tetrahedron])
        columns = np.full((5, 3), -1, np.int32)
        strains.append(strain(FreeSites(lattice, (centre, *"OOOO"), x, np.zeros((5, 3, 3)), columns, np.eye(3)[None])))
    assert strains[0] < 1e-3 and strains[1] == pytest.approx(2 / 5, rel=0.02) and strains[2] == pytest.approx(4 / 5)


def test_who_is_an_anion_depends_on_the_others() -> None:
    assert kind_of(("Ca", "S", "O")) == "hard" and anions_of({"Ca": 1, "S": 1, "O": 4}) == {"O"}
    assert anions_of({"La": 2, "O": 2, "S": 1}) == {"O", "S"}  # an oxide sulfide
    assert kind_of(("Zn", "S")) == "soft" and anions_of({"Zn": 1, "S": 1}) == {"S"}
    assert kind_of(("Na", "Cl")) == "soft" and anions_of({"Na": 2, "O": 1, "Cl": 1}) == {"O", "Cl"}
    assert kind_of(("Nb", "Sn")) == "none" and not anions_of({"Nb": 3, "Sn": 1})


@pytest.mark.parametrize("formula", ["KCl", "NaCl"])
def test_strain_does_not_depend_on_the_cell(formula: str) -> None:
    """Along an edge of 6.29 Å potassium has chlorine on both sides, each at the nearest image or as near."""
    one = crystal(formula)
    sites = AtomSites(one.lattice, one.species, one.frac_coords)
    conventional = conventional_sites(sites)
    assert conventional is not None and len(conventional) > len(sites)
    assert strain_of(conventional) == pytest.approx(strain_of(sites), abs=1e-9) and strain_of(sites) < 0.006


def test_hydrogen_has_no_say_and_unknown_elements_a_little() -> None:
    columns = np.full((3, 3), -1, np.int32)
    x = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0, 0]])
    fixed = FreeSites(7.0 * np.eye(3), ("H", "Bk", "O"), x, np.zeros((3, 3, 3)), columns, np.eye(3)[None])
    usual = usual_distances(fixed)
    assert not usual.shortest[0].any() and not usual.longest.any()
    assert usual.shortest[1, 2] == pytest.approx(UNKNOWN_SHORTEST * usual.sums[1, 2])


def test_of_two_residuals_the_one_without_strain_promises_more() -> None:
    cell, sites = (
        Cell("cubic", "P", 4.0, 4.0),
        AtomSites(4.0 * np.eye(3), ("Na", "Cl"), np.array([[0, 0, 0], [0.5] * 3])),
    )
    odd = Proposal(sites, "search", 0.10, cell, "1", strain=0.1)
    sound = Proposal(replace(sites, species=("K", "Cl")), "search", 0.15, cell, "1", strain=0.001)
    assert odd.worth == pytest.approx(0.10 * (1 + 0.1 * STRAINED)) and sound.worth == pytest.approx(0.1515)
    assert replace(odd, strain=9.0).worth == pytest.approx(0.10 * (1 + MOST_STRAINED))
    assert distinct([odd, sound]) == [sound, odd] and list(_promising([odd, sound])) == [sound, odd]
    worst = replace(odd, residual=sound.residual + 0.5 * WORTH_REFINING)
    assert list(_promising([worst, sound])) == [sound]

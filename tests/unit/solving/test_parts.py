"""Parts of the solver that a whole run seldom reaches."""

from dataclasses import replace

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from crystalnet.crystal.lattice import Cell
from crystalnet.model.choice import model_for, shipped_model
from crystalnet.records import AtomSites, Fit, InputError
from crystalnet.solving.answer import own_cell
from crystalnet.solving.proposals import Proposal
from crystalnet.solving.ranking import (
    SECOND_OPINION,
    VOLUME,
    Ranked,
    _score,
    _would_end_in,
)
from crystalnet.solving.solve import _rivals

SALT = [[0, 0, 0], [0.5, 0.5, 0.5]]


def refined(sites: AtomSites, cell: Cell) -> Ranked:
    nothing = np.zeros(1)
    fit = Fit(sites, 0.1, nothing, nothing, nothing)
    return Ranked(Proposal(sites, "network", 0.1, cell, 0), fit, 0.1, 1.0, 0.1, frozenset({"network"}))


def test_a_crystal_found_in_a_multiple_cell_is_reported_with_its_own():
    small, double = Cell("cubic", "P", 2.827, 2.827), Cell("cubic", "F", 5.655, 5.655)
    selenium = AtomSites(double.primitive_lattice, ("Se", "Se"), np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]]))
    salt = AtomSites(double.primitive_lattice, ("Na", "Cl"), selenium.frac_coords)
    assert own_cell(refined(selenium, double), [double, small]) is small
    assert own_cell(refined(salt, double), [double, small]) is double
    assert own_cell(refined(selenium, double), [double]) is double


def test_the_score_asks_profile_lines_and_volume():
    """Lower for a better profile, better line intensities and a likelier volume; higher for what needs excuses."""
    salt = AtomSites.from_structure(Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], SALT))
    fit = refined(salt, Cell("cubic", "F", 5.64, 5.64)).fit
    plain = _score(fit, 0.1, 1.0, salt, 100)
    assert _score(replace(fit, rwp=0.2), 0.1, 1.0, salt, 100) == pytest.approx(2 * plain)
    assert _score(fit, 0.2, 1.0, salt, 100) == pytest.approx(2**SECOND_OPINION * plain)
    for ratio in (1.5, 1 / 1.5):
        assert _score(fit, 0.1, ratio, salt, 100) == pytest.approx(np.exp(VOLUME * np.log(1.5) ** 2) * plain)
    assert _score(fit, 0.1, 1.0, replace(salt, species=("X",) + salt.species[1:]), 100) > 1.2 * plain
    unbalanced = replace(salt, species=("Na",) * 6 + ("Cl",) * 2)
    assert _score(fit, 0.1, 1.0, unbalanced, 100) > 1.1 * plain


def pyrite(x: float, species: tuple[str, str] = ("Fe", "S")) -> AtomSites:
    crystal = Structure.from_spacegroup("Pa-3", Lattice.cubic(5.42), species, [[0, 0, 0], [x, x, x]])
    return AtomSites.from_structure(crystal)


def test_atoms_within_reach_of_a_good_refinement_are_not_refined_again():
    good = refined(pyrite(0.385), Cell("cubic", "P", 5.42, 5.42))
    assert _would_end_in(pyrite(0.40), good)
    assert _would_end_in(pyrite(0.60), good)  # the same, seen from another side
    assert not _would_end_in(pyrite(0.45), good)  # 0.6 Å off
    assert not _would_end_in(pyrite(0.40, ("S", "Fe")), good)
    assert not _would_end_in(pyrite(0.40), replace(good, residual=0.3))  # no good refinement
    broken = replace(pyrite(0.40), frac_coords=pyrite(0.40).frac_coords + 0.002 * np.eye(12, 3))
    assert not _would_end_in(broken, good)  # lower symmetry may fit better


def test_a_cell_of_the_same_metric_is_tried_beside_one_that_explains():
    cubic, layers = Cell("cubic", "F", 10.8, 10.8), Cell("trigonal", "R", 10.8 / 8**0.5, 10.8 * 3**0.5)
    same_lattice = Cell("trigonal", "R", 10.8 / 2**0.5, 10.8 * 3**0.5)
    assert _rivals(layers, cubic) and _rivals(cubic, layers) and _rivals(cubic, same_lattice)
    assert not _rivals(same_lattice, cubic) and not _rivals(Cell("cubic", "P", 5.4, 5.4), cubic)


@pytest.mark.parametrize(("system", "other"), [("cubic", "trigonal"), ("trigonal", "cubic")])
def test_models_by_crystal_system(system: str, other: str):
    own = shipped_model(system)
    assert model_for(system, own).config.system == system
    assert model_for(other, {system: own}).config.system == other
    with pytest.raises(InputError, match=f"is of the {system} system, but the cell is {other}"):
        model_for(other, own)

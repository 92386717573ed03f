"""Parts of the solver that a whole run seldom reaches."""

import numpy as np

from crystalnet.candidates import Proposal
from crystalnet.records import AtomSites, Cell, Fit
from crystalnet.solver import _own_cell, _Refined


def refined(sites: AtomSites, cell: Cell) -> _Refined:
    nothing = np.zeros(1)
    fit = Fit(sites, 0.1, nothing, nothing, nothing)
    return _Refined(Proposal(sites, "network", 0.1, cell, 0), fit, 0.1, 1.0, 0.1, frozenset({"network"}))


def test_a_crystal_found_in_a_multiple_cell_is_reported_with_its_own():
    small, double = Cell("cubic", "P", 2.827, 2.827), Cell("cubic", "F", 5.655, 5.655)
    selenium = AtomSites(double.primitive_lattice, ("Se", "Se"), np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]]))
    salt = AtomSites(double.primitive_lattice, ("Na", "Cl"), selenium.frac_coords)
    assert _own_cell(refined(selenium, double), [double, small]) is small
    assert _own_cell(refined(salt, double), [double, small]) is double
    assert _own_cell(refined(selenium, double), [double]) is double

"""A crystal without its light atoms, and what finds them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crystalnet.crystal.lattice import Cell
from crystalnet.evaluation.metrics import matches
from crystalnet.records import AtomSites, Peaks
from crystalnet.solving.completion import _orbits, completed
from crystalnet.solving.proposals import Proposal
from crystalnet.solving.screen import residual
from crystalnet.xrd.peaks import find_peaks
from crystalnet.xrd.profile import simulate_profile
from crystalnet.xrd.radiation import parse_wavelength

TRIGONAL = Cell("trigonal", "P", 4.24, 6.88)
LI3LAP2 = AtomSites(
    TRIGONAL.primitive_lattice,
    ("La", "Li", "Li", "Li", "P", "P"),
    np.array(
        [[0, 0, 0], [0, 0, 0.5], [1 / 3, 2 / 3, 0.63], [2 / 3, 1 / 3, 0.37], [1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]]
    ),
)
CUBIC = Cell("cubic", "F", 5.93, 5.93)
LI3BI = AtomSites(
    CUBIC.primitive_lattice,
    ("Na", "Na", "Na", "As"),
    np.array([[0.25, 0.25, 0.25], [0.75, 0.75, 0.75], [0.5, 0.5, 0.5], [0.0, 0, 0]]),
)


def seen(crystal: AtomSites) -> Peaks:
    return find_peaks(simulate_profile(crystal, parse_wavelength("CuKa"), measured_like=True, seed=2))


@pytest.mark.parametrize(
    ("crystal", "cell", "lost"), [(LI3LAP2, TRIGONAL, [2, 3]), (LI3LAP2, TRIGONAL, [1]), (LI3BI, CUBIC, [2])]
)
def test_an_orbit_that_is_missing_is_found(crystal: AtomSites, cell: Cell, lost: list[int]) -> None:
    peaks = seen(crystal)
    kept = [i for i in range(len(crystal)) if i not in lost]
    poor = AtomSites(crystal.lattice, tuple(crystal.species[i] for i in kept), crystal.frac_coords[kept])
    parent = Proposal(poor, "catalogue", residual(poor, peaks, cell), cell, "type")
    (answer,) = completed([parent], peaks, sorted(set(crystal.species)))
    assert matches(crystal.structure(), answer.sites.structure())
    assert answer.residual < 0.6 * parent.residual and answer.source == "catalogue"


def test_a_whole_crystal_is_left_alone() -> None:
    peaks = seen(LI3LAP2)
    whole = Proposal(LI3LAP2, "network", residual(LI3LAP2, peaks, TRIGONAL), TRIGONAL, 0)
    assert completed([whole], peaks, ("La", "Li", "P")) == []
    unknown = replace(whole, sites=replace(LI3LAP2, species=("X",) + LI3LAP2.species[1:]), residual=0.3)
    assert completed([unknown], peaks, ("La", "Li", "P")) == []


def test_orbits_are_symmetric_and_come_once() -> None:
    orbits = list(_orbits(LI3BI))
    assert len(orbits[0]) == 1 and any(len(orbit) == 2 for orbit in orbits)
    keys = {np.sort(np.round(orbit * 48).astype(int) % 48, axis=0).tobytes() for orbit in orbits}
    assert len(keys) > 0.9 * len(orbits)

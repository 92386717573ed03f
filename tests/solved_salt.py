"""Rock salt on its way through `solve`: its lines, its cells, proposals and an answer."""

from __future__ import annotations

from typing import Any

import numpy as np

from crystalnet.crystal.lattice import Cell
from crystalnet.density.promolecule import promolecule_density
from crystalnet.records import AtomSites, Candidate, DensityGrid, Fit, Pattern, Peaks, Radiation
from crystalnet.solving.proposals import Proposal
from crystalnet.solving.ranking import Ranked

CELL = Cell("cubic", "F", 5.64, 5.64, zero_shift=0.02, figure_of_merit=100.0, n_indexed=8, n_lines=8)
OTHER = Cell("cubic", "P", 4.1, 4.1)
TRIGONAL = Cell("trigonal", "P", 4.3, 6.9)
PRIMITIVE = AtomSites(CELL.primitive_lattice, ("Na", "Cl"), np.array([[0, 0, 0], [0.5, 0.5, 0.5]]))
SALT = AtomSites(
    5.64 * np.eye(3),
    ("Na",) * 4 + ("Cl",) * 4,
    np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]]) / 2,
)
DENSITY = promolecule_density(PRIMITIVE.lattice, PRIMITIVE.species, PRIMITIVE.frac_coords)
SOURCE = Radiation(((1.5406, 1.0),))
NOTHING = np.zeros(0)


def salt_lines() -> Peaks:
    d = CELL.a / np.sqrt([3, 4, 8, 11, 12, 16, 19, 20])
    two_theta = 2 * np.degrees(np.arcsin(1.5406 / 2 / d)) + CELL.zero_shift
    return Peaks(two_theta, d, np.ones(8), np.full(8, 0.1), NOTHING, 10.0, 90.0, SOURCE)


PEAKS = salt_lines()
PATTERN = Pattern(np.linspace(10, 90, 9), np.ones(9), np.ones(9), SOURCE)


def fit(rwp: float = 0.1, sites: AtomSites = SALT, **more: Any) -> Fit:
    return Fit(sites, rwp, NOTHING, NOTHING, **{"hkl_two_theta": NOTHING, **more})


def found_at(residual: float, source: str = "network", cell: Cell = CELL, origin: int | str = 0) -> Proposal:
    return Proposal(PRIMITIVE, source, residual, cell, origin)


def refined(proposal: Proposal, score: float = 0.1, volume_ratio: float | None = 1.1) -> Ranked:
    return Ranked(proposal, fit(), 0.05, volume_ratio, score, frozenset({proposal.source}))


def answer(confidence: float, sites: AtomSites = SALT, **of_the_fit: Any) -> Candidate:
    made = fit(sites=sites, **of_the_fit)
    grid = DensityGrid(np.zeros((2, 2, 2)), np.eye(3))
    return Candidate("network", "NaCl", 225, "Fm-3m", sites, (), made, 0.1, grid, confidence, {})

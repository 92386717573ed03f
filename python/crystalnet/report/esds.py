"""A refinement's uncertainties in the axes and the order of the reported atoms."""

from __future__ import annotations

import numpy as np

from crystalnet.crystal.lattice import nearest_image
from crystalnet.crystal.symmetry import SYMPREC_PLACED
from crystalnet.records import Candidate

CELL = ("a", "b", "c", "alpha", "beta", "gamma")
SAME_AXES = 1e-3  # relative, of every scalar product of two axes


def same_axes(candidate: Candidate) -> bool:
    """Whether the reported cell has the axes of the refined one, so that indices and esds of the one hold in the other.

    They differ where the refined atoms have another space group than those that were given to refinement.
    """
    metrics = [cell @ cell.T for cell in (candidate.conventional.lattice, candidate.fit.sites.lattice)]
    return bool(np.abs(metrics[0] - metrics[1]).max() < SAME_AXES * np.abs(metrics[0]).max())


def esd_of_atoms(candidate: Candidate) -> np.ndarray:
    """(N, 3) esds of the coordinates of `candidate.conventional`; nan where fixed by symmetry or not known."""
    reported, refined, esd = candidate.conventional, candidate.fit.sites, candidate.fit.coordinate_esd
    found = np.full((len(reported), 3), np.nan)
    if esd is None or not same_axes(candidate):
        return found
    for symbol in set(reported.species):
        own = np.flatnonzero(np.array(reported.species) == symbol)
        others = np.flatnonzero(np.array(refined.species) == symbol)
        apart = nearest_image(reported.frac_coords[own][:, None] - refined.frac_coords[others])
        distance = np.linalg.norm(apart @ refined.lattice, axis=-1)
        if len(others):
            here = distance.min(axis=1) < SYMPREC_PLACED
            found[own[here]] = esd[others[distance.argmin(axis=1)[here]]]
    return found


def cell_parameters(lattice: np.ndarray) -> dict[str, float]:
    """a, b, c in Å and alpha, beta, gamma in degrees of axes (3, 3) in rows."""
    from pymatgen.core import Lattice

    return {name: float(v) for name, v in zip(CELL, Lattice(lattice).parameters, strict=True)}


def esd_of_cell(candidate: Candidate) -> dict[str, float]:
    """Esds of a, b, c (Å) and of the angles (degrees), by name, where they were refined."""
    return {name: candidate.fit.esd[name] for name in CELL if name in candidate.fit.esd and same_axes(candidate)}

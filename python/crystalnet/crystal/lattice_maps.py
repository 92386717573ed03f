"""A crystal put into a given lattice: which choices of its axes come near, and which of them are different.

The axes M·A of a type (M integer, unimodular) are compared with those, B, of the lattice by the trace of a product of
metrics, tr(G_B⁻¹ M G_A Mᵀ): 3 where they are equal, and, volumes being equal, 3 + 2 Σ ln²s in second order where they
differ by stretches s. For one lattice and many types that is one matrix product. What is given up in this way are the
settings: a type of lower symmetry finds its places in a lattice of higher symmetry by itself.
"""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np

from crystalnet.crystal.free_sites import FreeSites
from crystalnet.crystal.lattice import holohedry
from crystalnet.crystal.symmetry import niggli_matrix

MOST_STRAIN = 0.25  # √Σ ln²s of the stretches from a type's own cell; isotypic crystals seldom differ by more
HOLOHEDRY_TOLERANCE = 2e-3  # of an indexed metric
BASE = 17  # matrices as numbers: entries lie between −8 and 8


@cache
def unimodular_matrices() -> np.ndarray:
    """(1740, 3, 3) int: matrices of entries −1, 0, 1 and determinant 1.

    Those of determinant −1 differ by the inversion, which leaves every lattice, and every powder pattern, as it is.
    """
    entries = np.array(list(product((-1, 0, 1), repeat=9))).reshape(-1, 3, 3)
    determinants = np.rint(np.linalg.det(entries))
    return np.asarray(entries[determinants == 1])


class LatticeMaps:
    """A lattice into which crystals are put.

    Parameters
    ----------
    lattice : (3, 3) array
        Primitive axes as rows, Å. The attribute of this name has the Niggli reduced ones, on which crystals come.
    """

    def __init__(self, lattice: np.ndarray) -> None:
        self.lattice = lattice = niggli_matrix(lattice) @ lattice
        metric = lattice @ lattice.T / np.linalg.det(lattice @ lattice.T) ** (1 / 3)
        matrices = unimodular_matrices().astype(float)
        self._quadratics = matrices.transpose(0, 2, 1) @ np.linalg.inv(metric) @ matrices
        self._holohedry = holohedry(lattice, HOLOHEDRY_TOLERANCE).astype(np.int64)
        self._codes = code_of(self._holohedry)

    def near(self, metrics: np.ndarray) -> list[np.ndarray]:
        """For each metric the numbers of the matrices that bring it near, the nearest first.

        metrics: (T, 6) of volume 1: g11, g22, g33, g23, g13, g12.
        """
        q = self._quadratics
        flat = np.stack([q[:, 0, 0], q[:, 1, 1], q[:, 2, 2], 2 * q[:, 1, 2], 2 * q[:, 0, 2], 2 * q[:, 0, 1]], axis=1)
        excess = metrics @ flat.T - 3
        return [own[np.argsort(row[own])] for row in excess for own in [np.flatnonzero(row < 2 * MOST_STRAIN**2)]]

    def images(self, crystal: FreeSites, numbers: np.ndarray) -> list[FreeSites]:
        """The crystal on those of the axes that the lattice has the symmetry for, each arrangement once."""
        matrices = unimodular_matrices()[numbers]
        if not len(matrices):
            return []
        inverse = np.rint(np.linalg.inv(matrices)).astype(np.int64)
        turned = inverse.transpose(0, 2, 1)[:, None] @ crystal.rotations @ matrices.transpose(0, 2, 1)[:, None]
        matrices = matrices[np.isin(code_of(turned), self._codes).all(axis=1)]
        found: list[FreeSites] = []
        left = matrices
        group = self._holohedry.transpose(0, 2, 1)  # of rows
        own = crystal.rotations.transpose(0, 2, 1)
        while len(left):
            found.append(crystal.in_axes(left[0], self.lattice))
            alike = code_of((group @ left[0])[:, None] @ own).ravel()
            left = left[~(np.isin(code_of(left), alike) | np.isin(code_of(-left), alike))]
        return found


def code_of(matrices: np.ndarray) -> np.ndarray:
    """(...) one number for each integer matrix (..., 3, 3)."""
    flat = matrices.reshape(*matrices.shape[:-2], 9) + BASE // 2
    return np.asarray(flat @ BASE ** np.arange(9, dtype=np.int64))

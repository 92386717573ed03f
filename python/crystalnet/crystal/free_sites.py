"""Atoms that move without leaving their space group: x(u) = x₀ + D·u, linear in the free coordinates u.

What a Wyckoff position leaves free is the space that its site symmetry maps onto itself; the atoms of its orbit follow.
No settings table is needed, whatever cell the crystal is described in.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from crystalnet.crystal.lattice import nearest_image
from crystalnet.records import AtomSites

ON_SITE = 1e-3  # fractional; operations that move an atom by less leave it where it is


@dataclass(frozen=True)
class Orbits:
    """One atom of each orbit, what is free of it, and the operation that makes each atom of it.

    Attributes
    ----------
    first : (n, 3) array
        Fractional coordinates of one atom of each orbit, on its exact position.
    free : (n, 3, 3) array of int
        Columns: directions in which that atom may move; the columns beyond the number of free coordinates are 0.
    orbit, operation : (N,) array of int
        Of each atom: its orbit, and the operation that takes the orbit's first atom there.
    """

    first: np.ndarray
    free: np.ndarray
    orbit: np.ndarray
    operation: np.ndarray


@dataclass(frozen=True)
class FreeSites:
    """Every atom of one primitive cell with the freedom that symmetry leaves it.

    Attributes
    ----------
    lattice : (3, 3) array
        Axes as rows, Å.
    species : tuple of str
        N symbols.
    frac_coords : (N, 3) array
        x₀, with u = 0.
    directions : (N, 3, 3) array
        D, sparse: column k of atom n is by how much it moves with the free coordinate u[columns[n, k]].
    columns : (N, 3) array of int
        −1 where an atom has no such freedom.
    rotations : (m, 3, 3) array of int
        The point group, acting on fractional columns.
    """

    lattice: np.ndarray
    species: tuple[str, ...]
    frac_coords: np.ndarray
    directions: np.ndarray
    columns: np.ndarray
    rotations: np.ndarray

    def __len__(self) -> int:
        return len(self.species)

    @cached_property
    def free(self) -> int:
        """K, the number of free coordinates."""
        return int(self.columns.max(initial=-1)) + 1

    def moved(self, u: np.ndarray) -> np.ndarray:
        """(N, 3) fractional coordinates for free coordinates u (K,)."""
        own = np.where(self.columns >= 0, np.append(u, 0.0)[self.columns], 0.0)
        return np.asarray(self.frac_coords + (self.directions @ own[:, :, None])[:, :, 0])

    def in_axes(self, matrix: np.ndarray, lattice: np.ndarray) -> FreeSites:
        """The same arrangement on the axes `matrix` (integer rows, in terms of the old axes), stretched to `lattice`.

        Parameters
        ----------
        matrix : (3, 3) array of int
            Unimodular.
        lattice : (3, 3) array
            Å; near to `matrix @ self.lattice` but for its size.
        """
        inverse = np.linalg.inv(matrix)
        return FreeSites(
            lattice,
            self.species,
            self.frac_coords @ inverse,
            inverse.T @ self.directions,
            self.columns,
            np.rint(inverse.T @ self.rotations @ matrix.T).astype(np.int64),
        )


def orbits_of_atoms(sites: AtomSites, rotations: np.ndarray, translations: np.ndarray) -> Orbits:
    """The orbits of atoms under exact operations (m, 3, 3) and (m, 3) of a primitive cell.

    ValueError where an operation takes an atom to no other of its kind.
    """
    x = sites.frac_coords
    species = np.array(sites.species)
    images = np.einsum("mij,nj->nmi", rotations, x) + translations
    orbit = np.full(len(x), -1)
    operation = np.zeros(len(x), int)
    first: list[np.ndarray] = []
    free: list[np.ndarray] = []
    for n in range(len(x)):
        if orbit[n] >= 0:
            continue
        apart = np.abs(nearest_image(images[n][:, None] - x)).max(axis=-1)  # (m, N)
        target = apart.argmin(axis=1)
        if (apart[np.arange(len(target)), target] > ON_SITE).any() or (species[target] != species[n]).any():
            raise ValueError("the operations are not those of the atoms")
        own = target == n
        start = x[n] + nearest_image(images[n][own] - x[n]).mean(axis=0)
        for atom in np.unique(target):
            orbit[atom], operation[atom] = len(first), int(np.flatnonzero(target == atom)[0])
        first.append(start)
        free.append(_invariant_directions(rotations[own]))
    return Orbits(np.array(first), np.array(free), orbit, operation)


def atoms_of_orbits(
    orbits: Orbits, rotations: np.ndarray, translations: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates (N, 3) of all atoms, and their directions and columns as `FreeSites` has them."""
    turned = rotations[orbits.operation].astype(float)
    x = np.einsum("nij,nj->ni", turned, orbits.first[orbits.orbit]) + translations[orbits.operation]
    used = orbits.free.any(axis=1)  # (n, 3)
    column = np.where(used, np.cumsum(used.ravel()).reshape(used.shape) - 1, -1)
    return x % 1.0, turned @ orbits.free[orbits.orbit], column[orbits.orbit]


def _invariant_directions(rotations: np.ndarray) -> np.ndarray:
    """(3, 3) integer columns that span what a site symmetry leaves where it is, the rest of the columns 0."""
    total = rotations.sum(axis=0)  # its columns span the space
    columns: list[np.ndarray] = []
    for column in total.T:
        if np.linalg.matrix_rank(np.array([*columns, column])) > len(columns):
            columns.append(column // np.gcd.reduce(column))
    found = np.zeros((3, 3), np.int64)
    for k, column in enumerate(columns):
        found[:, k] = column
    return found

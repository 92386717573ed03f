"""Free coordinates relaxed towards usual distances: the compiled op, and its reference in numpy.

See cpp/include/crystalnet/relax_sites.hpp for what is minimised.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crystalnet.crystal.free_sites import FreeSites
from crystalnet.crystal.lattice import nearest_image
from crystalnet.ops._native import native

NEIGHBOURS = 4  # nearest anions of a cation that have a usual distance
NO_BOND = 1.0  # a neighbour that is twice as far as it should be is none, and is pulled no more than at that
STIFF = 10.0  # largest factor of the gradient in one step: near a minimum the step shrinks with the gradient
NO_DISTANCE = 1e-3  # Å: nearer atoms have no direction


@dataclass(frozen=True)
class UsualDistances:
    """What distances are usual in one arrangement of N atoms. Of each of n orbits one atom counts.

    Attributes
    ----------
    crystal : FreeSites
        The atoms.
    one, share : (n,) array
        Atoms, and the shares of all atoms that their orbits have.
    shifts : (m, 3) array
        Translations beside the nearest image.
    shortest, sums : (n, N) array
        Å: nearer is too near (0: nothing is), and the sums of the radii.
    longest : (n, NEIGHBOURS) array
        In the sum of the radii: where a cation has its nearest anions at the most; 0 where nothing is known.
    anion : (N,) array of bool
        Which atoms are anions.
    """

    crystal: FreeSites
    one: np.ndarray
    share: np.ndarray
    shifts: np.ndarray
    shortest: np.ndarray
    sums: np.ndarray
    longest: np.ndarray
    anion: np.ndarray


def relax_sites(
    usual: UsualDistances, u: np.ndarray, lengths: np.ndarray, threads: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Steepest descent from several starts.

    Parameters
    ----------
    usual : UsualDistances
    u : (S, K) array
        Free coordinates, which are not changed.
    lengths : (n,) array
        Å by which each step moves the atom that it moves most; none asks for the strain alone.
    threads : int
        They share the starts.

    Returns
    -------
    (S, K) array, (S,) array
        Free coordinates after the steps, and their strain.
    """
    module = native()
    u = np.array(u, np.float64, order="C").reshape(len(u), usual.crystal.free)
    lengths = np.ascontiguousarray(lengths, np.float64)
    if module is None:
        return reference_relax(usual, u, lengths)
    crystal = usual.crystal
    arrays = [
        np.ascontiguousarray(a, dtype)
        for a, dtype in (
            (crystal.lattice, np.float64), (crystal.frac_coords, np.float64), (crystal.directions, np.float64),
            (crystal.columns, np.int32), (usual.shifts, np.float64), (usual.one, np.int64), (usual.share, np.float64),
            (usual.shortest, np.float64), (usual.sums, np.float64), (usual.longest, np.float64),
            (usual.anion, np.uint8),
        )
    ]  # fmt: skip
    lattice, frac_coords, directions, columns, shifts, *of_orbits = (a.ctypes.data for a in arrays)
    strain = np.zeros(len(u))
    module.relax_sites(
        lattice, len(crystal), frac_coords, directions, columns, crystal.free, len(usual.shifts), shifts,
        len(usual.one), *of_orbits, len(u), len(lengths), lengths.ctypes.data, threads, u.ctypes.data,
        strain.ctypes.data,
    )  # fmt: skip
    return u, strain


# --- the reference ---------------------------------------------------------------------------------------------------


def reference_relax(usual: UsualDistances, u: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same steps in plain numpy."""
    moves = _moves(usual.crystal)
    for length in lengths:
        _, gradient = strain_and_gradient(usual, u)
        moved = (gradient @ moves.T).reshape(len(u), -1, 3) @ usual.crystal.lattice
        most = np.linalg.norm(moved, axis=-1).max(axis=1)
        u = u - gradient * np.minimum(length / np.maximum(most, 1e-12), STIFF)[:, None]
    return u, strain_and_gradient(usual, u)[0]


def strain_and_gradient(usual: UsualDistances, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(S,) and (S, K) of free coordinates u (S, K)."""
    crystal, one, s = usual.crystal, usual.one, len(u)
    moves = _moves(crystal)
    x = crystal.frac_coords + (u @ moves.T).reshape(s, -1, 3)
    apart = nearest_image(x[:, None] - x[:, one, None])
    vectors = (apart[..., None, :] + usual.shifts) @ crystal.lattice
    distances = np.linalg.norm(vectors, axis=-1)  # (S, n, N, images)
    distances[:, one[:, None] == np.arange(len(crystal))] = np.inf  # an atom's own images stay where they are
    shortest = np.maximum(usual.shortest, 1e-12)[..., None]
    short = np.maximum(1 - distances / shortest, 0.0)
    strain, slope = (short**2).sum(axis=(2, 3)), -2 * short / shortest
    for row, longest in enumerate(usual.longest):
        count = min(NEIGHBOURS, int(usual.anion.sum()) * len(usual.shifts)) if longest[0] > 0 else 0
        around = distances[:, row, usual.anion].reshape(s, -1)
        sums = np.repeat(usual.sums[row, usual.anion], len(usual.shifts))
        near = np.argsort(around / sums, axis=1, kind="stable")[:, :count]
        far = np.maximum(np.take_along_axis(around, near, 1) / sums[near] / longest[:count] - 1, 0.0)
        far = np.minimum(far, NO_BOND)
        strain[:, row] += (far**2).sum(axis=1)
        own = slope[:, row, usual.anion].reshape(s, -1)
        pull = 2 * far / longest[:count] / sums[near]
        np.put_along_axis(own, near, np.take_along_axis(own, near, 1) + pull, 1)
        slope[:, row, usual.anion] = own.reshape(s, -1, len(usual.shifts))
    force = ((slope / np.maximum(distances, NO_DISTANCE))[..., None] * vectors).sum(axis=3) * usual.share[:, None, None]
    on_atoms = force.sum(axis=1)
    on_atoms[:, one] -= force.sum(axis=2)
    return strain @ usual.share, (on_atoms @ crystal.lattice.T).reshape(s, -1) @ moves


def _moves(crystal: FreeSites) -> np.ndarray:
    """(3 N, K): by how much each coordinate moves with each free one."""
    n = len(crystal)
    moves = np.zeros((n, 3, crystal.free + 1))
    places = np.arange(n)[:, None, None], np.arange(3)[:, None], crystal.columns[:, None]
    np.add.at(moves, places, crystal.directions)  # what has no column ends in the last, which is left out
    return moves[..., :-1].reshape(3 * n, crystal.free)

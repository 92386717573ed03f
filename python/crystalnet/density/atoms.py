"""Density → atoms: which atoms, where, make up a valence density in a known cell.

A density that is a sum of atoms is taken apart by matching pursuit (Mallat & Zhang, IEEE Trans. Signal Process. 41,
3397, 1993) with the element table's own shapes: the atom whose removal lowers Σ(ρ − Σ atoms)² most is taken out,
at its sub-voxel place, until none lowers it any more. Unlike a search for maxima this finds atoms whose valence
shell is hollow (Al, Si), and it uses the shape as well as the charge to name the element.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from crystalnet.density.grid import maximum_offset
from crystalnet.density.promolecule import atom_factors
from crystalnet.records import AtomSites, DensityGrid

MIN_GAIN = 0.15  # least gain of an atom, in its own Σρ²; reached where a place holds (1 + MIN_GAIN)/2 of it
MIN_DISTANCE = 1.3  # Å between atoms taken out (H–X bonds do not matter at this resolution)
MAX_ATOMS = 160
SHAPES = 12  # shapes of which those of all elements are sums, to 2e-4 of their norm
ELEMENTS_AT_ONCE = 16  # whose gain is worked out at a time: 16 MB


@dataclass(frozen=True)
class Decomposition:
    """Atoms taken out of a density.

    Attributes
    ----------
    sites
        N atoms, the surest first.
    cost
        (N, E) Σ(ρ − Σ atoms)² with each of E elements in place of the atom's own, above that of the best one.
    """

    sites: AtomSites
    cost: np.ndarray


def decompose(density: DensityGrid, elements: tuple[str, ...], max_atoms: int = MAX_ATOMS) -> Decomposition:
    """Atoms of the given elements that add up to a density.

    Parameters
    ----------
    density
        (n, n, n) e/Å³ in its cell.
    elements
        Symbols; each atom becomes the one that leaves least.
    max_atoms
        At most so many are taken out.

    Notes
    -----
    Every atom taken out forbids its surroundings to the next ones. At the end each is named again with the others
    taken away, because the first were named while their neighbours overlapped them.

    Examples
    --------
    >>> from crystalnet.density.promolecule import promolecule_density
    >>> lattice, sites = 4.12 * np.eye(3), np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]])
    >>> density = promolecule_density(lattice, ("Cs", "Cl"), sites, grid=32)
    >>> decompose(DensityGrid(density, lattice), ("Cs", "Cl")).sites.species
    ('Cl', 'Cs')
    """
    n = density.values.shape[0]
    transforms = atom_factors(density.lattice, elements, n)
    weight = np.full(n // 2 + 1, 2.0)  # of the half spectrum: every plane but 0 and Nyquist stands for two
    weight[0], weight[-1] = 1.0, 2.0 if n % 2 else 1.0
    norms = (np.square(transforms) @ weight).sum((1, 2)) / n**3
    parts, shares = _basis(transforms)
    residual = np.fft.rfftn(density.values.astype(float))
    frequencies = [np.fft.fftfreq(n, 1 / n), np.fft.fftfreq(n, 1 / n), np.arange(n // 2 + 1.0)]
    allowed = np.ones((n, n, n), dtype=bool)
    images = _nearby_voxels(density.lattice, n)

    named: list[int] = []
    positions: list[np.ndarray] = []
    waves: list[np.ndarray] = []
    while len(named) < max_atoms and allowed.any():
        overlap = np.fft.irfftn(residual * parts, s=(n, n, n), axes=(1, 2, 3))  # ∫ residual · part of an atom
        best = _greatest_gain(overlap.reshape(len(parts), -1), shares, norms, np.flatnonzero(allowed))
        if best is None:
            break
        which, voxel = best
        index = np.array(np.unravel_index(voxel, (n, n, n)))
        x = (index + maximum_offset(np.tensordot(shares[which], overlap, 1), index)) / n
        phases = [np.exp(-2j * np.pi * f * xi) for f, xi in zip(frequencies, x, strict=True)]
        waves.append(phases[0][:, None, None] * phases[1][:, None] * phases[2])
        residual = residual - transforms[which] * waves[-1]
        named.append(which)
        positions.append(x % 1.0)
        allowed[tuple(((index + images) % n).T)] = False

    cost = np.zeros((len(named), len(elements)))
    flat = transforms.reshape(len(elements), -1)
    for _ in range(2):
        for atom, wave in enumerate(waves):
            residual = residual + transforms[named[atom]] * wave
            overlaps = flat @ ((residual * wave.conj()).real * weight).ravel() / n**3
            gains = 2 * overlaps - norms
            named[atom] = int(gains.argmax())
            cost[atom] = gains.max() - gains
            residual = residual - transforms[named[atom]] * wave

    species = tuple(elements[which] for which in named)
    sites = AtomSites(density.lattice, species, np.array(positions).reshape(-1, 3))
    return Decomposition(sites, cost)


def _basis(transforms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shapes (k, ...), and shares (E, k) whose sums over them are the elements' own shapes (E, ...).

    A few elements are their own shapes; many share SHAPES of them.
    """
    if len(transforms) <= SHAPES:
        return transforms, np.eye(len(transforms))
    rows = transforms.reshape(len(transforms), -1)
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    # Singular vectors by way of the small matrix of scalar products: the rows are long.
    left = np.linalg.eigh((rows / norm) @ (rows / norm).T)[1][:, : -SHAPES - 1 : -1]
    parts = (left.T @ (rows / norm)).reshape(SHAPES, *transforms.shape[1:])
    return parts, norm * left


def _greatest_gain(
    overlap: np.ndarray, shares: np.ndarray, norms: np.ndarray, voxels: np.ndarray
) -> tuple[int, int] | None:
    """Element and voxel, of those allowed, whose atom lowers Σ(ρ − Σ atoms)² most; None where none does by enough.

    overlap (k, n³) of the residual with each shape, shares (E, k) of them in the elements.
    """
    best, most = None, 0.0
    overlap = overlap if len(voxels) == overlap.shape[1] else overlap[:, voxels]
    for first in range(0, len(norms), ELEMENTS_AT_ONCE):
        few = slice(first, first + ELEMENTS_AT_ONCE)
        gain = 2 * (shares[few] @ overlap) - norms[few, None]
        where = gain.argmax(1)
        highest = gain[np.arange(len(where)), where]
        highest = np.where(highest > MIN_GAIN * norms[few], highest, -np.inf)
        which = int(highest.argmax())
        if highest[which] > most:
            best, most = (first + which, int(voxels[where[which]])), float(highest[which])
    return best


def _nearby_voxels(lattice: np.ndarray, n: int) -> np.ndarray:
    """Voxel offsets (m, 3) within MIN_DISTANCE of a voxel."""
    reach = np.minimum(np.ceil(MIN_DISTANCE * n * np.linalg.norm(np.linalg.inv(lattice), axis=0)), n // 2).astype(int)
    offsets = np.array(list(product(*(range(-r, r + 1) for r in reach))))
    near: np.ndarray = offsets[np.linalg.norm(offsets / n @ lattice, axis=1) < MIN_DISTANCE]
    return near

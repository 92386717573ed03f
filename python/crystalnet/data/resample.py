"""A DFT charge density carried over to the canonical cell: exact Fourier resampling, no interpolation.

Point sampling of a sharp CHGCAR misses or repeats cores (395 electrons became 718 in a trial); the Fourier coefficients
below the Nyquist frequency of the 50³ grid keep F(0), the electron count, exactly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crystalnet.density.promolecule import GRID
from crystalnet.records import InputError

if TYPE_CHECKING:
    from pymatgen.core import Structure

LENGTH_TOLERANCE, ANGLE_TOLERANCE = 0.03, 3.0  # relative, degrees: what symmetrising a DFT-relaxed cell moves
MAX_SHIFT = 0.5  # Å: an atom farther from its place in the canonical cell is another atom


def alignment(given: Structure, canonical: Structure, symprec: float) -> tuple[np.ndarray, np.ndarray]:
    """(T, t) with x = u T + t: fractional u (rows) of the canonical cell to fractional x of the given one.

    given: the crystal in any cell; canonical: `standard_primitive` of it, possibly mirrored. Of the mappings that carry
    atoms onto atoms of their element the closest. InputError where there is none.
    """
    from pymatgen.core import Lattice

    primitive = _primitive_lattice(given, symprec)
    to_given = primitive @ np.linalg.inv(given.lattice.matrix)
    species = np.array([site.specie.symbol for site in canonical])
    given_species = np.array([site.specie.symbol for site in given])
    rarest = min(set(species.tolist()), key=lambda s: ((species == s).sum(), s))
    u, x = canonical.frac_coords, given.frac_coords
    start = int(np.flatnonzero(species == rarest)[0])
    best: tuple[float, np.ndarray, np.ndarray] = (MAX_SHIFT, np.eye(3), np.zeros(3))
    mappings = Lattice(primitive).find_all_mappings(
        canonical.lattice, ltol=LENGTH_TOLERANCE, atol=ANGLE_TOLERANCE, skip_rotation_matrix=True
    )
    for _, _, scale in mappings:
        if round(abs(np.linalg.det(scale))) != 1:
            continue
        turn = scale @ to_given
        for goal in x[given_species == rarest]:
            t = goal - u[start] @ turn
            offsets = _offsets(u @ turn + t, species, x, given_species) @ given.lattice.matrix
            farthest = np.linalg.norm(offsets - offsets.mean(0), axis=1).max()
            if farthest < best[0] - 1e-3:  # equivalent mappings differ by rounding: the first of them is taken
                best = (float(farthest), turn, t + offsets.mean(0) @ np.linalg.inv(given.lattice.matrix))
    if best[0] == MAX_SHIFT:
        raise InputError("its charge density's cell cannot be carried over to the canonical one")
    return best[1], best[2]


def _offsets(points: np.ndarray, species: np.ndarray, x: np.ndarray, given_species: np.ndarray) -> np.ndarray:
    """Fractional vector from each point to the nearest atom of its element."""
    difference = x[None] - points[:, None]
    difference -= np.round(difference)
    distance = (difference**2).sum(-1) + np.where(species[:, None] == given_species[None], 0, np.inf)
    return np.asarray(difference[np.arange(len(points)), distance.argmin(1)])


def _primitive_lattice(structure: Structure, symprec: float) -> np.ndarray:
    """Rows in Å, in the structure's own orientation."""
    import spglib

    numbers = [site.specie.Z for site in structure]
    cell = (structure.lattice.matrix.tolist(), structure.frac_coords.tolist(), numbers)
    found = spglib.standardize_cell(cell, to_primitive=True, no_idealize=True, symprec=symprec)
    if found is None:
        raise InputError(f"the symmetry search failed on {structure.formula}")
    return np.asarray(found[0])


def fourier_resample(density: np.ndarray, turn: np.ndarray, shift: np.ndarray, grid: int = GRID) -> np.ndarray:
    """Density at fractional u = i/grid of another cell of the same crystal: (grid, grid, grid), same units.

    density (n1, n2, n3) at x = j/n of its cell; x = u turn + shift. ρ(u) = Σ_h F(h) e^{2πi h·shift} e^{2πi (turn h)·u};
    terms at or beyond the Nyquist frequency of either grid are left out.
    """
    coefficients = np.fft.fftn(density) / density.size
    axes = [np.fft.fftfreq(n, 1 / n) for n in density.shape]
    inside = [np.abs(h) < n / 2 for h, n in zip(axes, density.shape, strict=True)]
    h = np.stack(np.meshgrid(*(a[i] for a, i in zip(axes, inside, strict=True)), indexing="ij"), axis=-1)
    coefficients = coefficients[np.ix_(*inside)]
    k = h @ turn.T
    whole = np.round(k)
    kept = (np.abs(whole) < grid / 2).all(-1) & (np.abs(k - whole) < 0.01).all(-1)  # a non-primitive cell has others: 0
    target = np.zeros((grid,) * 3, dtype=np.complex128)
    where = whole[kept].astype(np.int64) % grid
    np.add.at(target, tuple(where.T), coefficients[kept] * np.exp(2j * np.pi * (h[kept] @ shift)))
    return np.fft.ifftn(target).real * grid**3

"""Where a candidate's density stands in the cell of its atoms."""

from __future__ import annotations

import itertools

import numpy as np

from crystalnet.density.grid import in_cell, maximum_offset, resample
from crystalnet.records import AtomSites, DensityGrid, Transformation

CENTRED_GRID = 60  # points an axis where the conventional cell holds several primitive ones: 3 MB a cube file
COARSE = 24  # grid on which origin and axes of density and atoms are compared; 0.2–0.5 Å, less than an atom


def placed(values: np.ndarray, setting: Transformation) -> np.ndarray:
    """A map in the cell of the atoms; as it is where that is its own cell and origin.

    Parameters
    ----------
    values
        Map (n, n, n) in its own cell.
    setting
        From that cell to the one of the atoms, as `placement` finds it.

    Returns
    -------
    ndarray
        (m, m, m), in the units of `values`; m = CENTRED_GRID where the cell is a larger one, else n.
    """
    if np.array_equal(setting.matrix, np.eye(3)) and not setting.shift.any():
        return values
    larger = abs(np.linalg.det(setting.matrix)) > 1.5
    return in_cell(values, setting, CENTRED_GRID if larger else len(values), limited=False)


def placement(sites: AtomSites, density: DensityGrid) -> Transformation | None:
    """How a density stands in the cell of its atoms, found by correlation.

    A powder pattern fixes neither the origin nor which of the equivalent axes is which, so that refined atoms may stand
    in another setting than the network's density. Axes and origin stay as they are where the atoms lie on the density
    then; else they become those with the largest correlation of density and atoms.

    Parameters
    ----------
    sites
        All atoms of a cell, usually the conventional one.
    density
        In a primitive or the conventional cell of the same lattice.

    Returns
    -------
    Transformation or None
        From the density's cell to the one of `sites`; None where that is not a cell of the density's lattice.
    """
    choices = _axes(density.lattice, sites.lattice)
    if not choices:
        return None
    if not len(sites):
        return Transformation(choices[0], np.zeros(3))
    coarse, atoms = resample(density.values, (COARSE,) * 3), np.conj(_atom_factors(sites, COARSE))
    best, chosen, shift = -np.inf, choices[0], np.zeros(3)
    for number, axes in enumerate(choices):
        overlap = np.fft.ifftn(np.fft.fftn(coarse[_lookup(axes, COARSE)]) * atoms).real
        if number == 0:  # as given, where that is as good as any up to the network's error
            near = np.abs(np.fft.fftfreq(COARSE)) < 0.1
            at_hand = np.where(near[:, None, None] & near[:, None] & near, overlap, -np.inf)
            if at_hand.max() >= 0.9 * overlap.max():
                shift = np.zeros(3) if at_hand.argmax() == 0 else _maximum(overlap, int(at_hand.argmax()))
                break
        if overlap.max() > best * (1 + 1e-6):
            best, chosen, shift = float(overlap.max()), axes, _maximum(overlap, int(overlap.argmax()))
    return Transformation(chosen, shift @ chosen)


def _maximum(overlap: np.ndarray, index: int) -> np.ndarray:
    """Fractional position (3,) of the maximum around the flat index of a grid point."""
    point = np.array(np.unravel_index(index, overlap.shape))
    return np.asarray((point + maximum_offset(overlap, point)) / len(overlap))


def _axes(own: np.ndarray, wanted: np.ndarray) -> list[np.ndarray]:
    """Integer matrices T with T·own ≅ wanted up to a rotation, the standard setting first.

    The refined cell differs a little from the indexed one: lengths may differ by 2 %, cosines by 0.02.
    """
    vectors = np.array([v for v in itertools.product((-1, 0, 1), repeat=3) if any(v)])
    cartesian = vectors @ own
    lengths = np.linalg.norm(cartesian, axis=1)
    goal = np.linalg.norm(wanted, axis=1)
    cosines = (wanted @ wanted.T) / np.outer(goal, goal)
    fits = [np.flatnonzero(abs(lengths / g - 1) < 0.02) for g in goal]
    unit = cartesian / lengths[:, None]
    found = [
        vectors[[i, j, k]]
        for i, j, k in itertools.product(*fits)
        if abs(unit[i] @ unit[j] - cosines[0, 1]) < 0.02
        and abs(unit[i] @ unit[k] - cosines[0, 2]) < 0.02
        and abs(unit[j] @ unit[k] - cosines[1, 2]) < 0.02
    ]
    standard = np.linalg.solve(own.T, wanted.T).T  # same orientation: the plain quotient of the two lattices
    rhombohedral = np.array([[1, -1, 0], [0, 1, -1], [1, 1, 1]])  # pymatgen turns these axes; obverse setting

    def unusual(axes: np.ndarray) -> tuple[bool, bool, bool]:
        return (
            not np.allclose(axes, standard, atol=0.1),
            not np.array_equal(axes, rhombohedral),
            bool(np.linalg.det(axes) < 0),
        )

    return sorted(found, key=unusual)


def _lookup(axes: np.ndarray, n: int) -> tuple[np.ndarray, ...]:
    """Where the points of the cell T·own lie on the n³ grid of `own`: on grid points, T being integer."""
    points = np.indices((n, n, n)).reshape(3, -1).T @ axes % n
    return tuple(column.reshape(n, n, n) for column in points.T)


def _atom_factors(sites: AtomSites, n: int) -> np.ndarray:
    """(n, n, n) Fourier terms of equal Gaussian atoms 0.4 Å wide, the mean left out.

    The atoms are equal because weights Z would put heavy atoms with few valence electrons on the density of light
    atoms with many.
    """
    wave = np.fft.fftfreq(n, 1 / n)
    turns = [np.exp(-2j * np.pi * np.outer(wave, x)) for x in sites.frac_coords.T]
    factors = np.einsum("is,js,ks->ijk", *turns, optimize=True)
    hkl = np.stack(np.meshgrid(wave, wave, wave, indexing="ij"), axis=-1)
    g = 2 * np.pi * hkl @ np.linalg.inv(sites.lattice).T
    factors *= np.exp(-(0.4**2) * np.einsum("...i,...i->...", g, g) / 2)
    factors[0, 0, 0] = 0.0
    terms: np.ndarray = factors
    return terms

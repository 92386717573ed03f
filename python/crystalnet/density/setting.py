"""One description for a density: that of its own atoms.

A crystal has several equivalent descriptions in one cell (rock salt has two origins, pyrochlore four). A network that
was taught the canonical one (`crystalnet.density.cell`) may still give another, where its elements are hard to tell
apart. Atoms read off its density and named by the pattern say which one it gave.
"""

from __future__ import annotations

import numpy as np

from crystalnet.crystal.lattice import holohedry
from crystalnet.crystal.setting import standard_primitive
from crystalnet.crystal.symmetry import SYMPREC_ON_SITES
from crystalnet.density.grid import likest_operation, turned
from crystalnet.density.promolecule import promolecule_density
from crystalnet.records import AtomSites, InputError

SAME_PLACE = 0.1  # Å between an atom moved and the canonical one: the rules of both round coordinates
AGREEMENT = 0.95  # correlation of a density with its atoms' own: a blend of two descriptions is neither
ALIKE = 0.9  # correlation from which two densities are taken to stand alike
GAIN = 0.1  # of correlation, by which a move must make a density more like another: less is no other description
EXACT = 24  # translations between descriptions are multiples of 1/24, unless an axis is polar


def in_canonical_description(values: np.ndarray, sites: AtomSites) -> np.ndarray:
    """A density (n, n, n) turned and shifted as its atoms must be to stand in the canonical description.

    sites: all atoms of the density's cell, which is a standard primitive one. The density itself where they already
    stand so, where their primitive cell is a smaller one, or where it is not like the sum of these atoms.
    """
    move = canonical_operation(sites)
    if move is None:
        return values
    atoms = promolecule_density(sites.lattice, sites.species, sites.frac_coords, len(values))
    return values if _likeness(values, atoms) < AGREEMENT else _moved(values, *move)


def in_description_of(reference: np.ndarray, values: np.ndarray, lattice: np.ndarray) -> np.ndarray:
    """A density (n, n, n) turned and shifted to stand as another of its lattice (3, 3) Å does; itself where it does.

    It needs no atoms, which may be in doubt, and says nothing of which description is the canonical one.
    """
    now = _likeness(reference, values)
    if now >= ALIKE:
        return values
    operation, voxels = likest_operation(reference, values, holohedry(lattice))
    exact = len(values) * np.round(EXACT * voxels / len(values)) / EXACT
    shift = np.where(np.abs(voxels - exact) <= 0.5, exact, voxels) / len(values)
    moved = _moved(values, np.round(np.linalg.inv(operation)).astype(np.int64), shift)
    return moved if _likeness(reference, moved) > now + GAIN else values


def _moved(values: np.ndarray, matrix: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """What stood at x put at P x + t, between voxels by Fourier interpolation."""
    n = len(values)
    f, half = np.fft.fftfreq(n, 1 / n), np.arange(n // 2 + 1)
    wave = [np.exp(-2j * np.pi * h * t) for h, t in zip((f, f, half), shift, strict=True)]
    back = np.round(np.linalg.inv(matrix)).astype(np.int64)
    terms = np.fft.rfftn(turned(values, back)) * wave[0][:, None, None] * wave[1][:, None] * wave[2]
    moved: np.ndarray = np.maximum(np.fft.irfftn(terms, s=(n, n, n), axes=(0, 1, 2)), 0).astype(values.dtype)
    return moved


def _likeness(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def canonical_operation(sites: AtomSites) -> tuple[np.ndarray, np.ndarray] | None:
    """P (3, 3) and t (3,), x' = P x + t, that put atoms of a standard primitive cell into the canonical description.

    None where there is nothing to do, or nothing that can be done.
    """
    try:
        canonical = standard_primitive(sites.structure(), SYMPREC_ON_SITES)
    except InputError:
        return None
    if len(canonical) != len(sites):
        return None
    species = np.array(sites.species)
    wanted, names = canonical.frac_coords, np.array([site.specie.symbol for site in canonical])
    different = species[:, None] != names
    rare = min(sorted(set(sites.species)), key=lambda s: int((species == s).sum()))
    anchor, places = np.flatnonzero(species == rare)[0], np.flatnonzero(names == rare)
    operations = np.round(holohedry(sites.lattice)).astype(np.int64)
    identity = np.eye(3, dtype=np.int64)
    for matrix in sorted(operations, key=lambda p: not np.array_equal(p, identity)):
        x = sites.frac_coords @ matrix.T
        shifts = wanted[places] - x[anchor]
        for shift in sorted(shifts, key=lambda t: np.abs(t - np.round(t)).max()):
            difference = (x + shift)[:, None] - wanted
            difference -= np.round(difference)
            distance = np.where(different, np.inf, np.linalg.norm(difference @ sites.lattice, axis=-1))
            if distance.min(1).max() < SAME_PLACE:
                exact = np.round(EXACT * shift) / EXACT
                shift = np.where(np.abs((shift - exact) @ sites.lattice).max() < SAME_PLACE, exact, shift)
                here = np.array_equal(matrix, identity) and np.abs(shift - np.round(shift)).max() < 1e-6
                return None if here else (matrix, shift)
    return None

"""One setting for a density: that of its own atoms.

A crystal has several equivalent settings in one cell (rock salt has two origins, pyrochlore four). A network is taught
the canonical one (`crystalnet.crystal.setting`) and may still give another, where its elements are hard to tell apart.
The atoms that are read off its density and named by the pattern say which one it gave.
"""

from __future__ import annotations

import numpy as np

from crystalnet.crystal.lattice import TRANSLATION_STEPS, holohedry, nearest_image, periodic_distances
from crystalnet.crystal.setting import standard_primitive
from crystalnet.crystal.symmetry import SYMPREC_ON_SITES
from crystalnet.density.grid import best_alignment, correlation, moved
from crystalnet.density.promolecule import promolecule_density
from crystalnet.records import AtomSites, InputError

SAME_PLACE = 0.1  # Å between an atom moved and the canonical one: the rules of both round coordinates
AGREEMENT = 0.95  # correlation of a density with its atoms' own: a blend of two settings is neither
ALIKE = 0.9  # correlation from which two densities are taken to stand alike
GAIN = 0.1  # of correlation, by which a move must make a density more like another: less is no other setting


def in_canonical_setting(values: np.ndarray, sites: AtomSites) -> np.ndarray:
    """A density moved as its atoms must be moved to stand in the canonical setting.

    Parameters
    ----------
    values
        Density (n, n, n) e/Å³.
    sites
        All atoms of the density's cell, which is a standard primitive one.

    Returns
    -------
    ndarray
        (n, n, n). It is `values` itself where the atoms stand in the canonical setting already, where their primitive
        cell is a smaller one, or where the density is not like the sum of these atoms.
    """
    move = canonical_operation(sites)
    if move is None:
        return values
    atoms = promolecule_density(sites.lattice, sites.species, sites.frac_coords, len(values))
    return values if correlation(values, atoms) < AGREEMENT else moved(values, *move)


def in_setting_of(reference: np.ndarray, values: np.ndarray, lattice: np.ndarray) -> np.ndarray:
    """A density moved into the setting of another density of its lattice.

    It needs no atoms, which may be in doubt, and does not tell which setting is the canonical one.

    Parameters
    ----------
    reference, values
        Densities (n, n, n) e/Å³.
    lattice
        (3, 3) Å, of both.

    Returns
    -------
    ndarray
        (n, n, n). It is `values` itself where the two are alike already, or no move makes them clearly more alike.
    """
    now = correlation(reference, values)
    if now >= ALIKE:
        return values
    operation, voxels = best_alignment(reference, values, holohedry(lattice))
    exact = len(values) * np.round(TRANSLATION_STEPS * voxels / len(values)) / TRANSLATION_STEPS
    shift = np.where(np.abs(voxels - exact) <= 0.5, exact, voxels) / len(values)
    candidate = moved(values, np.round(np.linalg.inv(operation)).astype(np.int64), shift)
    return candidate if correlation(reference, candidate) > now + GAIN else values


def canonical_operation(sites: AtomSites) -> tuple[np.ndarray, np.ndarray] | None:
    """The operation x' = P x + t that puts atoms of a standard primitive cell into the canonical setting.

    Returns
    -------
    tuple or None
        P (3, 3) integer and t (3,); None where the atoms stand there already, or where no operation puts them there.
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
        for shift in sorted(shifts, key=lambda t: np.abs(nearest_image(t)).max()):
            distance = np.where(different, np.inf, periodic_distances(x + shift, wanted, sites.lattice))
            if distance.min(1).max() < SAME_PLACE:
                exact = np.round(TRANSLATION_STEPS * shift) / TRANSLATION_STEPS
                shift = np.where(np.abs((shift - exact) @ sites.lattice).max() < SAME_PLACE, exact, shift)
                here = np.array_equal(matrix, identity) and np.abs(nearest_image(shift)).max() < 1e-6
                return None if here else (matrix, shift)
    return None

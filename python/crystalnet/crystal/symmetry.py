"""Symmetry of crystals: the only room that calls spglib."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from crystalnet.records import AtomSites

if TYPE_CHECKING:
    from pymatgen.core import Structure


# Upper members of the eleven enantiomorphic pairs, which a powder pattern cannot tell from the lower ones
# (International Tables for Crystallography A, 1.3.3).
ENANTIOMORPHS = {
    78: 76, 95: 91, 96: 92, 145: 144, 153: 151, 154: 152, 170: 169, 172: 171, 179: 178, 181: 180, 213: 212,
}  # fmt: skip
SYMPREC_FOREIGN = 0.1  # Å, for the symmetry of another solver's answer, whose atoms may be rough
SYMPREC = 0.01  # Å, experimental and generated structures
SYMPREC_RELAXED = 0.1  # Å, DFT-relaxed structures
SYMPREC_ON_SITES = 0.02  # Å, a proposal whose atoms were already moved onto their positions


def one_hand(space_group: int) -> int:
    """The space group's number, of an enantiomorphic pair the lower one."""
    return ENANTIOMORPHS.get(space_group, space_group)


def wyckoff_rows(sites: AtomSites) -> tuple[dict[str, Any], ...]:
    """One entry an orbit: element, x, y, z of its first atom, Wyckoff letter, multiplicity in the conventional cell."""
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    dataset = SpacegroupAnalyzer(sites.structure(), SYMPREC_ON_SITES).get_symmetry_dataset()
    multiplicity = Counter(dataset.equivalent_atoms.tolist())
    rows = []
    for atom, count in sorted(multiplicity.items()):
        x, y, z = (round(float(v) % 1.0, 6) for v in sites.frac_coords[atom])
        row = {"element": sites.species[atom], "x": x, "y": y, "z": z}
        row |= {"wyckoff": dataset.wyckoffs[atom], "multiplicity": count}
        rows.append(row)
    return tuple(rows)


def foreign_space_group(structure: Structure) -> int:
    """Number, 0 where the symmetry search fails."""
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    try:
        return int(SpacegroupAnalyzer(structure, SYMPREC_FOREIGN).get_space_group_number())
    except Exception:  # spglib and pymatgen raise many kinds on degenerate crystals
        return 0


def free_coordinates(sites: AtomSites) -> int:
    """Coordinates that the space group leaves free; the origin along polar axes is not one of them."""
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    dataset = SpacegroupAnalyzer(sites.structure(), SYMPREC_ON_SITES).get_symmetry_dataset()
    if dataset is None:
        return 3 * len(sites)
    free = 0
    for atom in np.unique(dataset.equivalent_atoms):
        x = sites.frac_coords[atom]
        shift = dataset.rotations @ x + dataset.translations - x
        fixing = np.abs((shift - np.round(shift)) @ sites.lattice).max(1) < 5 * SYMPREC_ON_SITES
        free += np.linalg.matrix_rank(dataset.rotations[fixing].mean(0), tol=0.1)
    return int(free - np.linalg.matrix_rank(dataset.rotations.mean(0), tol=0.1))


def space_group_on_sites(sites: AtomSites) -> int:
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    return int(SpacegroupAnalyzer(sites.structure(), SYMPREC_ON_SITES).get_space_group_number())


def conventional_sites(sites: AtomSites) -> AtomSites | None:
    """Conventional standard cell (pymatgen; R lattices obverse on hexagonal axes); None where symmetry search fails."""
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    try:
        analyser = SpacegroupAnalyzer(sites.structure(), SYMPREC_ON_SITES)
        return AtomSites.from_structure(analyser.get_conventional_standard_structure())
    except Exception:  # spglib and pymatgen raise many kinds on degenerate crystals
        return None


def symmetry_operations(primitive: Structure, symprec: float = SYMPREC) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (m, 3, 3) int64 and translations (m, 3) of a primitive cell, x' = R x + w; one operation a rotation."""
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    dataset = SpacegroupAnalyzer(primitive, symprec=symprec).get_symmetry_dataset()
    _, first = np.unique(dataset.rotations.reshape(-1, 9), axis=0, return_index=True)
    return dataset.rotations[first].astype(np.int64), dataset.translations[first]


@dataclass(frozen=True)
class Symmetrised:
    """Atoms moved onto exact positions of a space group: frac_coords (N, 3), orbits (N,) numbered from 0."""

    frac_coords: np.ndarray
    orbits: np.ndarray
    space_group: int


def orbits_of(sites: AtomSites, tolerance: float) -> Symmetrised | None:
    """The symmetry that atoms have within a tolerance (Å), and the atoms averaged over it; None where none is found."""
    import spglib

    os.environ.setdefault("SPGLIB_WARNING", "OFF")  # it would print where it fails, which is answered here
    names = sorted(set(sites.species))
    numbers = [names.index(name) for name in sites.species]
    try:
        cell: Any = (sites.lattice, sites.frac_coords, numbers)  # its annotations know lists only, it takes both
        dataset = spglib.get_symmetry_dataset(cell, symprec=tolerance)
    except spglib.SpglibError:
        return None
    if dataset is None:
        return None
    x = sites.frac_coords
    mean = np.zeros_like(x)
    for rotation, translation in zip(dataset.rotations, dataset.translations, strict=True):
        difference = (x @ rotation.T + translation)[None] - x[:, None]  # image j as seen from atom i
        difference -= np.round(difference)
        nearest = np.linalg.norm(difference @ sites.lattice, axis=-1).argmin(1)
        mean += x + difference[np.arange(len(x)), nearest]
    _, orbits = np.unique(dataset.equivalent_atoms, return_inverse=True)
    return Symmetrised((mean / len(dataset.rotations)) % 1.0, orbits, int(dataset.number))


def space_group_of(structure: Structure) -> int:
    """The number spglib finds; 0 where it fails."""
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    try:
        return int(SpacegroupAnalyzer(structure, SYMPREC).get_space_group_number())
    except Exception:  # spglib's own error class moves between versions
        return 0

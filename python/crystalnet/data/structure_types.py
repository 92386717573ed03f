"""Structure types: real crystals in their canonical primitive cells, with their symmetry."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crystalnet.crystal.lattice import nearest_image
from crystalnet.crystal.record_file import Record, read_records, structure_of
from crystalnet.crystal.setting import canonical_sites
from crystalnet.crystal.symmetry import SYMPREC, SYMPREC_RELAXED, Symmetry, one_hand
from crystalnet.crystal.types import types_table
from crystalnet.data.splits import may_train
from crystalnet.density.promolecule import element_table
from crystalnet.records import AtomSites, InputError

MAX_SITES = 120  # atoms in a primitive cell: more cannot be told apart on a 50³ grid


@dataclass(frozen=True)
class StructureType:
    """A structure type in its canonical primitive cell.

    Attributes
    ----------
    label : str
        Name of the type; crystals of one type have one label.
    formula : str
        Reduced formula of the real crystal.
    space_group : int
        Number of its space group; of an enantiomorphic pair the one that `one_hand` chooses.
    sites : AtomSites
        Lattice (Å) and N atoms of the real crystal.
    rotations : (m, 3, 3) array
        Rotations of its symmetry operations, for fractional coordinates.
    translations : (m, 3) array
        Their translations.
    images : (m, N) array of int
        The atom to which operation m moves atom n.
    count : int
        Number of known crystals of the type.
    """

    label: str
    formula: str
    space_group: int
    sites: AtomSites
    rotations: np.ndarray
    translations: np.ndarray
    images: np.ndarray
    count: int = 1


def make_type(record: Record, canonical: bool = False) -> StructureType:
    """The structure type of a crystal.

    Parameters
    ----------
    record : Record
        The crystal.
    canonical : bool
        Whether the record is in its canonical cell already, as those of `types_table` are.

    Returns
    -------
    StructureType

    Raises
    ------
    InputError
        The symmetry of the crystal cannot be found.
    """
    if canonical:
        sites = AtomSites(np.array(record["lattice"]), tuple(record["species"]), np.array(record["frac_coords"]))
    else:
        sites = canonical_sites(structure_of(record), SYMPREC_RELAXED if record.get("dft_relaxed") else SYMPREC)
    rotations, translations = Symmetry(sites, SYMPREC).one_a_rotation()
    x = sites.frac_coords
    moved = np.einsum("mij,nj->mni", rotations, x) + translations[:, None]
    difference = moved[:, :, None] - x
    images = np.linalg.norm(nearest_image(difference) @ sites.lattice, axis=-1).argmin(-1)
    return StructureType(
        label=record.get("protostructure_canonical") or record.get("protostructure") or record["id"],
        formula=record["formula"],
        space_group=one_hand(record["space_group"]),
        sites=sites,
        rotations=rotations,
        translations=translations,
        images=images,
        count=record.get("count", 1),
    )


def embedded_types(system: str) -> list[StructureType]:
    """The structure types of one crystal system that the package brings along."""
    return _usable_types(types_table(system), canonical=True)


def types_of_file(path: Path, system: str) -> list[StructureType]:
    """The structure types of one crystal system in a file of structure records, one for each crystal.

    Crystals whose composition is reserved for judging are left out. InputError if the file cannot be read.
    """
    records = read_records(path, system)
    # The record's own formula may be spelt in another way than the reserved ones, so it is made anew.
    return _usable_types(r for r in records if may_train(structure_of(r).composition.reduced_formula))


def _usable_types(records: Iterable[Record], canonical: bool = False) -> list[StructureType]:
    """Types of the records whose symmetry can be found, of known elements and at most MAX_SITES atoms."""
    types = []
    for record in records:
        if len(record["species"]) <= 2 * MAX_SITES and set(record["species"]) <= set(element_table()):
            try:
                found = make_type(record, canonical)
            except InputError:
                continue  # a type whose symmetry spglib cannot find cannot be decorated
            if len(found.sites) <= MAX_SITES:
                types.append(found)
    return types

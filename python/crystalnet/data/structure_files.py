"""Crystals of structure files: CIF, POSCAR, and whatever else pymatgen reads."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from crystalnet.crystal.cif import ReadCrystal, is_cif, read_cif
from crystalnet.density.promolecule import element_table
from crystalnet.records import InputError, short_reason

if TYPE_CHECKING:
    from pymatgen.core import Structure


def read_structure(path: Path) -> Structure:
    """Read the one crystal of a file.

    UserWarning says what had to be decided in reading, and what pymatgen warns of.

    Parameters
    ----------
    path : Path
        A CIF (`crystalnet.crystal.cif`), or another file that pymatgen reads.

    Returns
    -------
    Structure

    Raises
    ------
    InputError
        The file cannot be read, holds several crystals or a disordered one, or an element has no known valence density.
    """
    found = read_crystals(path)
    if len(found) > 1:
        names = ", ".join(crystal.name for crystal in found[:6])
        raise InputError(f"{path}: holds {len(found)} crystals ({names}); give a file of one of them")
    for note in found[0].notes:
        warnings.warn(f"{path.name}: {note}", stacklevel=2)
    return found[0].structure


def read_crystals(path: Path) -> list[ReadCrystal]:
    """Read every crystal of a file. InputError if one cannot be read or an element has no known valence density."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        found = read_cif(path) if is_cif(path) else [_read_other(path)]
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    for crystal in found:
        unknown = sorted({site.specie.symbol for site in crystal.structure} - set(element_table()))
        if unknown:
            raise InputError(f"{path}: no valence density is known for {', '.join(unknown)}")
    return found


def _read_other(path: Path) -> ReadCrystal:
    """The crystal that pymatgen reads. InputError, without the name of the file, if it reads none."""
    from pymatgen.core import Structure

    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            structure = Structure.from_file(path)
    except Exception as error:  # pymatgen raises whatever its parsers meet
        raise InputError(f"cannot be read as a crystal structure ({short_reason(error)})") from None
    if not structure.is_ordered:
        raise InputError("has partially occupied sites; give an ordered structure")
    said = [" ".join(str(w.message).split()) for w in caught if issubclass(w.category, UserWarning)]
    if any("cannot be determined" in text for text in said):
        raise InputError("names no elements; write their symbols into the file")  # pymatgen takes H, He, Li ...
    return ReadCrystal("", structure, tuple(dict.fromkeys(said)))

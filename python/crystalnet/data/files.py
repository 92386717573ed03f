"""The user's own structures: CIF, POSCAR, .jsonl(.gz), anything pymatgen reads."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from crystalnet import __version__
from crystalnet.crystal.cif import LACKING, MIN_DISTANCE, ReadCrystal, is_cif, read_cif
from crystalnet.crystal.record_file import Record, read_records, structure_of
from crystalnet.crystal.setting import standard_primitive
from crystalnet.crystal.symmetry import SYMPREC, SYMPREC_RELAXED, one_hand
from crystalnet.data.further_types import FurtherTypes
from crystalnet.data.splits import Splits, may_train
from crystalnet.data.store import write_store
from crystalnet.density.promolecule import element_table
from crystalnet.records import InputError

if TYPE_CHECKING:
    from pymatgen.core import Structure


def read_structure(path: Path) -> Structure:
    """The one structure of a file: a CIF (`crystalnet.data.cif`), or whatever else pymatgen reads.

    Warns (UserWarning) of what had to be decided in reading, and of what pymatgen warns of. InputError where the file
    cannot be read, holds several crystals or disordered ones, or elements of no known valence density.
    """
    found = _read_file(path)
    if len(found) > 1:
        names = ", ".join(crystal.name for crystal in found[:6])
        raise InputError(f"{path}: holds {len(found)} crystals ({names}); give a file of one of them")
    for note in found[0].notes:
        warnings.warn(f"{path.name}: {note}", stacklevel=2)
    return found[0].structure


def _read_file(path: Path) -> list[ReadCrystal]:
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
    """By pymatgen; InputError, which lacks the file's name, where it does not read it."""
    from pymatgen.core import Structure

    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            structure = Structure.from_file(path)
    except Exception as error:  # pymatgen raises whatever its parsers meet
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"cannot be read as a crystal structure ({reason})") from None
    if not structure.is_ordered:
        raise InputError("has partially occupied sites; give an ordered structure")
    said = [" ".join(str(w.message).split()) for w in caught if issubclass(w.category, UserWarning)]
    if any("cannot be determined" in text for text in said):
        raise InputError("names no elements; write their symbols into the file")  # pymatgen takes H, He, Li ...
    return ReadCrystal("", structure, tuple(dict.fromkeys(said)))


def fetch_files(
    system: str,
    out: Path,
    paths: tuple[Path, ...],
    limit: int | None,
    splits: Splits,
    progress: Callable[[int, int], None],
) -> int:
    """A data set of the user's structures of one system; failures.jsonl in it says what cannot be used and why."""
    failures: list[dict[str, str]] = []
    made = _limited(_records(system, paths, splits, failures, progress), limit)
    further = FurtherTypes(system)
    about = {
        "crystalnet": __version__,
        "source": "files",
        "system": system,
        "density": "promolecule",
        "split": splits.describe(),
    }
    return write_store(out, further.of(made), about, failures, further.records)


def _limited(records: Iterator[Record], limit: int | None) -> Iterator[Record]:
    for number, record in enumerate(records):
        if limit is not None and number >= limit:
            return
        yield record


def _records(
    system: str,
    paths: tuple[Path, ...],
    splits: Splits,
    failures: list[dict[str, str]],
    progress: Callable[[int, int], None],
) -> Iterator[Record]:
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    seen: set[tuple[str, int]] = set()
    found = list(_structures(paths, failures))
    for done, (name, structure, symprec, notes) in enumerate(found, 1):
        progress(done, len(found))
        try:
            _check_atoms(structure)
            primitive = standard_primitive(structure, symprec)
        except InputError as error:
            failures.append({"id": name, "reason": str(error)})
            continue
        analyser = SpacegroupAnalyzer(primitive, symprec)
        formula, number = primitive.composition.reduced_formula, one_hand(analyser.get_space_group_number())
        if analyser.get_crystal_system() != system:
            continue
        for note in notes:
            warnings.warn(f"{name}: {note}", stacklevel=2)
        if not may_train(formula):
            failures.append({"id": name, "reason": f"{formula} is reserved for judging"})
        elif (formula, number) in seen:
            failures.append({"id": name, "reason": f"{formula} in space group {number} is there already"})
        else:
            seen.add((formula, number))
            yield {
                "id": name,
                "formula": formula,
                "space_group": number,
                "system": system,
                "type": name,
                "source": "files",
                "split": splits.of(name, formula, name),
                "lattice": primitive.lattice.matrix,
                "species": [site.specie.symbol for site in primitive],
                "frac_coords": primitive.frac_coords,
            }


def _check_atoms(structure: Structure) -> None:
    """InputError where the atoms cannot be those of a crystal: unknown elements, atoms on top of each other."""
    unknown = sorted({site.specie.symbol for site in structure} - set(element_table()))
    if unknown:
        raise InputError(f"no valence density is known for {', '.join(unknown)}")
    close = structure.get_neighbor_list(MIN_DISTANCE)[3]
    if len(close):
        raise InputError(f"atoms overlap ({close.min():.2f} Å apart)")


def _structures(
    paths: tuple[Path, ...], failures: list[dict[str, str]]
) -> Iterator[tuple[str, Structure, float, tuple[str, ...]]]:
    """Name, structure, symmetry tolerance (Å) and warnings of every crystal."""
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: no such file or folder")
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if not file.is_file():
                continue
            try:
                if file.name.endswith((".jsonl", ".jsonl.gz")):
                    yield from _structures_of_records(file, failures)
                else:
                    crystals = _read_file(file)
                    for crystal in crystals:
                        name = file.name if len(crystals) == 1 else f"{file.name}:{crystal.name}"
                        if crystal.lacking:
                            raise InputError(f"{file}: {', '.join(crystal.lacking)} {LACKING}")
                        yield name, crystal.structure, SYMPREC, crystal.notes
            except InputError as error:
                if not path.is_dir():
                    raise
                failures.append({"id": file.name, "reason": str(error).removeprefix(f"{file}: ")})


def _structures_of_records(
    file: Path, failures: list[dict[str, str]]
) -> Iterator[tuple[str, Structure, float, tuple[str, ...]]]:
    for number, record in enumerate(read_records(file), 1):
        name = str(record.get("id", f"{file.name}:{number}"))
        try:
            if record.get("h_missing"):
                raise ValueError("hydrogen of its formula has no site")
            structure = structure_of(record)
        except Exception as error:  # pymatgen raises whatever a record makes it meet
            failures.append({"id": name, "reason": " ".join(str(error).split())[:120]})
        else:
            yield name, structure, SYMPREC_RELAXED if record.get("dft_relaxed") else SYMPREC, ()

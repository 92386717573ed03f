"""The user's own structures: CIF, POSCAR, .jsonl(.gz), anything pymatgen reads."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from crystalnet import __version__
from crystalnet.data.further_types import FurtherTypes
from crystalnet.data.records_file import Record, read_records, structure_of
from crystalnet.data.splits import Splits, may_train
from crystalnet.data.store import write_store
from crystalnet.density.cell import SYMPREC, SYMPREC_RELAXED, standard_primitive
from crystalnet.density.promolecule import element_table
from crystalnet.records import InputError
from crystalnet.symmetry import one_hand

if TYPE_CHECKING:
    from pymatgen.core import Structure

MIN_DISTANCE = 0.5  # Å: shorter than any bond (H2: 0.74)


def read_structure(path: Path) -> Structure:
    """One structure of a file that pymatgen reads. InputError where it does not, or where sites are disordered."""
    from pymatgen.core import Structure

    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            structure = Structure.from_file(path)
    except Exception as error:  # pymatgen raises whatever its parsers meet
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{path}: cannot be read as a crystal structure ({reason})") from None
    if not structure.is_ordered:
        raise InputError(f"{path}: has partially occupied sites; give an ordered structure")
    unknown = sorted({site.specie.symbol for site in structure} - set(element_table()))
    if unknown:
        raise InputError(f"{path}: no valence density is known for {', '.join(unknown)}")
    return structure


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
    for done, (name, structure, symprec) in enumerate(found, 1):
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


def _structures(paths: tuple[Path, ...], failures: list[dict[str, str]]) -> Iterator[tuple[str, Structure, float]]:
    """Name, structure and symmetry tolerance (Å) of every crystal."""
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
                    structure = read_structure(file)
                    if lacking := _atoms_lacking(file):
                        raise InputError(f"{file}: {lacking}")
                    yield file.name, structure, SYMPREC
            except InputError as error:
                if not path.is_dir():
                    raise
                failures.append({"id": file.name, "reason": str(error).removeprefix(f"{file}: ")})


def _structures_of_records(file: Path, failures: list[dict[str, str]]) -> Iterator[tuple[str, Structure, float]]:
    for number, record in enumerate(read_records(file), 1):
        name = str(record.get("id", f"{file.name}:{number}"))
        try:
            if record.get("h_missing"):
                raise ValueError("hydrogen of its formula has no site")
            structure = structure_of(record)
        except Exception as error:  # pymatgen raises whatever a record makes it meet
            failures.append({"id": name, "reason": " ".join(str(error).split())[:120]})
        else:
            yield name, structure, SYMPREC_RELAXED if record.get("dft_relaxed") else SYMPREC


def _atoms_lacking(path: Path) -> str | None:
    """What a CIF's formula has and its site list lacks; None where nothing, or where it states no formula."""
    if path.suffix.lower() != ".cif":
        return None
    from pymatgen.core import Composition
    from pymatgen.io.cif import CifFile

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        block = next(iter(CifFile.from_file(path).data.values())).data
        try:
            stated = {e.symbol for e in Composition(str(block["_chemical_formula_sum"]).replace(" ", ""))}
        except (KeyError, ValueError):
            return None
    listed = block.get("_atom_site_type_symbol") or block.get("_atom_site_label") or []
    present = {match[0] for label in listed if (match := re.match("[A-Z][a-z]?", str(label)))}
    lacking = sorted(stated - present - {label[0] for label in present})
    return f"{', '.join(lacking)} of its formula has no site" if lacking else None

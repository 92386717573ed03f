"""The user's own structures: CIF, POSCAR, .jsonl(.gz), anything pymatgen reads."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystalnet import __version__
from crystalnet.data.records_file import Record, read_records, structure_of
from crystalnet.data.splits import may_train
from crystalnet.data.store import write_store
from crystalnet.density.cell import standard_primitive
from crystalnet.density.promolecule import element_table
from crystalnet.records import InputError

if TYPE_CHECKING:
    from pymatgen.core import Structure


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
    system: str, out: Path, paths: tuple[Path, ...], limit: int | None, progress: Callable[[int, int], None]
) -> int:
    """A data set of the user's structures of one system; what cannot be used is listed in failures.txt beside it."""
    failures: list[str] = []
    made = _records(system, paths, failures, progress)
    about = {"crystalnet": __version__, "source": "files", "system": system, "density": "promolecule"}
    count = write_store(out, _limited(made, limit), about)
    if failures:
        (out.parent / f"{out.name}-failures.txt").write_text("\n".join(failures) + "\n")
    return count


def _limited(records: Iterator[Record], limit: int | None) -> Iterator[Record]:
    for number, record in enumerate(records):
        if limit is not None and number >= limit:
            return
        yield record


def _records(
    system: str, paths: tuple[Path, ...], failures: list[str], progress: Callable[[int, int], None]
) -> Iterator[Record]:
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    seen: set[tuple[str, int]] = set()
    found = list(_structures(paths, failures))
    for done, (name, structure) in enumerate(found, 1):
        progress(done, len(found))
        try:
            primitive = standard_primitive(structure)
        except InputError as error:
            failures.append(f"{name}: {error}")
            continue
        analyser = SpacegroupAnalyzer(primitive, 0.01)
        formula, number = primitive.composition.reduced_formula, analyser.get_space_group_number()
        if analyser.get_crystal_system() != system:
            continue
        if not may_train(formula):
            failures.append(f"{name}: {formula} is reserved for judging")
        elif (formula, number) in seen:
            failures.append(f"{name}: {formula} in space group {number} is there already")
        else:
            seen.add((formula, number))
            yield {
                "id": name,
                "formula": formula,
                "space_group": number,
                "system": system,
                "type": name,
                "source": "files",
                "lattice": primitive.lattice.matrix,
                "species": [site.specie.symbol for site in primitive],
                "frac_coords": primitive.frac_coords,
            }


def _structures(paths: tuple[Path, ...], failures: list[str]) -> Iterator[tuple[str, Any]]:
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: no such file or folder")
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if not file.is_file():
                continue
            try:
                if file.name.endswith((".jsonl", ".jsonl.gz")):
                    yield from ((r.get("id", file.name), structure_of(r)) for r in read_records(file))
                else:
                    yield file.name, read_structure(file)
            except InputError as error:
                if not path.is_dir():
                    raise
                failures.append(str(error))

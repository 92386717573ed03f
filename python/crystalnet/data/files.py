"""`fetch --source files`: data sets of the user's own structures."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from crystalnet import __version__
from crystalnet.crystal.cif import LACKING, MIN_DISTANCE
from crystalnet.crystal.record_file import Record, read_records, structure_of
from crystalnet.crystal.setting import standard_primitive
from crystalnet.crystal.symmetry import SYMPREC, SYMPREC_RELAXED, Symmetry, one_hand
from crystalnet.crystal.systems import LEARNT
from crystalnet.data.further_types import FurtherTypes
from crystalnet.data.splits import RESERVED, Splits, may_train
from crystalnet.data.store import write_store
from crystalnet.data.structure_files import read_crystals
from crystalnet.density.promolecule import element_table
from crystalnet.records import InputError, short_reason

if TYPE_CHECKING:
    from pymatgen.core import Structure


KINDS = {  # words of a reason, and what is counted together
    "there already": "repeat a formula and space group",
    "occupied": "partly occupied or disordered",
    "overlap": "with atoms that overlap",
    "has no site": "without all atoms of the formula",
    "valence density": "with an element of no known density",
    "symmetry": "whose symmetry cannot be determined",
    "space group": "whose symmetry cannot be determined",
    "cannot be read": "not readable",
}


def fetch_files(
    directories: Mapping[str, Path],
    paths: tuple[Path, ...],
    limit: int | None,
    splits: Mapping[str, Splits],
    progress: Callable[[int, int], None],
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, int]:
    """Make data sets of the user's structures, one of each crystal system that has any.

    Parameters
    ----------
    directories : mapping of str to Path
        Directory of the data set of each crystal system that is asked for; crystals of other systems are passed over.
        The failures.jsonl of a set says what cannot be used and why.
    paths : tuple of Path
        Structure files, files of structure records, or folders of them.
    limit : int or None
        Number of crystals of a system at most.
    splits : mapping of str to Splits
        The division of each system's crystals into train and validation.
    progress : callable
        Called with the number of crystals done and of all.
    say : callable
        Called with a line that counts by reason what cannot be used.

    Returns
    -------
    dict of str to int
        Number of crystals in each data set that was made.

    Raises
    ------
    InputError
        A path does not exist, a file that is named itself cannot be read, or no crystal can be used.
    """
    failures: list[dict[str, str]] = []
    records: dict[str, list[Record]] = {system: [] for system in directories}
    for record in _records(paths, failures, progress):
        own = records.get(record["system"])
        if own is not None and (limit is None or len(own) < limit):
            split = splits[record["system"]].of(record["id"], record["formula"], record["id"])
            own.append(record | {"split": split if may_train(record["formula"]) else RESERVED})
    made = {}
    for system, own in records.items():
        if own or not any(records.values()):  # of none at all the reason is said
            further = FurtherTypes(system) if system in LEARNT else None
            about = {
                "crystalnet": __version__,
                "source": "files",
                "system": system,
                "density": "promolecule",
                "split": splits[system].describe(),
            }
            crystals = further.of(own) if further else own
            types = further.records if further else ()
            made[system] = write_store(directories[system], crystals, about, failures, types)
    if failures:
        kinds = Counter(_kind(failure["reason"]) for failure in failures)
        counted = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        say(f"{len(failures)} were not taken: {counted}; failures.jsonl in the data set names each")
    return made


def _kind(reason: str) -> str:
    """Why something was refused, in words that others share with it."""
    return next((kind for words, kind in KINDS.items() if words in reason), "for other reasons")


def _records(
    paths: tuple[Path, ...], failures: list[dict[str, str]], progress: Callable[[int, int], None]
) -> Iterator[Record]:
    """Records of the crystals that can be used; the others go to failures with the reason."""
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
        symmetry = Symmetry(primitive, symprec)
        formula, number = primitive.composition.reduced_formula, one_hand(symmetry.number)
        for note in notes:
            warnings.warn(f"{name}: {note}", stacklevel=2)
        if (formula, number) in seen:
            failures.append({"id": name, "reason": f"{formula} in space group {number} is there already"})
        else:
            seen.add((formula, number))
            yield {
                "id": name,
                "formula": formula,
                "space_group": number,
                "system": symmetry.system,
                "type": name,
                "source": "files",
                "lattice": primitive.lattice.matrix,
                "species": [site.specie.symbol for site in primitive],
                "frac_coords": primitive.frac_coords,
            }


def _check_atoms(structure: Structure) -> None:
    """InputError if the atoms cannot be those of a crystal: unknown elements, or atoms on top of each other."""
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
                    crystals = read_crystals(file)
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
            failures.append({"id": name, "reason": short_reason(error)})
        else:
            yield name, structure, SYMPREC_RELAXED if record.get("dft_relaxed") else SYMPREC, ()

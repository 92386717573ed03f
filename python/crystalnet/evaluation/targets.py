"""The crystals that `evaluate` scores against: a file of structure records, or the held-out part of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar, cast

import numpy as np

from crystalnet.crystal.record_file import Record, read_records, structure_of
from crystalnet.crystal.setting import standard_primitive
from crystalnet.crystal.symmetry import SYMPREC, SYMPREC_RELAXED
from crystalnet.data.splits import TYPE_FOLD, is_dev, split_of
from crystalnet.data.store import SHARD, open_maps, read_manifest, read_store
from crystalnet.density.promolecule import GRID, promolecule
from crystalnet.evaluation.options import SPLITS
from crystalnet.records import InputError

if TYPE_CHECKING:
    from pymatgen.core import Structure


Item = TypeVar("Item")
STORED: Final = "_row"  # key of a record's row in its data set, whose cell is canonical and whose density may be stored


class _StoredRecord(Record, total=False):
    """A record of a data set."""

    _row: int


@dataclass(frozen=True)
class Targets:
    """The crystals of a run.

    Attributes
    ----------
    records : tuple of Record
        The crystals.
    rule : str
        Which they are, in words.
    density : str
        Where their densities come from: "promolecule" or what the data set says.
    digest : str
        A hash of the source.
    maps : tuple of ndarray
        The data set's density maps, where it stores them.
    """

    records: tuple[Record, ...]
    rule: str
    density: str
    digest: str
    maps: tuple[np.ndarray, ...] = ()

    def truth(self, record: Record) -> tuple[Structure, np.ndarray]:
        """Canonical primitive cell and density (50, 50, 50) e/Å³. InputError where the record allows neither."""
        if STORED in record:
            crystal = structure_of(record)
            shard, row = divmod(cast("_StoredRecord", record)[STORED], SHARD)
            stored = np.array(self.maps[shard][row], float).reshape((GRID,) * 3) if self.maps else None
            return crystal, promolecule(crystal) if stored is None else stored
        crystal = standard_primitive(structure_of(record), SYMPREC_RELAXED if record.get("dft_relaxed") else SYMPREC)
        return crystal, promolecule(crystal)


def type_of(record: Record) -> str:
    """The structure type's name, "" where the record does not say it."""
    return record.get("protostructure_canonical") or record.get("protostructure") or record.get("type") or ""


class NothingToEvaluate(InputError):
    """A source without a crystal of the system asked for."""


def read_targets(source: Path, system: str, split: str, limit: int | None, seed: int) -> Targets:
    """The crystals of one system that a split holds out for scoring.

    Parameters
    ----------
    source : Path
        Records (.jsonl, .jsonl.gz), a data set directory, or a folder with a data set for each system.
    system : str
        Whose crystals.
    split : str
        As in `Options`.
    limit : int, optional
        Take only so many, a choice that follows from the seed.
    seed : int

    Returns
    -------
    Targets

    Raises
    ------
    NothingToEvaluate
        Where the source holds no such crystal.
    InputError
        Where it cannot be used so.
    """
    if split not in SPLITS:
        raise InputError(f"--split {split!r}: choose one of {', '.join(SPLITS)}")
    targets = _of_data_set(source, system, split) if source.is_dir() else _of_file(source, system, split)
    records = targets.records
    if not records:
        raise NothingToEvaluate(
            f"{source}: no {system} record to evaluate ({targets.rule}); --split all takes every record"
        )
    return Targets(tuple(some_of(records, limit, seed)), targets.rule, targets.density, targets.digest, targets.maps)


def some_of(items: Sequence[Item], limit: int | None, seed: int) -> Sequence[Item]:
    """So many of the items by a seeded choice, in their order; all where that is no fewer."""
    if limit is None or limit >= len(items):
        return items
    chosen = np.random.default_rng(seed).choice(len(items), limit, replace=False)
    return [items[i] for i in sorted(chosen.tolist())]


def _of_file(path: Path, system: str, split: str) -> Targets:
    records = tuple(r for r in read_records(path, system) if split == "all" or _is_dev(r))
    rule = {"all": "every record", "composition": "DFT-relaxed records of development compositions"}.get(split, "")
    if split == "type":
        records = tuple(r for r in records if type_of(r) and split_of(type_of(r), TYPE_FOLD) == "validation")
        rule = (
            "DFT-relaxed records of development compositions whose structure type `fetch --split type` leaves out of"
            f" training (SHA-256 of 'validation:' + type, every {TYPE_FOLD}th)"
        )
    return Targets(records, rule, "promolecule", sha256(path.read_bytes()).hexdigest())


def _is_dev(record: Record) -> bool:
    return bool(record.get("dft_relaxed")) and is_dev(record["formula"])


def _of_data_set(directory: Path, system: str, split: str) -> Targets:
    if not (directory / "manifest.json").is_file() and (directory / system).is_dir():
        directory = directory / system
    manifest = read_manifest(directory)
    if manifest.get("system", system) != system:
        raise InputError(f"{directory}: a data set of {manifest['system']} crystals, not of {system} ones")
    by = manifest.get("split", {}).get("by", "composition")
    if split == "type" and by != "type":
        raise InputError(f"{directory}: divided by {by}; make it with `crystalnet fetch --split type`")
    crystals = read_store(directory)
    held_out = "test" if any(r["split"] == "test" for r in crystals.records) else "validation"
    records: list[_StoredRecord] = []
    for row, about in enumerate(crystals.records):
        if split == "all" or about["split"] == held_out:
            sites = crystals.sites(row)
            atoms = {"lattice": sites.lattice, "species": sites.species, "frac_coords": sites.frac_coords}
            records.append(cast("_StoredRecord", {**about, **atoms, STORED: row}))
    rule = "every crystal" if split == "all" else f"the data set's {held_out} crystals, divided by {by}"
    density = str(manifest.get("density", "promolecule"))
    maps = tuple(open_maps(directory, manifest))
    return Targets(tuple(records), rule, density, manifest.get("manifest_sha256", ""), maps)

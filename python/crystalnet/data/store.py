"""A data set on disk: one directory of flat numpy arrays and a manifest.

    manifest.json          versions, source, counts, split rule, SHA-256 of every other file and of itself
    records.jsonl          id, formula, space_group, type, source, split of each crystal, in order
    lattices.npy           (N, 3, 3) float64, Å, rows
    offsets.npy            (N + 1,) int64: atoms of crystal i are offsets[i]:offsets[i+1]
    atomic_numbers.npy     (A,) uint8
    frac_coords.npy        (A, 3) float64
    maps-00000.npy, ...    (SHARD, 50³) float16, e/Å³, the last one shorter; only where densities come from DFT
    types.jsonl.gz         structure types that the package's table lacks, for the catalogue; only where there is any
    failures.jsonl         id and reason of what the source could not give; only where there is any

Densities of promolecule sources and all patterns follow from the crystals and are not stored. Readable with numpy
alone.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from crystalnet.crystal.elements import ATOMIC_NUMBER, SYMBOLS
from crystalnet.crystal.record_file import CrystalRow, Record, read_records
from crystalnet.data.splits import split_of
from crystalnet.records import AtomSites, InputError
from crystalnet.runtime.whole_file import file_sha256
from crystalnet.runtime.whole_folder import entries, heal, is_inside, refilling, refuse_names

FORMAT = 2  # 1 had no hash of the manifest itself
SHARD = 1024  # maps a file: 256 MB, what an interrupted build loses at most
ARRAYS = ("lattices", "offsets", "atomic_numbers", "frac_coords")
TYPES = "types.jsonl.gz"
MANIFEST, FEATURES = "manifest.json", "features"
# All that a set may consist of; what a source needs of it is known at the end only.
NAMES = re.compile(rf"manifest\.json|(records|failures)\.jsonl|types\.jsonl\.gz|(maps-\d{{5}}|{'|'.join(ARRAYS)})\.npy")
FEATURE_NAMES = re.compile(r"(state|(maps|patterns)-\d{5})(\.\d+\.partial)?\.(json|npy)")  # whole, or left by a kill


@dataclass(frozen=True)
class Crystals:
    """Crystals of a data set: the arrays of the module's table; records are the rows of records.jsonl."""

    lattices: np.ndarray
    offsets: np.ndarray
    atomic_numbers: np.ndarray
    frac_coords: np.ndarray
    records: tuple[CrystalRow, ...]

    def __len__(self) -> int:
        return len(self.records)

    def sites(self, index: int) -> AtomSites:
        """One crystal."""
        atoms = slice(self.offsets[index], self.offsets[index + 1])
        species = tuple(SYMBOLS[z] for z in self.atomic_numbers[atoms])
        return AtomSites(self.lattices[index], species, self.frac_coords[atoms])


def write_store(
    directory: Path,
    records: Iterable[Record],
    about: Mapping[str, object],
    failures: Sequence[dict[str, str]] = (),
    types: Sequence[Record] = (),
) -> int:
    """Write a data set from structure records, all or nothing.

    A data set in the directory is replaced; other files there stay.

    Parameters
    ----------
    directory : Path
        Directory of the data set.
    records : iterable of Record
        The crystals. If one has a density, all must have one.
    about : mapping
        What the manifest says beside counts and hashes.
    failures : sequence of dict
        {"id", "reason"} of what the source could not give; read when the records are exhausted.
    types : sequence of Record
        Structure types that the package lacks; read when the records are exhausted.

    Returns
    -------
    int
        Number of crystals written.

    Raises
    ------
    InputError
        The directory holds something else, or there is no crystal.
    """
    earlier = earlier_set(directory)
    with refilling(directory, _owned(directory, earlier), MANIFEST) as scratch:
        return _write_files(scratch, records, about, failures, types)


def earlier_set(directory: Path) -> dict[str, Any] | None:
    """The manifest of the data set that a new one would replace; None if there is none.

    InputError if the directory holds something else, or a file of the user's that bears a name of ours.
    """
    if directory.exists() and not directory.is_dir():
        raise InputError(f"{directory}: is a file; choose another folder with --out")
    heal(directory)
    if not entries(directory):
        return None
    try:
        manifest = read_manifest(directory)
    except InputError:
        raise InputError(
            f"{directory}: holds files, but no data set (its manifest.json is missing, damaged or another program's); "
            "empty it, or choose another folder with --out"
        ) from None
    refuse_names(directory, filter(NAMES.fullmatch, entries(directory)), _owned(directory, manifest))
    return manifest


def _owned(directory: Path, manifest: dict[str, Any] | None) -> set[str]:
    """Files of a data set and what was made from them, by their names relative to the directory."""
    if manifest is None:
        return set()
    names = {name for name in manifest["sha256"] if is_inside(name) and "/" not in name}
    return {MANIFEST} | names | {f"{FEATURES}/{name}" for name in feature_files(directory / FEATURES)}


def feature_files(cache: Path) -> list[str]:
    """Names of what `CrystalDataset` has made in the folder of features, or left there when it was killed."""
    if cache.is_symlink():
        return []
    return [name for name in entries(cache) if FEATURE_NAMES.fullmatch(name)]


def _write_files(
    partial: Path,
    records: Iterable[Record],
    about: Mapping[str, object],
    failures: Sequence[dict[str, str]],
    types: Sequence[Record],
) -> int:
    lattices: list[np.ndarray] = []
    coordinates: list[np.ndarray] = []
    numbers: list[int] = []
    counts = [0]
    maps = _ShardWriter(partial)
    with open(partial / "records.jsonl", "w", encoding="utf-8") as rows:
        for record in records:
            lattices.append(np.asarray(record["lattice"], dtype=float))
            counts.append(len(record["species"]))
            numbers.extend(ATOMIC_NUMBER[s] for s in record["species"])
            coordinates.append(np.asarray(record["frac_coords"], dtype=float))
            row = {key: record.get(key) for key in ("id", "formula", "space_group", "system", "type", "source")}
            rows.write(json.dumps(row | {"split": record.get("split") or split_of(record["formula"])}) + "\n")
            if "density" in record:
                maps.add(record["density"])
    maps.finish()
    if not lattices:
        reasons = f" (the first failure: {failures[0]['id']}: {failures[0]['reason']})" if failures else ""
        raise InputError(f"no usable crystal in the source; nothing was written{reasons}")
    if maps.count not in (0, len(lattices)):
        raise ValueError(f"{maps.count} densities for {len(lattices)} crystals")
    if failures:
        (partial / "failures.jsonl").write_text("".join(json.dumps(f, ensure_ascii=False) + "\n" for f in failures))
    if types:
        lines = "".join(json.dumps(record, separators=(",", ":")) + "\n" for record in types)
        (partial / TYPES).write_bytes(gzip.compress(lines.encode(), mtime=0))
    arrays = (np.array(lattices), np.cumsum(counts), np.array(numbers, np.uint8), np.concatenate(coordinates))
    for name, array in zip(ARRAYS, arrays, strict=True):
        np.save(partial / f"{name}.npy", array)
    hashes = {path.name: file_sha256(path) for path in sorted(partial.iterdir())}
    manifest = {"format": FORMAT, "count": len(lattices), **about, "sha256": hashes}
    manifest["manifest_sha256"] = _manifest_digest(manifest)
    (partial / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    return len(lattices)


class _ShardWriter:
    """Maps into shards of a directory as they come."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.count = directory, 0
        self.buffer: np.ndarray | None = None

    def add(self, density: np.ndarray) -> None:
        """One map, rounded to float16 (5e-4 relative: below what separates DFT codes)."""
        flat = np.asarray(density).ravel()
        if self.buffer is None:
            self.buffer = np.empty((SHARD, flat.size), dtype=np.float16)
        self.buffer[self.count % SHARD] = flat
        self.count += 1
        if self.count % SHARD == 0:
            np.save(self.directory / shard_name("maps", self.count // SHARD - 1), self.buffer)

    def finish(self) -> None:
        """Write what is left."""
        if self.buffer is not None and self.count % SHARD:
            np.save(self.directory / shard_name("maps", self.count // SHARD), self.buffer[: self.count % SHARD])


def shard_name(kind: str, number: int) -> str:
    """File name of a shard."""
    return f"{kind}-{number:05d}.npy"


def _manifest_digest(manifest: dict[str, Any]) -> str:
    content = {key: value for key, value in manifest.items() if key != "manifest_sha256"}
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest. InputError if the directory is no data set."""
    heal(directory)
    path = directory / MANIFEST
    try:
        manifest = dict(json.loads(path.read_text()))
        if not 1 <= manifest["format"] <= FORMAT:
            raise InputError(f"{path}: format {manifest['format']} is not {FORMAT}; fetch it into a new folder")
        if manifest["format"] > 1 and manifest["manifest_sha256"] != _manifest_digest(manifest):
            raise ValueError
        if not isinstance(manifest["sha256"], dict) or not {"count", "source"} <= manifest.keys():
            raise ValueError
        return manifest
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{directory}: no data set here (manifest.json is missing); run `crystalnet fetch`") from None
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{path}: damaged; move the folder away and run `crystalnet fetch` again") from None


def verify_store(directory: Path) -> dict[str, Any]:
    """Check every file against its hash; returns the manifest. InputError names the first file that is wrong."""
    manifest = read_manifest(directory)
    for name, expected in manifest["sha256"].items():
        _verify_file(directory / name, expected)
    return manifest


def _verify_file(path: Path, expected: str) -> None:
    if not path.is_file():
        raise InputError(f"{path}: missing; run `crystalnet fetch` again")
    if file_sha256(path) != expected:
        raise InputError(f"{path}: damaged (its SHA-256 differs from the manifest's); run `crystalnet fetch` again")


def read_store(directory: Path) -> Crystals:
    """Open a data set after verifying it."""
    verify_store(directory)
    rows = (directory / "records.jsonl").read_text(encoding="utf-8").splitlines()
    arrays = {name: np.load(directory / f"{name}.npy") for name in ARRAYS}
    return Crystals(records=tuple(json.loads(row) for row in rows), **arrays)


def read_types(directory: Path) -> list[Record]:
    """The structure types that a data set adds to the package's, after verifying them alone."""
    expected = read_manifest(directory)["sha256"].get(TYPES)
    if expected is None:
        return []
    _verify_file(directory / TYPES, expected)
    return list(read_records(directory / TYPES))


def open_maps(directory: Path, manifest: dict[str, Any]) -> list[np.ndarray]:
    """The stored maps of a DFT data set, memory-mapped: shards (SHARD, 50³) float16; empty for other sources."""
    names = sorted(name for name in manifest["sha256"] if name.startswith("maps-"))
    return [np.load(directory / name, mmap_mode="c") for name in names]  # torch takes writable arrays only

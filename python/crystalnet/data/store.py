"""A data set on disk: one directory of flat numpy arrays and a manifest.

    manifest.json          versions, source, counts, split rule, SHA-256 of every other file
    records.jsonl          id, formula, space_group, type, source, split of each crystal, in order
    lattices.npy           (N, 3, 3) float64, Å, rows
    offsets.npy            (N + 1,) int64: atoms of crystal i are offsets[i]:offsets[i+1]
    atomic_numbers.npy     (A,) uint8
    frac_coords.npy        (A, 3) float64

Densities and patterns of promolecule sources follow from the crystals and are not stored. Readable with numpy alone.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from crystalnet.data.splits import split_of
from crystalnet.elements import ATOMIC_NUMBER, SYMBOLS
from crystalnet.records import AtomSites, InputError

FORMAT = 1
ARRAYS = ("lattices", "offsets", "atomic_numbers", "frac_coords")


@dataclass(frozen=True)
class Crystals:
    """Crystals of a data set: see the module's table of arrays; records holds the rows of records.jsonl."""

    lattices: np.ndarray
    offsets: np.ndarray
    atomic_numbers: np.ndarray
    frac_coords: np.ndarray
    records: tuple[dict[str, Any], ...]

    def __len__(self) -> int:
        return len(self.records)

    def sites(self, index: int) -> AtomSites:
        """One crystal."""
        atoms = slice(self.offsets[index], self.offsets[index + 1])
        species = tuple(SYMBOLS[z] for z in self.atomic_numbers[atoms])
        return AtomSites(self.lattices[index], species, self.frac_coords[atoms])


def write_store(directory: Path, records: Iterable[dict[str, Any]], about: dict[str, Any]) -> int:
    """Write a data set from structure records, all or nothing; `about` goes into the manifest. Returns the count."""
    partial = directory.with_name(directory.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        count = _write_files(partial, records, about)
    except BaseException:
        shutil.rmtree(partial)
        raise
    if directory.exists():
        shutil.rmtree(directory)
    os.replace(partial, directory)
    return count


def _write_files(partial: Path, records: Iterable[dict[str, Any]], about: dict[str, Any]) -> int:
    lattices, counts, numbers, coordinates = [], [0], [], []
    with open(partial / "records.jsonl", "w", encoding="utf-8") as rows:
        for record in records:
            lattices.append(np.asarray(record["lattice"], dtype=float))
            counts.append(len(record["species"]))
            numbers.extend(ATOMIC_NUMBER[s] for s in record["species"])
            coordinates.append(np.asarray(record["frac_coords"], dtype=float))
            row = {key: record.get(key) for key in ("id", "formula", "space_group", "system", "type", "source")}
            rows.write(json.dumps(row | {"split": record.get("split") or split_of(record["formula"])}) + "\n")
    if not lattices:
        raise InputError("no usable crystal in the source; nothing was written")
    arrays = (np.array(lattices), np.cumsum(counts), np.array(numbers, np.uint8), np.concatenate(coordinates))
    for name, array in zip(ARRAYS, arrays, strict=True):
        np.save(partial / f"{name}.npy", array)
    hashes = {path.name: _sha256(path) for path in sorted(partial.iterdir())}
    manifest = {"format": FORMAT, "count": len(lattices), **about, "sha256": hashes}
    (partial / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    return len(lattices)


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest. InputError where the directory is no data set."""
    path = directory / "manifest.json"
    try:
        manifest = json.loads(path.read_text())
        if manifest["format"] != FORMAT:
            raise InputError(f"{path}: format {manifest['format']} is not {FORMAT}; fetch the data set again")
        return dict(manifest)
    except FileNotFoundError:
        raise InputError(f"{directory}: no data set here (manifest.json is missing); run `crystalnet fetch`") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}: damaged; run `crystalnet fetch` again") from None


def verify_store(directory: Path) -> dict[str, Any]:
    """Check every file against its hash; returns the manifest. InputError names the first file that is wrong."""
    manifest = read_manifest(directory)
    for name, expected in manifest["sha256"].items():
        path = directory / name
        if not path.is_file():
            raise InputError(f"{path}: missing; run `crystalnet fetch` again")
        if _sha256(path) != expected:
            raise InputError(f"{path}: damaged (its SHA-256 differs from the manifest's); run `crystalnet fetch` again")
    return manifest


def read_store(directory: Path) -> Crystals:
    """Open a data set after verifying it."""
    verify_store(directory)
    rows = (directory / "records.jsonl").read_text(encoding="utf-8").splitlines()
    arrays = [np.load(directory / f"{name}.npy") for name in ARRAYS]
    return Crystals(*arrays, records=tuple(json.loads(row) for row in rows))


def _sha256(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def describe(directory: Path) -> str:
    """What a data set holds, in a few lines."""
    from collections import Counter

    manifest, crystals = read_manifest(directory), read_store(directory)
    atoms = np.diff(crystals.offsets)
    splits = Counter(record["split"] for record in crystals.records)
    types = {record["type"] for record in crystals.records}
    return "\n".join(
        [
            f"{directory}: {len(crystals)} {manifest.get('system', '')} crystals from {manifest['source']}",
            f"  splits       {', '.join(f'{name} {count}' for name, count in sorted(splits.items()))}",
            f"  types        {len(types)}",
            f"  compositions {len({record['formula'] for record in crystals.records})}",
            f"  atoms a cell {atoms.min()} to {atoms.max()}, median {int(np.median(atoms))}",
            f"  density      {manifest.get('density', 'promolecule')}; made by crystalnet {manifest['crystalnet']}",
        ]
    )

"""How many structure types a folder of real crystals adds, and how many left-out crystals have their type in the set.

    python tools/types_coverage.py DATA_DIR

DATA_DIR holds amcsd_structures.jsonl.gz and structures_other.jsonl.gz, given to `fetch` as --types.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from crystalnet.crystal.record_file import read_records
from crystalnet.crystal.systems import LEARNT
from crystalnet.crystal.types import types_table
from crystalnet.data.splits import TYPE_FOLD, is_dev, may_train, split_of
from crystalnet.data.structure_types import MAX_SITES


def label(record: dict[str, Any]) -> str:
    """Name of the structure type."""
    return str(record.get("protostructure_canonical") or record.get("protostructure") or record["id"])


def main(data: Path) -> None:
    """Print the table of docs/data.md."""
    files = [data / "amcsd_structures.jsonl.gz", data / "structures_other.jsonl.gz"]
    for system in LEARNT:
        records = [record for file in files for record in read_records(file, system)]
        package = {label(record) for record in types_table(system)}
        given = {label(r) for r in records if may_train(r["formula"]) and len(r["species"]) <= MAX_SITES}
        relaxed = [record for record in records if record.get("dft_relaxed")]
        by_composition = [record for record in relaxed if is_dev(record["formula"])]
        by_type = [record for record in relaxed if split_of(label(record), TYPE_FOLD) == "validation"]
        trained = {name for name in package | given if split_of(name, TYPE_FOLD) == "train"}
        print(f"{system}: {len({label(r) for r in records})} types in {len(records)} crystals")
        print(f"  covered: {len(given)} by --types, {len(package)} by the package, {len(package | given)} by both")
        covered = sum(label(record) in package | given for record in by_composition)
        print(f"  dft_relaxed left out by composition: {len(by_composition)}, type in the set: {covered}")
        covered = sum(label(record) in trained for record in by_type)
        print(f"  dft_relaxed left out by type: {len(by_type)}, type in the training set: {covered}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Structure records: `*.jsonl` and `*.jsonl.gz`, one crystal a line.

Keys: id, formula, space_group (or spacegroup), system, lattice (3×3 rows, Å), species, frac_coords (N×3); others pass
through untouched.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystalnet.records import InputError

if TYPE_CHECKING:
    from pymatgen.core import Structure


Record = dict[str, Any]
REQUIRED = ("lattice", "species", "frac_coords")


def read_records(path: str | Path, system: str | None = None) -> Iterator[Record]:
    """Records of a file, in order, those of one crystal system if given. InputError names the file and line."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a .jsonl or .jsonl.gz of structure records")
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    record = json.loads(line)
                    missing = [key for key in REQUIRED if key not in record]
                except (ValueError, TypeError) as error:
                    raise InputError(f"{path}, line {number}: not a JSON record ({error})") from None
                if missing:
                    raise InputError(f"{path}, line {number}: the record lacks {', '.join(missing)}")
                if "spacegroup" in record:
                    record["space_group"] = record.pop("spacegroup")
                if system is None or record.get("system") == system:
                    yield record
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as structure records ({error})") from None


def structure_of(record: Record) -> Structure:
    """The record as a pymatgen Structure."""
    from pymatgen.core import Lattice, Structure

    return Structure(Lattice(record["lattice"]), record["species"], record["frac_coords"])

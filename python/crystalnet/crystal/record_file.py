"""Structure records: files `*.jsonl` and `*.jsonl.gz` with one crystal on each line, as a JSON object."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Required, TypedDict

import numpy as np
from numpy.typing import ArrayLike

from crystalnet.records import InputError

if TYPE_CHECKING:
    from pymatgen.core import Structure


class CrystalRow(TypedDict, total=False):
    """What is said about a crystal beside its atoms.

    Attributes
    ----------
    id : str
        Name of the crystal in its source.
    formula : str
        Reduced formula, as pymatgen writes it.
    space_group : int
        Number of the space group; files may write the key as "spacegroup".
    system : str
        Crystal system.
    type : str
        Label of the structure type; the id if the type is not known.
    source : str
        Where the crystal comes from: "materials-project", "prototypes", "types", "files".
    split : str
        "train", "validation" or "test".
    """

    id: str
    formula: str
    space_group: int
    system: str
    type: str
    source: str
    split: str


class Record(CrystalRow, total=False):
    """A crystal with its atoms. Other keys that a file has pass through untouched.

    Attributes
    ----------
    lattice : (3, 3) array-like
        Rows in Å.
    species : sequence of str
        Element of each of the N atoms.
    frac_coords : (N, 3) array-like
        Fractional coordinates.
    density : (50, 50, 50) array
        Electron density of the cell, e/Å³; only from DFT.
    protostructure, protostructure_canonical : str
        Labels of the structure type as AFLOW writes it; the canonical one does not depend on the choice of origin.
    count : int
        Number of known crystals of the type.
    dft_relaxed : bool
        Whether DFT relaxed the atoms: then the symmetry holds within SYMPREC_RELAXED only.
    h_missing : bool
        Whether hydrogen of the formula has no site.
    """

    lattice: Required[ArrayLike]
    species: Required[Sequence[str]]
    frac_coords: Required[ArrayLike]
    density: np.ndarray
    protostructure: str | None
    protostructure_canonical: str
    count: int
    dft_relaxed: bool
    h_missing: bool


REQUIRED = ("lattice", "species", "frac_coords")


def read_records(path: str | Path, system: str | None = None) -> Iterator[Record]:
    """The records of a file in order.

    Parameters
    ----------
    path : str or Path
        A .jsonl or .jsonl.gz file.
    system : str or None
        Only records of this crystal system, if given.

    Yields
    ------
    Record

    Raises
    ------
    InputError
        The file is missing or a line is no record; the message names the file and the line.
    """
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

    return Structure(Lattice(record["lattice"]), record["species"], np.asarray(record["frac_coords"]))


def dump_json(record: Record | list[Record]) -> str:
    """A record, or a list of them, as one line of JSON without the line break; arrays become lists."""
    return json.dumps(record, default=lambda v: np.asarray(v).tolist(), separators=(",", ":"))

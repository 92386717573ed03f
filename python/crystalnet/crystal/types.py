"""The package's table of structure types."""

from __future__ import annotations

from functools import cache
from importlib.resources import as_file, files

from crystalnet.crystal.record_file import Record, read_records


@cache
def types_table(system: str) -> tuple[Record, ...]:
    """The package's table of structure types of one system, each in its canonical primitive cell."""
    with as_file(files("crystalnet.crystal").joinpath("structure_types.jsonl.gz")) as path:
        return tuple(read_records(path, system))

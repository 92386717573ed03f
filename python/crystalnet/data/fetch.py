"""`crystalnet fetch`: make a data set from a source."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from crystalnet import __version__
from crystalnet.config import SYSTEMS
from crystalnet.data import files, prototypes
from crystalnet.data.further_types import FurtherTypes
from crystalnet.data.splits import Splits, read_splits
from crystalnet.data.store import earlier_set, write_store
from crystalnet.records import InputError
from crystalnet.settings import settings
from crystalnet.whole_file import file_sha256
from crystalnet.whole_folder import beside

DEFAULT_LIMIT = 10_000  # crystals a system: minutes to make, enough for a first model
RANDOM_SHARE = 0.1  # crystals with random Wyckoff positions, for geometry that no known type has
SOURCES = ("materials-project", "prototypes", "files")
Progress = Callable[[int, int], None]


def default_directory(system: str) -> Path:
    """Where `fetch` writes and `train` reads unless told otherwise."""
    return settings().data / system


def materials_project_key() -> str | None:
    """The user's key: MP_API_KEY, else pymatgen's settings (PMG_MAPI_KEY)."""
    key = os.environ.get("MP_API_KEY")
    if not key:
        from pymatgen.core import SETTINGS

        key = SETTINGS.get("PMG_MAPI_KEY")
    return key or None


def fetch(
    source: str | None,
    system: str | None,
    types: tuple[Path, ...],
    paths: tuple[Path, ...],
    limit: int | None,
    seed: int,
    out: Path | None,
    progress: Progress = lambda done, total: None,
    say: Callable[[str], None] = print,
    split: str = "composition",
    split_files: tuple[Path, ...] = (),
) -> list[tuple[Path, int]]:
    """Make one data set a system; returns (directory, crystals) of each. split, split_files: as in read_splits.

    A source that was not asked for replaces nothing but its own sets and embedded ones, which can be made again.
    """
    if source is not None and source not in SOURCES:
        raise InputError(f"--source {source!r}: choose one of {', '.join(SOURCES)}")
    if system is not None and system not in SYSTEMS:
        raise InputError(f"--system {system!r}: choose one of {', '.join(SYSTEMS)}")
    systems = (system,) if system else SYSTEMS
    asked = source is not None or bool(paths)
    source = source or ("files" if paths else _default_source(say))
    key = materials_project_key() if source == "materials-project" else None
    if source == "materials-project" and key is None:
        raise InputError("--source materials-project: no key; set MP_API_KEY (materialsproject.org/api gives one)")
    if source == "files" and not paths:
        raise InputError("--source files: name the structure files or folders")
    if split_files and source != "materials-project":
        raise InputError(f"--split-file lists Materials Project ids; it does not go with --source {source}")
    directories = {name: default_directory(name) if out is None else out if system else out / name for name in systems}
    earlier = {name: earlier_set(directory) for name, directory in directories.items()}
    made = []
    for name, directory in directories.items():
        there = earlier[name]
        if there is not None:
            what = f"{directory}: {{}} the data set there ({there['count']} crystals, source {there['source']})"
            if not asked and there["source"] not in (source, "prototypes"):
                say(what.format("keeps") + f"; to replace it say --source {source}")
                continue
            say(what.format("replaces"))
        splits = read_splits(split, split_files, name)
        if source == "materials-project":
            from crystalnet.data.materials_project import fetch_materials_project

            count = fetch_materials_project(str(key), name, directory, limit, splits, progress, say)
        elif source == "files":
            count = files.fetch_files(name, directory, paths, limit, splits, progress)
        else:
            count = fetch_prototypes(
                name, directory, limit or DEFAULT_LIMIT, types, seed, splits=splits, progress=progress
            )
        made.append((directory, count))
    return made


def _default_source(say: Callable[[str], None]) -> str:
    if materials_project_key() is not None:
        return "materials-project"
    say("No Materials Project key (MP_API_KEY): building the embedded crystals instead (--source prototypes).")
    return "prototypes"


def fetch_prototypes(
    system: str,
    out: Path,
    limit: int = DEFAULT_LIMIT,
    types_files: tuple[Path, ...] = (),
    seed: int = 0,
    jobs: int | None = None,
    splits: Splits | None = None,
    progress: Progress = lambda done, total: None,
) -> int:
    """Generate crystals of one system into a data set directory; returns how many.

    What a killed run had made lies in a journal beside it, and the same call goes on from there.
    """
    splits = splits or Splits()
    types = prototypes.embedded_types(system)
    further = FurtherTypes(system)
    for path in types_files:
        given = prototypes.types_of_file(path, system)
        types += given
        for kind in given:
            further.show(prototypes.original_crystal(kind))
    about = {
        "crystalnet": __version__,
        "source": "prototypes",
        "system": system,
        "seed": seed,
        "limit": limit,
        "types": len({kind.label for kind in types}),
        "types_files": {path.name: file_sha256(path) for path in types_files},
        "random_share": RANDOM_SHARE,
        "density": "promolecule",
        "split": splits.describe(),
    }
    request = sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    journal = beside(out, f".{request[:12]}.journal")

    def records() -> Iterator[dict[str, Any]]:
        made = prototypes.generate(types, limit, seed, jobs or os.cpu_count() or 1, RANDOM_SHARE, journal)
        for done, record in enumerate(made, 1):
            progress(done, limit)
            yield record | {"split": splits.of(record["id"], record["formula"], record["type"])}

    count = write_store(out, records(), about, types=further.records)
    journal.unlink(missing_ok=True)  # the types themselves may have been enough
    return count

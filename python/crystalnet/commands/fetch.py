"""`crystalnet fetch`: a data set of crystals."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from crystalnet.crystal.systems import LEARNT, SYSTEMS
from crystalnet.data import files
from crystalnet.data.fetch import DEFAULT_LIMIT, Progress, fetch_prototypes
from crystalnet.data.splits import read_splits
from crystalnet.data.store import earlier_set
from crystalnet.records import InputError
from crystalnet.runtime.settings import default_directory
from crystalnet.runtime.whole_folder import claimed

SOURCES = ("materials-project", "prototypes", "files")


def materials_project_key() -> str | None:
    """The user's key: MP_API_KEY or, without it, PMG_MAPI_KEY of pymatgen's settings; None if there is none."""
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
    cluster: str | None = None,
) -> list[tuple[Path, int]]:
    """Make a data set of each crystal system that is asked for.

    A source that was not asked for replaces only its own sets and embedded ones, which can be made again.

    Parameters
    ----------
    source : str or None
        One of SOURCES. None takes "files" if there are paths, else the Materials Project if there is a key, else
        "prototypes".
    system : str or None
        Crystal system; None for all.
    types : tuple of Path
        Files of further structure types, for "prototypes".
    paths : tuple of Path
        Structure files or folders, for "files".
    limit : int or None
        Number of crystals of a system at most.
    seed : int
        Seed of generated crystals.
    out : Path or None
        Directory of the data set; of several systems each has a folder in it. None for the user's directory of data.
    progress : callable
        Called with the number of crystals done and of all.
    say : callable
        Called with lines for the user.
    split, split_files
        The division into train and validation, as in `read_splits`.
    cluster : str or None
        As `runtime.pool.workers` takes it; embedded crystals are made there.

    Returns
    -------
    list of (Path, int)
        Directory and number of crystals of each data set.

    Raises
    ------
    InputError
        An option is wrong, the source cannot be read, or the directory holds something else.
    """
    if source is not None and source not in SOURCES:
        raise InputError(f"--source {source!r}: choose one of {', '.join(SOURCES)}")
    asked = source is not None or bool(paths)
    source = source or ("files" if paths else _default_source(say))
    possible = SYSTEMS if source == "files" else LEARNT  # the user's own are known crystals too, whatever is learnt
    if system is not None and system not in possible:
        raise InputError(f"--system {system!r}: choose one of {', '.join(possible)}")
    systems = (system,) if system else possible
    key = materials_project_key() if source == "materials-project" else None
    if source == "materials-project" and key is None:
        raise InputError("--source materials-project: no key; set MP_API_KEY (materialsproject.org/api gives one)")
    if source == "files" and not paths:
        raise InputError("--source files: name the structure files or folders")
    if split_files and source != "materials-project":
        raise InputError(f"--split-file lists Materials Project ids; it does not go with --source {source}")
    directories = {name: default_directory(name) if out is None else out if system else out / name for name in systems}
    earlier = {name: earlier_set(directory) for name, directory in directories.items()}
    if source == "files":
        splits_of = {name: read_splits(split, split_files, name) for name in systems}
        with ExitStack() as stack:  # a folder that cannot be written is said before the files are read
            for directory in directories.values():
                stack.enter_context(claimed(directory))
            counts = files.fetch_files(directories, paths, limit, splits_of, progress, say)
        for name in counts:  # sets of systems that the files have no crystal of stay
            there = earlier[name]
            if there is not None:
                say(_what(directories[name], there).format("replaces"))
        return [(directories[name], count) for name, count in counts.items()]
    made = []
    for name, directory in directories.items():
        there = earlier[name]
        if there is not None:
            what = _what(directory, there)
            if not asked and there["source"] not in (source, "prototypes"):
                say(what.format("keeps") + f"; to replace it say --source {source}")
                continue
            say(what.format("replaces"))
        splits = read_splits(split, split_files, name)
        if source == "materials-project":
            from crystalnet.data.materials_project import fetch_materials_project

            count = fetch_materials_project(str(key), name, directory, limit, splits, progress, say)
        else:
            count = fetch_prototypes(
                name,
                directory,
                limit or DEFAULT_LIMIT,
                types,
                seed,
                splits=splits,
                progress=progress,
                cluster=cluster,
            )
        made.append((directory, count))
    return made


def _what(directory: Path, there: Mapping[str, Any]) -> str:
    return f"{directory}: {{}} the data set there ({there['count']} crystals, source {there['source']})"


def _default_source(say: Callable[[str], None]) -> str:
    """The Materials Project if there is a key; else the embedded crystals, and a line says so."""
    if materials_project_key() is not None:
        return "materials-project"
    say("No Materials Project key (MP_API_KEY): building the embedded crystals instead (--source prototypes).")
    return "prototypes"

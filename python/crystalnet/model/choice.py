"""Which network answers for a cell: the user's, or the package's."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from crystalnet.crystal.systems import system_named
from crystalnet.model.checkpoint import Model, load_model, shipped_model
from crystalnet.records import InputError

Models = str | Path | Mapping[str, str | Path] | None  # one file, files by crystal system, or the package's


def model_for(system: str, files: Models = None) -> Model:
    """The network for a crystal system: the user's, or the package's where he has none for it.

    InputError where the user's only file is of another system.
    """
    if isinstance(files, Mapping):
        return _loaded_file(Path(files[system]) if system in files else shipped_model(system))
    if files is None:
        return _loaded_file(shipped_model(system))
    model = _loaded_file(Path(files))
    if model.config.system != system:
        raise InputError(
            f"--model {files}: is of the {model.config.system} system, but the cell is {system}; leave --model out,"
            " or give one of that system"
        )
    return model


def check_models(files: Models, system: str) -> None:
    """InputError where the user's only file cannot be loaded, or is of another system than the one asked for."""
    if files is not None and not isinstance(files, Mapping):
        model_for(_loaded_file(Path(files)).config.system if system == "auto" else system, files)


def has_model(system: str, files: Models = None) -> bool:
    """Whether there is a network for cells of a crystal system."""
    if isinstance(files, Mapping) and system in files:
        return True
    if files is None or isinstance(files, Mapping):
        return system_named(system).learnt
    return _loaded_file(Path(files)).config.system == system


def _loaded_file(path: Path) -> Model:
    return _loaded(path, path.stat().st_mtime_ns) if path.is_file() else load_model(path)


@lru_cache(maxsize=4)  # reading one takes as long as indexing a pattern; a batch meets two
def _loaded(path: Path, changed: int) -> Model:
    return load_model(path)


def model_entry(model: Model | None) -> dict[str, Any]:
    return {"file": model.file, "sha256": model.sha256} if model else {"file": None, "sha256": None}

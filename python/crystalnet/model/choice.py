"""Which network answers for a cell: the user's, or the package's."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystalnet.crystal.systems import system_named
from crystalnet.records import InputError
from crystalnet.runtime.whole_file import file_sha256

if TYPE_CHECKING:
    from crystalnet.model.checkpoint import Model

Models = str | Path | Mapping[str, str | Path] | None  # one file, files by crystal system, or the package's


def model_file(system: str, files: Models = None) -> Path:
    """The file of the network for a crystal system: the user's, or the package's where he has none for it."""
    if isinstance(files, Mapping):
        return Path(files[system]) if system in files else shipped_model(system)
    return shipped_model(system) if files is None else Path(files)


def model_for(system: str, files: Models = None) -> Model:
    """The network of `model_file`. InputError where the user's only file is of another system."""
    model = _loaded_file(model_file(system, files))
    if files is not None and not isinstance(files, Mapping) and model.config.system != system:
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


def shipped_model(system: str) -> Path:
    """The package's model of a crystal system. InputError where none is shipped."""
    path = Path(str(resources.files("crystalnet").joinpath("models", f"{system}.safetensors")))
    if not path.is_file():
        raise InputError(
            f"no model for the {system} system in this package; train one: crystalnet train --system {system}"
        )
    return path


def _loaded_file(path: Path) -> Model:
    return _loaded(path, _changed(path))


@lru_cache(maxsize=4)  # reading one takes as long as indexing a pattern; a batch meets two
def _loaded(path: Path, changed: int) -> Model:
    from crystalnet.model.checkpoint import load_model  # here: torch takes a second to import

    return load_model(path)


def model_entry(file: Path | None) -> dict[str, Any]:
    """What solution.json says of the network."""
    if file is None:
        return {"file": None, "sha256": None}
    return {"file": file.name, "sha256": _hash(file, _changed(file))}


@lru_cache(maxsize=4)
def _hash(path: Path, changed: int) -> str:
    return file_sha256(path)


def _changed(path: Path) -> int:
    return path.stat().st_mtime_ns if path.is_file() else 0

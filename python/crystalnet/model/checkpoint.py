"""Models on disk: safetensors weights with their configuration and history as JSON in the header. No pickles.

A shipped model is one file, `NAME.safetensors`; a run's `last.safetensors` also holds the optimiser, the weight
average and the generator, so that training goes on as if it had never stopped.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from crystalnet.model.base import CrystalNetwork
from crystalnet.model.config import Config
from crystalnet.model.network import build_network
from crystalnet.records import InputError, short_reason
from crystalnet.runtime.whole_file import file_sha256, replacing


@dataclass(frozen=True)
class Model:
    """A network ready to use, and where it came from."""

    network: CrystalNetwork
    config: Config
    about: dict[str, Any]
    file: str
    sha256: str


def save_tensors(path: Path, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    """Write the tensors with `about` in the header, whole or not at all."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as partial:
        save_file(contiguous, partial, metadata={"crystalnet": json.dumps(about)})


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header of a file written by `save_tensors`. InputError where it is something else."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise InputError(f"{path}: no such model file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        about = json.loads(metadata["crystalnet"])
    except KeyError:
        raise InputError(f"{path}: not a CrystalNet model (a safetensors file of another program)") from None
    except (SafetensorError, OSError, ValueError, RuntimeError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: not a CrystalNet model ({short_reason(error)}){_looks_like(path)}") from None
    if not isinstance(about, dict):
        raise InputError(f"{path}: not a CrystalNet model (its header is no description of one)")
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise InputError(
                f"{path}: {name} holds values that are not finite: the file is damaged, or its training diverged"
            )
    return tensors, about


def _looks_like(path: Path) -> str:
    """A hint at what a file may be instead."""
    with path.open("rb") as file:
        head = file.read(4)
    if head.startswith((b"PK", b"\x80")):
        return "; it looks like a pickle of torch.save, which could run any program and is never opened"
    return ""


def config_of(path: Path, values: Any) -> Config:
    """The configuration in a file's header. InputError where it is none."""
    try:
        return Config.from_dict(values)
    except (InputError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: {short_reason(error)}") from None


def save_model(path: Path, weights: dict[str, Tensor], config: Config, about: dict[str, Any]) -> None:
    """Weights for use, as bfloat16 where that loses nothing that matters (matrices), float32 elsewhere."""
    small = {k: v.to(torch.bfloat16) if v.dim() > 1 and v.is_floating_point() else v for k, v in weights.items()}
    save_tensors(path, small, {"config": config.to_dict(), **about})


def load_model(path: Path, system: str | None = None) -> Model:
    """A model file as a network in evaluation mode. InputError where it is none, or not of the crystal system given."""
    tensors, about = load_tensors(path)
    config = config_of(path, about.pop("config", None))
    if system is not None and config.system != system:
        raise InputError(f"{path}: a model of the {config.system} system, not the {system} one")
    _refuse_absurd(path, config, tensors)
    network = build_network(config)
    own = network.state_dict()
    try:
        network.load_state_dict({name: tensors[name].to(own[name].dtype) for name in own})
    except KeyError as error:
        raise InputError(f"{path}: the weights do not fit their configuration (without {error.args[0]})") from None
    except RuntimeError as error:
        raise InputError(f"{path}: the weights do not fit their configuration ({short_reason(error)})") from None
    return Model(network.eval(), config, about, path.name, file_sha256(path))


def _refuse_absurd(path: Path, config: Config, tensors: dict[str, Tensor]) -> None:
    """InputError for settings that the file's tensors cannot have, before a network of their size is made."""
    model = config.model
    largest = max((size for tensor in tensors.values() for size in tensor.shape), default=0)
    most = {"latent": largest, "width": largest, "frequencies": largest, "layers": len(tensors), "max_frequency": 64.0}
    for name, limit in most.items():
        value = getattr(model, name)
        whole = type(value) is int or (name == "max_frequency" and type(value) is float)
        if not whole or not 0 < value <= limit:  # NaN fails too
            raise InputError(f"{path}: the weights do not fit their configuration (model setting {name} = {value!r})")

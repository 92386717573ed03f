"""Models on disk: safetensors weights with their configuration and history as JSON in the header. No pickles.

A shipped model is one file, `NAME.safetensors`; a run's `last.safetensors` also holds the optimiser, the weight
average and the generator, so that training goes on as if it had never stopped.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from crystalnet.config import Config
from crystalnet.model.network import CrystalNetwork, build_network
from crystalnet.records import InputError
from crystalnet.whole_file import replacing


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

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        return tensors, json.loads(metadata["crystalnet"])
    except FileNotFoundError:
        raise InputError(f"{path}: no such model file") from None
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise InputError(f"{path}: not a CrystalNet model ({error})") from None


def save_model(path: Path, weights: dict[str, Tensor], config: Config, about: dict[str, Any]) -> None:
    """Weights for use, as bfloat16 where that loses nothing that matters (matrices), float32 elsewhere."""
    small = {k: v.to(torch.bfloat16) if v.dim() > 1 and v.is_floating_point() else v for k, v in weights.items()}
    save_tensors(path, small, {"config": config.to_dict(), **about})


def load_model(path: Path) -> Model:
    """A model file as a network in evaluation mode."""
    tensors, about = load_tensors(path)
    config = Config.from_dict(about.pop("config", {}))
    network = build_network(config)
    own = network.state_dict()
    try:
        network.load_state_dict({name: tensors[name].to(own[name].dtype) for name in own})
    except (KeyError, RuntimeError) as error:
        raise InputError(f"{path}: the weights do not fit their configuration ({error})") from None
    return Model(network.eval(), config, about, path.name, sha256(path.read_bytes()).hexdigest())


def shipped_model(system: str) -> Path:
    """The package's model of a crystal system. InputError where none is shipped."""
    path = Path(str(files("crystalnet").joinpath("models", f"{system}.safetensors")))
    if not path.is_file():
        raise InputError(
            f"no model for the {system} system in this package; train one: crystalnet train --system {system}"
        )
    return path

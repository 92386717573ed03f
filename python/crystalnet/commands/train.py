"""`crystalnet train`: defaults filled in, a data set made where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from crystalnet.commands.progress import bar, training_bar

if TYPE_CHECKING:
    from crystalnet.model.config import Config


def train_default(
    system: str,
    preset: str,
    data: Path | None,
    out: Path | None,
    resume: bool,
    max_minutes: float | None,
    device: str,
    devices: int,
    seed: int,
) -> Path:
    """`crystalnet train`: fill in the defaults, make the embedded data set where there is none, train with a bar."""
    from dataclasses import replace
    from functools import partial

    from crystalnet.model import config
    from crystalnet.records import InputError

    settings = config.preset(preset, system)
    settings = replace(settings, train=replace(settings.train, seed=seed))
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"--device {device!r}: choose one of auto, cpu, cuda")

    import torch  # seconds, which a mistyped option should not cost

    from crystalnet.training.team import together
    from crystalnet.training.train import MODEL, check_devices

    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: torch sees no CUDA device here; use --device cpu")
    chosen = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    if chosen == "cuda" and devices > torch.cuda.device_count():
        raise InputError(f"--devices {devices}: torch sees {torch.cuda.device_count()} CUDA devices here")
    check_devices(settings, chosen, devices)
    run = out or Path("runs") / f"{system}-{preset}"
    together(partial(train_here, settings, data, run, resume, max_minutes), chosen, devices)
    return run / MODEL


def train_here(
    settings: Config, data: Path | None, out: Path, resume: bool, max_minutes: float | None, device: str
) -> None:
    """One process's part in training: the first on its machine makes what data set and features lack."""
    from crystalnet.data.dataset import CrystalDataset
    from crystalnet.data.fetch import fetch_prototypes
    from crystalnet.runtime.settings import default_directory
    from crystalnet.runtime.whole_folder import heal
    from crystalnet.training.team import first_on_this_machine
    from crystalnet.training.train import train

    directory = data or default_directory(settings.system)
    with first_on_this_machine():
        heal(directory)
        if data is None and not (directory / "manifest.json").is_file():
            with bar("crystals") as progress:
                fetch_prototypes(settings.system, directory, progress=progress)
        with bar("features") as featurising:
            dataset = CrystalDataset(directory, progress=featurising)
    with training_bar(max_minutes) as show:
        train(settings, dataset, out, resume=resume, max_minutes=max_minutes, device=device, progress=show)

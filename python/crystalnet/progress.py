"""What long work shows: rich progress bars on stderr, with ETA. A bar appears with the first step, not before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crystalnet.config import Config
    from crystalnet.train import Report


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar; call what it yields with (done, total)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    display = Progress(*columns, console=Console(stderr=True))
    task = display.add_task(what, total=None)

    def show(done: int, total: int) -> None:
        display.start()
        display.update(task, completed=done, total=total)

    try:
        yield show
    finally:
        display.stop()


@contextmanager
def training_bar(max_minutes: float | None) -> Iterator[Callable[[Report], None]]:
    """A progress bar for training: by time where minutes are given, by steps otherwise."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("step {task.fields[step]}"),
        BarColumn(),
        TextColumn("loss {task.fields[loss]:.4f}  SSIM {task.fields[ssim]}"),
        TextColumn("{task.fields[rate]:,.0f} points/s  MFU {task.fields[mfu]:.0%}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    display = Progress(*columns, console=Console(stderr=True))
    task = display.add_task("", total=None, step=0, loss=float("nan"), ssim="…", rate=0.0, mfu=0.0)

    def show(report: Report) -> None:
        display.start()
        display.update(
            task,
            completed=report.step if max_minutes is None else report.seconds,
            total=report.steps if max_minutes is None else 60 * max_minutes,
            step=report.step,
            loss=report.loss,
            rate=report.points_per_second,
            mfu=report.mfu,
            ssim=f"{report.ssim:.3f}" if report.ssim >= 0 else "…",
        )

    try:
        yield show
    finally:
        display.stop()


@contextmanager
def stages(label: str) -> Iterator[Callable[[str], None]]:
    """A spinner that names the stage at work."""
    from rich.console import Console

    console = Console(stderr=True)
    with console.status(label) as status:
        yield lambda stage: status.update(f"{label}: {stage}")


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

    import torch

    from crystalnet import config
    from crystalnet.processes import together
    from crystalnet.records import InputError
    from crystalnet.train import MODEL, check_devices

    settings = config.preset(preset, system)
    settings = replace(settings, train=replace(settings.train, seed=seed))
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"--device {device!r}: choose one of auto, cpu, cuda")
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
    from crystalnet.data.fetch import default_directory, fetch_prototypes
    from crystalnet.processes import first_on_this_machine
    from crystalnet.train import train
    from crystalnet.whole_folder import heal

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

"""What long work shows: rich progress bars on stderr, with ETA. A bar appears with the first step, not before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
        TextColumn("loss {task.fields[loss]:.4f}  SSIM {task.fields[ssim]}  {task.fields[rate]:,.0f} points/s"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    display = Progress(*columns, console=Console(stderr=True))
    task = display.add_task("", total=None, step=0, loss=float("nan"), ssim="…", rate=0.0)

    def show(report: Report) -> None:
        display.start()
        display.update(
            task,
            completed=report.step if max_minutes is None else report.seconds,
            total=report.steps if max_minutes is None else 60 * max_minutes,
            step=report.step,
            loss=report.loss,
            rate=report.points_per_second,
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

    import torch

    from crystalnet import config
    from crystalnet.data.fetch import default_directory, fetch_prototypes
    from crystalnet.records import InputError
    from crystalnet.train import train

    settings = config.preset(preset, system)
    settings = replace(settings, train=replace(settings.train, seed=seed))
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"--device {device!r}: choose one of auto, cpu, cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: torch sees no CUDA device here; use --device cpu")
    if devices > 1:
        raise InputError("--devices: one device at a time for now; start with --devices 1")
    chosen = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    directory = data or default_directory(system)
    if data is None and not (directory / "manifest.json").is_file():
        with bar("crystals") as progress:
            fetch_prototypes(system, directory, progress=progress)
    run = out or Path("runs") / f"{system}-{preset}"
    with bar("features") as featurising:
        from crystalnet.data.dataset import CrystalDataset

        dataset = CrystalDataset(directory, progress=featurising)
    with training_bar(max_minutes) as show:
        return train(settings, dataset, run, resume=resume, max_minutes=max_minutes, device=chosen, progress=show)

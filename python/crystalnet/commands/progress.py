"""What long work shows: rich progress bars on stderr, with ETA. A bar appears with the first step, not before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from crystalnet.runtime.log import is_quiet

if TYPE_CHECKING:
    from crystalnet.training.log import Report


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar; call what it yields with (done, total)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    display = Progress(*columns, console=Console(stderr=True, quiet=is_quiet()))
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
    display = Progress(*columns, console=Console(stderr=True, quiet=is_quiet()))
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

    console = Console(stderr=True, quiet=is_quiet())
    with console.status(label) as status:
        yield lambda stage: status.update(f"{label}: {stage}")

"""The log of a training run, and what its progress bar shows."""

from __future__ import annotations

import csv
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crystalnet.runtime.whole_file import begins_with, replacing

COLUMNS = ("step", "seconds", "loss", "learning_rate", "points_per_second", "mfu", "ssim")
ROW_SECONDS = 10  # between two rows


def is_own_log(out: Path) -> bool:
    """Whether log.csv in a run's folder is absent or a training log."""
    path = out / "log.csv"
    return not os.path.lexists(path) or (path.is_file() and begins_with(",".join(COLUMNS))(path))


class TrainingLog:
    """A row every ROW_SECONDS and for every validation: the mean loss since the row before, the rest as it is.

    ssim is empty where nothing was validated; points_per_second and mfu are means since the run was started or resumed.
    """

    def __init__(self, out: Path, step: int) -> None:
        """Go on after a step; rows that a killed run wrote beyond its checkpoint are dropped, for they come again."""
        out.mkdir(parents=True, exist_ok=True)
        self.path, self.losses, self.written = out / "log.csv", list[float](), -math.inf
        rows: list[dict[str, Any]] = []
        if step and self.path.exists():
            with self.path.open(newline="") as file:
                rows = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
        with replacing(self.path) as partial, partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
        self.board = _tensorboard(out / "tensorboard", step)

    def add(self, report: Report, ssim: float | None) -> None:
        """A step, and the score of the validation that followed it, if one did."""
        self.losses.append(report.loss)
        if ssim is None and report.seconds - self.written < ROW_SECONDS:
            return
        row: dict[str, Any] = {name: getattr(report, name) for name in COLUMNS}
        row |= {"loss": sum(self.losses) / len(self.losses), "ssim": "" if ssim is None else ssim}
        self.losses, self.written = [], report.seconds
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, COLUMNS).writerow(row)
        if self.board is not None:
            for name, value in row.items():
                if name != "step" and value != "":
                    self.board.add_scalar(name, value, report.step)

    def close(self) -> None:
        if self.board is not None:
            self.board.close()


def _tensorboard(folder: Path, step: int) -> Any:
    """A writer that hides what a killed run wrote beyond its checkpoint, or None where tensorboard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(folder, purge_step=step + 1)


@dataclass(frozen=True)
class Report:
    """What the progress bar shows. steps: of the whole schedule, None where time decides; ssim: the best so far."""

    step: int
    steps: int | None
    seconds: float
    loss: float
    learning_rate: float
    points_per_second: float
    mfu: float
    ssim: float

"""Training: data set → features → steps → checkpoints → model file. Read `train` top to bottom."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

from crystalnet import __version__
from crystalnet.data.dataset import CrystalDataset
from crystalnet.model.checkpoint import load_tensors, save_model
from crystalnet.model.config import Config
from crystalnet.records import InputError
from crystalnet.runtime.whole_folder import claimed
from crystalnet.training.batches import crystals_of_step, draw_inputs
from crystalnet.training.log import Report, TrainingLog, is_own_log
from crystalnet.training.run import Run
from crystalnet.training.speed import Speed
from crystalnet.training.team import Interrupts, deferred_interrupts, team
from crystalnet.training.validation import ORACLE_GUESSES, VALIDATION_CRYSTALS, validate

SAVE_SECONDS = 180  # a checkpoint at least this often: what a kill costs
VALIDATION_SECONDS = 300  # between validations of short-epoch runs
VALIDATION_SHARE = 0.1  # of --max-minutes, that one validation may take; the paper's takes minutes on a processor
VALIDATION_MARGIN = 1.3  # its time is foreseen from that of the steps, whose arithmetic is another
LAST, MODEL = "last.safetensors", "model.safetensors"


def train(
    config: Config,
    dataset: CrystalDataset,
    out: Path,
    *,
    resume: bool = False,
    start_from: Path | None = None,
    max_minutes: float | None = None,
    device: str = "cpu",
    progress: Callable[[Report], None] = lambda report: None,
) -> Path:
    """Train a network on a data set; returns the model file (best validation SSIM).

    start_from: a model file whose weights a new run begins with where they fit (another system's, say).
    With max_minutes the learning rate anneals to that time, the last validation included, instead of to the preset's
    epochs. SIGINT and SIGTERM stop the run after the step, or within the validation, that is at work; it is saved.
    In a process group of torch.distributed all processes call this alike, each with its device; the first one writes.
    """
    settings, members = config.train, team()
    check_devices(config, device, members.size)
    if not len(dataset.train):
        raise InputError(f"no crystal in the training split; fetch more than {len(dataset)}")
    if dataset.manifest.get("system", config.system) != config.system:
        raise InputError(f"the data set is {dataset.manifest['system']}, not {config.system}; give another --data")
    run = Run(config, device, math.ceil(len(dataset.train) / settings.batch), max_minutes, members)
    about = {"crystalnet": __version__, "data": {k: v for k, v in dataset.manifest.items() if k != "sha256"}}
    if start_from is not None:
        run.start_from(start_from)
    first = members.rank == 0
    with claimed(out) if first else nullcontext():
        refuse_foreign_run(out, resume)
        if resume:
            run.load(out / LAST)
        try:
            with closing(TrainingLog(out, run.state.step)) if first else nullcontext() as log:
                _loop(run, dataset, out, about, progress, log)
        except KeyboardInterrupt:  # which comes between two steps
            if first:
                run.save(out / LAST)
            raise
    return out / MODEL


def refuse_foreign_run(out: Path, resume: bool) -> None:
    """InputError where a run in this folder would write over another one, or over files of the user's."""
    if not resume and (out / LAST).exists():
        raise InputError(f"{out}: holds a training run already; add --resume to go on, or choose another --out")
    if not resume and os.path.lexists(out / MODEL):
        raise InputError(f"{out}: holds {MODEL} already, and no run to go on with; choose another --out")
    if os.path.lexists(out / MODEL):
        load_tensors(out / MODEL)
    if not is_own_log(out):
        raise InputError(f"{out}: log.csv there is not a training log; move it away, or choose another --out")


def check_devices(config: Config, device: str, count: int) -> None:
    """InputError where that many processes could not train a preset as one does."""
    if config.train.batch % count:
        raise InputError(f"--devices {count}: does not divide preset {config.preset}'s batch of {config.train.batch}")
    if count > 1 and config.model.architecture == "paper" and device == "cpu":
        raise InputError(
            f"--devices {count}: preset {config.preset} has BatchNorm over the whole batch, which torch offers across "
            "GPUs, not across CPU processes; use --devices 1"
        )


def _loop(
    run: Run,
    dataset: CrystalDataset,
    out: Path,
    about: dict[str, Any],
    progress: Callable[[Report], None],
    log: TrainingLog | None,
) -> None:
    """Steps, validations and checkpoints until the schedule ends; processes without a log do the steps only."""
    config, settings, state = run.config, run.settings, run.state
    speed, before = Speed(run), state.seconds
    started = saved = validated = time.monotonic()
    with deferred_interrupts() as interrupted:
        while not (run.finished and state.validated):
            began, rate = time.monotonic(), run.learning_rate()
            if not run.finished:  # else the run was interrupted in its last validation
                draws = run.draws()
                chosen = crystals_of_step(dataset, settings, state.step, run.steps_per_epoch)
                state.loss = run.one_step(draw_inputs(dataset, chosen, config, draws, run.team.share), draws)
                speed.add(time.monotonic() - began)
            now = time.monotonic()
            crystals, reserve = _affordable(run, speed)
            here = before + now - started, interrupted(), now - validated > VALIDATION_SECONDS, reserve
            state.seconds, stop, late, state.reserve = run.team.as_first(*here)
            due = run.finished or bool(late and state.step % run.steps_per_epoch == 0)
            ssim: float | None = None
            if log is not None and (due or stop or now - saved > SAVE_SECONDS):
                run.save(out / LAST)
                saved = now
            if due and not stop:
                until = None if run.max_seconds is None else started + run.max_seconds - before
                score = _score(run, dataset, interrupted, crystals, until) if log is not None else None
                validated = time.monotonic()
                stop, ssim, state.seconds = run.team.as_first(score is None, score or 0.0, before + validated - started)
                if not stop:
                    done = {"step": state.step, "seconds": state.seconds, "loss": state.loss, "ssim": ssim}
                    state.history.append(done)
            if log is not None:
                if ssim is not None and not stop:
                    if ssim >= state.best_ssim:
                        state.best_ssim = ssim
                        save_model(out / MODEL, run.weights(), config, about | run.summary())
                    run.save(out / LAST)  # once more: it holds the score now
                points, mfu = speed.points_per_second, speed.utilisation
                report = Report(state.step, run.steps, state.seconds, state.loss, rate, points, mfu, state.best_ssim)
                log.add(report, None if stop else ssim)
                progress(report)
            if stop:
                raise KeyboardInterrupt


def _affordable(run: Run, speed: Speed) -> tuple[int, float]:
    """Crystals that a validation takes, and the seconds that the clock of a run leaves for the last one."""
    if run.max_seconds is None:
        return VALIDATION_CRYSTALS, 0.0
    each = VALIDATION_MARGIN * (ORACLE_GUESSES if run.config.preset == "paper" else 1) * speed.seconds_of_map()
    within = VALIDATION_SHARE * run.max_seconds
    if not each:  # before the first step of a resumed run
        return VALIDATION_CRYSTALS, run.state.reserve
    crystals = min(VALIDATION_CRYSTALS, max(1, int(within / each)))
    return crystals, crystals * each


def _score(
    run: Run, dataset: CrystalDataset, interrupted: Interrupts, crystals: int, until: float | None
) -> float | None:
    """Mean SSIM of the validation crystals; None where a signal came meanwhile. The run has been saved before."""
    limits: dict[str, Any] = {} if until is None else {"crystals": crystals, "until": until}
    try:
        with interrupted.at_once():
            return validate(run.averaged_network(), dataset, oracle=run.config.preset == "paper", **limits)
    except KeyboardInterrupt:
        return None

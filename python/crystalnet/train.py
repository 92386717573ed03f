"""Training: data set → features → steps → checkpoints → model file. Read `train` top to bottom."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crystalnet import __version__
from crystalnet.checkpoint import load_tensors, save_model
from crystalnet.config import Config, TrainConfig
from crystalnet.data.augment import measured_view, paper_augmentation, told_composition
from crystalnet.data.dataset import CrystalDataset
from crystalnet.engine import Inputs, Run, Speed
from crystalnet.model.inputs import LEVELS
from crystalnet.model.network import CrystalNetwork
from crystalnet.ops.sampling import stratified_sample
from crystalnet.ops.ssim import ssim3d_rotations
from crystalnet.processes import Interrupts, deferred_interrupts, team
from crystalnet.records import InputError
from crystalnet.training_log import TrainingLog, is_own_log
from crystalnet.whole_folder import claimed

SAVE_SECONDS = 180  # a checkpoint at least this often: what a kill costs
UNKNOWN_CELL = 0.03  # of the crystals: the network must answer, from the chemistry alone, where indexing failed
VALIDATION_SECONDS = 300  # between validations of short-epoch runs
VALIDATION_CRYSTALS = 24  # enough to tell 0.01 SSIM apart between checkpoints of one run
VALIDATION_SHARE = 0.1  # of --max-minutes, that one validation may take; the paper's takes minutes on a processor
VALIDATION_MARGIN = 1.3  # its time is foreseen from that of the steps, whose arithmetic is another
ORACLE_GUESSES = 2  # samples that the paper's validation takes the best of
LAST, MODEL = "last.safetensors", "model.safetensors"


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
                chosen = _batch(dataset, settings, state.step, run.steps_per_epoch)
                state.loss = run.one_step(draw_inputs(dataset, chosen, config, draws, run.team.share), draws)
                speed.add(time.monotonic() - began)
            now = time.monotonic()
            crystals, reserve = _affordable(run, speed)
            told = before + now - started, interrupted(), now - validated > VALIDATION_SECONDS, reserve
            state.seconds, stop, late, state.reserve = run.team.as_first(*told)
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
                        save_model(out / MODEL, run.average or run.network.state_dict(), config, about | run.summary())
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


def _batch(dataset: CrystalDataset, settings: TrainConfig, step: int, steps_per_epoch: int) -> np.ndarray:
    """Crystals of a step: each epoch is its own seeded permutation, so that a resumed run needs no memory of it."""
    epoch, position = divmod(step, steps_per_epoch)
    order = np.random.default_rng((settings.seed, epoch)).permutation(dataset.train)
    chosen = order[position * settings.batch : (position + 1) * settings.batch]
    # BatchNorm and steady step times want full batches: the last one of an epoch is filled from its beginning.
    return np.resize(np.concatenate([chosen, order]), settings.batch) if len(chosen) < settings.batch else chosen


def draw_inputs(
    dataset: CrystalDataset,
    chosen: np.ndarray,
    config: Config,
    generator: torch.Generator,
    share: slice = slice(None),
) -> Inputs:
    """What a step learns from, of those crystals of a batch that are this process's share.

    All that is random is drawn for the whole batch, so that it does not depend on who takes which share.
    The paper's preset draws points for each crystal and takes the nearest voxel's density; ours moves the points onto
    their voxels, so that the density is exact, and shares them, so that the position branch runs once a step.
    """
    settings = config.train
    pattern, lattice, fractions = dataset.inputs(chosen)
    lattice = lattice * (torch.rand(len(chosen), 1, 1, generator=generator) >= UNKNOWN_CELL)
    composition, level = told_composition(fractions, settings.levels, generator)
    own_points = config.model.architecture == "paper"
    if own_points:
        pattern, composition = paper_augmentation(pattern, composition, generator)
        mask = torch.ones_like(pattern)
    else:
        pattern, mask = measured_view(pattern, settings.measured_like, generator)
    seed = int(torch.randint(2**63 - 1, (), generator=generator))
    points, truth = stratified_sample(
        dataset.maps,
        torch.from_numpy(chosen[share]),
        settings.samples,
        seed,
        "nearest" if own_points else "voxel",
        not own_points,
    )
    return Inputs(pattern[share], mask[share], lattice[share], composition[share], level[share], points, truth)


@torch.no_grad()
def validate(
    network: CrystalNetwork,
    dataset: CrystalDataset,
    oracle: bool = False,
    crystals: int = VALIDATION_CRYSTALS,
    until: float | None = None,
) -> float:
    """Mean SSIM of validation crystals, formula given: guess 1 unrotated; oracle: best of 2 samples × 24 rotations.

    crystals: so many at most. until: on time.monotonic's clock, when no further crystal is begun after the first.
    """
    some = dataset.validation if len(dataset.validation) else dataset.train
    chosen = some[:: max(1, len(some) // crystals)][:crystals]
    device = next(network.parameters()).device
    pattern, lattice, fractions = (t.to(device) for t in dataset.inputs(chosen))
    level = torch.full((len(chosen),), LEVELS.index("formula"), device=device)
    scores: list[float] = []
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cpu"):
        latents = network.encode(pattern, torch.ones_like(pattern), lattice, fractions, level)
        generator = torch.Generator(device).manual_seed(0)
        draws = [latents.sample(generator) for _ in range(ORACLE_GUESSES)] if oracle else [latents.mean()]
        for index, latent in zip(chosen, torch.stack(draws, dim=1), strict=True):  # (draws, 2L) of a crystal
            if scores and until is not None and time.monotonic() > until:
                break
            guesses = torch.cat([network.density_grid(z[None]) for z in latent])
            truth = torch.from_numpy(dataset.density(index)).to(device)
            ssim, _ = ssim3d_rotations(truth, guesses, 24 if oracle else 1)
            scores.append(ssim.max().item())
    return float(np.mean(scores))

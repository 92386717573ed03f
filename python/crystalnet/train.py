"""Training: data set → features → steps → checkpoints → model file. Read `train` top to bottom."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crystalnet import __version__
from crystalnet.checkpoint import save_model
from crystalnet.config import Config, TrainConfig
from crystalnet.data.augment import measured_view, paper_augmentation, told_composition
from crystalnet.data.dataset import CrystalDataset
from crystalnet.engine import Inputs, Run, Speed
from crystalnet.model.inputs import LEVELS
from crystalnet.model.network import CrystalNetwork
from crystalnet.ops.sampling import stratified_sample
from crystalnet.ops.ssim import ssim3d_rotations
from crystalnet.processes import deferred_interrupts, team
from crystalnet.records import InputError
from crystalnet.training_log import TrainingLog

SAVE_SECONDS = 180  # a checkpoint at least this often: what a kill costs
UNKNOWN_CELL = 0.03  # of the crystals: the network must answer, from the chemistry alone, where indexing failed
VALIDATION_SECONDS = 300  # between validations of short-epoch runs
VALIDATION_CRYSTALS = 24  # enough to tell 0.01 SSIM apart between checkpoints of one run
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
    With max_minutes the learning rate anneals to that time instead of to the preset's epochs.
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
    if resume:
        run.load(out / LAST)
    elif (out / LAST).exists():
        raise InputError(f"{out}: holds a training run already; add --resume to go on, or choose another --out")

    first = members.rank == 0
    try:
        with closing(TrainingLog(out, run.state.step)) if first else nullcontext() as log:
            _loop(run, dataset, out, about, progress, log)
    except KeyboardInterrupt:  # which comes between two steps
        if first:
            run.save(out / LAST)
        raise
    return out / MODEL


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
        while not run.finished:
            began, rate, draws = time.monotonic(), run.learning_rate(), run.draws()
            chosen = _batch(dataset, settings, state.step, run.steps_per_epoch)
            loss = run.one_step(draw_inputs(dataset, chosen, config, draws, run.team.share), draws)
            now = time.monotonic()
            speed.add(now - began)
            state.seconds, stop = run.team.as_first(before + now - started, interrupted())
            if log is not None:
                ssim = None
                end_of_epoch = state.step % run.steps_per_epoch == 0
                if run.finished or (end_of_epoch and now - validated > VALIDATION_SECONDS):
                    ssim = validate(run.averaged_network(), dataset, oracle=config.preset == "paper")
                    state.history.append({"step": state.step, "seconds": state.seconds, "loss": loss, "ssim": ssim})
                    if ssim >= state.best_ssim:
                        state.best_ssim = ssim
                        save_model(out / MODEL, run.average or run.network.state_dict(), config, about | run.summary())
                    validated = time.monotonic()
                points, mfu = speed.points_per_second, speed.utilisation
                report = Report(state.step, run.steps, state.seconds, loss, rate, points, mfu, state.best_ssim)
                log.add(report, ssim)
                if run.finished or now - saved > SAVE_SECONDS:
                    run.save(out / LAST)
                    saved = now
                progress(report)
            if stop and not run.finished:
                raise KeyboardInterrupt


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
def validate(network: CrystalNetwork, dataset: CrystalDataset, oracle: bool = False) -> float:
    """Mean SSIM of validation crystals, formula given: guess 1 unrotated; oracle: best of 2 samples × 24 rotations."""
    some = dataset.validation if len(dataset.validation) else dataset.train
    chosen = some[:: max(1, len(some) // VALIDATION_CRYSTALS)][:VALIDATION_CRYSTALS]
    device = next(network.parameters()).device
    pattern, lattice, fractions = (t.to(device) for t in dataset.inputs(chosen))
    level = torch.full((len(chosen),), LEVELS.index("formula"), device=device)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cpu"):
        latents = network.encode(pattern, torch.ones_like(pattern), lattice, fractions, level)
        generator = torch.Generator(device).manual_seed(0)
        draws = [latents.sample(generator) for _ in range(2)] if oracle else [latents.mean()]
        guesses = torch.stack([network.density_grid(z) for z in draws], dim=1)  # (B, draws, 50, 50, 50)
    truths = (torch.from_numpy(dataset.density(index)).to(device) for index in chosen)
    scores = (ssim3d_rotations(truth, guess, 24 if oracle else 1) for truth, guess in zip(truths, guesses, strict=True))
    return float(np.mean([ssim.max().item() for ssim, _ in scores]))

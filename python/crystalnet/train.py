"""Training: data set → features → steps → checkpoints → model file. Read `train` top to bottom."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crystalnet import __version__
from crystalnet.checkpoint import load_model, load_tensors, save_model, save_tensors
from crystalnet.config import Config, TrainConfig
from crystalnet.data.augment import measured_view, paper_augmentation, told_composition
from crystalnet.data.dataset import CrystalDataset
from crystalnet.model.inputs import LEVELS
from crystalnet.model.losses import kl, l1
from crystalnet.model.network import CrystalNetwork, Latents, build_network
from crystalnet.ops.sampling import stratified_sample
from crystalnet.ops.ssim import ssim3d_rotations
from crystalnet.records import InputError

SAVE_SECONDS = 180  # a checkpoint at least this often: what a kill costs
CHOICE_STRIDE = 4  # of the points, that choose the closest hypothesis: a quarter tells them apart
UNKNOWN_CELL = 0.03  # of the crystals: the network must answer, from the chemistry alone, where indexing failed
VALIDATION_SECONDS = 300  # between validations of short-epoch runs
VALIDATION_CRYSTALS = 24  # enough to tell 0.01 SSIM apart between checkpoints of one run
LAST, MODEL = "last.safetensors", "model.safetensors"


@dataclass
class State:
    """Where a run stands; everything that a resumed run needs beside the tensors."""

    step: int = 0
    seconds: float = 0.0
    best_ssim: float = -1.0
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Report:
    """What the progress bar shows."""

    step: int
    steps: int | None
    seconds: float
    loss: float
    points_per_second: float
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
    """
    settings = config.train
    if not len(dataset.train):
        raise InputError(f"no crystal in the training split; fetch more than {len(dataset)}")
    if dataset.manifest.get("system", config.system) != config.system:
        raise InputError(f"the data set is {dataset.manifest['system']}, not {config.system}; give another --data")
    run = _Run(config, device, steps_per_epoch=math.ceil(len(dataset.train) / settings.batch), max_minutes=max_minutes)
    about = {"crystalnet": __version__, "data": {k: v for k, v in dataset.manifest.items() if k != "sha256"}}
    if start_from is not None:
        about["started_from"] = run.start_from(start_from)
    if resume:
        run.load(out / LAST)
    elif (out / LAST).exists():
        raise InputError(f"{out}: holds a training run already; add --resume to go on, or choose another --out")

    try:
        _loop(run, dataset, out, about, progress)
    except KeyboardInterrupt:
        run.save(out / LAST)
        raise
    return out / MODEL


def _loop(
    run: _Run, dataset: CrystalDataset, out: Path, about: dict[str, Any], progress: Callable[[Report], None]
) -> None:
    """Steps, validations and checkpoints until the schedule ends."""
    config, settings = run.config, run.settings
    started, saved, validated = time.monotonic(), time.monotonic(), time.monotonic()
    before, first = run.state.seconds, run.state.step
    while not run.finished:
        loss = run.one_step(_batch(dataset, settings, run.state.step, run.steps_per_epoch), dataset)
        now = time.monotonic()
        run.state.seconds = before + now - started
        rate = (run.state.step - first) * settings.batch * settings.samples**3 / (now - started)
        progress(Report(run.state.step, run.steps, run.state.seconds, loss, rate, run.state.best_ssim))
        end_of_epoch = run.state.step % run.steps_per_epoch == 0
        if run.finished or (end_of_epoch and now - validated > VALIDATION_SECONDS):
            ssim = validate(run.averaged_network(), dataset, oracle=config.preset == "paper")
            run.state.history.append({"step": run.state.step, "seconds": run.state.seconds, "loss": loss, "ssim": ssim})
            if ssim >= run.state.best_ssim:
                run.state.best_ssim = ssim
                save_model(out / MODEL, run.average or run.network.state_dict(), config, about | run.summary())
            validated = time.monotonic()
        if run.finished or now - saved > SAVE_SECONDS:
            run.save(out / LAST)
            saved = now


def _batch(dataset: CrystalDataset, settings: TrainConfig, step: int, steps_per_epoch: int) -> np.ndarray:
    """Crystals of a step: each epoch is its own seeded permutation, so that a resumed run needs no memory of it."""
    epoch, position = divmod(step, steps_per_epoch)
    order = np.random.default_rng((settings.seed, epoch)).permutation(dataset.train)
    chosen = order[position * settings.batch : (position + 1) * settings.batch]
    # BatchNorm and steady step times want full batches: the last one of an epoch is filled from its beginning.
    return np.resize(np.concatenate([chosen, order]), settings.batch) if len(chosen) < settings.batch else chosen


class _Run:
    """Network, optimiser, average and generator of one run."""

    def __init__(self, config: Config, device: str, steps_per_epoch: int, max_minutes: float | None) -> None:
        self.config, self.settings, self.device = config, config.train, device
        self.steps_per_epoch, self.max_seconds = steps_per_epoch, None if max_minutes is None else 60 * max_minutes
        torch.manual_seed(self.settings.seed)
        self.network = build_network(config).to(device)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=self.settings.learning_rate, weight_decay=self.settings.weight_decay
        )
        self.generator = torch.Generator().manual_seed(self.settings.seed)
        self.average = (
            {k: v.detach().clone() for k, v in self.network.state_dict().items()} if self.settings.ema else {}
        )
        self.state = State()

    @property
    def steps(self) -> int | None:
        """Steps in the whole schedule; None where time decides."""
        return None if self.max_seconds is not None else self.settings.epochs * self.steps_per_epoch

    @property
    def finished(self) -> bool:
        if self.max_seconds is not None:
            return self.state.seconds >= self.max_seconds
        return self.state.step >= self.settings.epochs * self.steps_per_epoch

    def learning_rate(self) -> float:
        """Cosine annealing, with warm restarts where the preset has cycles (Loshchilov & Hutter 2016)."""
        s = self.settings
        if self.max_seconds is not None:
            phase = self.state.seconds / self.max_seconds
        else:
            epoch = self.state.step / self.steps_per_epoch
            start = 0.0
            for length in s.cycles or (s.epochs,):
                if epoch < start + length:
                    break
                start += length
            phase = (epoch - start) / length
        rate = s.final_rate + 0.5 * (s.learning_rate - s.final_rate) * (1 + math.cos(math.pi * min(phase, 1.0)))
        return rate * min(1.0, (self.state.step + 1) / max(s.warmup_steps, 1))

    def one_step(self, chosen: np.ndarray, dataset: CrystalDataset) -> float:
        """One optimiser step on a batch of crystals; returns the loss."""
        pattern, mask, lattice, composition, level, points, truth = (
            t.to(self.device) for t in draw_inputs(dataset, chosen, self.config, self.generator)
        )
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate()
        self.network.train()
        with torch.autocast(self.device.split(":")[0], dtype=torch.bfloat16, enabled=self.settings.bf16):
            latents = self.network.encode(pattern, mask, lattice, composition, level)
            z = self._latent_to_learn_from(latents, points, truth)
            predicted = self.network.decode(self.network.condition(z), points)
        loss = l1(predicted.float(), truth, self.settings.relative_loss) + self.settings.kl_weight * kl(latents)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        value = loss.item()
        if not math.isfinite(value):
            raise InputError(f"training diverged at step {self.state.step} (loss {value}); lower the learning rate")
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.state.step += 1
        self._update_average()
        return value

    def _latent_to_learn_from(self, latents: Latents, points: Tensor, truth: Tensor) -> Tensor:
        """(B, 2L): one sample a crystal, as published; with `hypotheses`, the mean for the first half of the batch and
        for the other half the sample whose density comes closest.

        Where a pattern leaves two descriptions open, a single sample under L1 learns their blur. Learning from the
        best of several lets the samples part (multiple choice learning, Guzman-Rivera et al. 2012), and the mean stays
        the best single answer.
        """
        count = self.settings.hypotheses
        if count < 2:
            return latents.sample()
        half = len(truth) // 2
        few = slice(None, None, CHOICE_STRIDE)
        with torch.no_grad():
            noise = torch.randn(count, len(truth) - half, latents.mean().shape[1], device=truth.device)
            errors = torch.stack(
                [
                    (self.network.decode(self.network.condition(latents.at(e, half)), points[few]) - truth[half:, few])
                    .abs()
                    .mean(dim=1)
                    for e in noise
                ]
            )
            closest = noise[errors.argmin(dim=0), torch.arange(len(truth) - half)]
        return torch.cat([latents.mean()[:half], latents.at(closest, half)])

    def _update_average(self) -> None:
        decay = min(self.settings.ema, (1 + self.state.step) / (10 + self.state.step))
        for name, value in self.network.state_dict().items():
            if name in self.average:
                mean = self.average[name]
                mean.lerp_(value, 1 - decay) if mean.is_floating_point() else mean.copy_(value)

    def averaged_network(self) -> CrystalNetwork:
        """The network to validate and ship: the weight average where there is one."""
        network = build_network(self.config).to(self.device)
        network.load_state_dict(self.average or self.network.state_dict())
        return network.eval()

    def summary(self) -> dict[str, Any]:
        """What the model file says of its training."""
        history = self.state.history[-1] if self.state.history else {}
        return {"step": self.state.step, "minutes": round(self.state.seconds / 60, 1), "validation": history}

    def start_from(self, path: Path) -> str:
        """Begin with those of a model's weights that fit (all but the pattern encoder's first layer, between systems);
        returns its SHA-256.
        """
        model = load_model(path)
        if model.config.model != self.config.model:
            raise InputError(f"{path}: its network has another shape than preset {self.config.preset}")
        own = self.network.state_dict()
        fitting = {k: v for k, v in model.network.state_dict().items() if v.shape == own[k].shape}
        self.network.load_state_dict(own | fitting)
        if self.average:
            self.average = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        return model.sha256

    def save(self, path: Path) -> None:
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.items()}
        for index, moments in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{k}": torch.as_tensor(v) for k, v in moments.items()}
        tensors["generator"] = self.generator.get_state()
        tensors["torch_generator"] = torch.get_rng_state()
        save_tensors(path, tensors, {"config": self.config.to_dict(), "state": vars(self.state)})

    def load(self, path: Path) -> None:
        tensors, about = load_tensors(path)
        if about["config"] != self.config.to_dict() and Config.from_dict(about["config"]) != self.config:
            raise InputError(f"{path}: made with other settings; resume with the same preset and system")
        self.state = State(**about["state"])
        self.network.load_state_dict(_under(tensors, "network."))
        self.average = _under(tensors, "average.")
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _under(tensors, "optimiser.").items():
            index, key = name.split(".")
            moments.setdefault(int(index), {})[key] = tensor
        self.optimiser.load_state_dict({"state": moments, "param_groups": self.optimiser.state_dict()["param_groups"]})
        self.generator.set_state(tensors["generator"])
        torch.set_rng_state(tensors["torch_generator"])


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def draw_inputs(
    dataset: CrystalDataset, chosen: np.ndarray, config: Config, generator: torch.Generator
) -> tuple[Tensor, ...]:
    """Pattern, mask, lattice, composition, level, points, densities of a batch.

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
        torch.from_numpy(chosen),
        settings.samples,
        seed,
        "nearest" if own_points else "voxel",
        not own_points,
    )
    return pattern, mask, lattice, composition, level, points, truth


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

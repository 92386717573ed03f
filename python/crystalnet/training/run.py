"""A training run's moving parts: network, optimiser, schedule, weight average, checkpoint."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from crystalnet.model.base import CrystalNetwork, Latents
from crystalnet.model.checkpoint import config_of, load_model, load_tensors, save_tensors
from crystalnet.model.config import Config
from crystalnet.model.losses import kl, l1
from crystalnet.model.network import build_network
from crystalnet.records import InputError, short_reason
from crystalnet.training.batches import Inputs
from crystalnet.training.team import Team

CHOICE_STRIDE = 4  # of the points, that choose the closest hypothesis: a quarter tells them apart
GRADIENT_NORM = 1.0  # clipped to


@dataclass
class State:
    """Where a run stands; everything that a resumed run needs beside the tensors."""

    step: int = 0
    seconds: float = 0.0
    best_ssim: float = -1.0
    history: list[dict[str, float]] = field(default_factory=list)
    started_from: str | None = None  # SHA-256 of the model whose weights the run began with
    loss: float = 0.0  # of the last step
    reserve: float = 0.0  # seconds of --max-minutes that the last validation is expected to take

    @property
    def validated(self) -> bool:
        """Whether the weights as they are have been validated."""
        return bool(self.history) and self.history[-1]["step"] == self.step


class Run:
    """Network, optimiser and weight average of one run, as each process of a team holds them.

    Parameters
    ----------
    config : Config
        What is trained and how.
    device : str
        As torch names it.
    steps_per_epoch : int
        Batches in the data set.
    max_minutes : float, optional
        The time to train; without it the preset's epochs decide.
    team : Team, optional
        The processes that train together; this one alone by default.
    """

    def __init__(
        self,
        config: Config,
        device: str = "cpu",
        steps_per_epoch: int = 1,
        max_minutes: float | None = None,
        team: Team | None = None,
    ) -> None:
        self.config, self.settings, self.device, self.team = config, config.train, device, team or Team()
        self.steps_per_epoch, self.max_seconds = steps_per_epoch, None if max_minutes is None else 60 * max_minutes
        torch.manual_seed(self.settings.seed)
        self.network = build_network(config).to(device)
        if self.team.size > 1:  # BatchNorm over the whole batch; `check_devices` keeps it off CPUs, where torch cannot
            self.network = torch.nn.SyncBatchNorm.convert_sync_batchnorm(self.network)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(),
            lr=self.settings.learning_rate,
            weight_decay=self.settings.weight_decay,
            fused=True,  # one pass over the weights; step by step it took a tenth of preset small's time
        )
        self.average = self._average_of_network()
        self.state = State()

    @property
    def steps(self) -> int | None:
        """Steps in the whole schedule; None where time decides."""
        return None if self.max_seconds is not None else self.settings.epochs * self.steps_per_epoch

    @property
    def training_seconds(self) -> float:
        """Of a run by the clock: its time without the last validation."""
        return max((self.max_seconds or 0.0) - self.state.reserve, 1.0)

    @property
    def finished(self) -> bool:
        if self.max_seconds is not None:
            return self.state.seconds >= self.training_seconds
        return self.state.step >= self.settings.epochs * self.steps_per_epoch

    def learning_rate(self) -> float:
        """Cosine annealing, with warm restarts where the preset has cycles (Loshchilov & Hutter 2016)."""
        s = self.settings
        if self.max_seconds is not None:
            phase = self.state.seconds / self.training_seconds
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

    def draws(self) -> torch.Generator:
        """The random numbers of the next step.

        They follow from the seed and the step alone, so that a resumed run needs no memory of them.
        """
        words = np.random.SeedSequence((self.settings.seed, self.state.step)).generate_state(1, np.uint64)
        return torch.Generator().manual_seed(int(words[0]))

    def one_step(self, inputs: Inputs, draws: torch.Generator) -> float:
        """Take one optimiser step.

        Parameters
        ----------
        inputs : Inputs
            This process's share of the batch.
        draws : torch.Generator
            The step's random numbers, as `draws` makes them and the inputs left them.

        Returns
        -------
        float
            The loss of the whole batch.

        Raises
        ------
        InputError
            Where loss or gradients are not finite; the weights stay those of the step before.
        """
        pattern, mask, lattice, composition, level, points, truth = (t.to(self.device) for t in inputs)
        noise = self._latent_noise(draws)
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate()
        self.network.train()
        with torch.autocast(self.device.split(":")[0], dtype=torch.bfloat16, enabled=self.settings.bf16):
            latents = self.network.encode(pattern, mask, lattice, composition, level)
            z = self._latent_to_learn_from(latents, noise, points, truth)
            predicted = self.network.decode(self.network.condition(z), points)
        loss = l1(predicted.float(), truth, self.settings.relative_loss) + self.settings.kl_weight * kl(latents)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        loss = loss.detach()
        self.team.average([loss, *(p.grad for p in self.network.parameters() if p.grad is not None)])
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), GRADIENT_NORM)
        value, size = torch.stack([loss, norm]).tolist()
        if not math.isfinite(value) or not math.isfinite(size):
            raise InputError(
                f"training diverged at step {self.state.step} (loss {value:g}, gradient {size:g}); start again with a "
                "lower learning rate"
            )
        self.optimiser.step()
        self.state.step += 1
        self._update_average()
        return float(value)

    def _latent_noise(self, draws: torch.Generator) -> Tensor:
        """(hypotheses, B, 2L) ~ N(0, 1), drawn for the whole batch, of which this process's share is returned."""
        seed = int(torch.randint(2**63 - 1, (), generator=draws))
        here = torch.Generator(self.device).manual_seed(seed)
        shape = (self.settings.hypotheses, self.settings.batch, 2 * self.config.model.latent)
        return torch.randn(shape, generator=here, device=self.device)[:, self.team.share]

    def _latent_to_learn_from(self, latents: Latents, noise: Tensor, points: Tensor, truth: Tensor) -> Tensor:
        """Latents (B, 2L) whose densities the step compares with the truth.

        One sample a crystal, as published. With several hypotheses it is the mean for the first half of the batch, and
        for the other half the sample whose density comes closest: where two structures fit a pattern, a network that
        learns from one sample under L1 answers with their blur. Learning from the best of several samples lets them
        differ (multiple choice learning, Guzman-Rivera et al. 2012), and the mean stays the best single answer.
        """
        if len(noise) < 2:
            return latents.at(noise[0])
        half = len(range(self.settings.batch // 2)[self.team.share])
        few = slice(None, None, CHOICE_STRIDE)
        with torch.no_grad():
            noise = noise[:, half:]
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

    def _average_of_network(self) -> AveragedModel | None:
        """A weight average that begins with the network's weights as they are; None where the preset takes none."""
        if not self.settings.ema:
            return None
        average = AveragedModel(self.network)
        average.n_averaged.fill_(1)  # at 0 torch would drop these weights and begin with those of the next step
        return average

    def _update_average(self) -> None:
        if self.average is not None:
            # The first steps change the weights most, so the average forgets them sooner than it does later ones.
            decay = min(self.settings.ema, (1 + self.state.step) / (10 + self.state.step))
            self.average.multi_avg_fn = get_ema_multi_avg_fn(decay)
            self.average.update_parameters(self.network)

    def weights(self) -> dict[str, Tensor]:
        """The state dict to validate and ship: the average's where there is one, else the network's."""
        network = self.network if self.average is None else self.average.module
        return dict(network.state_dict())

    def averaged_network(self) -> CrystalNetwork:
        """A network of its own with these weights, in eval mode."""
        network = build_network(self.config).to(self.device)
        network.load_state_dict(self.weights())
        return network.eval()

    def summary(self) -> dict[str, Any]:
        """What the model file says of its training."""
        state = self.state
        about = {"step": state.step, "minutes": round(state.seconds / 60, 1), "validation": (state.history or [{}])[-1]}
        return about | ({"started_from": state.started_from} if state.started_from else {})

    def start_from(self, path: Path) -> None:
        """Begin with a model's weights where they fit: between systems all but the pattern encoder's first layer."""
        model = load_model(path)
        if model.config.model != self.config.model:
            raise InputError(f"{path}: its network has another shape than preset {self.config.preset}")
        own = self.network.state_dict()
        fitting = {k: v for k, v in model.network.state_dict().items() if v.shape == own[k].shape}
        self.network.load_state_dict(own | fitting)
        self.average = self._average_of_network()
        self.state.started_from = model.sha256

    def save(self, path: Path) -> None:
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        if self.average is not None:
            tensors |= {f"average.{k}": v for k, v in self.average.module.state_dict().items()}
        for index, moments in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{k}": torch.as_tensor(v) for k, v in moments.items()}
        save_tensors(path, tensors, {"config": self.config.to_dict(), "state": vars(self.state)})

    def load(self, path: Path) -> None:
        """Go on from a checkpoint. InputError where it is another run's, or none."""
        tensors, about = load_tensors(path)
        given = about.get("config")
        if given != self.config.to_dict() and config_of(path, given) != self.config:
            raise InputError(f"{path}: made with other settings; resume with the same preset and system")
        try:
            self._take(tensors, about)
        except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
            raise InputError(f"{path}: not the checkpoint of such a run ({short_reason(error)})") from None

    def _take(self, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
        self.state = State(**about["state"])
        self.network.load_state_dict(_under(tensors, "network."))
        if self.average is not None:
            self.average.module.load_state_dict(_under(tensors, "average."))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _under(tensors, "optimiser.").items():
            index, key = name.split(".")
            moments.setdefault(int(index), {})[key] = tensor
        self.optimiser.load_state_dict({"state": moments, "param_groups": self.optimiser.state_dict()["param_groups"]})


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}

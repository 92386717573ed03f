"""Every setting of a training run, documented and validated in one place."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from crystalnet.crystal.systems import LEARNT
from crystalnet.records import InputError


@dataclass(frozen=True)
class ModelConfig:
    """Shape of the network.

    architecture: "paper" (the published network, BatchNorm, one FiLM) or "periodic" (ours: integer frequencies,
        FiLM in every layer). latent: width of each of the two latents. width, layers: the coordinate network.
    frequencies: Fourier rows; max_frequency: largest |k| of an integer row ("periodic" only).
    """

    architecture: str = "periodic"
    latent: int = 256
    width: int = 256
    layers: int = 4
    frequencies: int = 256
    max_frequency: float = 7.0

    def __post_init__(self) -> None:
        if self.architecture not in ("paper", "periodic"):
            raise InputError(f"architecture {self.architecture!r} is neither 'paper' nor 'periodic'")
        for name in ("latent", "width", "layers", "frequencies"):
            if getattr(self, name) < 1:
                raise InputError(f"model setting {name} must be at least 1")


@dataclass(frozen=True)
class TrainConfig:
    """How a network is trained.

    batch: crystals a step; samples: S, for S³ stratified points a crystal. epochs: passes over the crystals, the
    cosine cycles' lengths summing to them (one cycle: plain annealing). learning_rate to final_rate within a cycle.
    kl_weight: of each latent's KL term. hypotheses: latent samples of which the closest is learned from, for half of
    each batch (the other half learns at the mean); 1: one sample, as published.
    relative_loss: L1 divided by each crystal's mean density.
    levels: probabilities of what is told of the chemistry: formula, elements, drop-one, none.
    measured_like: fraction of patterns given as a diffractometer would see them (range mask, missing lines, noise).
    ema: decay of the weight average that is validated and shipped; 0 for none.
    """

    batch: int = 96
    samples: int = 6  # more crystals a minute teach more than more points of each
    epochs: int = 60
    cycles: tuple[int, ...] = ()
    learning_rate: float = 2e-3
    final_rate: float = 1e-6
    weight_decay: float = 1e-4
    warmup_steps: int = 300
    kl_weight: float = 2e-4
    hypotheses: int = 4
    relative_loss: bool = True
    levels: tuple[float, float, float, float] = (0.5, 0.3, 0.1, 0.1)
    measured_like: float = 0.5
    ema: float = 0.999
    bf16: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if abs(sum(self.levels) - 1) > 1e-6 or min(self.levels) < 0:
            raise InputError(f"levels {self.levels} are no probabilities (they must sum to 1)")
        if self.cycles and sum(self.cycles) != self.epochs:
            raise InputError(f"cycles {self.cycles} do not sum to {self.epochs} epochs")
        for name in ("batch", "samples", "epochs"):
            if getattr(self, name) < 1:
                raise InputError(f"training setting {name} must be at least 1")


@dataclass(frozen=True)
class Config:
    """A preset: what is trained and how."""

    preset: str = "small"
    system: str = "cubic"
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        if self.system not in LEARNT:
            raise InputError(f"--system {self.system!r}: choose one of {', '.join(LEARNT)}")
        if self.train.hypotheses > 1 and self.model.architecture == "paper":
            raise InputError("the paper's network learns from one sample a crystal; set hypotheses to 1")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Config:
        """Inverse of to_dict; InputError on keys it does not know."""
        try:
            return cls(
                data["preset"], data["system"], _build(ModelConfig, data["model"]), _build(TrainConfig, data["train"])
            )
        except (KeyError, TypeError) as error:
            raise InputError(f"not a CrystalNet configuration ({error})") from None


def _build(kind: Any, values: dict[str, Any]) -> Any:
    unknown = set(values) - {f.name for f in fields(kind)}
    if unknown:
        raise TypeError(f"unknown settings {sorted(unknown)}")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


# The paper's Methods: 1500 epochs in warm restarts, 128 crystals × 10³ points, KL weight 0.05, full formula, no EMA.
PAPER = Config(
    preset="paper",
    model=ModelConfig(architecture="paper", latent=512, width=512, layers=16, frequencies=128),
    train=TrainConfig(
        batch=128,
        samples=10,
        epochs=1500,
        cycles=(100, 200, 400, 800),
        learning_rate=1e-3,
        weight_decay=0.0,
        warmup_steps=0,
        kl_weight=0.05,
        hypotheses=1,
        relative_loss=False,
        levels=(1.0, 0.0, 0.0, 0.0),
        measured_like=0.0,
        ema=0.0,
        bf16=False,
    ),
)
SMALL = Config()
# A GPU's worth of the same network: twice the width and depth.
BASE = Config(
    preset="base",
    model=ModelConfig(latent=512, width=512, layers=8, frequencies=512, max_frequency=9.0),
    train=TrainConfig(batch=256, samples=10, epochs=400, learning_rate=1e-3),
)
PRESETS = {"small": SMALL, "base": BASE, "paper": PAPER}


def preset(name: str, system: str) -> Config:
    """A preset for one crystal system."""
    if name not in PRESETS:
        raise InputError(f"--preset {name!r}: choose one of {', '.join(PRESETS)}")
    return replace(PRESETS[name], system=system)

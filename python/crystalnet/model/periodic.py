"""Our network: periodic in the cell, told the lattice."""

from __future__ import annotations

import json
from importlib.resources import files
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crystalnet.crystal.elements import SYMBOLS
from crystalnet.model.base import MIN_SIGMA, CrystalNetwork, Latents, as_layer, autocast_bf16
from crystalnet.model.config import ModelConfig
from crystalnet.model.inputs import LEVELS, N_ELEMENTS
from crystalnet.model.intensities import Intensities
from crystalnet.ops.decoder import Decoder, LayerFlag
from crystalnet.ops.film_decode import film_decode

INNER = 1024  # width of the pattern encoder and within every residual block


class PeriodicNetwork(CrystalNetwork):
    """|F|² of the indexed cell's reflections in; integer frequencies, so that the density is periodic across the cell
    faces; FiLM in every layer.
    """

    rows: Tensor

    def __init__(self, config: ModelConfig, system: str) -> None:
        super().__init__()
        self.config = config
        latent, width = config.latent, config.width
        self.intensities = Intensities(system)
        self.pattern_encoder = PatternEncoder(self.intensities.size, latent)
        self.composition_encoder = CompositionEncoder(latent)
        self.together = nn.Sequential(*(ResidualBlock(2 * latent) for _ in range(2)))
        self.register_buffer("rows", _integer_rows(config.frequencies, config.max_frequency), persistent=False)
        self.position = nn.Linear(2 * len(self.rows), width)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(config.layers))
        self.head = nn.Linear(width, 1)
        self.film = nn.Sequential(
            nn.Linear(2 * latent, 512),
            nn.LayerNorm(512),
            nn.SiLU(),
            nn.Linear(512, 512),
            nn.SiLU(),
            nn.Linear(512, (config.layers + 1) * 2 * width + 1),
        )
        last = self.film[-1]
        assert isinstance(last, nn.Linear)
        nn.init.normal_(last.weight, std=0.02)
        nn.init.zeros_(last.bias)

    def encode(self, pattern: Tensor, mask: Tensor, lattice: Tensor, composition: Tensor, level: Tensor) -> Latents:
        seen = self.intensities(pattern, mask, lattice)
        return Latents(*self.pattern_encoder(seen), *self.composition_encoder(composition, level))

    def condition(self, z: Tensor) -> tuple[Tensor, ...]:
        out = self.film(self.together(z))
        film = out[:, :-1].reshape(len(z), -1, 2, self.config.width)
        pairs = torch.stack([1 + film[:, :, 0], film[:, :, 1]], dim=2)
        return pairs, out[:, -1].float().exp()  # (B, layers+1, 2, W), (B,)

    def decode(self, conditions: tuple[Tensor, ...], points: Tensor) -> Tensor:
        film, amplitude = conditions
        return film_decode(points, self.decoder(), film, amplitude, autocast_bf16(points.device))

    def decoder(self) -> Decoder:
        trunk = LayerFlag.FILM | LayerFlag.RELU | LayerFlag.RESIDUAL
        return Decoder(
            rows=self.rows,
            position=(as_layer(self.position),),
            trunk=tuple(as_layer(layer, trunk) for layer in self.layers),
            head=as_layer(self.head),
            junction_relu=True,
            softplus=True,
        )


def _integer_rows(count: int, max_frequency: float) -> Tensor:
    """(count, 3): the shortest integer vectors k up to a cut, one of each pair ±k; fewer where the cut comes first."""
    reach = range(-int(max_frequency), int(max_frequency) + 1)
    rows = [k for k in product(reach, repeat=3) if k > (0, 0, 0) and sum(v * v for v in k) <= max_frequency**2]
    rows.sort(key=lambda k: (sum(v * v for v in k), k))
    return torch.tensor(rows[:count], dtype=torch.float32)


class ResidualBlock(nn.Module):
    """h + W₂ SiLU(W₁ LayerNorm h), beginning as the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, INNER), nn.SiLU(), nn.Linear(INNER, width))
        nn.init.zeros_(self.inner[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.inner[-1].bias)  # type: ignore[arg-type]

    def forward(self, h: Tensor) -> Tensor:
        result: Tensor = h + self.inner(h)
        return result


class PatternEncoder(nn.Module):
    """Residual MLP over the intensities of the reflection classes."""

    def __init__(self, inputs: int, latent: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Linear(inputs, INNER), *(ResidualBlock(INNER) for _ in range(3)), nn.LayerNorm(INNER), nn.SiLU()
        )
        self.mu, self.sigma = nn.Linear(INNER, latent), nn.Linear(INNER, latent)
        nn.init.constant_(self.sigma.bias, -2.0)  # start nearly deterministic

    def forward(self, intensities: Tensor) -> tuple[Tensor, Tensor]:
        h = self.trunk(intensities)
        return self.mu(h), F.softplus(self.sigma(h)) + MIN_SIGMA


class CompositionEncoder(nn.Module):
    """MLP over the fractions, which elements are there, their mean chemistry, and the level of what is known."""

    features: Tensor

    def __init__(self, latent: int) -> None:
        super().__init__()
        table = json.loads(files("crystalnet.model").joinpath("element_features.json").read_text())["elements"]
        features = torch.zeros(N_ELEMENTS, 6)
        features[1:] = torch.tensor([table[symbol] for symbol in SYMBOLS[1:]], dtype=torch.float32)
        features[1:] = (features[1:] - features[1:].mean(0)) / features[1:].std(0)
        self.register_buffer("features", features, persistent=False)
        self.trunk = nn.Sequential(
            nn.Linear(2 * N_ELEMENTS + 6 + len(LEVELS), 512),
            nn.SiLU(),
            nn.Linear(512, 512),
            nn.LayerNorm(512),
            nn.SiLU(),
        )
        self.mu, self.sigma = nn.Linear(512, latent), nn.Linear(512, latent)
        nn.init.constant_(self.sigma.bias, -2.0)

    def forward(self, composition: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        known = (composition > 0).to(composition.dtype)
        told = F.one_hot(level, len(LEVELS)).to(composition.dtype)
        h = self.trunk(torch.cat([composition, known, composition @ self.features, told], dim=-1))
        return self.mu(h), F.softplus(self.sigma(h)) + MIN_SIGMA

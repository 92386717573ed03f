"""The network: two variational encoders condition a coordinate network that returns the density at any point.

    pattern (B, 1024), cell ─ encoder ─ μ, σ ─ z ┐
                                                 ├─ FiLM ─ coordinate network on Fourier features ─ ρ(x), e/Å³
    composition (B, 119) ──── encoder ─ μ, σ ─ z ┘

`encode → sample → condition → decode` is the only way through, for training, solving and evaluating alike.
The cell is what indexing makes of the same pattern; the paper's network does without it.
Shapes: B crystals, P points, L latent, W width.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crystalnet.config import Config, ModelConfig
from crystalnet.elements import SYMBOLS
from crystalnet.model.inputs import LEVELS, N_ELEMENTS
from crystalnet.model.intensities import Intensities
from crystalnet.ops.film_decode import Decoder, Layer, LayerFlag, film_decode
from crystalnet.pattern_axis import N_BINS

MIN_SIGMA = 1e-4  # keeps log σ finite where an encoder is certain


@dataclass(frozen=True)
class Latents:
    """μ and σ of the pattern's and the composition's latent, (B, L) each."""

    mu_pattern: Tensor
    sigma_pattern: Tensor
    mu_composition: Tensor
    sigma_composition: Tensor

    def mean(self) -> Tensor:
        """(B, 2L): guess 1."""
        return torch.cat([self.mu_pattern, self.mu_composition], dim=-1)

    def at(self, noise: Tensor, first: int = 0) -> Tensor:
        """(B − first, 2L): z = μ + ε σ, the paper's equation 2, for the crystals from `first` on."""
        sigma = torch.cat([self.sigma_pattern, self.sigma_composition], dim=-1)
        return self.mean()[first:] + sigma[first:] * noise

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """(B, 2L): a draw with ε ~ N(0, 1)."""
        mu = self.mean()
        return self.at(torch.randn(mu.shape, generator=generator, device=mu.device, dtype=mu.dtype))


class CrystalNetwork(nn.Module):
    """What the two architectures share. `encode`, `condition`, `decode` and `decoder` are theirs."""

    config: ModelConfig

    def encode(self, pattern: Tensor, mask: Tensor, lattice: Tensor, composition: Tensor, level: Tensor) -> Latents:
        """pattern, mask (B, 1024); lattice (B, 3, 3) primitive vectors in Å as indexed, zeros where unknown;
        composition (B, 119); level (B,) index into LEVELS → Latents.
        """
        raise NotImplementedError

    def condition(self, z: Tensor) -> tuple[Tensor, ...]:
        """Latent (B, 2L) → whatever `decode` needs of each crystal; computed once a crystal, not once a point."""
        raise NotImplementedError

    def decode(self, conditions: tuple[Tensor, ...], points: Tensor) -> Tensor:
        """Density (B, P) at fractional points (P, 3), shared by the crystals, or (B, P, 3)."""
        raise NotImplementedError

    def decoder(self) -> Decoder:
        """The coordinate network's weights, BatchNorm folded in with its running statistics."""
        raise NotImplementedError

    @torch.no_grad()
    def density_grid(self, z: Tensor, grid: int = 50) -> Tensor:
        """Densities (B, grid, grid, grid) at fractional i/grid, e/Å³, negative values cut. Wants eval mode."""
        density = self.decode(self.condition(z), grid_points(grid, z.device))
        return density.clamp_min(0).reshape(len(z), grid, grid, grid)


def grid_points(grid: int, device: torch.device | str) -> Tensor:
    """(grid³, 3) fractional coordinates i/grid, the last axis fastest."""
    axis = torch.arange(grid, device=device, dtype=torch.float32) / grid
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(-1, 3)


def _autocast_bf16(device: torch.device) -> bool:
    """Whether the caller has asked for bfloat16 products."""
    return torch.is_autocast_enabled(device.type) and torch.get_autocast_dtype(device.type) == torch.bfloat16


def build_network(config: Config) -> CrystalNetwork:
    """The network a configuration describes."""
    if config.model.architecture == "paper":
        return PaperNetwork(config.model)
    return PeriodicNetwork(config.model, config.system)


# --- ours ---------------------------------------------------------------------------------------------------------


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
        return film_decode(points, self.decoder(), film, amplitude, _autocast_bf16(points.device))

    def decoder(self) -> Decoder:
        trunk = LayerFlag.FILM | LayerFlag.RELU | LayerFlag.RESIDUAL
        return Decoder(
            rows=self.rows,
            position=(_layer(self.position),),
            trunk=tuple(_layer(layer, trunk) for layer in self.layers),
            head=_layer(self.head),
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

    def __init__(self, width: int, inner: int = 1024) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, inner), nn.SiLU(), nn.Linear(inner, width))
        nn.init.zeros_(self.inner[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.inner[-1].bias)  # type: ignore[arg-type]

    def forward(self, h: Tensor) -> Tensor:
        result: Tensor = h + self.inner(h)
        return result


class PatternEncoder(nn.Module):
    """Residual MLP over the intensities of the reflection classes."""

    def __init__(self, inputs: int, latent: int, width: int = 1024) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Linear(inputs, width), *(ResidualBlock(width) for _ in range(3)), nn.LayerNorm(width), nn.SiLU()
        )
        self.mu, self.sigma = nn.Linear(width, latent), nn.Linear(width, latent)
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


# --- the paper's --------------------------------------------------------------------------------------------------


class PaperNetwork(CrystalNetwork):
    """The published network (paper, Methods and figure 6), 14.8 M parameters.

    One pattern channel (unobserved bins are 0), σ unconstrained, one FiLM on the position embedding, BatchNorm over
    all points of the batch.
    """

    rows: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.pattern_mu, self.pattern_sigma = PaperPatternEncoder(), PaperPatternEncoder()
        self.formula_mu, self.formula_sigma = _paper_formula_encoder(), _paper_formula_encoder()
        self.gamma, self.beta = _paper_film_head(), _paper_film_head()
        # B ~ N(0, 3²), 128 rows, fixed; the 2π is in the public code, not in the paper's equation 3.
        rows = 3.0 * torch.randn(config.frequencies, 3, generator=torch.Generator().manual_seed(0))
        self.register_buffer("rows", rows)
        self.position = nn.Sequential(
            nn.Linear(2 * config.frequencies, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 512)
        )
        self.regressor = PaperRegressor()

    def encode(self, pattern: Tensor, mask: Tensor, lattice: Tensor, composition: Tensor, level: Tensor) -> Latents:
        seen = pattern * mask
        return Latents(
            self.pattern_mu(seen),
            self.pattern_sigma(seen),
            self.formula_mu(composition),
            self.formula_sigma(composition),
        )

    def condition(self, z: Tensor) -> tuple[Tensor, ...]:
        return (torch.stack([self.gamma(z), self.beta(z)], dim=1)[:, None],)  # (B, 1, 2, 512)

    def decode(self, conditions: tuple[Tensor, ...], points: Tensor) -> Tensor:
        (film,) = conditions
        if not self.training:
            return film_decode(points, self.decoder(), film, bf16=_autocast_bf16(points.device))
        if points.dim() == 2:
            points = points.expand(len(film), -1, -1)
        phase = 2 * torch.pi * ((points - 0.5) @ self.rows.T)  # (B, P, 128)
        features = torch.cat([phase.sin(), phase.cos()], dim=-1)
        p = self.position(features.flatten(0, 1)).unflatten(0, points.shape[:2])  # (B, P, 512)
        h = (film[:, :, 0] * p + film[:, :, 1]).flatten(0, 1)
        density: Tensor = self.regressor(h)
        return density.reshape(points.shape[:2])

    def decoder(self) -> Decoder:
        hidden, norm, _, position = self.position
        steps = [step for block in (self.regressor.start, *self.regressor.blocks) for step in block]
        relu, concat = LayerFlag.RELU, LayerFlag.RELU | LayerFlag.CONCAT  # a block begins with [h, c]
        return Decoder(
            rows=self.rows,
            position=(_folded(hidden, norm, LayerFlag.RELU), _layer(position)),
            trunk=tuple(_folded(f, norm, relu if f.in_features == 512 else concat) for f, norm, _ in steps),
            head=_layer(self.regressor.last),
            centre=0.5,
        )


class PaperPatternEncoder(nn.Module):
    """DenseNet over the pattern (figure 6A): 1 → 8 channels, 4 layers of growth 8, halve, 4 more, one channel, 512."""

    def __init__(self) -> None:
        super().__init__()
        self.first = _conv_norm(1, 8, 3, N_BINS)
        self.dense_1 = nn.ModuleList(_conv_norm(8 + 8 * i, 8, 3, N_BINS) for i in range(4))
        self.transition = _conv_norm(40, 16, 1, N_BINS)
        self.dense_2 = nn.ModuleList(_conv_norm(16 + 8 * i, 8, 3, N_BINS // 2) for i in range(4))
        self.last = nn.Conv1d(48, 1, 1)
        self.out = nn.Sequential(nn.Linear(N_BINS // 2, 512), nn.BatchNorm1d(512))

    def forward(self, pattern: Tensor) -> Tensor:
        h = self.first(pattern[:, None])
        for layer in self.dense_1:
            h = torch.cat([h, layer(h)], dim=1)
        h = F.avg_pool1d(self.transition(h), 2)
        for layer in self.dense_2:
            h = torch.cat([h, layer(h)], dim=1)
        result: Tensor = self.out(self.last(h).squeeze(1))
        return result


class PaperRegressor(nn.Module):
    """512 → density (figure 6F): 4 layers, then 3 blocks that see P again by concatenation, then 512 → 1."""

    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Sequential(*(_linear_norm(512, 512) for _ in range(4)))
        self.blocks = nn.ModuleList(
            nn.Sequential(_linear_norm(1024, 512), *(_linear_norm(512, 512) for _ in range(3))) for _ in range(3)
        )
        self.last = nn.Linear(512, 1)

    def forward(self, conditioned: Tensor) -> Tensor:
        h = self.start(conditioned)
        for block in self.blocks:
            h = block(torch.cat([h, conditioned], dim=-1))
        result: Tensor = self.last(h).squeeze(-1)
        return result


def _layer(linear: nn.Module, flags: LayerFlag = LayerFlag.NONE) -> Layer:
    assert isinstance(linear, nn.Linear)
    return Layer(linear.weight, linear.bias, flags)


def _folded(linear: nn.Module, norm: nn.Module, flags: LayerFlag) -> Layer:
    """Linear and BatchNorm with its running statistics as one layer."""
    assert isinstance(linear, nn.Linear) and isinstance(norm, nn.BatchNorm1d)
    assert norm.running_mean is not None and norm.running_var is not None
    gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return Layer(linear.weight * gain[:, None], (linear.bias - norm.running_mean) * gain + norm.bias, flags)


def _conv_norm(channels: int, out: int, kernel: int, length: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(channels, out, kernel, padding=kernel // 2, bias=False), nn.LayerNorm([out, length]), nn.ReLU()
    )


def _linear_norm(channels: int, out: int) -> nn.Module:
    return nn.Sequential(nn.Linear(channels, out), nn.BatchNorm1d(out), nn.ReLU())


def _paper_formula_encoder() -> nn.Module:
    return nn.Sequential(
        _linear_norm(N_ELEMENTS, 512), _linear_norm(512, 512), nn.Linear(512, 512), nn.BatchNorm1d(512)
    )


def _paper_film_head() -> nn.Module:
    return nn.Sequential(*(_linear_norm(1024, 1024) for _ in range(3)), _linear_norm(1024, 512))

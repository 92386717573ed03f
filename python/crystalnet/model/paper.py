"""The published network (Guo et al.), layer by layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crystalnet.bragg import N_BINS
from crystalnet.model.base import CrystalNetwork, Latents, as_layer, autocast_bf16
from crystalnet.model.config import ModelConfig
from crystalnet.model.inputs import N_ELEMENTS
from crystalnet.ops.decoder import Decoder, Layer, LayerFlag
from crystalnet.ops.film_decode import film_decode


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
            return film_decode(points, self.decoder(), film, bf16=autocast_bf16(points.device))
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
            position=(_folded(hidden, norm, LayerFlag.RELU), as_layer(position)),
            trunk=tuple(_folded(f, norm, relu if f.in_features == 512 else concat) for f, norm, _ in steps),
            head=as_layer(self.regressor.last),
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

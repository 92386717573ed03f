"""What both networks are: latents, a density decoder, points of the grid."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from crystalnet.model.config import ModelConfig
from crystalnet.ops.decoder import Decoder, Layer, LayerFlag

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


def autocast_bf16(device: torch.device) -> bool:
    """Whether the caller has asked for bfloat16 products."""
    return torch.is_autocast_enabled(device.type) and torch.get_autocast_dtype(device.type) == torch.bfloat16


def as_layer(linear: nn.Module, flags: LayerFlag = LayerFlag.NONE) -> Layer:
    assert isinstance(linear, nn.Linear)
    return Layer(linear.weight, linear.bias, flags)

"""Stratified sampling of density maps: S³ jittered points, one in each cell of an S×S×S division (paper, Methods)."""

from __future__ import annotations

import torch
from torch import Tensor


def stratified_points(batch: int, samples: int, generator: torch.Generator) -> Tensor:
    """(batch, samples³, 3) points in [0, 1): x, y, z ~ U[i/S, (i+1)/S]."""
    axis = torch.arange(samples, dtype=torch.float32, device=generator.device)
    corner = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(-1, 3)
    jitter = torch.rand(batch, len(corner), 3, generator=generator, device=generator.device)
    return (corner + jitter).div_(samples).clamp_max_(1 - 1e-6)


def nearest_voxel(points: Tensor, grid: int) -> Tensor:
    """Flat index (...,) int64 of the grid point i/grid nearest to each point (..., 3), across the cell faces too."""
    i = torch.round(points * grid).long() % grid
    return (i[..., 0] * grid + i[..., 1]) * grid + i[..., 2]


def voxel_points(voxel: Tensor, grid: int) -> Tensor:
    """Fractional coordinates (..., 3) of flat voxel indices."""
    i = torch.stack([voxel // (grid * grid), voxel // grid % grid, voxel % grid], dim=-1)
    return i.to(torch.float32) / grid

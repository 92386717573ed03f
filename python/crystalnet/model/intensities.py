"""What a pattern vector says of every reflection of the indexed cell: the network's view of a pattern.

Reflections of one d-spacing are a class: N = h²+k²+l² on cubic axes, (M = h²+hk+k², |l|) on hexagonal ones. A class
owns the bin its 2θ falls into. Taking off Lorentz-polarisation and dividing by the number of reflections in the bin
(overlapping classes share alike, as Le Bail's extraction begins; Mater. Res. Bull. 23, 447, 1988) leaves |F|². So the
network sees the same crystal alike whatever the size of its cell, and need not learn to index.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crystalnet.bragg import BIN, MO_KA, N_BINS, lorentz_polarisation, sine_of_inverse_d
from crystalnet.crystal.systems import LEARNT, system_named

# Classes told to the network: N up to 256 is d = 0.6 Å at a = 10 Å; M up to 37, l up to 30 alike for long axes.
CUBIC_TOLD, HEXAGONAL_TOLD = 256, (37, 30)
# Classes counted as sharing a bin: all that Mo Kα reaches in cells of 11 Å (cubic), 7 Å × 28 Å (hexagonal).
CUBIC_COUNTED, HEXAGONAL_COUNTED = 1000, (300, 80)
EDGE = 0.2  # bins; a measured line this near its bin's edge may have fallen into the next one
CENTRINGS = {system: system_named(system).centrings for system in LEARNT}


def on_cubic_axes(system: str) -> bool:
    """Whether one edge is all the cell's shape; else a and c on hexagonal axes are."""
    return system_named(system).free == ("a",)


@lru_cache
def reflection_classes(system: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Classes (K, 2) as (N, 0) or (M, l), reflections of each in each centring (C, K), and how many are told.

    Those told come first.
    """
    if on_cubic_axes(system):
        i = np.arange(-math.isqrt(CUBIC_COUNTED), math.isqrt(CUBIC_COUNTED) + 1)
        h, k, m = (x.ravel() for x in np.meshgrid(i, i, i, indexing="ij"))
        kind = np.column_stack([h * h + k * k + m * m, 0 * h])
        kept = kind[:, 0] <= CUBIC_COUNTED
        allowed = [h == h, (h + k + m) % 2 == 0, (h % 2 == k % 2) & (k % 2 == m % 2)]
        told = (CUBIC_TOLD, 0)
    else:
        most_m, most_l = HEXAGONAL_COUNTED
        i = np.arange(-most_l, most_l + 1)
        h, k, m = (x.ravel() for x in np.meshgrid(i[abs(i) <= 20], i[abs(i) <= 20], i, indexing="ij"))
        kind = np.column_stack([h * h + h * k + k * k, abs(m)])
        kept = kind[:, 0] <= most_m
        allowed = [h == h, (-h + k + m) % 3 == 0]
        told = HEXAGONAL_TOLD
    kept &= kind.any(1)
    classes, member = np.unique(kind[kept], axis=0, return_inverse=True)
    counts = np.stack([np.bincount(member.ravel(), weights=a[kept], minlength=len(classes)) for a in allowed])
    first = (classes <= told).all(1)
    order = np.argsort(~first, kind="stable")
    return classes[order], counts[:, order], int(first.sum())


class Intensities(nn.Module):
    """(B, size): √|F|², |F|², seen or not, share of its bin, of each class; then the cell's shape.

    √|F|² is relative to the largest. All zero where the cell is unknown.
    """

    classes: Tensor
    counts: Tensor

    def __init__(self, system: str) -> None:
        super().__init__()
        classes, counts, self.told = reflection_classes(system)
        self.system = system
        self.register_buffer("classes", torch.tensor(classes, dtype=torch.float32), persistent=False)
        self.register_buffer("counts", torch.tensor(counts, dtype=torch.float32), persistent=False)
        self.size = 4 * self.told + len(counts) + 4

    @torch.no_grad()
    def forward(self, pattern: Tensor, mask: Tensor, lattice: Tensor) -> Tensor:
        """pattern, mask (B, 1024); lattice (B, 3, 3) primitive vectors as rows in Å, zeros where unknown."""
        known = (lattice.abs().sum((1, 2), keepdim=False) > 0)[:, None]
        lattice = torch.where(known[:, :, None], lattice, torch.eye(3, device=lattice.device)).float()
        a, c, centring = conventional_axes(lattice, self.system)
        bins = self._bins(a, c)  # (B, K), N_BINS where out of reach
        counts = self.counts[centring]
        sharing = torch.zeros(len(bins), N_BINS + 1, device=bins.device).scatter_add_(1, bins.long(), counts)

        bins, counts = bins[:, : self.told], counts[:, : self.told]
        own = bins.long()
        reached = (own < N_BINS) & (counts > 0)
        own = own.clamp(max=N_BINS - 1)
        within = bins - own
        next_to = own + (within > 1 - EDGE).long() - (within < EDGE).long()
        near = next_to.clamp(0, N_BINS - 1)
        height = torch.maximum(pattern.gather(1, own), pattern.gather(1, near))
        seen = torch.maximum(mask.gather(1, own), mask.gather(1, near)) * reached
        together = sharing.gather(1, own).clamp_min(1)
        theta = torch.deg2rad(bins.clamp(1, N_BINS - 2) * BIN) / 2
        factor = lorentz_polarisation(torch.sin(theta), torch.cos(theta))
        squared = height.clamp_min(0) / (factor * together) * seen
        squared = squared / squared.amax(1, keepdim=True).clamp_min(1e-12)

        volume = torch.linalg.det(lattice).abs()
        shape = torch.stack([a.log() - 1.7, c.log() - 1.7, volume.log() - 4, torch.ones_like(a)], dim=1)
        told = [squared.sqrt(), squared, seen, counts / together * reached]
        return torch.cat([*told, F.one_hot(centring, len(self.counts)).float(), shape], dim=1) * known

    def _bins(self, a: Tensor, c: Tensor) -> Tensor:
        """(B, K): position of each class on the pattern vector's axis, in bins."""
        first, second = (1 / a**2, 0 * c) if on_cubic_axes(self.system) else (4 / 3 / a**2, 1 / c**2)
        q = first[:, None] * self.classes[:, 0] + second[:, None] * self.classes[:, 1] ** 2  # 1/d²
        sine = sine_of_inverse_d(q.sqrt(), MO_KA)
        two_theta = 2 * torch.rad2deg(torch.asin(sine.clamp(max=1)))
        return torch.where(sine < 1, two_theta / BIN, float(N_BINS)).clamp(max=N_BINS)


def conventional_axes(lattice: Tensor, system: str) -> tuple[Tensor, Tensor, Tensor]:
    """a, c (B,) in Å and the centring's index in CENTRINGS (B,) of standard primitive lattices (B, 3, 3)."""
    a, b, c = lattice.unbind(1)
    edge = a.norm(dim=1)
    cosine = (a * b).sum(1) / (edge * b.norm(dim=1))
    if on_cubic_axes(system):  # P 90°, I 109.5°, F 60° between primitive vectors
        centring = torch.where(cosine.abs() < 0.1, 0, torch.where(cosine < 0, 1, 2))
        per_cell = torch.tensor([1.0, 2.0, 4.0], device=lattice.device)[centring]
        cube = (torch.linalg.det(lattice).abs() * per_cell) ** (1 / 3)
        return cube, cube, centring
    third = c.norm(dim=1)
    upright = ((b * c).sum(1).abs() < 0.01 * third**2) & (cosine < -0.4)  # γ = 120°, c along the axis
    wide = 2 * edge * ((1 - cosine) / 2).clamp_min(0).sqrt()
    tall = edge * (3 + 6 * cosine).clamp_min(1e-6).sqrt()
    return torch.where(upright, edge, wide), torch.where(upright, third, tall), (~upright).long()

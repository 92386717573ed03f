"""Densities that a network guesses for a pattern."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from crystalnet.model.checkpoint import Model
from crystalnet.model.inputs import LEVELS, composition_vector


@torch.no_grad()
def guess_densities(
    model: Model,
    vector: np.ndarray,
    mask: np.ndarray,
    lattice: np.ndarray | None,
    composition: Mapping[str, float],
    level: str,
    guesses: int,
    seed: int,
    mean: bool = True,
    wanted: np.ndarray | None = None,
) -> np.ndarray:
    """Densities (guesses, 50, 50, 50) e/Å³ from a pattern vector and mask (1024,), the primitive lattice (3, 3) that it
    was indexed with (None: by none), and a composition at a level.

    Guess 1 is the latent mean where `mean` says so, the others are samples. wanted: numbers of those that are decoded,
    all by default.
    """
    network = model.network
    cell = np.zeros((3, 3)) if lattice is None else lattice
    told = (vector, mask, cell, composition_vector(composition, level))
    seen, observed, axes, chemistry = (torch.as_tensor(np.asarray(array, np.float32))[None] for array in told)
    latents = network.encode(seen, observed, axes, chemistry, torch.tensor([LEVELS.index(level)]))
    generator = torch.Generator().manual_seed(seed)
    draws = [latents.mean()] if mean else []
    draws += [latents.sample(generator) for _ in range(guesses - len(draws))]
    if wanted is not None:
        draws = [draws[number] for number in wanted]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return network.density_grid(torch.cat(draws)).numpy()

"""How good a network is in the middle of its training."""

from __future__ import annotations

import time

import numpy as np
import torch

from crystalnet.data.dataset import CrystalDataset
from crystalnet.model.base import CrystalNetwork
from crystalnet.model.inputs import LEVELS
from crystalnet.ops.ssim import ssim3d_rotations

VALIDATION_CRYSTALS = 24  # enough to tell 0.01 SSIM apart between checkpoints of one run
ORACLE_GUESSES = 2  # samples that the paper's validation takes the best of


@torch.no_grad()
def validate(
    network: CrystalNetwork,
    dataset: CrystalDataset,
    oracle: bool = False,
    crystals: int = VALIDATION_CRYSTALS,
    until: float | None = None,
) -> float:
    """Mean SSIM of the validation crystals' densities, the formula given.

    Parameters
    ----------
    network : CrystalNetwork
        In eval mode.
    dataset : CrystalDataset
        Its validation crystals count, or those of training where it has none.
    oracle : bool
        Take the best of ORACLE_GUESSES samples × 24 rotations, as the paper does; else the latent mean's, not rotated.
    crystals : int
        So many at most, spread evenly.
    until : float, optional
        Begin no crystal but the first after this time, seconds of `time.monotonic`.

    Returns
    -------
    float
    """
    some = dataset.validation if len(dataset.validation) else dataset.train
    chosen = some[:: max(1, len(some) // crystals)][:crystals]
    device = next(network.parameters()).device
    pattern, lattice, fractions = (t.to(device) for t in dataset.inputs(chosen))
    level = torch.full((len(chosen),), LEVELS.index("formula"), device=device)
    scores: list[float] = []
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cpu"):
        latents = network.encode(pattern, torch.ones_like(pattern), lattice, fractions, level)
        generator = torch.Generator(device).manual_seed(0)
        draws = [latents.sample(generator) for _ in range(ORACLE_GUESSES)] if oracle else [latents.mean()]
        for index, latent in zip(chosen, torch.stack(draws, dim=1), strict=True):  # (draws, 2L) of a crystal
            if scores and until is not None and time.monotonic() > until:
                break
            guesses = torch.cat([network.density_grid(z[None]) for z in latent])
            truth = torch.from_numpy(dataset.density(index)).to(device)
            ssim, _ = ssim3d_rotations(truth, guesses, 24 if oracle else 1)
            scores.append(ssim.max().item())
    return float(np.mean(scores))

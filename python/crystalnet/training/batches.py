"""What a training step learns from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from crystalnet.data.dataset import CrystalDataset
from crystalnet.model.config import Config, TrainConfig
from crystalnet.ops.sampling import stratified_sample
from crystalnet.training.augment import given_composition, measured_view, paper_augmentation

UNKNOWN_CELL = 0.03  # of the crystals: the network must answer, from the chemistry alone, where indexing failed


class Inputs(NamedTuple):
    """What a step learns from: B crystals, P points shared by them (P, 3) or each its own (B, P, 3), densities (B, P).

    The first five as `CrystalNetwork.encode` takes them.
    """

    pattern: Tensor
    mask: Tensor
    lattice: Tensor
    composition: Tensor
    level: Tensor
    points: Tensor
    truth: Tensor


def crystals_of_step(dataset: CrystalDataset, settings: TrainConfig, step: int, steps_per_epoch: int) -> np.ndarray:
    """Crystals of a step: each epoch is its own seeded permutation, so that a resumed run needs no memory of it."""
    epoch, position = divmod(step, steps_per_epoch)
    order = np.random.default_rng((settings.seed, epoch)).permutation(dataset.train)
    chosen = order[position * settings.batch : (position + 1) * settings.batch]
    # BatchNorm and steady step times want full batches: the last one of an epoch is filled from its beginning.
    return np.resize(np.concatenate([chosen, order]), settings.batch) if len(chosen) < settings.batch else chosen


def draw_inputs(
    dataset: CrystalDataset,
    chosen: np.ndarray,
    config: Config,
    generator: torch.Generator,
    share: slice = slice(None),
) -> Inputs:
    """What a step learns from, of those crystals of a batch that are this process's share.

    All that is random is drawn for the whole batch, so that it does not depend on who takes which share.
    The paper's preset draws points for each crystal and takes the nearest voxel's density; ours moves the points onto
    their voxels, so that the density is exact, and shares them, so that the position branch runs once a step.
    """
    settings = config.train
    pattern, lattice, fractions = dataset.inputs(chosen)
    lattice = lattice * (torch.rand(len(chosen), 1, 1, generator=generator) >= UNKNOWN_CELL)
    composition, level = given_composition(fractions, settings.levels, generator)
    own_points = config.model.architecture == "paper"
    if own_points:
        pattern, composition = paper_augmentation(pattern, composition, generator)
        mask = torch.ones_like(pattern)
    else:
        pattern, mask = measured_view(pattern, settings.measured_like, generator)
    seed = int(torch.randint(2**63 - 1, (), generator=generator))
    points, truth = stratified_sample(
        dataset.maps,
        torch.from_numpy(chosen[share]),
        settings.samples,
        seed,
        "nearest" if own_points else "voxel",
        not own_points,
    )
    return Inputs(pattern[share], mask[share], lattice[share], composition[share], level[share], points, truth)

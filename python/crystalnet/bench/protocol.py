"""The steps of the evaluation, timed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from crystalnet.bench.kernels import scores_by_skimage, two_maps
from crystalnet.bench.modules import decode_as_published, decode_eagerly, network_that_saw_data
from crystalnet.bench.timing import Calls, interleaved
from crystalnet.bragg import N_BINS, bin_of
from crystalnet.crystal.elements import ATOMIC_NUMBER
from crystalnet.crystal.lattice import holohedry
from crystalnet.crystal.record_file import structure_of
from crystalnet.crystal.types import types_table
from crystalnet.density.promolecule import GRID
from crystalnet.evaluation.metrics import aligned
from crystalnet.model.base import grid_points
from crystalnet.model.config import PAPER, SMALL, Config
from crystalnet.ops.powder_pattern import powder_pattern
from crystalnet.ops.ssim import ssim3d_rotations

GUESSES = 5  # of the paper's protocol


def measure_evaluation() -> Iterator[dict[str, Any]]:
    """What `evaluate` does for one crystal, timed.

    Five guesses are decoded, each is scored under 24 rotations, their patterns rank them, and the first is aligned. The
    other side decodes in float32, with FiLM made once a guess ("eager") or at every point ("published").

    Yields
    ------
    dict
        Of one preset: seconds of each part and of all, for each side, and the speed-ups.
    """
    shared = {"scores": interleaved(_scores(), 3), "alignment": interleaved(_alignment(), 3)}
    shared["ranking"] = interleaved(_ranking(), 3)
    for config, repeats in ((SMALL, 3), (PAPER, 1)):
        parts = {"decoding": interleaved(_decoding(config), repeats)} | shared
        for once in ("eager", "published"):  # the other side takes one guess after the other
            parts["decoding"][once] *= GUESSES
        sides = {side: sum(part.get(side, part["eager"]) for part in parts.values()) for side in parts["decoding"]}
        yield {
            "protocol": f"evaluate {config.preset}",
            "guesses": GUESSES,
            "parts_s": parts,
            "seconds": sides,
            "speedup": sides["eager"] / sides["native"],
            "speedup_over_published": sides["published"] / sides["native"],
        }


def _decoding(config: Config) -> Calls:
    """Densities of all guesses by the kernel, in bfloat16 as `solve` has them; of one by the modules."""
    network = network_that_saw_data(config)
    z, points = torch.randn(GUESSES, 2 * config.model.latent), grid_points(GRID, "cpu")

    def ours() -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return cast(Tensor, network.density_grid(z))

    return {
        "native": ours,
        "eager": torch.no_grad()(lambda: decode_eagerly(network, network.condition(z[:1]), points)),
        "published": torch.no_grad()(lambda: decode_as_published(network, z[:1], points)),
    }


def _scores() -> Calls:
    """SSIM and PSNR of the guesses under 24 rotations."""
    t, g = two_maps()
    guesses = np.stack([np.roll(g, step, 0) for step in range(GUESSES)])
    truth, maps = torch.from_numpy(t).float(), torch.from_numpy(guesses).float()
    return {
        "native": lambda: ssim3d_rotations(truth, maps),
        "eager": lambda: [scores_by_skimage(t, guess).max(1) for guess in guesses],
    }


def _alignment() -> Calls:
    """The first guess moved onto the truth by the 48 operations of a cubic lattice and any translation."""
    t, g = two_maps()
    operations = np.round(holohedry(np.eye(3))).astype(int)

    def by_numpy() -> np.ndarray:
        factors, corners = np.fft.rfftn(t), np.indices(t.shape).reshape(3, -1)
        best, answer = -np.inf, g
        for operation in operations:
            turned = g[tuple((operation @ corners) % GRID)].reshape(t.shape)
            correlation = np.fft.irfftn(factors * np.fft.rfftn(turned).conj(), s=t.shape, axes=(0, 1, 2))
            if correlation.max() > best:
                shift = np.unravel_index(correlation.argmax(), t.shape)
                best, answer = correlation.max(), np.roll(turned, shift, (0, 1, 2))
        return answer

    return {"native": lambda: aligned(t, g, operations), "eager": by_numpy}


def _ranking() -> Calls:
    """Patterns of a crystal a guess, and their likeness to the first; the crystals have the usual size of a type."""
    from pymatgen.analysis.diffraction.xrd import XRDCalculator

    structures = sorted((structure_of(r) for r in types_table("cubic")), key=len)
    structures = structures[len(structures) // 2 - GUESSES // 2 :][:GUESSES]
    calculator = XRDCalculator(wavelength=0.711, symprec=0)
    lattices = torch.tensor(np.array([s.lattice.matrix for s in structures]))
    offsets = torch.tensor(np.cumsum([0, *map(len, structures)]))
    coords = torch.tensor(np.concatenate([s.frac_coords for s in structures]))
    numbers = torch.tensor([ATOMIC_NUMBER[site.specie.symbol] for s in structures for site in s])

    def ours() -> Tensor:
        vectors = powder_pattern(lattices, offsets, coords, numbers)
        return F.cosine_similarity(vectors, vectors[:1])

    def by_pymatgen() -> np.ndarray:
        vectors = np.zeros((GUESSES, N_BINS))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for vector, structure in zip(vectors, structures, strict=True):
                lines = calculator.get_pattern(structure, two_theta_range=(0, 180))
                np.maximum.at(vector, bin_of(lines.x), lines.y)
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(unit @ unit[0])

    return {"native": ours, "eager": by_pymatgen}

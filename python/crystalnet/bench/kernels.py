"""Each kernel against its reference, timed."""

from __future__ import annotations

import copy
import os
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from crystalnet.bench.modules import CHUNK, decode_eagerly, network_that_saw_data
from crystalnet.bench.timing import Calls, entry, interleaved, taken_by_default
from crystalnet.bragg import N_BINS
from crystalnet.crystal.elements import ATOMIC_NUMBER
from crystalnet.crystal.record_file import structure_of
from crystalnet.crystal.types import types_table
from crystalnet.data.dataset import CrystalDataset
from crystalnet.density.promolecule import GRID
from crystalnet.model.base import grid_points
from crystalnet.model.config import PAPER, SMALL, Config
from crystalnet.model.inputs import N_ELEMENTS
from crystalnet.model.periodic import PeriodicNetwork
from crystalnet.ops.decoder import decoder_flop, torch_film_decode
from crystalnet.ops.film_decode import choose_film_decode, film_decode
from crystalnet.ops.powder_pattern import choose_powder_pattern, powder_pattern, reference_pattern
from crystalnet.ops.sampling import choose_stratified_sample, reference_stratified_sample, stratified_sample
from crystalnet.ops.ssim import (
    choose_ssim3d_rotations,
    cube_rotations,
    reference_ssim3d_rotations,
    rotate,
    ssim3d_rotations,
)
from crystalnet.training.batches import draw_inputs
from crystalnet.training.run import Run

CRYSTALS = 100  # cubic types of the package's table, up to 40 atoms a cell
BATCH, SAMPLES = 128, 10  # the paper's batch
GEMM_CALLS = 8


def measure_powder_pattern(device: str) -> Iterator[dict[str, Any]]:
    """Pattern vectors of the package's cubic types, float64, against pymatgen's XRDCalculator."""
    from pymatgen.analysis.diffraction.xrd import XRDCalculator

    structures = [structure_of(r) for r in types_table("cubic") if len(r["species"]) <= 40][:CRYSTALS]
    counts = [len(s) for s in structures]
    lattices, offsets, coords, numbers = (
        torch.tensor(values).to(device)
        for values in (
            np.array([s.lattice.matrix for s in structures]),
            np.cumsum([0, *counts]),
            np.concatenate([s.frac_coords for s in structures]),
            np.array([ATOMIC_NUMBER[site.specie.symbol] for s in structures for site in s]),
        )
    )
    arguments = (lattices, offsets, coords, numbers)
    calculator, user = XRDCalculator(wavelength=0.711, symprec=0), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for structure in structures:  # minutes in all: once, each crystal for itself
            started = time.perf_counter()
            calculator.get_pattern(structure, two_theta_range=(0, 180))
            user.append(time.perf_counter() - started)
    seconds = interleaved(
        {"native": partial(powder_pattern, *arguments), "reference": partial(reference_pattern, *arguments)}, 3
    )
    one_by_one = []
    for i, count in enumerate(counts):
        atoms = slice(sum(counts[:i]), sum(counts[: i + 1]))
        own = torch.tensor([0, count]).to(device)
        call = partial(powder_pattern, lattices[i : i + 1], own, coords[atoms], numbers[atoms])
        one_by_one.append(interleaved({"native": call}, 3)["native"])
    error = (powder_pattern(*arguments) - reference_pattern(*arguments)).abs().max().item()
    chosen = taken_by_default(partial(choose_powder_pattern, len(structures), lattices.device))
    yield entry("powder_pattern", "float64", [len(structures), 1024], seconds, error, chosen) | {
        "user_call": "pymatgen XRDCalculator",
        "user_call_s": sum(user),
        "speedup_over_user_call": sum(user) / seconds["native"],
        "median_speedup_a_crystal": statistics.median(u / n for u, n in zip(user, one_by_one, strict=True)),
    }


def measure_stratified_sample(device: str) -> Iterator[dict[str, Any]]:
    """Points drawn from the density maps of a batch, against vectorised torch and numpy and a loop over points."""
    generator = torch.Generator().manual_seed(0)
    maps = [torch.rand(2 * BATCH, GRID, GRID, GRID, generator=generator).half().to(device)]
    rows = torch.randperm(2 * BATCH, generator=generator)[:BATCH].to(device)
    arguments, on_host = (maps, rows, SAMPLES, 7), (maps[0].cpu().numpy(), rows.cpu().numpy())

    def torch_call() -> None:  # what one writes in torch, with its own generator
        axis = torch.arange(SAMPLES, dtype=torch.float32, device=device)
        corner = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(-1, 3)
        points = (corner + torch.rand(BATCH, len(corner), 3, device=device)) / SAMPLES
        x, y, z = (torch.round(points * GRID).long() % GRID).unbind(-1)
        maps[0][rows[:, None], x, y, z].float()

    def numpy_call() -> None:
        corner = np.stack(np.meshgrid(*[np.arange(SAMPLES)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
        points = (corner + np.random.default_rng(0).random((BATCH, len(corner), 3))) / SAMPLES
        x, y, z = np.moveaxis(np.round(points * GRID).astype(int) % GRID, -1, 0)
        on_host[0][on_host[1][:, None], x, y, z].astype(np.float32)

    def loop() -> None:  # point by point, as the paper's public loader does; one crystal of the batch
        density, rng = on_host[0][0], np.random.default_rng(0)
        for cell in np.ndindex(SAMPLES, SAMPLES, SAMPLES):
            x, y, z = np.round((np.array(cell) + rng.random(3)) / SAMPLES * GRID).astype(int) % GRID
            float(density[x, y, z])

    expected = reference_stratified_sample(*arguments)
    error = max((a - b).abs().max().item() for a, b in zip(stratified_sample(*arguments), expected, strict=True))
    seconds = interleaved(
        {
            "native": lambda: stratified_sample(*arguments),
            "reference": lambda: reference_stratified_sample(*arguments),
            "torch": torch_call,
            "numpy": numpy_call,
        },
        10,
    )
    point_by_point = BATCH * interleaved({"loop": loop}, 1)["loop"]
    chosen = taken_by_default(partial(choose_stratified_sample, *arguments))
    yield entry("stratified_sample", "float16", [BATCH, SAMPLES**3], seconds, error, chosen) | {
        "user_call": "vectorised torch",
        "user_call_s": seconds["torch"],
        "speedup_over_user_call": seconds["torch"] / seconds["native"],
        "vectorised_numpy_s": seconds["numpy"],
        "speedup_over_vectorised_numpy": seconds["numpy"] / seconds["native"],
        "point_by_point_s": point_by_point,
    }


def measure_ssim3d_rotations(device: str) -> Iterator[dict[str, Any]]:
    """SSIM and PSNR of a map under 24 rotations, against skimage."""
    t, g = two_maps()
    arguments = torch.from_numpy(t).float().to(device), torch.from_numpy(g)[None].float().to(device)
    error = float(np.abs(torch.cat(ssim3d_rotations(*arguments)).cpu().numpy() - scores_by_skimage(t, g)).max())
    seconds = interleaved(
        {
            "native": lambda: ssim3d_rotations(*arguments),
            "reference": lambda: reference_ssim3d_rotations(*arguments),
            "skimage": lambda: scores_by_skimage(t, g),
        },
        3,
    )
    chosen = taken_by_default(partial(choose_ssim3d_rotations, *arguments))
    yield entry("ssim3d_rotations", "float32", [1, 24, GRID, GRID, GRID], seconds, error, chosen) | {
        "user_call": "skimage, 24 rotations",
        "user_call_s": seconds["skimage"],
        "speedup_over_user_call": seconds["skimage"] / seconds["native"],
    }


def two_maps() -> tuple[np.ndarray, np.ndarray]:
    """A map of peaks on voids, and a rough guess at it turned by a third about the diagonal."""
    rng = np.random.default_rng(0)
    t = (3 * rng.random((GRID, GRID, GRID)) ** 8).astype(np.float32).astype(float)
    g = np.ascontiguousarray(0.7 * t.transpose(2, 0, 1) + rng.random(t.shape) ** 4, dtype=np.float32)
    return t, g.astype(float)


def scores_by_skimage(truth: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """(2, 24): SSIM and PSNR of the rotated guess."""
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    span = truth.max() - truth.min()
    turned = [np.ascontiguousarray(rotate(guess, rotation)) for rotation in cube_rotations()[:24]]
    ssim = [structural_similarity(truth, a, win_size=7, data_range=span) for a in turned]
    return np.array([ssim, [peak_signal_noise_ratio(truth, a, data_range=span) for a in turned]])


def measure_film_decode(device: str) -> Iterator[dict[str, Any]]:
    """The coordinate network: whole density maps of two presets, and a training step of one."""
    for config, crystals in ((PAPER, 1), (SMALL, 5)):
        yield from _film_decode_grid(config, crystals, device)
    yield _film_decode_training(SMALL, device)


def _film_decode_grid(config: Config, crystals: int, device: str) -> Iterator[dict[str, Any]]:
    """Whole density maps, float32 and bfloat16. Errors are relative to the float64 network's largest density."""
    network = network_that_saw_data(config).to(device)
    points = grid_points(GRID, device)
    some = points[:: len(points) // 1000]
    with torch.inference_mode():
        conditions = network.condition(torch.randn(crystals, 2 * config.model.latent).to(device))
        decoder, film, amplitude = network.decoder(), conditions[0], conditions[1] if len(conditions) > 1 else None
        calls: Calls = {"eager": lambda: decode_eagerly(network, conditions, points)}
        for name, bf16 in (("float32", False), ("bfloat16", True)):
            calls |= {
                f"native {name}": partial(film_decode, points, decoder, film, amplitude, bf16),
                f"reference {name}": partial(torch_film_decode, points, decoder, film, amplitude, bf16),
                f"gemm {name}": _matrix_products(getattr(torch, name), config.model.width, device),
            }
        seconds = interleaved(calls, 3)
        flop = decoder_flop(decoder, len(points), crystals)
        exact = decode_eagerly(copy.deepcopy(network).double(), tuple(c.double() for c in conditions), some.double())
        for name, bf16 in (("float32", False), ("bfloat16", True)):
            off = film_decode(some, decoder, film, amplitude, bf16) - exact
            gemm = GEMM_CALLS * 2.0 * CHUNK * config.model.width**2 / seconds[f"gemm {name}"]
            part = {side: seconds[f"{side} {name}"] for side in ("native", "reference")}
            rate = flop / part["native"]
            error = (off.abs().max() / exact.abs().max()).item()
            chosen = taken_by_default(
                partial(choose_film_decode, points, decoder, film, amplitude, bf16, training=False)
            )
            yield entry(f"film_decode {config.preset}", name, [crystals, GRID, GRID, GRID], part, error, chosen) | {
                "user_call": "torch eager float32, modules",
                "user_call_s": seconds["eager"],
                "speedup_over_user_call": seconds["eager"] / part["native"],
                "gflop_per_s": rate / 1e9,
                "of_matmul_rate": rate / gemm,
            }


def _film_decode_training(config: Config, device: str) -> dict[str, Any]:
    """Forward and backward of the decoder alone, as a training step runs it, bfloat16 products on both sides."""
    network = network_that_saw_data(config).to(device).train()
    count = config.train.samples**3
    points = grid_points(GRID, device)[torch.randperm(GRID**3, generator=torch.Generator().manual_seed(0))[:count]]
    with torch.no_grad():
        film, amplitude = network.condition(torch.randn(config.train.batch, 2 * config.model.latent).to(device))

    def step(decode: Callable[..., Tensor]) -> Tensor:
        leaf: Tensor = film.detach().requires_grad_()
        network.zero_grad()
        decode(points, network.decoder(), leaf, amplitude, True).mean().backward()
        assert leaf.grad is not None
        return leaf.grad

    ours, theirs = step(film_decode), step(torch_film_decode)
    error = ((ours - theirs).abs().max() / theirs.abs().max()).item()
    seconds = interleaved({"native": lambda: step(film_decode), "reference": lambda: step(torch_film_decode)}, 5)
    chosen = taken_by_default(
        partial(choose_film_decode, points, network.decoder(), film, amplitude, True, training=True)
    )
    shape = [config.train.batch, count]
    return entry(f"film_decode {config.preset}, training", "bfloat16", shape, seconds, error, chosen) | {
        "user_call": "torch autocast",
        "user_call_s": seconds["reference"],
        "speedup_over_user_call": seconds["reference"] / seconds["native"],
    }


def measure_train_step(device: str) -> Iterator[dict[str, Any]]:
    """Whole steps of the small preset: draws, encoders, hypotheses, decoder, backward, optimiser, weight average."""
    settings = SMALL.train
    generator = torch.Generator().manual_seed(0)
    maps = [torch.rand(settings.batch, GRID, GRID, GRID, generator=generator).half()]
    patterns = torch.rand(settings.batch, N_BINS, generator=generator) ** 8
    lattices = 5 * torch.eye(3).expand(settings.batch, 3, 3)
    fractions = F.one_hot(torch.arange(settings.batch) % 90 + 1, N_ELEMENTS).float()
    crystals = SimpleNamespace(maps=maps, inputs=lambda rows: (patterns, lattices, fractions))
    runs = {name: Run(SMALL, device) for name in ("native", "reference")}
    runs["eager"] = Run(replace(SMALL, train=replace(settings, bf16=False)), device)
    modules = cast(PeriodicNetwork, runs["eager"].network)
    modules.decode = partial(decode_eagerly, modules)  # type: ignore[method-assign]

    def step(name: str) -> float:
        run = runs[name]
        with patch.dict(os.environ, {"CRYSTALNET_OPS": "native" if name == "native" else "reference"}):
            draws = run.draws()
            inputs = draw_inputs(cast(CrystalDataset, crystals), np.arange(settings.batch), run.config, draws)
            return run.one_step(inputs, draws)

    error = abs(step("native") / step("reference") - 1)
    seconds = interleaved({name: partial(step, name) for name in runs}, 5)
    points = settings.batch * settings.samples**3
    film, amplitude = modules.condition(torch.zeros(settings.batch, 2 * SMALL.model.latent, device=device))
    some = torch.rand(settings.samples**3, 3).to(device)
    chosen = taken_by_default(
        partial(choose_film_decode, some, modules.decoder(), film, amplitude, True, training=True)
    )
    yield entry("train step small", "bfloat16", [settings.batch, settings.samples**3], seconds, error, chosen) | {
        "user_call": "torch eager float32, modules",
        "user_call_s": seconds["eager"],
        "speedup_over_user_call": seconds["eager"] / seconds["native"],
        "points_per_s": points / seconds["native"],
        "reference_points_per_s": points / seconds["reference"],
        "user_call_points_per_s": points / seconds["eager"],
    }


def _matrix_products(dtype: torch.dtype, width: int, device: str) -> Callable[[], object]:
    a, b = (torch.randn(rows, width).to(device, dtype) for rows in (CHUNK, width))
    return lambda: [a @ b for _ in range(GEMM_CALLS)]

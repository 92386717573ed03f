"""`crystalnet bench`: every native kernel against its reference and against what a user would call instead, and what
`evaluate` does for a crystal against the same protocol in torch, skimage, numpy and pymatgen.

One run, warm, the calls taken in turn so that a drifting machine hits all alike; the median is kept and the error
stands beside the speed. On a machine with a GPU every kernel is measured there too.
"""

from __future__ import annotations

import copy
import os
import platform
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

from crystalnet.config import PAPER, SMALL, Config
from crystalnet.data.dataset import CrystalDataset
from crystalnet.data.prototypes import types_table
from crystalnet.data.records_file import structure_of
from crystalnet.density.cell import holohedry
from crystalnet.density.promolecule import GRID
from crystalnet.elements import ATOMIC_NUMBER
from crystalnet.engine import Run
from crystalnet.metrics import aligned
from crystalnet.model.inputs import N_ELEMENTS
from crystalnet.model.network import PaperNetwork, PeriodicNetwork, build_network, grid_points
from crystalnet.ops._native import native, native_cuda
from crystalnet.ops.choice import Choice
from crystalnet.ops.film_decode import choose_film_decode, decoder_flop, film_decode, torch_film_decode
from crystalnet.ops.powder_pattern import choose_powder_pattern, powder_pattern, reference_pattern
from crystalnet.ops.sampling import choose_stratified_sample, reference_stratified_sample, stratified_sample
from crystalnet.ops.ssim import (
    choose_ssim3d_rotations,
    cube_rotations,
    reference_ssim3d_rotations,
    rotate,
    ssim3d_rotations,
)
from crystalnet.pattern_axis import N_BINS
from crystalnet.records import InputError
from crystalnet.train import draw_inputs

CRYSTALS = 100  # cubic types of the package's table, up to 40 atoms a cell
BATCH, SAMPLES = 128, 10  # the paper's batch
CHUNK = 5_000  # points at a time in eager torch: more would not fit into the caches, fewer cost calls
GUESSES = 5  # of the paper's protocol
PUBLISHED_CHUNK = 8192  # points at a time in the published code
REPEATS = 5
TURN_SECONDS = 0.05  # long against the clock and thread start-up, short against a machine's drift
Calls = dict[str, Callable[[], object]]


def run(progress: Callable[[str], None] = lambda what: None) -> dict[str, Any]:
    """{"kernels": [...], "evaluate": [...], "machine": {...}}, seconds for the whole batch of one kernel call.

    Both implementations of a kernel are timed; "chosen" is the one that other commands take here, "chosen_s" its time.
    progress is told each kernel's name before it is measured. InputError where there is no native module.
    """
    if native() is None:
        raise InputError("no native module to measure: it was not built, or CRYSTALNET_OPS=reference is set")
    devices = ["cpu"] + (["cuda"] if torch.cuda.is_available() and native_cuda() is not None else [])
    kernels: list[dict[str, Any]] = []
    for device in devices:
        for measure in (_powder_pattern, _stratified_sample, _ssim3d_rotations, _film_decode, _train_step):
            progress(f"{measure.__name__.lstrip('_')} on {device}")
            with patch.dict(os.environ, {"CRYSTALNET_OPS": "native"}):
                kernels.extend({"device": device} | found for found in measure(device))
    progress("evaluate on cpu")
    return {"kernels": kernels, "evaluate": list(_evaluate()), "machine": machine()}


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
    } | ({"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {})


def _chosen(choose: Callable[[], Choice]) -> str:
    """What is taken where nobody asks for either."""
    with patch.dict(os.environ):
        del os.environ["CRYSTALNET_OPS"]
        return choose().chosen


def _powder_pattern(device: str) -> Iterator[dict[str, Any]]:
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
    seconds = _interleaved(
        {"native": partial(powder_pattern, *arguments), "reference": partial(reference_pattern, *arguments)}, 3
    )
    one_by_one = []
    for i, count in enumerate(counts):
        atoms = slice(sum(counts[:i]), sum(counts[: i + 1]))
        own = torch.tensor([0, count]).to(device)
        call = partial(powder_pattern, lattices[i : i + 1], own, coords[atoms], numbers[atoms])
        one_by_one.append(_interleaved({"native": call}, 3)["native"])
    error = (powder_pattern(*arguments) - reference_pattern(*arguments)).abs().max().item()
    chosen = _chosen(partial(choose_powder_pattern, len(structures), lattices.device))
    yield _entry("powder_pattern", "float64", [len(structures), 1024], seconds, error, chosen) | {
        "user_call": "pymatgen XRDCalculator",
        "user_call_s": sum(user),
        "speedup_over_user_call": sum(user) / seconds["native"],
        "median_speedup_a_crystal": statistics.median(u / n for u, n in zip(user, one_by_one, strict=True)),
    }


def _stratified_sample(device: str) -> Iterator[dict[str, Any]]:
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
    seconds = _interleaved(
        {
            "native": lambda: stratified_sample(*arguments),
            "reference": lambda: reference_stratified_sample(*arguments),
            "torch": torch_call,
            "numpy": numpy_call,
        },
        10,
    )
    point_by_point = BATCH * _interleaved({"loop": loop}, 1)["loop"]
    chosen = _chosen(partial(choose_stratified_sample, *arguments))
    yield _entry("stratified_sample", "float16", [BATCH, SAMPLES**3], seconds, error, chosen) | {
        "user_call": "vectorised torch",
        "user_call_s": seconds["torch"],
        "speedup_over_user_call": seconds["torch"] / seconds["native"],
        "vectorised_numpy_s": seconds["numpy"],
        "speedup_over_vectorised_numpy": seconds["numpy"] / seconds["native"],
        "point_by_point_s": point_by_point,
    }


def _ssim3d_rotations(device: str) -> Iterator[dict[str, Any]]:
    t, g = _two_maps()
    arguments = torch.from_numpy(t).float().to(device), torch.from_numpy(g)[None].float().to(device)
    error = float(np.abs(torch.cat(ssim3d_rotations(*arguments)).cpu().numpy() - _skimage(t, g)).max())
    seconds = _interleaved(
        {
            "native": lambda: ssim3d_rotations(*arguments),
            "reference": lambda: reference_ssim3d_rotations(*arguments),
            "skimage": lambda: _skimage(t, g),
        },
        3,
    )
    chosen = _chosen(partial(choose_ssim3d_rotations, *arguments))
    yield _entry("ssim3d_rotations", "float32", [1, 24, GRID, GRID, GRID], seconds, error, chosen) | {
        "user_call": "skimage, 24 rotations",
        "user_call_s": seconds["skimage"],
        "speedup_over_user_call": seconds["skimage"] / seconds["native"],
    }


def _two_maps() -> tuple[np.ndarray, np.ndarray]:
    """A map of peaks on voids, and a rough guess at it turned by a third about the diagonal."""
    rng = np.random.default_rng(0)
    t = (3 * rng.random((GRID, GRID, GRID)) ** 8).astype(np.float32).astype(float)
    g = np.ascontiguousarray(0.7 * t.transpose(2, 0, 1) + rng.random(t.shape) ** 4, dtype=np.float32)
    return t, g.astype(float)


def _skimage(truth: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """(2, 24): SSIM and PSNR of the rotated guess."""
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    span = truth.max() - truth.min()
    turned = [np.ascontiguousarray(rotate(guess, rotation)) for rotation in cube_rotations()[:24]]
    ssim = [structural_similarity(truth, a, win_size=7, data_range=span) for a in turned]
    return np.array([ssim, [peak_signal_noise_ratio(truth, a, data_range=span) for a in turned]])


def _film_decode(device: str) -> Iterator[dict[str, Any]]:
    for config, crystals in ((PAPER, 1), (SMALL, 5)):
        yield from _film_decode_grid(config, crystals, device)
    yield _film_decode_training(SMALL, device)


def _film_decode_grid(config: Config, crystals: int, device: str) -> Iterator[dict[str, Any]]:
    """Whole density maps, float32 and bfloat16. Errors are relative to the float64 network's largest density."""
    network = _network_that_saw_data(config).to(device)
    points = grid_points(GRID, device)
    some = points[:: len(points) // 1000]
    with torch.inference_mode():
        conditions = network.condition(torch.randn(crystals, 2 * config.model.latent).to(device))
        decoder, film, amplitude = network.decoder(), conditions[0], conditions[1] if len(conditions) > 1 else None
        calls: Calls = {"eager": lambda: _eager(network, conditions, points)}
        for name, bf16 in (("float32", False), ("bfloat16", True)):
            calls |= {
                f"native {name}": partial(film_decode, points, decoder, film, amplitude, bf16),
                f"reference {name}": partial(torch_film_decode, points, decoder, film, amplitude, bf16),
                f"gemm {name}": _matrix_products(getattr(torch, name), config.model.width, device),
            }
        seconds = _interleaved(calls, 3)
        flop = decoder_flop(decoder, len(points), crystals)
        exact = _eager(copy.deepcopy(network).double(), tuple(c.double() for c in conditions), some.double())
        for name, bf16 in (("float32", False), ("bfloat16", True)):
            off = film_decode(some, decoder, film, amplitude, bf16) - exact
            gemm = GEMM_CALLS * 2.0 * CHUNK * config.model.width**2 / seconds[f"gemm {name}"]
            part = {side: seconds[f"{side} {name}"] for side in ("native", "reference")}
            rate = flop / part["native"]
            error = (off.abs().max() / exact.abs().max()).item()
            chosen = _chosen(partial(choose_film_decode, points, decoder, film, amplitude, bf16, training=False))
            yield _entry(f"film_decode {config.preset}", name, [crystals, GRID, GRID, GRID], part, error, chosen) | {
                "user_call": "torch eager float32, modules",
                "user_call_s": seconds["eager"],
                "speedup_over_user_call": seconds["eager"] / part["native"],
                "gflop_per_s": rate / 1e9,
                "of_matmul_rate": rate / gemm,
            }


def _film_decode_training(config: Config, device: str) -> dict[str, Any]:
    """Forward and backward of the decoder alone, as a training step runs it, bfloat16 products on both sides."""
    network = _network_that_saw_data(config).to(device).train()
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
    seconds = _interleaved({"native": lambda: step(film_decode), "reference": lambda: step(torch_film_decode)}, 5)
    chosen = _chosen(partial(choose_film_decode, points, network.decoder(), film, amplitude, True, training=True))
    shape = [config.train.batch, count]
    return _entry(f"film_decode {config.preset}, training", "bfloat16", shape, seconds, error, chosen) | {
        "user_call": "torch autocast",
        "user_call_s": seconds["reference"],
        "speedup_over_user_call": seconds["reference"] / seconds["native"],
    }


def _train_step(device: str) -> Iterator[dict[str, Any]]:
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
    modules.decode = partial(_eager, modules)  # type: ignore[method-assign]

    def step(name: str) -> float:
        run = runs[name]
        with patch.dict(os.environ, {"CRYSTALNET_OPS": "native" if name == "native" else "reference"}):
            draws = run.draws()
            inputs = draw_inputs(cast(CrystalDataset, crystals), np.arange(settings.batch), run.config, draws)
            return run.one_step(inputs, draws)

    error = abs(step("native") / step("reference") - 1)
    seconds = _interleaved({name: partial(step, name) for name in runs}, 5)
    points = settings.batch * settings.samples**3
    film, amplitude = modules.condition(torch.zeros(settings.batch, 2 * SMALL.model.latent, device=device))
    some = torch.rand(settings.samples**3, 3).to(device)
    chosen = _chosen(partial(choose_film_decode, some, modules.decoder(), film, amplitude, True, training=True))
    yield _entry("train step small", "bfloat16", [settings.batch, settings.samples**3], seconds, error, chosen) | {
        "user_call": "torch eager float32, modules",
        "user_call_s": seconds["eager"],
        "speedup_over_user_call": seconds["eager"] / seconds["native"],
        "points_per_s": points / seconds["native"],
        "reference_points_per_s": points / seconds["reference"],
        "user_call_points_per_s": points / seconds["eager"],
    }


def _evaluate() -> Iterator[dict[str, Any]]:
    """One crystal of the protocol: five guesses decoded, each scored under 24 rotations, ranked by their patterns, the
    first aligned. The other side decodes in float32, FiLM once a guess ("eager") or at every point ("published").
    """
    shared = {"scores": _interleaved(_scores(), 3), "alignment": _interleaved(_alignment(), 3)}
    shared["ranking"] = _interleaved(_ranking(), 3)
    for config, repeats in ((SMALL, 3), (PAPER, 1)):
        parts = {"decoding": _interleaved(_decoding(config), repeats)} | shared
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
    network = _network_that_saw_data(config)
    z, points = torch.randn(GUESSES, 2 * config.model.latent), grid_points(GRID, "cpu")

    def ours() -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return cast(Tensor, network.density_grid(z))

    return {
        "native": ours,
        "eager": torch.no_grad()(lambda: _eager(network, network.condition(z[:1]), points)),
        "published": torch.no_grad()(lambda: _published(network, z[:1], points)),
    }


def _scores() -> Calls:
    """SSIM and PSNR of the guesses under 24 rotations."""
    t, g = _two_maps()
    guesses = np.stack([np.roll(g, step, 0) for step in range(GUESSES)])
    truth, maps = torch.from_numpy(t).float(), torch.from_numpy(guesses).float()
    return {
        "native": lambda: ssim3d_rotations(truth, maps),
        "eager": lambda: [_skimage(t, guess).max(1) for guess in guesses],
    }


def _alignment() -> Calls:
    """The first guess moved onto the truth by the 48 operations of a cubic lattice and any translation."""
    t, g = _two_maps()
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
                np.maximum.at(vector, (lines.x / 180 * N_BINS).astype(int), lines.y)
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(unit @ unit[0])

    return {"native": ours, "eager": by_pymatgen}


GEMM_CALLS = 8


def _matrix_products(dtype: torch.dtype, width: int, device: str) -> Callable[[], object]:
    a, b = (torch.randn(rows, width).to(device, dtype) for rows in (CHUNK, width))
    return lambda: [a @ b for _ in range(GEMM_CALLS)]


def _network_that_saw_data(config: Config) -> Any:
    torch.manual_seed(0)
    network = build_network(config).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):  # fresh statistics would let activations die out
            assert module.running_mean is not None and module.running_var is not None
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.05, 0.2)
    return network


def _eager(network: PaperNetwork | PeriodicNetwork, conditions: tuple[Tensor, ...], points: Tensor) -> Tensor:
    """What a user would write: FiLM once a crystal, normalisations as modules, points in chunks."""
    shared = tuple(condition[:, None] for condition in conditions)
    return torch.cat([_modules(network, shared, part) for part in points.split(CHUNK)], dim=1)


def _published(network: PaperNetwork | PeriodicNetwork, z: Tensor, points: Tensor) -> Tensor:
    """What the published code does for one guess z (1, 2L): the latent repeated for every point, FiLM made at each."""
    parts = []
    for part in points.split(PUBLISHED_CHUNK):
        conditions = network.condition(z.expand(len(part), -1))
        parts.append(_modules(network, tuple(condition[None] for condition in conditions), part))
    return torch.cat(parts, dim=1)


def _modules(network: PaperNetwork | PeriodicNetwork, conditions: tuple[Tensor, ...], points: Tensor) -> Tensor:
    """Densities (B, P) by the network's modules; conditions: (B, 1, ...), or (1, P, ...): each point its own."""
    film = conditions[0]
    phase = 2 * torch.pi * ((points - (0.5 if isinstance(network, PaperNetwork) else 0)) @ network.rows.T)
    p = network.position(torch.cat([phase.sin(), phase.cos()], dim=-1))
    if isinstance(network, PaperNetwork):
        h = film[..., 0, 0, :] * p + film[..., 0, 1, :]
        return cast(Tensor, network.regressor(h.flatten(0, 1)).reshape(h.shape[:2]))
    h = F.relu(torch.addcmul(film[..., 0, 1, :], film[..., 0, 0, :], p))
    for i, layer in enumerate(network.layers, 1):
        h = h + F.relu(torch.addcmul(film[..., i, 1, :], film[..., i, 0, :], layer(h)))
    return F.softplus(network.head(h).squeeze(-1)) * conditions[1]


def _entry(
    op: str, dtype: str, shape: list[int], seconds: dict[str, float], error: float, chosen: str
) -> dict[str, Any]:
    return {
        "op": op,
        "dtype": dtype,
        "shape": shape,
        "reference_s": seconds["reference"],
        "native_s": seconds["native"],
        "speedup": seconds["reference"] / seconds["native"],
        "max_abs_error": error,
        "chosen": chosen,
        "chosen_s": seconds[chosen],
    }


def _interleaved(calls: Calls, repeats: int = REPEATS) -> dict[str, float]:
    """Median seconds of each call over `repeats` turns; in a turn a short call runs for TURN_SECONDS, so that it is as
    warm as in the loop it is made for."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats + (repeats > 1)):  # the first of several turns only warms up
        for name, call in calls.items():
            count, elapsed, started = 0, 0.0, time.perf_counter()
            while elapsed < TURN_SECONDS:
                call()
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                count, elapsed = count + 1, time.perf_counter() - started
            if turn or repeats == 1:
                seconds[name].append(elapsed / count)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


def table(results: dict[str, Any]) -> str:
    """The results as a few lines for a person."""
    rows = [
        f"{'kernel':28} {'dtype':9} {'device':6} {'reference':>13} {'native':>13} {'speed-up':>9} {'error':>8} chosen"
    ]
    for k in results["kernels"]:
        rows.append(
            f"{k['op']:28} {k['dtype']:9} {k['device']:6} {k['reference_s'] * 1e3:10.2f} ms"
            f" {k['native_s'] * 1e3:10.2f} ms {k['speedup']:8.1f}× {k['max_abs_error']:8.1e} {k['chosen']:9}"
            f"   {k['speedup_over_user_call']:.1f}× {k['user_call']}"
            + (f", {k['of_matmul_rate']:.0%} of matmul" if "of_matmul_rate" in k else "")
            + (f", {k['points_per_s']:,.0f} points/s" if "points_per_s" in k else "")
        )
    for e in results["evaluate"]:
        rows.append(f"{e['protocol']}, a crystal: {e['speedup']:.1f}×, as published {e['speedup_over_published']:.1f}×")
        for part, seconds in (e["parts_s"] | {"in all": e["seconds"]}).items():
            said = ", ".join(f"{side} {taken:.3f} s" for side, taken in seconds.items())
            rows.append(f"    {part:10} {said}")
    m = results["machine"]
    return "\n".join([*rows, f"{m['processor']}, {m['threads']} threads, torch {m['torch']}, {m['capability']}"])

"""What `crystalnet info` says: version, build, which kernels run, models, paths."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator

import torch

from crystalnet import __version__
from crystalnet.crystal.systems import LEARNT
from crystalnet.density.promolecule import GRID
from crystalnet.model.base import grid_points
from crystalnet.model.checkpoint import load_model
from crystalnet.model.choice import shipped_model
from crystalnet.model.config import PAPER, SMALL
from crystalnet.model.network import build_network
from crystalnet.ops._native import native
from crystalnet.ops.choice import Choice, cache_file
from crystalnet.ops.film_decode import choose_film_decode
from crystalnet.ops.powder_pattern import choose_powder_pattern
from crystalnet.ops.sampling import choose_stratified_sample
from crystalnet.ops.ssim import choose_ssim3d_rotations
from crystalnet.records import InputError
from crystalnet.runtime.settings import default_directory


def describe() -> str:
    """A few lines for a person, or for a bug report."""
    module = native()
    build = "none: the reference kernels run" if module is None else module.__name__
    cuda = "built in" if module is not None and module.cuda_built() else "not built in"
    lines = [
        f"crystalnet {__version__}, Python {platform.python_version()}, torch {torch.__version__}",
        f"native kernels: {build}; CUDA {cuda}, device {'present' if torch.cuda.is_available() else 'absent'}",
        f"processor: {platform.machine()}, {torch.get_num_threads()} threads, torch uses "
        + torch.backends.cpu.get_cpu_capability(),
    ]
    lines += list(_kernels()) if module is not None else []
    for system in LEARNT:
        try:
            model = load_model(shipped_model(system))
            lines.append(f"model {system}: {model.config.preset}, SHA-256 {model.sha256[:12]}…")
        except InputError:
            lines.append(f"model {system}: none in this package")
        state = "present" if (default_directory(system) / "manifest.json").is_file() else "absent"
        lines.append(f"data {system}: {default_directory(system)} ({state})")
    return "\n".join(lines)


def _kernels() -> Iterator[str]:
    """Which implementation of each kernel the commands take on this processor, measured now if never before."""
    module = native()
    assert module is not None
    single, half = (module.film_decode_instructions(bf16) for bf16 in (False, True))
    yield f"native film_decode: {single} instructions in float32, {half} in bfloat16"
    kept = cache_file(torch.device("cpu"))
    for name, choice in kernel_choices():
        seconds = ", ".join(f"{side} {1000 * taken:.2f} ms" for side, taken in choice.seconds.items())
        yield f"{name}: {choice.chosen} ({seconds or 'asked for by CRYSTALNET_OPS'})"
    if "CRYSTALNET_OPS" not in os.environ:
        where = f"kept in {kept}" if kept.is_file() else f"{kept} cannot be written: every process measures again"
        yield f"the faster one, each with a small part of its work; {where}"


def kernel_choices() -> Iterator[tuple[str, Choice]]:
    """Operation, dtype and purpose, and what is chosen for it, of the kernels as training and solving call them."""
    cpu, batch = torch.device("cpu"), PAPER.train.batch
    yield "powder_pattern float64", choose_powder_pattern(batch, cpu)
    maps, rows = torch.zeros(1, GRID, GRID, GRID, dtype=torch.float16), torch.zeros(batch, dtype=torch.int64)
    yield "stratified_sample float16", choose_stratified_sample([maps], rows, PAPER.train.samples, 0)
    noise = torch.rand(2, GRID, GRID, GRID, generator=torch.Generator().manual_seed(0))
    yield "ssim3d_rotations float32", choose_ssim3d_rotations(noise[0], noise[1:])
    map_points = grid_points(GRID, cpu)
    for config in (SMALL, PAPER):
        network, latent = build_network(config).eval(), torch.zeros(config.train.batch, 2 * config.model.latent)
        with torch.no_grad():
            film, *amplitudes = network.condition(latent)
        # The paper's network learns through its modules: BatchNorm wants statistics over all points.
        for training in (False, True) if config is SMALL else (False,):
            some, crystals = (map_points[: config.train.samples**3], len(film)) if training else (map_points, 5)
            amplitude = amplitudes[0][:crystals] if amplitudes else None
            for bf16 in (True, False):
                yield (
                    f"film_decode {config.preset} {'bfloat16' if bf16 else 'float32'}"
                    + (", forward and backward" if training else ""),
                    choose_film_decode(some, network.decoder(), film[:crystals], amplitude, bf16, training),
                )

"""film_decode under each set of instructions that the processor has, torch held to the same.

Both read their limits when a process starts, so each set is measured in a process of its own, this module its program.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from crystalnet.bench.modules import network_that_saw_data
from crystalnet.bench.timing import interleaved
from crystalnet.model.base import grid_points
from crystalnet.model.config import PAPER, SMALL, Config
from crystalnet.ops._native import native
from crystalnet.ops.decoder import torch_film_decode
from crystalnet.ops.film_decode import film_decode

# The best first, as our kernels, ATen, oneDNN and MKL name them.
LIMITS = ("CRYSTALNET_CPU", "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")
SETS = (
    ("amx", "avx512", "AVX512_CORE_AMX", "AVX512"),
    ("avx512_bf16", "avx512", "AVX512_CORE_BF16", "AVX512"),
    ("avx512", "avx512", "AVX512_CORE", "AVX512"),
    ("avx2", "avx2", "AVX2", "AVX2"),
)
GRID = 24  # points along each axis of a map: tiles enough for every thread, and no minutes where instructions are few
DTYPES = {"float32": False, "bfloat16": True}  # name and whether products are in bfloat16


def measure_instruction_sets() -> Iterator[dict[str, Any]]:
    """Seconds of maps and training steps of the decoder, set by set.

    Yields
    ------
    dict
        "instructions", "op", "native_s" and "torch_s" by dtype, and "speedup": torch's best dtype over our best.

    Raises
    ------
    subprocess.CalledProcessError
        Where a process fails; its message went to stderr.
    """
    for names in SETS:
        done = subprocess.run(
            [sys.executable, "-m", __name__, str(torch.get_num_threads())],
            env=os.environ | dict(zip(LIMITS, names, strict=True)) | {"CRYSTALNET_OPS": "native"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        found = json.loads(done.stdout)
        if found["instructions"] == names[0]:  # else the processor lacks them
            yield from ({"instructions": names[0]} | row for row in found["rows"])


def _rows() -> Iterator[dict[str, Any]]:
    """What this process measures."""
    for config, crystals in ((PAPER, 1), (SMALL, 5)):
        yield _row(config, crystals, training=False)
    yield _row(SMALL, SMALL.train.batch, training=True)


def _row(config: Config, crystals: int, training: bool) -> dict[str, Any]:
    network = network_that_saw_data(config).train(training)
    points = grid_points(config.train.samples if training else GRID, "cpu")
    with torch.no_grad():
        film, *amplitudes = network.condition(torch.randn(crystals, 2 * config.model.latent))
    amplitude = amplitudes[0] if amplitudes else None

    def decode(implementation: Any, bf16: bool) -> None:
        with torch.set_grad_enabled(training):
            leaf = film.detach().requires_grad_(training)
            density = implementation(points, network.decoder(), leaf, amplitude, bf16)
            if training:
                network.zero_grad()
                density.mean().backward()

    sides = {"native": film_decode, "torch": torch_film_decode}
    calls = {(side, name): partial(decode, f, bf16) for side, f in sides.items() for name, bf16 in DTYPES.items()}
    seconds = interleaved(calls, 3)
    by_side = {side: {name: seconds[side, name] for name in DTYPES} for side in sides}
    return {
        "op": f"film_decode {config.preset}" + (", training" if training else ""),
        "native_s": by_side["native"],
        "torch_s": by_side["torch"],
        "speedup": min(by_side["torch"].values()) / min(by_side["native"].values()),
    }


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    module = native()
    assert module is not None
    name = module.film_decode_instructions(True)
    asked = os.environ["CRYSTALNET_CPU"]
    print(json.dumps({"instructions": name, "rows": list(_rows()) if name == asked else []}))

"""What a GPU does with this build: kernels right, kernels fast, and what a training schedule would take.

    python benchmarks/gpu.py [--sanitize]

Needs the package built with CUDA, pytest, and a GPU. Runs tests/native on it (with --sanitize under compute-sanitizer
first), then `crystalnet bench`, then training steps of the paper preset in plain torch float32, torch bfloat16 and
torch.compile bfloat16 (the decoder's BatchNorm wants statistics over the whole batch: its training has no CUDA kernel).
Writes benchmarks/results/DEVICE.json with the date and the versions.
"""

from __future__ import annotations

import datetime
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from crystalnet import __version__
from crystalnet.bragg import N_BINS
from crystalnet.commands import bench as benchmark
from crystalnet.model.config import PAPER
from crystalnet.model.inputs import LEVELS, N_ELEMENTS
from crystalnet.model.losses import kl, l1
from crystalnet.model.network import build_network

ROOT = Path(__file__).resolve().parents[1]
PAPER_CRYSTALS = 16_378  # cubic training set of the paper
STEPS = 20
DECODER_FLOP = 10.7e6  # of the paper preset, a point, forward; backward twice that


def tests(sanitize: bool) -> dict[str, Any]:
    """Exit status and last line of tests/native, each tool for itself."""
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(ROOT / "tests" / "native")]
    runs = {"pytest": pytest}
    if sanitize:
        runs["memcheck"] = ["compute-sanitizer", "--error-exitcode", "9", *pytest, "-k", "cuda"]
        runs["racecheck"] = ["compute-sanitizer", "--tool", "racecheck", "--error-exitcode", "9", *pytest, "-k", "cuda"]
    found = {}
    for name, command in runs.items():
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        found[name] = {"rc": done.returncode, "last": done.stdout.strip().splitlines()[-1:] or [done.stderr[-300:]]}
    return found


def training_steps() -> dict[str, Any]:
    """Seconds a step of 128 crystals × 10³ points, and the schedule of 1500 epochs that they imply."""
    settings, device = PAPER.train, "cuda"
    torch.manual_seed(0)
    network = build_network(PAPER).to(device).train()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    inputs = (
        torch.rand(settings.batch, N_BINS, device=device),
        torch.ones(settings.batch, N_BINS, device=device),
        torch.zeros(settings.batch, 3, 3, device=device),
        torch.rand(settings.batch, N_ELEMENTS, device=device),
        torch.full((settings.batch,), LEVELS.index("formula"), device=device),
    )
    points = torch.rand(settings.batch, settings.samples**3, 3, device=device)
    truth = torch.rand(settings.batch, settings.samples**3, device=device)

    def loss() -> torch.Tensor:
        latents = network.encode(*inputs)
        predicted = network.decode(network.condition(latents.sample()), points)
        return l1(predicted.float(), truth, relative=False) + settings.kl_weight * kl(latents)

    def step(compute: Callable[[], torch.Tensor], bf16: bool) -> Callable[[], None]:
        def run() -> None:
            optimiser.zero_grad(set_to_none=True)
            with torch.autocast(device, dtype=torch.bfloat16, enabled=bf16):
                value = compute()
            value.backward()
            optimiser.step()

        return run

    calls = {
        "eager float32": step(loss, False),
        "eager bfloat16": step(loss, True),
        "compile bfloat16": step(torch.compile(loss), True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(STEPS + 3):
        for name, call in calls.items():
            torch.cuda.synchronize()
            started = time.perf_counter()
            call()
            torch.cuda.synchronize()
            if turn >= 3:
                seconds[name].append(time.perf_counter() - started)
    steps_per_epoch = -(-PAPER_CRYSTALS // settings.batch)
    found: dict[str, Any] = {}
    for name, taken in seconds.items():
        middle = statistics.median(taken)
        found[name] = {
            "step_s": middle,
            "epoch_s": middle * steps_per_epoch,
            "schedule_hours": middle * steps_per_epoch * settings.epochs / 3600,
            "tflop_per_s": 3 * DECODER_FLOP * truth.numel() / middle / 1e12,
        }
    return found


def main() -> None:
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA device here; `crystalnet bench` measures the CPU kernels")
    name = torch.cuda.get_device_name()
    results = {
        "device": name,
        "date": datetime.date.today().isoformat(),
        "versions": {"crystalnet": __version__, "torch": torch.__version__, "cuda": torch.version.cuda},
        "tests": tests("--sanitize" in sys.argv),
        **benchmark.run(progress=lambda what: print(what, file=sys.stderr, flush=True)),
        "training_step": training_steps(),
    }
    out = ROOT / "benchmarks" / "results" / f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(results, indent=1) + "\n")
    print(out)


if __name__ == "__main__":
    main()

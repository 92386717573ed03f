"""`crystalnet bench`: every native kernel against its reference and what a user would call instead, in one run."""

from __future__ import annotations

import platform
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from crystalnet.data.prototypes import types_table
from crystalnet.data.records_file import structure_of
from crystalnet.elements import ATOMIC_NUMBER
from crystalnet.ops._native import native
from crystalnet.ops.powder_pattern import powder_pattern, reference_pattern
from crystalnet.records import InputError

CRYSTALS = 24
REPEATS = 5  # interleaved; the median is kept


def run() -> dict[str, Any]:
    """{"kernels": [...], "machine": {...}}, seconds for the whole batch of one kernel call."""
    if native() is None:
        raise InputError("no native module to measure: it was not built, or CRYSTALNET_OPS=reference is set")
    return {"kernels": [_powder_pattern()], "machine": machine()}


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
    }


def _powder_pattern() -> dict[str, Any]:
    from pymatgen.analysis.diffraction.xrd import XRDCalculator

    records = [r for r in types_table("cubic") if len(r["species"]) <= 40][:CRYSTALS]
    structures = [structure_of(r) for r in records]
    counts = [len(s) for s in structures]
    arguments = (
        torch.tensor(np.array([s.lattice.matrix for s in structures])),
        torch.tensor(np.cumsum([0, *counts])),
        torch.tensor(np.concatenate([s.frac_coords for s in structures])),
        torch.tensor([ATOMIC_NUMBER[site.specie.symbol] for s in structures for site in s]),
    )
    calculator = XRDCalculator(wavelength=0.711, symprec=0)

    def pymatgen() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for structure in structures:
                calculator.get_pattern(structure, two_theta_range=(0, 180))

    error = (powder_pattern(*arguments) - reference_pattern(*arguments)).abs().max().item()
    fast, slow = _interleaved(lambda: powder_pattern(*arguments), lambda: reference_pattern(*arguments))
    (user,) = _interleaved(pymatgen, repeats=1)
    return {
        "op": "powder_pattern",
        "device": "cpu",
        "dtype": "float64",
        "shape": [len(structures), 1024],
        "reference_s": slow,
        "native_s": fast,
        "speedup": slow / fast,
        "max_abs_error": error,
        "user_call": "pymatgen XRDCalculator",
        "user_call_s": user,
        "speedup_over_user_call": user / fast,
    }


def _interleaved(*calls: Callable[[], object], repeats: int = REPEATS) -> list[float]:
    """Median seconds of each call, warm, taken in turn so that a drifting machine hits all alike."""
    seconds: list[list[float]] = [[] for _ in calls]
    for call in calls:
        if repeats > 1:
            call()
    for _ in range(repeats):
        for call, taken in zip(calls, seconds, strict=True):
            started = time.perf_counter()
            call()
            taken.append(time.perf_counter() - started)
    return [statistics.median(taken) for taken in seconds]


def table(results: dict[str, Any]) -> str:
    """The results as a few lines for a person."""
    rows = [f"{'kernel':16} {'device':6} {'reference':>11} {'native':>11} {'speed-up':>9} {'max error':>10}"]
    for k in results["kernels"]:
        rows.append(
            f"{k['op']:16} {k['device']:6} {k['reference_s'] * 1e3:9.2f} ms {k['native_s'] * 1e3:9.2f} ms"
            f" {k['speedup']:8.1f}× {k['max_abs_error']:10.1e}"
            f"   ({k['user_call']}: {k['user_call_s'] * 1e3:.0f} ms, {k['speedup_over_user_call']:.0f}×)"
        )
    m = results["machine"]
    return "\n".join([*rows, f"{m['processor']}, {m['threads']} threads, torch {m['torch']}, {m['capability']}"])

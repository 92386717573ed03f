"""`crystalnet bench`: how fast the native kernels are, and what `evaluate` does for a crystal.

Each kernel is measured against its reference and against what a user would call instead; the protocol of `evaluate`
against the same one in torch, skimage, numpy and pymatgen. The calls take turns in one warm run, so that a drift of the
machine's speed affects all alike. The median is kept, and the error stands beside the speed. On a machine with a GPU
every kernel is measured there too.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch

from crystalnet.bench.instructions import DTYPES, measure_instruction_sets
from crystalnet.bench.kernels import (
    measure_film_decode,
    measure_powder_pattern,
    measure_ssim3d_rotations,
    measure_stratified_sample,
    measure_train_step,
)
from crystalnet.bench.protocol import measure_evaluation
from crystalnet.ops._native import native, native_cuda
from crystalnet.ops.choice import processor
from crystalnet.records import InputError


def run(progress: Callable[[str], None] = lambda what: None) -> dict[str, Any]:
    """Measure everything.

    Parameters
    ----------
    progress : callable
        Gets each kernel's name before it is measured.

    Returns
    -------
    dict
        "kernels": seconds for the whole batch of one call, by both implementations; "chosen" is the one that other
        commands take on this machine, "chosen_s" its time. "instructions" and "evaluate": as `measure_instruction_sets`
        and `measure_evaluation` yield them. "machine".

    Raises
    ------
    InputError
        Where there is no native module.
    """
    if native() is None:
        raise InputError("no native module to measure: it was not built, or CRYSTALNET_OPS=reference is set")
    devices = ["cpu"] + (["cuda"] if torch.cuda.is_available() and native_cuda() is not None else [])
    kernels: list[dict[str, Any]] = []
    for device in devices:
        for measure in (
            measure_powder_pattern,
            measure_stratified_sample,
            measure_ssim3d_rotations,
            measure_film_decode,
            measure_train_step,
        ):
            progress(f"{measure.__name__.removeprefix('measure_')} on {device}")
            with patch.dict(os.environ, {"CRYSTALNET_OPS": "native"}):
                kernels.extend({"device": device} | found for found in measure(device))
    progress("film_decode by instruction set")
    sets = list(measure_instruction_sets())
    progress("evaluate on cpu")
    return {"kernels": kernels, "instructions": sets, "evaluate": list(measure_evaluation()), "machine": machine()}


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "processor": processor()[0],
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
    } | ({"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {})


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
    columns = [f"{side} {dtype}" for side in ("native", "torch") for dtype in DTYPES]
    rows.append(f"{'by instruction set':40} " + " ".join(f"{column:>15}" for column in columns) + "  best over best")
    for i in results["instructions"]:
        taken = [i[f"{side}_s"][dtype] for side in ("native", "torch") for dtype in DTYPES]
        said = " ".join(f"{1e3 * seconds:12.2f} ms" for seconds in taken)
        rows.append(f"{i['instructions']:12} {i['op']:27} {said} {i['speedup']:14.1f}×")
    for e in results["evaluate"]:
        rows.append(f"{e['protocol']}, a crystal: {e['speedup']:.1f}×, as published {e['speedup_over_published']:.1f}×")
        for part, seconds in (e["parts_s"] | {"in all": e["seconds"]}).items():
            said = ", ".join(f"{side} {taken:.3f} s" for side, taken in seconds.items())
            rows.append(f"    {part:10} {said}")
    m = results["machine"]
    return "\n".join([*rows, f"{m['processor']}, {m['threads']} threads, torch {m['torch']}, {m['capability']}"])

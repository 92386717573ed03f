"""Timings that can be trusted: alternatives in turn, in one run."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from unittest.mock import patch

import torch

from crystalnet.ops.choice import Choice

REPEATS = 5
TURN_SECONDS = 0.05  # long against the clock and thread start-up, short against a machine's drift
Calls = dict[str, Callable[[], object]]
Name = TypeVar("Name")


def taken_by_default(choose: Callable[[], Choice]) -> str:
    """What is taken where nobody asks for either."""
    with patch.dict(os.environ):
        del os.environ["CRYSTALNET_OPS"]
        return choose().chosen


def entry(
    op: str, dtype: str, shape: list[int], seconds: dict[str, float], error: float, chosen: str
) -> dict[str, Any]:
    """What is reported of a kernel: its name, dtype and shape, seconds of either side, the error, what is chosen."""
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


def interleaved(calls: Mapping[Name, Callable[[], object]], repeats: int = REPEATS) -> dict[Name, float]:
    """Median seconds of each call over several turns.

    In a turn a short call runs again and again for TURN_SECONDS, so that it is as warm as in the loop it is made for.
    """
    seconds: dict[Name, list[float]] = {name: [] for name in calls}
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

"""Which implementation of a kernel runs by default: the compiled one or the reference, whichever is faster here.

Nobody knows beforehand: torch has matrix instructions that a kernel may not use (AMX), a kernel saves memory traffic
that torch does not. So the first call that is big enough to matter times both on a small part of its own arguments,
and the answer is kept in a file of the user's cache folder (CRYSTALNET_CACHE), one file for each processor, number of
threads, version of torch and build of the kernels. Other processes wait for a measurement that is under way, so
that workers neither repeat nor disturb it. CRYSTALNET_OPS=native or reference decides without measuring.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import os
import platform
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from crystalnet import __version__
from crystalnet.ops._native import native
from crystalnet.runtime.settings import settings
from crystalnet.runtime.whole_file import replacing

Implementation = Literal["native", "reference"]
IMPLEMENTATIONS: tuple[Implementation, ...] = get_args(Implementation)
Calls = Mapping[Implementation, Callable[[], object]]
MARGIN = 0.95  # the reference must take less than this part of the native time: ties do not flip from run to run
LEAST_TURNS, MOST_TURNS = 2, 7  # the first of them also warms up; a busy machine disturbs some, hardly all
BUDGET, CLOSE_BUDGET = 0.2, 0.8  # seconds after which no further turn begins; the second where the two are CLOSE
CLOSE = 1.5
PATIENCE = 10.0  # seconds to wait for another process's measurement, which takes about one
# Each caps an instruction set.
LIMITS = (
    "CRYSTALNET_CPU",
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "MKL_ENABLE_INSTRUCTIONS",
)


@dataclass(frozen=True)
class Choice:
    """An implementation, and the seconds each took for the part that was timed; none where nothing was timed."""

    chosen: Implementation
    seconds: dict[str, float]


NATIVE, REFERENCE = Choice("native", {}), Choice("reference", {})
_Machine = tuple[tuple[str, str], ...]
_known: dict[tuple[_Machine, str], Choice] = {}  # of this process
_one_thread = threading.Lock()


def choose(case: str, device: torch.device, calls: Callable[[], Calls]) -> Choice:
    """The implementation for a case (an operation, its dtype and shape class) on a device.

    As forced, as remembered, as kept in the cache, or as measured now by `calls()`, which gives the same small piece of
    work to both.
    """
    wanted = os.environ.get("CRYSTALNET_OPS")
    if wanted in IMPLEMENTATIONS:
        return NATIVE if wanted == "native" else REFERENCE
    machine = _machine(device)
    with _one_thread:
        if (machine, case) not in _known:
            found = _kept(machine).get(case)
            if found is None:
                with _alone():
                    found = _kept(machine).get(case)  # by the process that was waited for
                    if found is None:
                        found = measured(calls(), device)
                        _keep(machine, case, found)
            _known[machine, case] = found
        return _known[machine, case]


def measured(calls: Calls, device: torch.device | None = None) -> Choice:
    """Time the calls in turn, so that a drifting machine hits all alike, and take the best time of each."""
    seconds: dict[str, float] = dict.fromkeys(calls, math.inf)
    started, turns, budget = time.perf_counter(), 0, CLOSE_BUDGET
    while turns < LEAST_TURNS or (turns < MOST_TURNS and time.perf_counter() - started < budget):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            if device is not None and device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds[name] = min(seconds[name], time.perf_counter() - began)
        turns += 1
        budget = CLOSE_BUDGET if max(seconds.values()) < CLOSE * min(seconds.values()) else BUDGET
    return Choice("reference" if seconds["reference"] < MARGIN * seconds["native"] else "native", seconds)


def cache_file(device: torch.device) -> Path:
    """Where the choices for this machine, as it is set up now, are kept."""
    return _file(_machine(device))


def _file(machine: _Machine) -> Path:
    return settings().cache / f"kernels-{hashlib.sha256(json.dumps(machine).encode()).hexdigest()[:16]}.json"


def _machine(device: torch.device) -> _Machine:
    """All that a measurement depends on."""
    limits = " ".join(f"{name}={value}" for name in LIMITS if (value := os.environ.get(name)))
    where = (("device", torch.cuda.get_device_name(device)),) if device.type == "cuda" else ()
    return (*_installed(), ("threads", str(torch.get_num_threads())), ("limits", limits), *where)


@cache
def _installed() -> _Machine:
    """Processor and versions, which stay as they are while a process runs."""
    module = native()
    build = os.stat(module.__file__) if module is not None and module.__file__ else None
    model, flags = processor()
    return (
        ("processor", model),
        ("instructions", hashlib.sha256(flags.encode()).hexdigest()[:16]),
        ("torch", torch.__version__),
        ("crystalnet", __version__),
        ("native", f"{build.st_size} bytes of {build.st_mtime_ns}" if build else "none"),
    )


def processor() -> tuple[str, str]:
    """Name of the processor and its instruction sets."""
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:  # not Linux
        text = ""
    found = dict(reversed(re.findall(r"^([\w ]+?)\s*:[ \t]*(.*)$", text, re.MULTILINE)))  # the first processor's
    model = found.get("model name") or found.get("CPU part") or platform.processor() or platform.machine()
    return model, found.get("flags") or found.get("Features") or torch.backends.cpu.get_cpu_capability()


def _kept(machine: _Machine) -> dict[str, Choice]:
    """The choices in the machine's file; none where it is absent, unreadable, or not what `_keep` writes."""
    try:
        content = json.loads(_file(machine).read_text())
        if content["machine"] != dict(machine):
            return {}
        return {case: _as_choice(entry) for case, entry in content["choices"].items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # whatever a damaged file leads to
        return {}


def _as_choice(entry: Any) -> Choice:
    if entry["chosen"] not in IMPLEMENTATIONS:
        raise ValueError(entry["chosen"])
    return Choice(entry["chosen"], {name: float(taken) for name, taken in entry["seconds"].items()})


def _keep(machine: _Machine, case: str, choice: Choice) -> None:
    """Add a choice to the machine's file. Where that cannot be written, it is measured once a process."""
    choices = {name: asdict(kept) for name, kept in (_kept(machine) | {case: choice}).items()}
    try:
        with replacing(_file(machine)) as partial:
            partial.write_text(json.dumps({"machine": dict(machine), "choices": choices}, indent=1))
    except OSError:
        pass  # `crystalnet info` says so


@contextmanager
def _alone() -> Iterator[None]:
    """While no other process of this user measures. Without a place for the lock, or after PATIENCE, at once."""
    folder = settings().cache
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / "kernels.lock", "w")  # noqa: SIM115 - closed by the `with` below, which this guards
    except OSError:
        yield
        return
    with lock:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # ends with the file, a kill included
            except BlockingIOError:
                if time.monotonic() < until:
                    time.sleep(0.02)
                    continue
            except OSError:  # a file system without locks
                pass
            break
        yield

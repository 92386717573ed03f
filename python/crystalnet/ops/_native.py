"""The one door to the compiled module `crystalnet._native`."""

from __future__ import annotations

import importlib
import os
from functools import cache
from types import ModuleType


@cache
def _load() -> ModuleType | None:
    try:
        return importlib.import_module("crystalnet._native")
    except ModuleNotFoundError:  # a source tree that was never built; a broken build is an error and says so
        return None


def native() -> ModuleType | None:
    """The compiled module, or None where it is absent or CRYSTALNET_OPS=reference asks for the references."""
    return None if os.environ.get("CRYSTALNET_OPS") == "reference" else _load()


def native_cuda() -> ModuleType | None:
    """As `native`, but None also where the build has no CUDA kernels."""
    module = native()
    return module if module is not None and module.cuda_built() else None

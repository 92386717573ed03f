"""What `crystalnet info` says: version, build, models, paths."""

from __future__ import annotations

import platform

import torch

from crystalnet import __version__
from crystalnet.checkpoint import load_model, shipped_model
from crystalnet.config import SYSTEMS
from crystalnet.data.fetch import default_directory
from crystalnet.ops._native import native
from crystalnet.records import InputError


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
    for system in SYSTEMS:
        try:
            model = load_model(shipped_model(system))
            lines.append(f"model {system}: {model.config.preset}, SHA-256 {model.sha256[:12]}…")
        except InputError:
            lines.append(f"model {system}: none in this package")
        state = "present" if (default_directory(system) / "manifest.json").is_file() else "absent"
        lines.append(f"data {system}: {default_directory(system)} ({state})")
    return "\n".join(lines)

"""Which of the heavy libraries a room brings along (`lint-imports` checks the floors themselves)."""

from __future__ import annotations

import subprocess
import sys

# From the data set that training reads to the file that a network is kept in: a training machine needs no pymatgen.
FROM_DATA_TO_CHECKPOINT = [
    "data.store",
    "data.splits",
    "data.dataset",
    "model.inputs",
    "model.intensities",
    "model.network",
    "model.guesses",
    "model.losses",
    "model.choice",
    "model.checkpoint",
]


def imports(modules: list[str], blocked: str) -> subprocess.CompletedProcess[str]:
    """Import modules in a process where `blocked` cannot be imported."""
    names = ", ".join(f"crystalnet.{module}" for module in modules)
    code = f"import sys; sys.modules[{blocked!r}] = None; import {names}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_ranking_needs_no_torch() -> None:
    run = imports(["solving.ranking"], "torch")
    assert run.returncode == 0, run.stderr


def test_data_and_model_need_no_pymatgen() -> None:
    run = imports(FROM_DATA_TO_CHECKPOINT, "pymatgen")
    assert run.returncode == 0, run.stderr


def test_what_is_blocked_is_missed() -> None:
    assert "torch" in imports(["ops.choice"], "torch").stderr

"""The scores that README and docs state are those of the summaries kept from `crystalnet evaluate`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def results() -> ModuleType:
    spec = importlib.util.spec_from_file_location("results_page", ROOT / "tools" / "results_page.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pages_state_what_was_measured(results: ModuleType) -> None:
    for page in results.pages():
        assert page.read_text() == results.rewritten(page.read_text()), f"run tools/results_page.py write ({page.name})"


def test_scores_are_of_the_shipped_models(results: ModuleType) -> None:
    from crystalnet.checkpoint import load_model, shipped_model

    shipped = {system: load_model(shipped_model(system)).sha256 for system in ("cubic", "trigonal")}
    assert results.summaries()
    for summary in results.summaries():
        assert summary["model_sha256"] == shipped[summary["system"]], f"{results.name(summary)}: of another model"

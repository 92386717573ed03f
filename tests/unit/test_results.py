"""The scores that README and docs state are those of the summaries kept from `crystalnet evaluate`."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def results(tool: Callable[[str], ModuleType]) -> ModuleType:
    return tool("results_page")


def test_pages_state_what_was_measured(results: ModuleType) -> None:
    for page in results.pages():
        assert page.read_text() == results.rewritten(page.read_text()), f"run tools/results_page.py write ({page.name})"


def test_scores_are_of_the_shipped_models(results: ModuleType) -> None:
    from crystalnet.checkpoint import load_model, shipped_model

    shipped = {system: load_model(shipped_model(system)).sha256 for system in ("cubic", "trigonal")}
    assert results.summaries()
    for summary in results.summaries():
        assert summary["model_sha256"] == shipped[summary["system"]], f"{results.name(summary)}: of another model"

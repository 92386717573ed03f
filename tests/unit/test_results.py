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
    from crystalnet.model.checkpoint import load_model
    from crystalnet.model.choice import shipped_model

    shipped = {system: load_model(shipped_model(system)).sha256 for system in ("cubic", "trigonal")}
    assert results.summaries()
    for summary in results.summaries():
        assert summary["model_sha256"] == shipped[summary["system"]], f"{results.name(summary)}: of another model"
    for number, document in results.paper_tables().items():
        for system, levels in document["runs"].items():
            for given, run in levels.items():
                assert run["model_sha256"] == shipped[system], f"table {number}, {system}, {given}: of another model"


def test_the_papers_tables_are_shown(results: ModuleType) -> None:
    page = (results.ROOT / "docs" / "results.md").read_text()
    assert results.paper_tables()
    for number, document in results.paper_tables().items():
        assert results.paper_table(document) in page, f"table {number} is kept and not shown"

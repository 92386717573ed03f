"""These tests are about the compiled kernels, wherever they would be chosen."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def native_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYSTALNET_OPS", "native")

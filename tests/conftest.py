"""Shared fixtures. Real data is optional: tests that want it skip with a reason where it is absent."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

# One thread: the tensors of the tests are small, and two threads on a busy machine wait for each other more than they
# work. Must be set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def cache_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty place for what is measured once a machine: what the developer's cache holds decides no test."""
    with pytest.MonkeyPatch.context() as patch:
        directory = tmp_path_factory.mktemp("cache")
        patch.setenv("CRYSTALNET_CACHE", str(directory))
        yield directory


@pytest.fixture(scope="session", autouse=True)
def data_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty place for data sets: what the developer has fetched decides no test, and no test writes there."""
    with pytest.MonkeyPatch.context() as patch:
        directory = tmp_path_factory.mktemp("data")
        patch.setenv("CRYSTALNET_DATA", str(directory))
        yield directory


@pytest.fixture(scope="session")
def tool() -> Callable[[str], ModuleType]:
    """Loads a script of tools/, which is no package, by its name."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real crystals and patterns (CRYSTALNET_SHARED_DATA, or ../shared/data beside the repository)."""
    path = Path(os.environ.get("CRYSTALNET_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not (path / "index.json").is_file():
        pytest.skip(f"no shared data at {path} (set CRYSTALNET_SHARED_DATA)")
    return path

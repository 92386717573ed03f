"""The user's own settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from crystalnet.records import InputError
from crystalnet.runtime import settings as module


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config.toml"
    monkeypatch.setattr(module, "config_file", lambda: path)
    monkeypatch.delenv("CRYSTALNET_WAVELENGTH", raising=False)
    return path


def test_file_then_environment(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert module.settings().wavelength is None
    config.write_text('wavelength = "CoKa"\n')
    assert module.settings().wavelength == "CoKa"
    monkeypatch.setenv("CRYSTALNET_WAVELENGTH", "MoKa")
    assert module.settings().wavelength == "MoKa"
    config.write_text('monochromator = "graphite"\n')
    assert module.settings().monochromator == "graphite"


@pytest.mark.parametrize("content", ["wavelength = [1, 2]\n", "colour = 3\n", "wavelength =\n"])
def test_a_bad_file_is_named(config: Path, content: str) -> None:
    config.write_text(content)
    with pytest.raises(InputError, match=r"config\.toml"):
        module.settings()

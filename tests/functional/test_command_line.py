"""Options that every command takes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import crystalnet


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from crystalnet.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_version() -> None:
    assert run("--version").stdout.strip() == f"crystalnet {crystalnet.__version__}"


@pytest.fixture
def unsaid(tmp_path: Path) -> Path:
    """A list of lines of a primitive cubic lattice, a = 4 Å, whose wavelength nobody says."""
    path = tmp_path / "lines.txt"
    lines = [f"{4 / n**0.5:.5f}" for n in (1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 16)]
    path.write_text("# d\n" + "\n".join(lines) + "\n")
    return path


def test_quiet_says_nothing_but_errors(unsaid: Path, tmp_path: Path) -> None:
    missing = run("-q", "index", tmp_path / "missing.xy")
    assert missing.returncode == 2 and "no such file" in missing.stderr
    answered = run("-q", "index", unsaid)
    assert answered.returncode == 0 and answered.stderr == "" and "cubic P" in answered.stdout


def test_a_level_that_there_is_not_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYSTALNET_LOG", "loud")
    assert run("--version").returncode == 0


def test_quiet_and_verbose_contradict_each_other() -> None:
    ended = run("-q", "-v", "info")
    assert ended.returncode == 2 and len(ended.stderr.splitlines()) == 1


EXAMPLE = Path(__file__).parents[2] / "examples" / "Zr3Sb4Pt3.xy"


def test_a_range_is_what_is_used() -> None:
    answered = run("index", EXAMPLE, "--range", "40,70", "--json")
    lines = [line["two_theta"] for line in json.loads(answered.stdout)["lines"]]
    assert answered.returncode == 0 and lines and min(lines) >= 40 and max(lines) <= 70


@pytest.mark.parametrize("text", ["20", "60,20", "a,b", "200,"])
def test_a_bad_range_is_refused_in_a_line(text: str) -> None:
    ended = run("index", EXAMPLE, "--range", text)
    assert ended.returncode == 2 and len(ended.stderr.splitlines()) == 1 and "range" in ended.stderr

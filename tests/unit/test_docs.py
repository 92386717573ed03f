"""The documentation says what the package does: commands exist, the tutorial works, docstring examples run."""

from __future__ import annotations

import doctest
import importlib
import os
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest

import crystalnet

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "python/crystalnet/models/README.md",
]
PACKAGE = Path(crystalnet.__file__).parent
EXAMPLES = [path for path in sorted(PACKAGE.rglob("*.py")) if ">>>" in path.read_text()]


@pytest.fixture(scope="module")
def reference(tool: Callable[[str], ModuleType]) -> ModuleType:
    return tool("command_reference")


def test_command_page_is_current(reference: ModuleType) -> None:
    assert reference.PAGE.read_text() == reference.page(), "run: python tools/command_reference.py"


def test_map_of_the_house_is_current(tool: Callable[[str], ModuleType]) -> None:
    house = tool("house_map")
    assert {room for floor in house.floors() for room in floor} == house.rooms()
    assert house.PAGE.read_text() == house.page(), "run: python tools/house_map.py"
    assert len(house.house().splitlines()) <= 40


PLACES = (ROOT, PACKAGE, ROOT / "docs")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_named_files_exist(page: Path) -> None:
    """Paths in the repository, the package or the documentation; those of the user's own files do not count."""
    rooms = [path.parent.name for path in PACKAGE.glob("*/__init__.py")]
    ours = "|".join([r"\.ci", "cpp", "docs", "examples", "python", "tests", "tools", *rooms])
    for name in re.findall(rf"`((?:{ours})/[\w./-]*)`", page.read_text()):
        assert any((place / name).exists() for place in PLACES), f"{page.name}: {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_named_modules_and_functions_exist(page: Path) -> None:
    text = page.read_text()
    for name in re.findall(r"(?:`|^::: )(crystalnet(?:\.\w+)+)\b", text, flags=re.MULTILINE):
        pkgutil.resolve_name(name)
    for module, names in re.findall(r"^ *from (crystalnet[\w.]*) import ([\w, ]+)$", text, flags=re.MULTILINE):
        for name in names.split(", "):
            pkgutil.resolve_name(f"{module}:{name}")


def quoted_commands(text: str) -> list[str]:
    """What a page says to type: lines of code blocks, and code within sentences, that begin with crystalnet."""
    lines = re.findall(r"^(?: {4})?(?:\S*/)?(crystalnet [a-z].*)$", text.replace("\\\n", " "), flags=re.MULTILINE)
    inline = re.findall(r"`(crystalnet [a-z][^`]*)`", text)
    return [" ".join(command.split(" #")[0].split()) for command in lines + inline]


def test_choices_are_those_of_the_rooms() -> None:
    from crystalnet.cli import choices
    from crystalnet.commands.fetch import SOURCES
    from crystalnet.crystal.systems import LEARNT, SYSTEMS
    from crystalnet.evaluation import options
    from crystalnet.xrd.reader import AXES

    assert get_args(choices.System) == tuple(SYSTEMS) and get_args(choices.Learnt) == tuple(LEARNT)
    assert get_args(choices.AnySystem) == ("auto", *SYSTEMS) and get_args(choices.Systems) == ("auto", "all", *SYSTEMS)
    assert (get_args(choices.Axis), get_args(choices.Source)) == (AXES, SOURCES)
    of_evaluate = (choices.Given, choices.LeaveOut, choices.Evaluated)
    assert tuple(map(get_args, of_evaluate)) == (options.GIVEN, options.LEAVE_OUT, options.SPLITS)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_documented_commands_exist(page: Path, reference: ModuleType) -> None:
    known = {
        typed: {name.split()[0] for name, *_, option in reference.parameters(function) if option} | {"--help"}
        for typed, function, _ in reference.commands()
    }
    for command in quoted_commands(page.read_text()):
        words = shlex.split(command.rstrip(".,;:"))
        typed = " ".join(words[: 3 if words[1] == "data" else 2])
        for one in [f"crystalnet data {what}" for what in words[2].split("|")] if words[1] == "data" else [typed]:
            assert one in known, f"{page.name}: {command}"
            options = {word.split("=")[0] for word in words if word.startswith("--")}
            assert options <= known[one], f"{page.name}: {command}"


def test_tutorial_works_as_written(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "tutorial.md").read_text()
    blocks = re.findall(r"^```(sh|python)\n(.*?)^```$", text[text.index("## 2.") :], flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 5
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for language, code in blocks:
        command = ["sh", "-e", "-c", code] if language == "sh" else [sys.executable, "-c", code]
        run = subprocess.run(command, cwd=tmp_path, env=os.environ | {"PATH": path}, capture_output=True, text=True)
        assert run.returncode == 0, code + run.stdout + run.stderr
        if "--elements Zr,Sb,Pt" in code:
            (quoted,) = re.findall(r"^ {4}(Zr3Sb4Pt3\.xy: .*Å)", text, flags=re.MULTILINE)
            assert quoted in run.stdout
    assert '"unexplained": true' in (tmp_path / "one-missing" / "solution.json").read_text()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_docstring_examples(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # they read examples/
    module = ".".join(["crystalnet", *path.relative_to(PACKAGE).with_suffix("").parts])
    assert doctest.testmod(importlib.import_module(module.removesuffix(".__init__"))).failed == 0


def test_import_is_light() -> None:
    """`import crystalnet` and `crystalnet --help` pay for none of the heavy libraries."""
    code = "import crystalnet, crystalnet.cli, sys; print(*{name.split('.')[0] for name in sys.modules})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(run.stdout.split()) & {
        "torch",
        "pymatgen",
        "rietx",
        "scipy",
        "matplotlib",
        "plotly",
        "skimage",
        "numpy",
    }


def test_annotations_are_shipped() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_versions_agree() -> None:
    """pyproject.toml has the version of the package, constraints.txt those of the tools; others repeat them."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert crystalnet.__version__ in (version, "0+unknown")  # the second in a source tree that was never installed
    pinned = (ROOT / "constraints.txt").read_text().splitlines()
    hooks = re.findall(r"ruff==[\d.]+", (ROOT / ".pre-commit-config.yaml").read_text())
    assert hooks and set(hooks) <= set(pinned)

"""Damaged pattern files give an answer or one clear line, never a traceback, in bounded time and memory.

A small part of tools/fuzz_patterns.py, on the example; the whole of it runs on measured patterns.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "Zr3Sb4Pt3.xy"
QUICK = (
    *("not_numbers", "nan_angles", "same_angle", "descending", "few_points", "flat", "scaled"),
    *("noise_only", "coarse", "cropped", "gaps", "spikes", "another_axis", "saturated", "one_line"),
    *("truncated", "swapped_columns", "decimal_commas", "unicode_comments"),
    *("odd_header", "other_line_ends", "wrong_ending", "empty", "binary", "raw_floats", "header", "csv"),
)


@pytest.fixture(scope="module")
def fuzz(tool: Callable[[str], ModuleType]) -> ModuleType:
    if sys.platform != "linux":
        pytest.skip("measures memory through /proc")
    return tool("fuzz_patterns")


@pytest.fixture(scope="module")
def scan() -> tuple[np.ndarray, np.ndarray]:
    x, y = np.loadtxt(EXAMPLE, usecols=(0, 1)).T
    return x, y


def damage(fuzz: ModuleType, rule: str, scan: Any, folder: Path) -> Path:
    number = [r.__name__ for r in fuzz.RULES].index(rule)
    _, _, ending, raw = fuzz.damaged(number, [scan], seed=0)
    path = folder / f"{rule}{ending}"
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize("rule", QUICK)
def test_no_traceback(fuzz: ModuleType, rule: str, scan: Any, tmp_path: Path) -> None:
    said = fuzz.outcome(damage(fuzz, rule, scan, tmp_path), "indexing", 1.540593, {})
    assert said["outcome"] in ("answer", "refused"), said["message"]
    assert said["seconds"] < fuzz.SECONDS and said["megabytes"] < fuzz.MEGABYTES


@pytest.mark.parametrize(("rule", "elements", "until"), [("coarse", "Zr,Sb,Pt", "report"), ("gaps", "O", "solving")])
def test_whole_solves(fuzz: ModuleType, rule: str, elements: str, until: str, scan: Any, tmp_path: Path) -> None:
    options = {"elements": elements, "system": "cubic", "guesses": 1}
    said = fuzz.outcome(damage(fuzz, rule, scan, tmp_path), until, 1.540593, options)
    assert said["outcome"] in ("answer", "refused"), said["message"]
    assert said["seconds"] < fuzz.SECONDS and said["megabytes"] < fuzz.MEGABYTES


@pytest.mark.parametrize("number", range(3, 43, 4))
def test_structures(fuzz: ModuleType, number: int, scan: Any, tmp_path: Path) -> None:
    rule, _, ending, raw = fuzz.damaged(number, [scan], 0, [EXAMPLE.with_suffix(".cif").read_text()])
    assert rule == fuzz.STRUCTURE
    (tmp_path / f"a{ending}").write_bytes(raw)
    said = fuzz.outcome(tmp_path / f"a{ending}", "density", None, {})
    assert said["outcome"] in ("answer", "refused"), said["message"]


@pytest.mark.parametrize("number", [n for n in range(60) if n % 4 in (1, 2)])
def test_headers_and_tables(fuzz: ModuleType, number: int, scan: Any, tmp_path: Path) -> None:
    rule, _, ending, raw = fuzz.damaged(number, [scan], 1, [EXAMPLE.with_suffix(".cif").read_text()])
    (tmp_path / f"a{ending}").write_bytes(raw)
    said = fuzz.outcome(tmp_path / f"a{ending}", "reading", None, {})
    assert said["outcome"] in ("answer", "refused"), said["message"]
    assert said["seconds"] < 5 and "cannot be read as" not in said.get("message", ""), rule


def test_same_seed_same_file(fuzz: ModuleType, scan: Any) -> None:
    assert fuzz.damaged(17, [scan], 3) == fuzz.damaged(17, [scan], 3) != fuzz.damaged(17, [scan], 4)

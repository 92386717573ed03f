"""The journey of somebody who works in Python: arrays, an answer that shows itself, files."""

from __future__ import annotations

import json
import logging
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import crystalnet
from crystalnet import InputError, Pattern, Solution, read_pattern

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def notebook() -> dict[str, Any]:
    """The names that the notebook's cells leave behind, run in order in the project's folder."""
    cells = json.loads((ROOT / "examples" / "solve_in_python.ipynb").read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        for cell in cells:
            if cell["cell_type"] == "code":
                exec("".join(cell["source"]), names)
    return names


def test_the_notebook_solves_its_pattern(notebook: dict[str, Any]) -> None:
    assert notebook["best"].formula == "Zr3Sb4Pt3" and notebook["best"].confidence > 0.9
    assert notebook["structure"].get_space_group_info()[1] == 220
    assert (Path(notebook["folder"]) / notebook["document"]["candidates"][0]["cif"]).is_file()


def test_a_solution_shows_itself(notebook: dict[str, Any]) -> None:
    solution: Solution = notebook["solution"]
    lines = repr(solution).splitlines()
    assert len(lines) <= 5 and "4001 points" in lines[0] and "Zr3Sb4Pt3, I-43d" in lines[1]
    page = solution._repr_html_()
    assert page.count("<tr>") == 1 + len(solution.candidates) and "Zr3Sb4Pt3" in page
    empty = Solution(solution.pattern, solution.peaks, {}, {}, None, (), *[np.zeros(0)] * 3, None)  # type: ignore[arg-type]
    assert empty.best is None and empty.structure is None and "no candidate" in repr(empty)


def test_errors_name_parameters_not_options(tmp_path: Path) -> None:
    unnamed = tmp_path / "unnamed.xy"
    unnamed.write_text("".join(f"{0.5 + 0.01 * i:.2f} {100 + i % 7}\n" for i in range(2500)))
    with pytest.raises(InputError, match="give `axis` q, or `axis` two-theta with `wavelength`"):
        crystalnet.solve(unnamed, elements="Si")
    with pytest.raises(InputError, match="^`system` 'cubicle'"):
        crystalnet.solve(ROOT / "examples" / "Zr3Sb4Pt3.xy", system="cubicle")
    with pytest.raises(InputError, match="`two_theta_range`"):
        crystalnet.solve(ROOT / "examples" / "Zr3Sb4Pt3.xy", two_theta_range="a,b")
    assert crystalnet.solve is crystalnet.solve and crystalnet.solve.__doc__
    assert pickle.loads(pickle.dumps(crystalnet.solve)) is crystalnet.solve
    with pytest.raises(InputError, match="run--old/scan--b.xy: no such file"):
        crystalnet.solve("run--old/scan--b.xy")


def test_arrays_are_the_pattern_of_the_same_file(tmp_path: Path) -> None:
    of_file = read_pattern(ROOT / "examples" / "Zr3Sb4Pt3.xy")
    order = np.random.default_rng(0).permutation(len(of_file))
    arrays = (of_file.two_theta[order].tolist(), of_file.intensity[order], of_file.sigma[order])
    ours = Pattern.from_arrays(*arrays, wavelength="CuKa")
    for name in ("two_theta", "intensity", "sigma"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(of_file, name))
    assert ours.radiation.wavelength == of_file.radiation.wavelength
    assert Pattern.from_arrays(*arrays).radiation.assumed


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        (([1, 2], [1, 2, 3]), "equal length"),
        ((np.ones((60, 2)), np.ones((60, 2))), "one dimension"),
        ((["a"] * 60, [1.0] * 60), "numbers"),
        ((np.arange(10.0), np.arange(10.0)), "only 9 points"),
        ((np.linspace(10, 90, 100), np.full(100, np.nan)), "NaN"),
    ],
)
def test_bad_arrays_are_refused_in_a_line(arrays: tuple[Any, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as refused:
        Pattern.from_arrays(*arrays, wavelength="CuKa", name="mine")
    assert str(refused.value).startswith("mine: ") and "\n" not in str(refused.value)


def test_the_package_names_its_doors() -> None:
    assert {"Pattern", "Solution", "read_pattern", "solve", "InputError"} <= set(dir(crystalnet))
    light = "import crystalnet, sys; crystalnet.Pattern; print({'torch', 'pymatgen'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", light], capture_output=True, text=True).stdout.strip() == "set()"


def test_stages_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    from crystalnet.runtime.clock import Clock
    from crystalnet.runtime.log import log

    with caplog.at_level(logging.INFO, "crystalnet"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(log, "propagate", True)  # a command in this process may have taken the lines for stderr
        with Clock()("indexing"):
            pass
    assert {record.getMessage().split(":")[0] for record in caplog.records} == {"indexing"}

"""Crystals of the systems that no network knows: from a measured-like pattern to the files of the answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from crystalnet.cli import main

CRYSTALS = {
    "tetragonal": (
        ("P4_2/mnm", Lattice.tetragonal(4.7373, 3.1864), ["Sn", "O"], [[0, 0, 0], [0.307, 0.307, 0]]),
        ("Sn,O", 136, ("a", "c")),
    ),
    "orthorhombic": (
        (
            "Pnma",
            Lattice.orthorhombic(8.478, 5.397, 6.958),
            ["Pb", "S", "O", "O", "O"],
            [
                [0.188, 0.25, 0.167],
                [0.063, 0.25, 0.684],
                [0.908, 0.25, 0.596],
                [0.194, 0.25, 0.543],
                [0.079, 0.026, 0.809],
            ],
        ),
        ("Pb,S,O", 62, ("a", "b", "c")),
    ),
    "monoclinic": (
        (
            "P2_1/c",
            Lattice.from_parameters(5.117, 5.175, 5.292, 90, 99.22, 90),
            ["Hf", "O", "O"],
            [[0.276, 0.040, 0.208], [0.074, 0.332, 0.345], [0.449, 0.758, 0.479]],
        ),
        ("Hf,O", 14, ("a", "b", "c", "beta")),
    ),
}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`crystalnet` with some arguments; its exit code."""

    def called(*arguments: object) -> int:
        monkeypatch.setattr("sys.argv", ["crystalnet", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0)

    return called


@pytest.mark.parametrize("system", CRYSTALS)
def test_a_pattern_becomes_a_crystal(
    system: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], run: Callable[..., int]
) -> None:
    described, (elements, number, free) = CRYSTALS[system]
    truth = Structure.from_spacegroup(*described)
    truth.to(str(tmp_path / "truth.cif"))
    simulate = ["simulate", str(tmp_path / "truth.cif"), "--measured-like", "--wavelength", "CuKa"]
    assert run(*simulate, "--out", tmp_path / "pattern.xy") == 0
    out = tmp_path / "out"
    solve = ["solve", str(tmp_path / "pattern.xy"), "--elements", elements, "--wavelength", "CuKa", "--out", str(out)]
    code = run(*solve, "--effort", "5")
    solution = json.loads((out / "solution.json").read_text())
    best = solution["candidates"][0]
    assert code == 0 and best["confidence"] >= 0.5
    assert best["space_group"]["number"] == number and best["source"] in ("known", "catalogue", "search")
    assert ("reference" in best) is (best["source"] == "known")
    assert solution["model"] == {"file": None, "sha256": None}  # no network knows this system
    fixed = {"alpha", "beta", "gamma"} - set(free)
    assert all(best["lattice"][name] == pytest.approx(90.0, abs=1e-4) for name in fixed)  # unique axis b
    found = Structure.from_file(out / "candidate-1.cif")
    assert StructureMatcher().fit(found, truth)
    assert found.volume == pytest.approx(truth.volume, rel=5e-3)
    with np.load(out / "density.npz") as stored:
        assert stored["density"].shape == (1, 50, 50, 50) and stored["rank"].tolist() == [1]
        mean = stored["density"].mean() * abs(np.linalg.det(stored["lattice"]))
        assert mean == pytest.approx(stored["density"].sum() / 50**3 * abs(np.linalg.det(stored["lattice"])))
    assert (out / "report.html").stat().st_size > 10_000 and (out / "candidate-1.cube").is_file()
    assert "confidence" in capsys.readouterr().out


def test_measured_patterns_are_evaluated(tmp_path: Path, run: Callable[..., int]) -> None:
    """A list of measured patterns: solved as a user would, with and without the crystal in the library."""
    described, (elements, number, _) = CRYSTALS["tetragonal"]
    truth = Structure.from_spacegroup(*described)
    truth.to(str(tmp_path / "truth.cif"))
    simulate = ["simulate", str(tmp_path / "truth.cif"), "--measured-like", "--wavelength", "CuKa"]
    assert run(*simulate, "--out", tmp_path / "pattern.xy") == 0
    entry = {"name": "cassiterite", "pattern": "pattern.xy", "truth": "truth.cif", "formula": "SnO2"}
    entry |= {"elements": elements.split(","), "wavelength": 1.540593, "system": "tetragonal", "spacegroup": number}
    (tmp_path / "index.json").write_text(json.dumps([entry]))
    asked = ["evaluate", str(tmp_path / "index.json"), "--guesses", "1", "--jobs", "1", "--effort", "1"]
    for leave_out in ("composition", "none"):
        out = tmp_path / f"{leave_out}.json"
        assert run(*asked, "--leave-out", leave_out, "--out", out) == 0
        scores = json.loads(out.read_text())
        assert scores["n"] == 1 and scores["structure"]["match_top1"] == 1.0 and scores["ssim"] is None
        said = {"composition": "without the truth's composition", "none": "whole: they may hold the crystal itself"}
        assert scores["given"]["libraries"] == said[leave_out] and scores["model_sha256"] is None
        assert scores["system"] == "tetragonal"
    assert scores["per_crystal"][0]["source_top1"] in ("known", "catalogue")
    (tmp_path / "index.json").write_text(json.dumps([{"name": "x"}]))
    assert run(*asked) == 2

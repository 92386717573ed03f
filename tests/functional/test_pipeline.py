"""The two journeys end to end, small: crystals → data set → model, and pattern → solution files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import crystalnet
from crystalnet.cli import main
from crystalnet.crystal import types as crystal_types
from crystalnet.crystal.record_file import dump_json
from crystalnet.data.dataset import CrystalDataset
from crystalnet.data.generator import generate
from crystalnet.data.store import write_store
from crystalnet.data.structure_types import make_type
from crystalnet.model.checkpoint import load_model, load_tensors
from crystalnet.model.config import PAPER, SMALL, Config, ModelConfig
from crystalnet.records import InputError
from crystalnet.runtime.pool import helped
from crystalnet.training.log import Report
from crystalnet.training.train import LAST, train

EXAMPLE = Path(__file__).parents[2] / "examples" / "Zr3Sb4Pt3.xy"
TINY = replace(
    SMALL,
    model=ModelConfig(latent=16, width=32, layers=2, frequencies=32),
    train=replace(SMALL.train, batch=8, samples=4, epochs=3, warmup_steps=2),
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> CrystalDataset:
    names = {"AB_cF8_225_a_b", "ABC3_cP5_221_a_b_c", "AB_cP2_221_a_b"}
    types = [make_type(r) for r in crystal_types.types_table("cubic") if r["protostructure"] in names]
    directory = tmp_path_factory.mktemp("data") / "cubic"
    about = {"source": "test", "crystalnet": "0", "system": "cubic"}
    write_store(directory, generate(types, 40), about)
    return CrystalDataset(directory)


def weights(path: Path) -> dict[str, torch.Tensor]:
    return {k: v for k, v in load_tensors(path)[0].items() if not k.startswith("torch_generator")}


def test_interrupted_and_resumed_equals_uninterrupted(dataset: CrystalDataset, tmp_path: Path) -> None:
    train(TINY, dataset, tmp_path / "whole")

    def interrupt(report: Report) -> None:
        if report.step == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(TINY, dataset, tmp_path / "parts", progress=interrupt)
    with pytest.raises(InputError, match="--resume"):
        train(TINY, dataset, tmp_path / "parts")
    model = train(TINY, dataset, tmp_path / "parts", resume=True)
    one, two = weights(tmp_path / "whole" / LAST), weights(tmp_path / "parts" / LAST)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert load_model(model).config == TINY


def test_training_learns(dataset: CrystalDataset, tmp_path: Path) -> None:
    losses: list[float] = []
    longer = replace(TINY, train=replace(TINY.train, epochs=25))
    train(longer, dataset, tmp_path / "run", progress=lambda report: losses.append(report.loss))
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def test_the_paper_preset_trains(dataset: CrystalDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # One 50³ map of this network is 1.3 TFLOP; its validation would take the test suite's whole time.
    monkeypatch.setattr("crystalnet.training.train.validate", lambda network, dataset, oracle: 0.5 if oracle else 0.0)
    short = replace(PAPER.train, batch=4, samples=3, epochs=1, cycles=(1,))
    model = load_model(train(replace(PAPER, train=short), dataset, tmp_path / "run"))
    assert model.config.model.architecture == "paper"
    assert model.about["validation"]["ssim"] == 0.5  # chosen by the oracle protocol, as published


def test_a_run_with_other_settings_is_not_resumed(dataset: CrystalDataset, tmp_path: Path) -> None:
    train(replace(TINY, train=replace(TINY.train, epochs=1)), dataset, tmp_path / "run")
    other: Config = replace(TINY, train=replace(TINY.train, batch=4))
    with pytest.raises(InputError, match="other settings"):
        train(other, dataset, tmp_path / "run", resume=True)


@pytest.fixture
def commanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Run the command line in an empty folder; returns the exit code."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> int:
        monkeypatch.setattr("sys.argv", ["crystalnet", *arguments])
        try:
            main()
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    return run


def test_solve_writes_every_file(commanded, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    arguments = ("--elements", "Zr,Sb,Pt", "--wavelength", "CuKa", "--system", "cubic", "--guesses", "2")
    assert commanded("solve", str(EXAMPLE), *arguments, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    folder = tmp_path / "Zr3Sb4Pt3.crystalnet"
    names = {path.name for path in folder.iterdir()}
    assert {"solution.json", "density.npz", "report.html", "figure.png", "candidate-1.cif", "candidate-1.cube"} <= names
    assert json.loads((folder / "solution.json").read_text()) == document
    best = document["candidates"][0]
    assert best["formula"] == "Zr3Sb4Pt3" and best["space_group"]["number"] == 220
    assert best["lattice"]["a"] == pytest.approx(9.63, abs=0.01)
    assert document["given"] == {
        "elements": ["Zr", "Sb", "Pt"],
        "formula": None,
        "wavelength_angstrom": 1.540593,
        "wavelength_assumed": False,
        "system": "cubic",
    }
    assert set(document["seconds"]) >= {"reading", "peaks", "indexing", "network", "atoms", "refinement"}
    stored = np.load(folder / "density.npz")
    assert stored["density"].shape == (2, 50, 50, 50) and sorted(stored["rank"]) == [1, 2]


def test_an_assumed_wavelength_is_said(commanded, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    # The example's header names its radiation, which the reader finds: without the header nobody says it.
    rows = [line for line in EXAMPLE.read_text().splitlines() if not line.startswith("#")]
    (tmp_path / "bare.xy").write_text("\n".join(rows))
    options = "--elements Zr,Sb,Pt --system cubic --guesses 1 --candidates network --out o".split()
    assert commanded("solve", "bare.xy", *options) in (0, 1)
    assert "assumed" in capsys.readouterr().err
    assert json.loads((tmp_path / "o" / "solution.json").read_text())["given"]["wavelength_assumed"] is True
    assert "assumed" in (tmp_path / "o" / "report.html").read_text()


def test_density_and_simulate(commanded, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    cif = str(EXAMPLE.with_suffix(".cif"))
    for name in ("d.npz", "d.cube", "CHGCAR"):
        assert commanded("density", cif, "--grid", "20", "--out", name) == 0
        assert (tmp_path / name).stat().st_size > 1000
    assert commanded("simulate", cif, "--out", "lines.xy") == 0
    assert commanded("simulate", cif, "--measured-like", "--wavelength", "CuKa", "--seed", "1", "--out", "p.xy") == 0
    assert (tmp_path / "p.xy").read_text() == EXAMPLE.read_text()  # the example is what the README says it is


def test_evaluate_writes_the_score_block(commanded, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    types = [r for r in crystal_types.types_table("cubic") if r["protostructure"] == "AB_cF8_225_a_b"]
    (tmp_path / "r.jsonl").write_text("".join(dump_json(r) + "\n" for r in types))
    code = commanded("evaluate", "r.jsonl", "--split", "all", "--limit", "1", "--guesses", "2", "--out", "s.json")
    assert code == 0
    scores = json.loads((tmp_path / "s.json").read_text())
    for score in ("ssim", "psnr"):
        assert set(scores[score]) == {"paper", "single", "ranked"}
        assert {"mean", "sd", "median"} <= set(scores[score]["single"])
    assert "ge_0.9" in scores["ssim"]["paper"] and scores["n"] == 1 and scores["guesses"] == 2
    assert {"match_top1", "match_any", "rmsd_mean", "strict_top1", "exact_top1"} <= set(scores["structure"])


def test_python_interface() -> None:
    assert callable(crystalnet.solve)
    assert crystalnet.solve is crystalnet.solve  # importing the solver does not hide the function


def test_a_second_process_changes_no_answer() -> None:
    asked = {"elements": "Zr,Sb,Pt", "wavelength": "CuKa"}
    with helped(["crystalnet.solving.ranking"]) as mapped:
        shared = crystalnet.solve(EXAMPLE, mapped=mapped, **asked)
    alone = crystalnet.solve(EXAMPLE, **asked)
    answers = [[(c.formula, c.source, c.fit.rwp, c.confidence) for c in s.candidates] for s in (shared, alone)]
    assert answers[0] == answers[1]
    assert shared.cell == alone.cell and np.array_equal(shared.guesses, alone.guesses)
    assert shared.guess_rank.tolist() == alone.guess_rank.tolist()


def test_an_element_left_out_is_missed() -> None:
    """Zirconium in antimony's place explains the lines, but a further element explains them better."""
    solution = crystalnet.solve(EXAMPLE, elements="Zr,Pt", wavelength="CuKa")
    best = solution.candidates[0]
    assert {site["element"] for site in best.wyckoff} == {"Zr", "Pt", "X"} and best.space_group_symbol == "I-43d"
    assert any("none of the given elements" in line for line in solution.warnings)

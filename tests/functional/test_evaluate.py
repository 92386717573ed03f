"""`crystalnet evaluate` with a network that has learned next to nothing: what it writes, and that it can be killed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crystalnet.cli import main
from crystalnet.crystal import types as crystal_types
from crystalnet.crystal.record_file import dump_json, structure_of
from crystalnet.data.dataset import CrystalDataset
from crystalnet.data.generator import generate
from crystalnet.data.store import write_store
from crystalnet.data.structure_types import make_type
from crystalnet.evaluation.evaluate import Evaluation
from crystalnet.evaluation.options import Options
from crystalnet.evaluation.paper_figures import choose
from crystalnet.evaluation.targets import read_targets
from crystalnet.model.checkpoint import load_model
from crystalnet.model.config import SMALL, ModelConfig
from crystalnet.records import InputError
from crystalnet.runtime.pool import workers
from crystalnet.training.train import train

TINY = replace(
    SMALL,
    model=ModelConfig(latent=16, width=32, layers=2, frequencies=32),
    train=replace(SMALL.train, batch=8, samples=4, epochs=3, warmup_steps=2),
)
KINDS = ("AB_cF8_225_a_b", "ABC3_cP5_221_a_b_c", "AB_cP2_221_a_b")
QUICK: dict[str, Any] = {"split": "all", "candidates": "network", "guesses": 2}
TIMES = ("seconds", "seconds_by_stage", "seconds_per_crystal")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three records, a data set, a model of it, and the CIFs of the records."""
    folder = tmp_path_factory.mktemp("evaluate")
    records = [next(r for r in crystal_types.types_table("cubic") if r["protostructure"] == kind) for kind in KINDS]
    (folder / "records.jsonl").write_text("".join(dump_json(r) + "\n" for r in records))
    about = {"source": "test", "crystalnet": "0", "system": "cubic"}
    write_store(folder / "data", generate([make_type(r) for r in records], 40), about)
    train(TINY, CrystalDataset(folder / "data"), folder / "run")
    (folder / "cifs").mkdir()
    for record, name in zip(records, ("{id}", "{id}-1", "{formula}"), strict=True):
        structure_of(record).to(str(folder / "cifs" / f"{name.format(**record)}.cif"), fmt="cif")
    return folder


def evaluate(
    records: Path, model: Path, score_cifs: Path | None = None, jobs: int | None = None, **options: Any
) -> dict[str, Any]:
    """The scores of the cubic crystals; journal and progress as in `Evaluation.scores`, the others `Options`."""
    how = {name: options.pop(name) for name in ("journal", "progress") if name in options}
    with workers(jobs, threads=1) as mapped:
        return Evaluation(records, Options(**options), model, score_cifs).scores(mapped=mapped, **how)


@pytest.fixture(scope="module")
def scores(folder: Path) -> dict[str, Any]:
    options = QUICK | {"model": folder / "run" / "model.safetensors", "score_cifs": folder / "cifs"}
    return evaluate(folder / "records.jsonl", **options)


def untimed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: untimed(v) for key, v in value.items() if key not in TIMES}
    return [untimed(v) for v in value] if isinstance(value, list) else value


def test_killed_and_resumed_by_two_processes_equals_uninterrupted(folder: Path, scores: dict[str, Any]) -> None:
    journal = folder / "scores.json.partial"
    options = QUICK | {"model": folder / "run" / "model.safetensors", "score_cifs": folder / "cifs"}

    def kill(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(folder / "records.jsonl", **options, journal=journal, progress=kill)
    journal.write_bytes(journal.read_bytes()[:-10])  # the kill cut the last line short
    with pytest.raises(InputError, match="another seed"):
        evaluate(folder / "records.jsonl", **options, journal=journal, seed=1)
    resumed = evaluate(folder / "records.jsonl", **options, journal=journal, jobs=2)
    assert untimed(resumed) == untimed(scores)
    assert not journal.exists()


def test_every_score_is_there(scores: dict[str, Any]) -> None:
    assert scores["n"] == 3 == len(scores["per_crystal"]) and scores["guesses"] == 2
    for score in ("ssim", "psnr", "nmae"):
        assert set(scores[score]) == {"paper", "single", "ranked"}
        for block in scores[score].values():
            assert set(block) == {"mean", "sd", "median"} | ({"ge_0.9"} if score == "ssim" else set())
        for baseline in ("retrieval", "composition_only"):
            values = [row[baseline][score]["single"] for row in scores["per_crystal"]]
            assert scores["baselines"][baseline][score]["single"]["mean"] == pytest.approx(np.mean(values))
    for key in ("match_top1", "match_any", "strict_top1", "exact_top1"):
        low, high = scores["structure"][f"{key}_interval"]
        assert 0 <= low <= scores["structure"][key] <= high + 1e-9
    confidence = scores["confidence"]
    assert confidence["answered"] == sum(bin["n"] for bin in confidence["reliability"])
    assert confidence["answered"] == sum(row["confidence_top1"] is not None for row in scores["per_crystal"])
    # The table of types holds the crystals themselves: retrieval must find them.
    assert scores["baselines"]["retrieval"]["ssim"]["single"]["mean"] == pytest.approx(1.0, abs=1e-4)


def test_breakdowns_sum_to_all(scores: dict[str, Any]) -> None:
    assert set(scores["by"]) == {"space_group", "type", "element", "size"}
    for name in ("space_group", "type", "size"):
        groups = scores["by"][name].values()
        assert sum(group["n"] for group in groups) == 3
        mean = sum(group["n"] * group["ssim_single"] for group in groups) / 3
        assert mean == pytest.approx(scores["ssim"]["single"]["mean"])
    assert set(scores["by"]["type"]) == set(KINDS)


def test_cifs_of_the_truth_are_right(scores: dict[str, Any]) -> None:
    block = scores["score_cifs"]
    assert block["answered"] == 3
    assert block["structure"]["match_top1"] == block["structure"]["exact_top1"] == 1.0
    assert block["ssim"]["single"]["mean"] == pytest.approx(1.0, abs=1e-4)
    assert block["ssim"]["ranked"]["mean"] == pytest.approx(1.0, abs=1e-4)


def test_a_crystals_scores_do_not_depend_on_the_others(folder: Path, scores: dict[str, Any]) -> None:
    options = QUICK | {"model": folder / "run" / "model.safetensors", "limit": 1}
    (row,) = evaluate(folder / "records.jsonl", **options)["per_crystal"]
    same = next(other for other in scores["per_crystal"] if other["id"] == row["id"])
    assert row["ssim"] == same["ssim"] and row["structure"] == same["structure"]


def test_what_a_user_has_fetched_changes_no_score(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYSTALNET_DATA", str(folder / "own"))
    (folder / "own" / "cubic").mkdir(parents=True)
    (folder / "own" / "cubic" / "manifest.json").write_text("damaged: `solve` would say so")
    options = QUICK | {"model": folder / "run" / "model.safetensors", "limit": 1, "candidates": "all"}
    (row,) = evaluate(folder / "records.jsonl", **options)["per_crystal"]
    assert row["failure"] is None


def command(*arguments: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["crystalnet", "evaluate", *arguments])
        try:
            main()
        except SystemExit as stop:
            return int(stop.code or 0)
    return 0


def test_a_table_and_figures_in_one_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, figures = folder / "table.json", folder / "figures"
    options = f"--split all --candidates network --guesses 1 --limit 1 --system cubic --model {folder / 'run'}".split()
    (folder / "run" / "cubic.safetensors").write_bytes((folder / "run" / "model.safetensors").read_bytes())
    extra = ("--table", "2", "--jobs", "1", "--out", str(out), "--figures", str(figures))
    assert command(str(folder / "records.jsonl"), *options, *extra) == 0
    printed = capsys.readouterr().out
    assert "No ratios" in printed and "Table 2" in printed
    document = json.loads(out.read_text())
    assert set(document["runs"]["cubic"]) == {"formula", "elements", "drop-one", "none"}
    text = out.with_suffix(".md").read_text()
    mean = document["runs"]["cubic"]["none"]["ssim"]["paper"]["mean"]
    assert "0.868 ± 0.174" in text and f"{mean:.3f}" in text and "What differs" in text
    assert {path.name for path in figures.iterdir()} == {f"figure-{n}-cubic.png" for n in (2, 3, 5)}
    assert all(path.stat().st_size > 10_000 for path in figures.iterdir())
    assert not list(folder.glob("*.partial"))


def test_bad_options_are_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(folder / "records.jsonl")
    bad = [
        ("no-such-file.jsonl",),
        (file, "--given", "something"),
        (file, "--split", "sometimes"),
        (file, "--candidates", "none"),
        (file, "--system", "tetragonal"),
        (file, "--table", "3"),
        (file, "--table", "1", "--given", "none"),
        (file, "--limit", "0"),
        (file, "--split", "all", "--score-cifs", str(folder / "run"), "--model", str(folder / "run/model.safetensors")),
        (file, "--split", "all", "--retrieval-data", str(folder), "--model", str(folder / "run/model.safetensors")),
        (file, "--split", "composition"),
        (file, "--model", str(folder / "records.jsonl"), "--split", "all"),
    ]
    for arguments in bad:
        assert command(*arguments) == 2, arguments
        error = capsys.readouterr().err.strip()
        assert error.startswith("crystalnet: ") and len(error.splitlines()) == 1, (arguments, error)


def test_a_data_set_directory_gives_what_it_held_out(folder: Path) -> None:
    targets = read_targets(folder / "data", "cubic", "all", None, 0)
    held_out = [r for r in targets.records if r["split"] == "validation"]
    assert len(targets.records) == 40
    if held_out:
        assert len(read_targets(folder / "data", "cubic", "composition", None, 0).records) == len(held_out)
    structure, density = targets.truth(targets.records[0])
    assert density.sum() * structure.volume / 50**3 == pytest.approx(round(density.sum() * structure.volume / 50**3))
    with pytest.raises(InputError, match="--split type"):
        read_targets(folder / "data", "cubic", "type", None, 0)


def test_figures_choose_by_rule() -> None:
    rows = [{"id": str(i), "ssim": {"ranked": i / 10}} for i in range(10)]
    assert choose(rows, (0.0, 0.1), 6, 0) == [rows[0]]
    better = choose(rows, (0.5, 1.0), 3, 0)
    assert len(better) == 3 and all(row["ssim"]["ranked"] >= 0.5 for row in better)
    assert better == choose(rows[::-1], (0.5, 1.0), 3, 0)


def test_a_model_of_another_system_is_refused(folder: Path) -> None:
    model = folder / "run" / "model.safetensors"
    assert load_model(model).config.system == "cubic"
    record = next(r for r in crystal_types.types_table("trigonal"))
    (folder / "trigonal.jsonl").write_text(dump_json(record) + "\n")
    with pytest.raises(InputError, match="cubic system"):
        evaluate(folder / "trigonal.jsonl", system="trigonal", split="all", model=model)

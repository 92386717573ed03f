"""What `evaluate` makes of the scores of its crystals, how it divides its work, and what each crystal's row says."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from crystalnet.bragg import N_BINS
from crystalnet.commands.evaluate import Request
from crystalnet.crystal.lattice import Cell
from crystalnet.evaluation import baselines, own_answers
from crystalnet.evaluation.evaluate import Evaluation, model_of
from crystalnet.evaluation.metrics import wilson
from crystalnet.evaluation.options import Options
from crystalnet.evaluation.question import (
    MO_FULL_RANGE,
    MO_PROFILE,
    Question,
    composition_as_given,
    crystal_seed,
    in_words,
)
from crystalnet.evaluation.summary import (
    NETWORK,
    SCORES,
    breakdowns,
    combined,
    confidence_summary,
    in_lines,
    mean_seconds,
    other_summary,
    size_class,
    statistics,
    structure_summary,
    summary,
)
from crystalnet.records import BELIEVED, AtomSites, Fit, InputError
from crystalnet.runtime import journal as kept
from crystals import SALT


def row(
    ssim: float = 0.8, match: bool = True, confidence: float | None = 0.9, rmsd: float | None = 0.1, **about: Any
) -> dict[str, Any]:
    """A crystal's scores; of the protocols "ranked" is 0.1 better than "single", "paper" 0.2."""
    protocols = {"single": ssim, "ranked": ssim + 0.1, "paper": ssim + 0.2}
    structure = {"match_top1": match, "match_any": True, "strict_top1": False, "exact_top1": match, "rmsd": rmsd}
    return {
        **{"id": "a", "formula": "NaCl", "space_group": 225, "type": "salt", "sites": 2, "elements": ["Cl", "Na"]},
        **{score: protocols for score in SCORES},
        **{"structure": structure, "confidence_top1": confidence, "seconds_by_stage": {"peaks": 1.0}},
        **about,
    }


# --- summaries ----------------------------------------------------------------------------------------------------


def test_statistics() -> None:
    values = [0.9, 0.5, 0.7, 0.95]
    block = statistics(values, "ssim")
    assert block == pytest.approx({"mean": 0.7625, "sd": np.std(values), "median": 0.8, "ge_0.9": 0.5})
    assert set(statistics(values, "psnr")) == {"mean", "sd", "median"}


def test_each_protocol_has_its_mean() -> None:
    block = summary([row(0.4), row(0.6)])
    for score in SCORES:
        means = [block[score][protocol]["mean"] for protocol in ("single", "ranked", "paper")]
        assert means == pytest.approx([0.5, 0.6, 0.7])
    assert "ge_0.9" in block["ssim"]["single"] and "ge_0.9" not in block["nmae"]["single"]
    others = [{"retrieval": {s: {"single": v} for s in SCORES}} for v in (0.1, 0.3)]
    assert other_summary(others, "retrieval", ("single",))["psnr"]["single"]["mean"] == pytest.approx(0.2)


def test_structures_are_counted_over_all_crystals() -> None:
    rows = [row(match=i < 3, rmsd=0.1 * i if i < 3 else None)["structure"] for i in range(4)]
    block = structure_summary(rows)
    assert (block["match_top1"], block["match_any"], block["strict_top1"], block["exact_top1"]) == (0.75, 1.0, 0, 0.75)
    assert block["match_top1_interval"] == wilson(3, 4) and block["rmsd_mean"] == pytest.approx(0.1)
    assert NETWORK not in block and structure_summary(rows[3:])["rmsd_mean"] is None
    known = structure_summary([r | {NETWORK: i == 0} for i, r in enumerate(rows)])
    assert known[NETWORK] == 0.25 and known[f"{NETWORK}_interval"] == wilson(1, 4)
    assert structure_summary([rows[0] | {NETWORK: True}])[NETWORK] == 1.0


def test_confidence_is_judged_where_there_is_an_answer() -> None:
    rows = [
        row(confidence=BELIEVED, match=False),
        row(confidence=0.95),
        row(confidence=BELIEVED - 0.01, match=False),
        row(confidence=0.01, match=False),
        row(confidence=None, match=False),
    ]
    block = confidence_summary(rows)
    assert (block["answered"], block["believed"], block["believed_and_wrong"]) == (4, 2, 1)
    assert [b["n"] for b in block["reliability"]] == [1, 1, 1, 1]
    assert [b["right"] for b in block["reliability"]] == [0.0, 0.0, 0.0, 1.0]
    assert [b["mean"] for b in block["reliability"]] == pytest.approx([0.01, BELIEVED - 0.01, BELIEVED, 0.95])
    assert block["expected_calibration_error"] == pytest.approx((0.01 + BELIEVED - 0.01 + BELIEVED + 0.05) / 4)
    nobody = confidence_summary([row(confidence=None)])
    assert nobody["answered"] == nobody["believed"] == 0 and nobody["expected_calibration_error"] is None


def test_seconds_are_means_over_all_crystals() -> None:
    rows = [{"seconds_by_stage": {"a": 1.0, "b": 2.0}}, {"seconds_by_stage": {"a": 3.0}}]
    assert mean_seconds(rows) == {"a": 2.0, "b": 1.0}


@pytest.mark.parametrize(
    ("sites", "name"),
    [(1, "1-2"), (2, "1-2"), (3, "3-5"), (5, "3-5"), (6, "6-10"), (11, "11-20"), (21, "21-40"), (40, "21-40")]
    + [(41, "41+"), (120, "41+")],
)
def test_size_classes(sites: int, name: str) -> None:
    assert size_class(sites) == name


def test_breakdowns_are_means_of_their_crystals() -> None:
    rows = [
        row(0.2, False),
        row(0.4, True, type=None, space_group=216, sites=7, elements=["S", "Zn"]),
        row(0.6, True, sites=8, elements=["Na", "S"]),
    ]
    groups = breakdowns(rows)
    assert groups["space_group"]["225"] == pytest.approx({"n": 2, "ssim_single": 0.4, "match_top1": 0.5})
    assert list(groups["space_group"]) == ["225", "216"] and list(groups["type"]) == ["salt", "unknown"]
    assert groups["type"]["unknown"]["ssim_single"] == pytest.approx(0.4)
    assert groups["size"] == {
        "6-10": pytest.approx({"n": 2, "ssim_single": 0.5, "match_top1": 1.0}),
        "1-2": pytest.approx({"n": 1, "ssim_single": 0.2, "match_top1": 0.0}),
    }
    assert [(element, block["n"]) for element, block in groups["element"].items()] == [
        *(("Na", 2), ("S", 2)),
        *(("Cl", 1), ("Zn", 1)),
    ]


def run(system: str, *rows: dict[str, Any], seconds: float | None = 2.0) -> dict[str, Any]:
    return {
        **{"n": len(rows), "given": {"chemistry": "elements"}, "guesses": 5, "seed": 3, "system": system},
        **{"model_sha256": f"hash of {system}", "split": {"name": "all"}, "density": "promolecule"},
        **{"per_crystal": list(rows), "left_out": [{"id": f"no {system}"}], "failures": [], "baselines": 1},
        "seconds_per_crystal": seconds,
    }


def test_systems_are_summed_up_over_all_crystals() -> None:
    cubic, trigonal = run("cubic", row(0.2), row(0.4), row(0.6)), run("trigonal", row(0.8, match=False), seconds=6.0)
    both = combined([cubic, trigonal])
    assert both["n"] == 4 and both["system"] == ["cubic", "trigonal"] and len(both["per_crystal"]) == 4
    assert both["ssim"]["single"]["mean"] == pytest.approx(0.5) and both["structure"]["match_top1"] == 0.75
    assert both["seconds_per_crystal"] == pytest.approx((3 * 2 + 6) / 4)
    assert both["left_out"] == [{"id": "no cubic"}, {"id": "no trigonal"}] and both["failures"] == []
    assert both["model_sha256"] == {"cubic": "hash of cubic", "trigonal": "hash of trigonal"}
    assert set(both["systems"]) == {"cubic", "trigonal"} and both["systems"]["cubic"]["baselines"] == 1
    assert not {"per_crystal", "left_out", "failures"} & set(both["systems"]["cubic"])
    assert (both["given"], both["guesses"], both["seed"]) == ({"chemistry": "elements"}, 5, 3)
    assert both["confidence"]["answered"] == 4 and both["by"]["size"]["1-2"]["n"] == 4
    assert combined([cubic]) is cubic
    resumed = combined([run("cubic", row(), seconds=None), trigonal])  # nothing was left to do of the cubic ones
    assert resumed["seconds_per_crystal"] == 6.0
    assert combined([run("cubic", row(), seconds=None)] * 2)["seconds_per_crystal"] is None


def test_a_person_reads_a_few_lines() -> None:
    given = {"chemistry": "elements", "pattern": "measured", "libraries": "whole"}

    def scored(system: str, right: bool, **of_run: Any) -> dict[str, Any]:
        structure = {"match_top1": float(right), "strict_top1": float(right)}
        return run(system, row(match=right), **of_run) | {"structure": structure}

    lines = in_lines(combined([scored("cubic", False), scored("trigonal", True)]) | {"given": given})
    assert len(lines) <= 12 and lines[0] == "2 crystals; given: elements; pattern: measured"
    assert [line.split()[:3] for line in lines if line.startswith("  ")] == [
        ["cubic", "0", "of"],
        ["trigonal", "1", "of"],
    ]
    assert "right at rank 1  50.0%" in lines[2] and not any("{" in line for line in lines)
    unclocked = in_lines(combined([scored("cubic", True, seconds=None)] * 2) | {"given": given})
    assert lines[-1].startswith("time") and not unclocked[-1].startswith("time")


# --- what is asked ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "told", "level"),
    [
        ("formula", {"Na": 1.0, "Cl": 2.0}, "formula"),
        ("elements", {"Na": 1.0, "Cl": 2.0}, "elements"),
        ("none", {}, "none"),
    ],
)
def test_what_is_told_of_the_chemistry(given: str, told: dict[str, float], level: str) -> None:
    assert composition_as_given({"Na": 1.0, "Cl": 2.0}, given, np.random.default_rng(0)) == (told, level)


def test_any_element_may_be_dropped_but_the_only_one() -> None:
    drawn = [
        composition_as_given({"Na": 1.0, "Cl": 2.0}, "drop-one", np.random.default_rng(seed)) for seed in range(20)
    ]
    assert {tuple(told.items()) for told, _ in drawn} == {(("Na", 1.0),), (("Cl", 1.0),)}
    assert {level for _, level in drawn} == {"elements"}
    assert composition_as_given({"Fe": 2.0}, "drop-one", np.random.default_rng(0)) == ({"Fe": 2.0}, "elements")


def test_a_crystals_seed_is_its_own() -> None:
    about = {"id": "mp-1", "formula": "NaCl", "space_group": 225}
    seeds = [crystal_seed(about, 0), crystal_seed(about, 1)]
    seeds += [
        crystal_seed(about | {key: other}, 0) for key, other in (("id", 2), ("formula", "KCl"), ("space_group", 1))
    ]
    assert len(set(seeds)) == 5 and all(0 <= seed < 16**7 for seed in seeds)
    assert crystal_seed(about | {"lattice": 0}, 0) == seeds[0] == 161515801  # scores can be made again by any version


@pytest.mark.parametrize(
    "wrong",
    [{"system": "auto"}, {"given": "all"}, {"candidates": "both"}, {"split": "dev"}, {"guesses": 0}, {"limit": 0}],
)
def test_options_that_there_are_not(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="--" + next(iter(wrong))):
        Options(**wrong)
    assert Options(guesses=1, limit=1).limit == 1


def test_a_folder_of_models_is_asked_by_system_and_level(tmp_path: Path) -> None:
    assert model_of(None, "cubic", "formula", alone=True) is None
    with pytest.raises(InputError, match="cubic-none"):
        model_of(tmp_path, "cubic", "none", alone=False)
    for name in ("cubic", "cubic-none", "trigonal-none"):
        (tmp_path / f"{name}.safetensors").touch()
    assert model_of(tmp_path, "cubic", "none", alone=False) == tmp_path / "cubic-none.safetensors"
    assert model_of(tmp_path, "cubic", "formula", alone=False) == tmp_path / "cubic.safetensors"
    file = tmp_path / "cubic.safetensors"
    assert model_of(file, "trigonal", "none", alone=True) == file  # refused later, where it is read


def test_runs_of_several_systems_have_a_journal_each() -> None:
    asked = Request(Path("records.jsonl"), out=Path("folder/scores.json"))
    assert asked.journal(("cubic", "formula"), several=False) == Path("folder/scores.json.partial")
    assert asked.journal(("cubic", "formula"), several=True) == Path("folder/scores.json.cubic.formula.partial")
    assert Request(Path("records.jsonl")).journal(("cubic", "formula"), several=True) is None


# --- one crystal --------------------------------------------------------------------------------------------------


def evaluation(folder: Path, **options: Any) -> Evaluation:
    primitive = SALT.get_primitive_structure()
    record = {
        **{"id": "salt", "formula": "NaCl", "space_group": 225, "system": "cubic", "protostructure": "rock salt"},
        **{"lattice": primitive.lattice.matrix.tolist(), "species": [s.specie.symbol for s in primitive]},
        "frac_coords": primitive.frac_coords.tolist(),
    }
    path = folder / "salt.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.write(json.dumps(record) + "\n")
    return Evaluation(path, Options(system="cubic", given="elements", split="all", guesses=2, **options))


def test_a_perfect_pattern_has_all_lines_of_molybdenum(tmp_path: Path) -> None:
    made = evaluation(tmp_path)
    asked = made.question(made.targets.records[0])
    assert asked.peaks is not None and asked.level == "elements" and asked.composition == {"Na": 1.0, "Cl": 1.0}
    assert asked.pattern.radiation.wavelength == 0.711 == asked.peaks.radiation.wavelength
    assert len(asked.pattern.two_theta) == len(MO_PROFILE) == len(asked.peaks.background)
    assert (asked.peaks.two_theta_min, asked.peaks.two_theta_max) == tuple(MO_FULL_RANGE) == (3.0, 150.0)
    assert asked.peaks.two_theta.max() > 140 and asked.seed == crystal_seed(asked.record, 0)
    cell = Cell("cubic", "F", 5.64, 5.64, zero_shift=0.3)
    assert not np.array_equal(asked.vector(cell)[0], asked.vector(None)[0])
    assert made.question(asked.record, "none").composition == {}


def test_a_measured_like_pattern_is_copper_s(tmp_path: Path) -> None:
    made = evaluation(tmp_path, measured_like=True)
    asked = made.question(made.targets.records[0])
    assert asked.peaks is not None and asked.pattern.radiation.wavelength == pytest.approx(1.5406, abs=1e-4)
    assert asked.pattern.two_theta[[0, -1]] == pytest.approx([10, 90], abs=0.1)
    assert "Cu" in in_words(made.options)["pattern"] and "Mo" not in in_words(made.options)["pattern"]
    unseen = SimpleNamespace(peaks=None)
    vector, mask = Question.vector(unseen, None)  # type: ignore[arg-type]
    assert vector.shape == mask.shape == (N_BINS,) and not vector.any() and not mask.any()


def candidate(sites: AtomSites, source: str, agreed: float = 0.0) -> SimpleNamespace:
    fit = Fit(sites, 0.08, np.zeros(1), np.zeros(1), np.zeros(1))
    return SimpleNamespace(
        conventional=sites,
        space_group_number=225,
        source=source,
        evidence={"agreed": agreed},
        fit=fit,
        confidence=0.9,
    )


@pytest.mark.parametrize(
    ("sources", "network"),
    [([("catalogue", 0.0), ("network", 0.0)], False), ([("catalogue", 1.0)], True), ([("network", 0.0)], True)]
    + [([("catalogue", 0.0)], False)],
)
def test_a_crystals_row(
    sources: list[tuple[str, float]], network: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guess 2 is the truth and ranked first; the first candidate is right, a second one is not."""
    made = evaluation(tmp_path)
    (record,) = made.targets.records
    _, truth = made.targets.truth(record)
    poor = np.full_like(truth, truth.mean())
    right = AtomSites.from_structure(SALT)
    wrong = AtomSites(3.0 * np.eye(3), ("Na", "Cl"), np.array([[0, 0, 0], [0.5, 0.5, 0.5]]))
    found = tuple(candidate(s, *source) for s, source in zip((right, wrong), sources, strict=False))
    solution: Any = SimpleNamespace(
        guesses=np.stack([poor, truth]),
        guess_rank=np.array([2, 1]),
        candidates=found,
        cell=Cell("cubic", "F", 5.64, 5.64, zero_shift=0.01),
        seconds={"peaks": 0.5},
    )
    drawn: list[tuple[int, int, bool]] = []

    def guesses(asked: Any, cell: Any, count: int, seed: int, mean: bool) -> np.ndarray:
        drawn.append((count, seed - asked.seed, mean))
        return np.stack([poor] * count)

    monkeypatch.setattr(made.own, "solved", lambda asked: (solution, None))
    monkeypatch.setattr(made.own, "densities", guesses)
    made.retrieval = SimpleNamespace(nearest=lambda vector, mask: ("near", truth))  # type: ignore[assignment]
    made.composition_only = SimpleNamespace(density=lambda told, level: poor)  # type: ignore[assignment]
    scores = made.score(record)
    assert drawn == [(1, 1, False)]  # one more sample than solve's, for the paper's protocol
    assert scores["ssim"]["ranked"] == pytest.approx(1, abs=1e-6) == scores["ssim"]["paper"]
    assert scores["ssim"]["single"] < 0.7 and scores["ranked_first"] == 2
    assert scores["structure"]["match_top1"] and scores["structure"]["exact_top1"]
    assert scores["structure"][NETWORK] is network
    assert scores["retrieval"]["ssim"]["single"] == pytest.approx(1, abs=1e-6)
    assert scores["retrieval"]["nearest"] == "near"
    assert scores["composition_only"]["ssim"]["single"] == pytest.approx(scores["ssim"]["single"])
    assert (scores["id"], scores["formula"], scores["space_group"], scores["type"]) == (
        "salt",
        "NaCl",
        225,
        "rock salt",
    )
    assert (scores["sites"], scores["elements"], scores["failure"]) == (2, ["Cl", "Na"], None)
    assert (scores["source_top1"], scores["rwp_top1"], scores["confidence_top1"]) == (sources[0][0], 0.08, 0.9)
    assert scores["cell"] == {"system": "cubic", "centring": "F", "a": 5.64, "c": 5.64, "zero_shift": 0.01}
    assert scores["seconds_by_stage"]["peaks"] == 0.5 and scores["seconds"] >= scores["seconds_by_stage"]["scores"] > 0


def test_a_crystal_that_solve_cannot_answer_has_the_chemistrys_density(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = evaluation(tmp_path)
    (record,) = made.targets.records
    _, truth = made.targets.truth(record)
    asked_for: list[tuple[Any, int]] = []

    def guesses(asked: Any, cell: Any, count: int, *rest: Any, **more: Any) -> np.ndarray:
        asked_for.append((cell, count))
        return np.stack([truth] * count)

    def crash(*arguments: Any, **options: Any) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(made.own, "densities", guesses)
    monkeypatch.setattr(own_answers, "solve_pattern", crash)
    made.retrieval = SimpleNamespace(nearest=lambda *seen: ("near", truth), digest="", source="types")  # type: ignore[assignment]
    made.composition_only = SimpleNamespace(density=lambda told, level: truth)  # type: ignore[assignment]
    scores = made.score(record)
    assert asked_for == [(None, 2), (None, 1)] and scores["failure"] == "ZeroDivisionError: by nothing"
    assert not scores["structure"]["match_any"] and scores["structure"][NETWORK] is False
    assert scores["cell"] is None and scores["confidence_top1"] is None and scores["ranked_first"] == 1
    block = made.scores()
    assert block["failures"] == [{"id": "salt", "failure": "ZeroDivisionError: by nothing"}] and block["n"] == 1
    assert block["left_out"] == [] and block["seconds_per_crystal"] > 0 and block["split"]["name"] == "all"
    assert block["baselines"]["retrieval"]["ssim"]["single"]["mean"] == pytest.approx(1)
    assert block["given"]["chemistry"] == "elements" and block["system"] == "cubic" and block["guesses"] == 2


def test_what_cannot_be_scored_is_left_out_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = evaluation(tmp_path)

    def refuse(record: Any) -> None:
        raise InputError("too large")

    monkeypatch.setattr(made, "question", refuse)
    assert made.score(made.targets.records[0])["left_out"] == "too large"
    with pytest.raises(InputError, match="no crystal could be scored; the first: salt: too large"):
        made.scores()


def test_a_journal_keeps_what_is_done_until_all_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = evaluation(tmp_path)
    (record,) = made.targets.records
    made.targets = replace(made.targets, records=tuple(record | {"id": name} for name in "abc"))
    done: list[str] = []
    told: list[tuple[int, int]] = []
    stop_at = ["b"]

    def score(one: Any) -> dict[str, Any]:
        if one["id"] in stop_at:
            raise KeyboardInterrupt
        done.append(one["id"])
        others = {name: {s: {"single": 0.5} for s in SCORES} for name in ("retrieval", "composition_only")}
        return row(id=one["id"], failure=None) | others

    monkeypatch.setattr(made, "score", score)
    journal = tmp_path / "new" / "folder" / "journal"
    with pytest.raises(KeyboardInterrupt):
        made.scores(journal)
    first, *rows = map(json.loads, journal.read_text().splitlines())
    assert [one["id"] for one in rows] == ["a"] and first["given"] == "elements" and first["seed"] == 0
    assert first["model"] == made.model.sha256 and first["score-cifs"] is None

    stop_at.clear()
    clock = iter((5.0, 15.0))
    monkeypatch.setattr(kept, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    block = made.scores(journal, lambda *count: told.append(count), keep=True)
    assert done == ["a", "b", "c"] and told == [(2, 3), (3, 3)] and block["n"] == 3
    assert block["seconds_per_crystal"] == 5.0  # of those that were left
    monkeypatch.undo()
    monkeypatch.setattr(made, "score", score)
    assert [one["id"] for one in block["per_crystal"]] == ["a", "b", "c"]
    assert len(journal.read_text().splitlines()) == 4
    again = made.scores(journal)  # nothing is left to do
    assert again["seconds_per_crystal"] is None and again["n"] == 3 and len(done) == 3 and not journal.exists()
    assert made.scores()["n"] == 3 and done == ["a", "b", "c"] * 2

    made.scores(journal, keep=True)
    made.options = replace(made.options, seed=1)
    with pytest.raises(InputError, match="unfinished run with another seed"):
        made.scores(journal)
    journal.write_text("mine\n")
    with pytest.raises(InputError, match="not the journal of a run"):
        made.scores(journal)
    assert journal.read_text() == "mine\n"


def test_nothing_is_retrieved_from_a_data_set_without_training_crystals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crystals = SimpleNamespace(records=[{"split": "validation"}])
    monkeypatch.setattr(baselines, "read_manifest", lambda directory: {"source": "files", "sha256": ""})
    monkeypatch.setattr(baselines, "read_store", lambda directory: crystals)
    monkeypatch.setattr(baselines, "open_maps", lambda directory, manifest: [])
    with pytest.raises(InputError, match="no training crystals"):
        baselines.Retrieval("cubic", tmp_path)

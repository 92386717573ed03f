"""Scores of many crystals in a few numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from crystalnet.evaluation.metrics import wilson
from crystalnet.records import BELIEVED, InputError
from crystalnet.solving.confidence import calibration_error

SCORES, PROTOCOLS = ("ssim", "psnr", "nmae"), ("paper", "single", "ranked")
NO_MAPS: dict[str, Any] = {score: None for score in SCORES}  # of a crystal in whose system no network draws
STRUCTURE = ("match_top1", "match_any", "strict_top1", "exact_top1")
NETWORK = "match_network"  # the first candidate that the network proposed, alone or with the catalogue
SIZES = (2, 5, 10, 20, 40)  # atoms in the primitive cell: upper ends of the size classes


def run_summary(
    rows: list[dict[str, Any]], about: dict[str, Any], retrieval_source: str | None, seconds_per_crystal: float | None
) -> dict[str, Any]:
    """The score block of one run.

    Parameters
    ----------
    rows : list of dict
        What `Evaluation.score` gives for each crystal.
    about : dict
        What was asked of which model.
    retrieval_source : str, optional
        What the retrieval baseline knows, in words; None where there is no network to compare it with.
    seconds_per_crystal : float, optional
        Of this run, where it scored any itself.

    Returns
    -------
    dict
        As docs/scores.md describes it.

    Raises
    ------
    InputError
        Where no crystal could be scored.
    """
    scored = [row for row in rows if "left_out" not in row]
    if not scored:
        raise InputError(f"no crystal could be scored; the first: {rows[0]['id']}: {rows[0]['left_out']}")
    block = {
        "n": len(scored),
        **about,
        **summary(scored),
        "by": breakdowns(scored),
        "confidence": confidence_summary(scored),
        "baselines": {
            "retrieval": {"from": retrieval_source} | other_summary(scored, "retrieval", ("single",)),
            "composition_only": {"from": "the same network, no pattern, no cell"}
            | other_summary(scored, "composition_only", ("single",)),
        }
        if retrieval_source
        else None,
        "left_out": [row for row in rows if "left_out" in row],
        "failures": [{key: row[key] for key in ("id", "failure")} for row in scored if row["failure"]],
        "seconds_per_crystal": seconds_per_crystal,
        "seconds": mean_seconds(scored),
        "per_crystal": scored,
    }
    if "score_cifs" in scored[0]:
        block["score_cifs"] = {
            "n": len(scored),
            "answered": sum(bool(row["score_cifs"]["files"]) for row in scored),
            **other_summary(scored, "score_cifs", ("single", "ranked")),
            "structure": structure_summary([row["score_cifs"]["structure"] for row in scored]),
        }
    return block


def combined(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The score blocks of several systems as one over all crystals, with the block of each in "systems"."""
    if len(runs) == 1:
        return runs[0]
    scored = [row for run in runs for row in run["per_crystal"]]
    short = [{k: v for k, v in run.items() if k not in ("per_crystal", "left_out", "failures")} for run in runs]
    times = [(run["seconds_per_crystal"], run["n"]) for run in runs if run["seconds_per_crystal"] is not None]
    return {
        "n": len(scored),
        **{key: runs[0][key] for key in ("given", "guesses", "seed")},
        "model_sha256": {run["system"]: run["model_sha256"] for run in runs},
        "system": [run["system"] for run in runs],
        "split": runs[0]["split"],
        "density": runs[0]["density"],
        **summary(scored),
        "by": breakdowns(scored),
        "confidence": confidence_summary(scored),
        "systems": {run["system"]: block for run, block in zip(runs, short, strict=True)},
        "left_out": [row for run in runs for row in run["left_out"]],
        "failures": [row for run in runs for row in run["failures"]],
        "seconds_per_crystal": sum(s * n for s, n in times) / sum(n for _, n in times) if times else None,
        "seconds": mean_seconds(scored),
        "per_crystal": scored,
    }


def in_lines(document: Mapping[str, Any]) -> list[str]:
    """The most important scores of a run, about ten lines for a person."""
    given, structure, sure = document["given"], document["structure"], document["confidence"]

    def share(name: str) -> str:
        low, high = structure[f"{name}_interval"]
        return f"{structure[name]:.1%} [{low:.1%}, {high:.1%}]"

    lines = [
        f"{document['n']} crystals; given: {given['chemistry']}; pattern: {given['pattern']}",
        f"libraries        {given['libraries']}",
        f"right at rank 1  {share('match_top1')}, strictly {share('strict_top1')}",
        f"among all ranked {share('match_any')}",
    ]
    for system, run in (document.get("systems") or {}).items():
        own, n = run["structure"], run["n"]
        lines.append(f"  {system:12} {round(n * own['match_top1'])} of {n}, strictly {round(n * own['strict_top1'])}")
    lines.append(
        f"believed         {sure['believed']} of {sure['answered']} answers, {sure['believed_and_wrong']} of them"
        f" wrong; calibration error {sure['expected_calibration_error']:.3f}"
    )
    if document.get("ssim"):
        means = ", ".join(f"{protocol} {values['mean']:.3f}" for protocol, values in document["ssim"].items())
        lines.append(f"densities        SSIM {means}")
    if document["seconds_per_crystal"] is not None:
        lines.append(f"time             {document['seconds_per_crystal']:.1f} s a crystal")
    return lines


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over crystals; structure proportions over all of them, with Wilson 95 % intervals."""
    drawn = [row for row in rows if row["ssim"] is not None]
    scores = {s: {p: statistics((row[s][p] for row in drawn), s) for p in PROTOCOLS} if drawn else None for s in SCORES}
    return {**scores, "structure": structure_summary([row["structure"] for row in rows])}


def statistics(values: Iterable[float], score: str) -> dict[str, float]:
    """mean, sd, median, and for SSIM the share of values of at least 0.9."""
    v = np.fromiter(values, float)
    block = {"mean": float(v.mean()), "sd": float(v.std()), "median": float(np.median(v))}
    return block | ({"ge_0.9": float((v >= 0.9).mean())} if score == "ssim" else {})


def structure_summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Shares of crystals whose structure is right, by each measure, with 95 % intervals, and the mean distance in Å."""
    structure: dict[str, Any] = {}
    for key in (*STRUCTURE, NETWORK):
        asked = [row[key] for row in rows if key in row]
        if asked:
            structure[key] = sum(asked) / len(asked)
            structure[f"{key}_interval"] = wilson(sum(asked), len(asked))
    distances = [row["rmsd"] for row in rows if row["rmsd"] is not None]
    structure["rmsd_mean"] = float(np.mean(distances)) if distances else None
    return structure


def confidence_summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How well the first candidates' confidence tells the right ones from the wrong ones."""
    answered = [row for row in rows if row["confidence_top1"] is not None]
    p = np.array([row["confidence_top1"] for row in answered], float)
    right = np.array([row["structure"]["match_top1"] for row in answered], bool)
    error, reliability = calibration_error(p, right)
    return {
        "answered": len(answered),
        "believed": int((p >= BELIEVED).sum()),
        "believed_and_wrong": int((~right & (p >= BELIEVED)).sum()),
        "expected_calibration_error": error if answered else None,
        "reliability": [{"mean": m, "right": share, "n": n} for m, share, n in reliability],
    }


def other_summary(rows: list[dict[str, Any]], name: str, protocols: tuple[str, ...]) -> dict[str, Any]:
    """Summary of another answer's densities."""
    return {s: {p: statistics((row[name][s][p] for row in rows), s) for p in protocols} for s in SCORES}


def mean_seconds(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Mean seconds of each stage; a stage that a crystal did not come to counts as 0."""
    stages = dict.fromkeys(stage for row in rows for stage in row["seconds_by_stage"])
    return {s: round(float(np.mean([row["seconds_by_stage"].get(s, 0.0) for row in rows])), 4) for s in stages}


def breakdowns(rows: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, float | None]]]:
    """n, mean of ssim.single and match_top1 by space group, structure type, element and size, the largest first."""
    groups: dict[str, dict[str, list[dict[str, Any]]]] = {
        name: defaultdict(list) for name in ("space_group", "type", "element", "size")
    }
    for row in rows:
        groups["space_group"][str(row["space_group"])].append(row)
        groups["type"][row["type"] or "unknown"].append(row)
        groups["size"][size_class(row["sites"])].append(row)
        for element in row["elements"]:
            groups["element"][element].append(row)
    return {
        name: {
            key: {
                "n": len(members),
                "ssim_single": _mean(row["ssim"]["single"] for row in members if row["ssim"] is not None),
                "match_top1": float(np.mean([row["structure"]["match_top1"] for row in members])),
            }
            for key, members in sorted(group.items(), key=lambda item: (-len(item[1]), item[0]))
        }
        for name, group in groups.items()
    }


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return float(np.mean(known)) if known else None


def size_class(sites: int) -> str:
    """The size class, as "3-5", of so many atoms in the primitive cell."""
    low = 1
    for high in SIZES:
        if sites <= high:
            return f"{low}-{high}"
        low = high + 1
    return f"{low}+"

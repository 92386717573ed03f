"""Fit python/crystalnet/confidence.json: what probability to give a candidate for the evidence it has.

    python tools/fit_confidence.py collect DATA_DIR ANSWERS.jsonl [--crystals 240] [--share 0/2]
    python tools/fit_confidence.py fit ANSWERS.jsonl... [--figure docs/images/confidence.png]

`collect` simulates laboratory patterns of real crystals of every system (DATA_DIR/amcsd_structures.jsonl.gz and
structures_other.jsonl.gz; no development or measured composition), worse than `simulate --measured-like` makes them,
solves each as a user would, with `--system auto` and the elements or the formula, and notes of each candidate its
evidence and whether it is right. It can be interrupted and called again. `fit` fits a logistic regression, and draws
how often candidates were right that were given a probability, each judged by weights fitted without its crystal.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

SHARES = {"cubic": 0.35, "trigonal": 0.25, "hexagonal": 0.1, "tetragonal": 0.1, "orthorhombic": 0.1, "monoclinic": 0.1}
MARCH = (0.6, 1.5)  # pressed powders; MnO2, carbonates and hydroxides are worse still
SLOPE = 0.6  # sd of ln(intensity) per sin²θ: divergence slits, roughness, a beam larger than the sample
IMPURITY = 0.5, 0.06  # share of samples that hold a second phase, and the largest height of its lines
MOST_SITES = 60  # atoms in the primitive cell; a laboratory pattern of more is no test of this program
PENALTY = 1.0  # ridge on standardised weights: eleven features, a few hundred crystals
FOLDS = 5


def degraded_pattern(structure: Any, impurity: Any, seed: int) -> Any:
    """A laboratory pattern with strong texture, intensities that drift with angle and perhaps a second phase."""
    from dataclasses import replace

    from crystalnet.records import AtomSites
    from crystalnet.xrd.profile import simulate_profile
    from crystalnet.xrd.radiation import parse_wavelength

    rng = np.random.default_rng((seed, 7))
    source = parse_wavelength(str(rng.choice(["CuKa", "CuKa", "CuKa", "CuKa1", "MoKa", "CoKa"])))
    first, last = rng.uniform(5, 20), rng.uniform(70, 120)
    shrink = source.wavelength / 1.5406  # the same d-spacings whatever the tube
    two_theta = np.arange(first * shrink, min(last * shrink, 140), rng.choice([0.01, 0.02, 0.03]))
    made = simulate_profile(
        AtomSites.from_structure(structure), source, two_theta, measured_like=True, seed=seed, march_range=MARCH
    )
    counts = made.intensity * np.exp(rng.normal(0, SLOPE) * np.sin(np.radians(two_theta / 2)) ** 2)
    if rng.random() < IMPURITY[0]:
        other = simulate_profile(AtomSites.from_structure(impurity), source, two_theta).intensity
        counts = counts + rng.uniform(0, IMPURITY[1]) * counts.max() * other / other.max()
    return replace(made, intensity=counts, sigma=np.sqrt(np.maximum(counts, 1.0)))


def crystals(data: Path, count: int) -> list[tuple[int, dict[str, Any]]]:
    """(seed, record) of the crystals to simulate, the same for a count whenever called."""
    from crystalnet.data.records_file import read_records
    from crystalnet.data.splits import may_train
    from crystalnet.density.promolecule import element_table

    chosen: list[tuple[int, dict[str, Any]]] = []
    rng = np.random.default_rng(11)
    for system, share in SHARES.items():
        records = [
            r
            for name in ("amcsd_structures.jsonl.gz", "structures_other.jsonl.gz")
            for r in read_records(data / name, system)
            if may_train(r["formula"]) and len(r["species"]) <= MOST_SITES and set(r["species"]) <= set(element_table())
        ]
        picks = rng.choice(len(records), round(count * share), replace=False)
        chosen += [(1000 * len(chosen) + int(i), records[i]) for i in picks]
    return [chosen[i] for i in rng.permutation(len(chosen))]


def collect(data: Path, out: Path, count: int, share: str) -> None:
    """Solve the patterns and append a line each to `out`."""
    from crystalnet.data.records_file import structure_of
    from crystalnet.metrics import structure_scores
    from crystalnet.records import InputError
    from crystalnet.solver import solve

    part, parts = map(int, share.split("/"))
    known = {json.loads(line)["seed"] for line in out.open()} if out.exists() else set()
    every = crystals(data, count)
    for number, (seed, record) in enumerate(every):
        if number % parts != part or seed in known:
            continue
        truth, impurity = structure_of(record), structure_of(every[(number + 1) % len(every)][1])
        formula = number % 5 < 2
        try:
            found = solve(
                degraded_pattern(truth, impurity, seed),
                elements=sorted({s for s in record["species"]}),
                formula=record["formula"] if formula else None,
                own_types=False,
            )
        except (InputError, ValueError) as error:
            answer: dict[str, Any] = {"refused": str(error), "candidates": []}
        else:
            answer = {"seconds": sum(found.seconds.values()), "candidates": []}
            for c in found.candidates:
                right = structure_scores(truth, [c.conventional.structure()], [c.space_group_number])["match_top1"]
                answer["candidates"].append({"right": right, "formula": c.formula, "evidence": c.evidence})
        head = {"seed": seed, "formula": record["formula"], "system": record["system"], "formula_given": formula}
        with out.open("a") as file:
            file.write(json.dumps(head | answer) + "\n")
        print(number + 1, "of", len(every), record["formula"], [c["right"] for c in answer["candidates"]], flush=True)


def fitted(x: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights and constant of a ridge logistic regression on columns x."""
    from scipy.optimize import minimize

    mean, sd = x.mean(0), x.std(0) + 1e-9
    z = (x - mean) / sd

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        logit = z @ parameters[:-1] + parameters[-1]
        p = 1 / (1 + np.exp(-logit))
        value = np.logaddexp(0, logit).sum() - logit[right].sum() + PENALTY / 2 * (parameters[:-1] ** 2).sum()
        gradient = np.append(z.T @ (p - right) + PENALTY * parameters[:-1], (p - right).sum())
        return float(value), gradient

    best = minimize(loss, np.zeros(x.shape[1] + 1), jac=True).x
    weights = best[:-1] / sd
    return weights, float(best[-1] - weights @ mean)


def fit(files: list[Path], figure: Path | None, out: Path) -> None:
    """Fit all candidates, judge the first ones by weights fitted without their crystal."""
    from crystalnet.confidence import FEATURES, THRESHOLD, calibration_error

    answers = [json.loads(line) for file in files for line in file.open()]
    rows = [(i, k, c) for i, a in enumerate(answers) for k, c in enumerate(a["candidates"])]
    x = np.array([[c["evidence"][name] for name in FEATURES] for _, _, c in rows])
    right = np.array([c["right"] for _, _, c in rows])
    crystal, rank = np.array([i for i, _, _ in rows]), np.array([k for _, k, _ in rows])
    held_out = np.zeros(len(rows))
    for fold in range(FOLDS):
        test = crystal % FOLDS == fold
        weights, constant = fitted(x[~test], right[~test])
        held_out[test] = 1 / (1 + np.exp(-(x[test] @ weights + constant)))
    first = rank == 0
    error, diagram = calibration_error(held_out[first], right[first])
    weights, constant = fitted(x, right)
    answered, correct = int(first.sum()), int(right[first].sum())
    named = dict(zip(FEATURES, (round(float(w), 4) for w in weights), strict=True))
    document = {
        "fitted_on": f"{len(answers)} simulated patterns, {answered} with an answer, {correct} right",
        "expected_calibration_error": round(error, 3),
        "reliability": [{"mean": round(m, 3), "right": round(s, 3), "n": n} for m, s, n in diagram],
        "weights": {**named, "constant": round(constant, 4)},
    }
    out.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document, indent=1))
    foreign = np.array([answers[i]["system"] not in ("cubic", "trigonal", "hexagonal") for i in crystal])
    believed = held_out >= THRESHOLD
    wrong, missed = first & ~right & believed, first & right & ~believed
    print(f"believed and wrong: {wrong.sum()} of {answered}, of other systems {(wrong & foreign).sum()}")
    print(f"right but not believed: {missed.sum()} of {correct}")
    if figure:
        draw(diagram, error, figure)


def draw(diagram: list[tuple[float, float, int]], error: float, figure: Path) -> None:
    """The reliability diagram."""
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(figsize=(4.2, 4.2), constrained_layout=True)
    axes.plot([0, 1], [0, 1], color="0.7", lw=1)
    mean, share, n = zip(*diagram, strict=True)
    axes.plot(mean, share, "o-", color="#1f6f8b")
    for x, y, count in diagram:
        axes.annotate(f"{count}", (x, y), textcoords="offset points", xytext=(6, -10), fontsize=8)
    axes.set(xlabel="confidence", ylabel="share right", xlim=(0, 1), ylim=(0, 1.02), aspect="equal")
    axes.set_title(f"first candidates, held out; ECE {error:.3f}", fontsize=9)
    plt.savefig(figure, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    collecting = commands.add_parser("collect")
    collecting.add_argument("data", type=Path)
    collecting.add_argument("answers", type=Path)
    collecting.add_argument("--crystals", type=int, default=240)
    collecting.add_argument("--share", default="0/1", help="every so-manieth crystal: 0/2 and 1/2 for two processes")
    fitting = commands.add_parser("fit")
    fitting.add_argument("answers", type=Path, nargs="+")
    fitting.add_argument("--figure", type=Path)
    fitting.add_argument("--out", type=Path, default=Path("python/crystalnet/confidence.json"))
    options = parser.parse_args()
    if options.command == "collect":
        collect(options.data, options.answers, options.crystals, options.share)
    else:
        fit(options.answers, options.figure, options.out)


if __name__ == "__main__":
    main()

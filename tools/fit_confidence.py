"""Fit python/crystalnet/solving/confidence.json: what probability to give a candidate for the evidence it has.

    python tools/fit_confidence.py collect DATA_DIR ANSWERS.jsonl [--crystals 360] [--share 0/2]
    python tools/fit_confidence.py fit ANSWERS.jsonl... [--figure docs/images/confidence.png]

`collect` simulates laboratory patterns of crystals that no network was trained on (module constants say which), worse
than `simulate --measured-like` makes them, solves each as a user would, who may have said something wrong, and notes of
each candidate its evidence and whether it is right. It can be interrupted and called again. `fit` fits a logistic
regression, and draws how often candidates were right that were given a probability, each judged by weights fitted
without its crystal.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

# Share of the crystals. "decorated": types of the package with other elements; "random": random Wyckoff positions, no
# type that network or catalogue have seen. The networks were trained on cubic and trigonal crystals: of these only
# compositions are taken that validated the training (`data.splits`), which are few among the known ones; of the other
# systems all that may be trained on. Shares are of `--crystals`.
SHARES = {
    ("cubic", "known"): 0.08,
    ("cubic", "decorated"): 0.14,
    ("trigonal", "known"): 0.05,
    ("trigonal", "decorated"): 0.16,
    ("hexagonal", "known"): 0.12,
    ("tetragonal", "known"): 0.12,
    ("orthorhombic", "known"): 0.12,
    ("monoclinic", "known"): 0.10,
    ("triclinic", "known"): 0.04,
    ("cubic", "random"): 0.03,
    ("trigonal", "random"): 0.04,
}
# What the user says, as shares of the patterns.
UNSAID, MISSAID = 0.2, 0.05  # wavelength not said; another tube's said
FORMULA, NOTHING = 0.45, 0.05  # formula given; neither elements nor formula (else the elements)
EXCHANGED, MISSING, ADDED = 0.25, 0.06, 0.04  # elements named wrongly (one, or all), one forgotten, one too many
UNKNOWN_TYPE = 0.3  # the catalogue does not have the type
TUBES = ("CuKa", "CuKa", "CuKa", "CuKa1", "MoKa", "CoKa", "FeKa", "CrKa")
MARCH = (0.6, 1.5)  # pressed powders; MnO2, carbonates and hydroxides are worse still
SLOPE = 0.6  # sd of ln(intensity) per sin²θ: divergence slits, roughness, a beam larger than the sample
IMPURITY = 0.5, 0.06  # share of samples that hold a second phase, and the largest height of its lines
STEEP = 0.15, 4.0  # share of patterns with air scatter at low angle, and its largest height over the strongest line
SPREAD = 0.1  # sd of ln(volume) that decorated crystals are given beyond the generator's, whose rule we also judge by
MOST_SITES = 60  # atoms in the primitive cell; a laboratory pattern of more is no test of this program
# Users who say something wrong are a third of the answers, for the regression to meet them; in the fit they count as
# three in ten of all: with a fifth, half as many again of their wrong answers are believed, and hardly more right ones.
ERRING = 0.3
EFFORT = 10.0  # seconds of search, a third of what a user gets, for the collection to end in an hour
FITTED = 2  # candidates of each pattern: those further down are wrong so plainly that they outvote what tells the first
PENALTY = 1.0  # ridge on standardised weights: a dozen features, a few hundred crystals
FOLDS = 5


@dataclass(frozen=True)
class Case:
    """A pattern and what the user gives with it, as arguments of `Given.of`."""

    record: dict[str, Any]
    pattern: Any
    told: dict[str, Any]
    catalogue: Any
    conditions: dict[str, Any]


def crystals(data: Path, count: int) -> list[tuple[int, dict[str, Any]]]:
    """(seed, record) of the crystals to simulate, the same for a count whenever called."""
    chosen: list[tuple[int, dict[str, Any]]] = []
    rng = np.random.default_rng(16)
    for (system, kind), share in SHARES.items():
        made = {"decorated": _decorated, "random": _random}
        records = _known(data, system) if kind == "known" else made[kind](system, round(count * share))
        picks = rng.permutation(len(records))[: round(count * share)]
        chosen += [(1000 * len(chosen) + int(i), records[i]) for i in picks]
    return [chosen[i] for i in rng.permutation(len(chosen)) if _sound(chosen[i][1])]


def _sound(record: dict[str, Any]) -> bool:
    """Whether the volume is one that relaxed crystals have: the generator's bounds are wider, and known crystals under
    pressure, or without their hydrogen, are outside.
    """
    from crystalnet.crystal.chemistry import volume_ratio
    from crystalnet.crystal.record_file import structure_of
    from crystalnet.records import AtomSites
    from crystalnet.solving.confidence import VOLUME_RANGE

    ratio = volume_ratio(AtomSites.from_structure(structure_of(record)))
    return ratio is None or VOLUME_RANGE[0] < ratio < VOLUME_RANGE[1]


def _known(data: Path, system: str) -> list[dict[str, Any]]:
    from crystalnet.crystal.record_file import read_records
    from crystalnet.data.splits import may_train, split_of
    from crystalnet.density.promolecule import element_table

    trained = system in ("cubic", "trigonal")
    return [
        r
        for name in ("amcsd_structures.jsonl.gz", "structures_other.jsonl.gz")
        for r in read_records(data / name, system)
        if may_train(r["formula"]) and len(r["species"]) <= MOST_SITES and set(r["species"]) <= set(element_table())
        if not trained or split_of(r["formula"]) == "validation"
    ]


def _decorated(system: str, count: int) -> list[dict[str, Any]]:
    """Crystals of the package's types, drawn as often as the types occur, whose compositions validated the training."""
    from crystalnet.data.decoration import decorate
    from crystalnet.data.splits import split_of
    from crystalnet.data.structure_types import embedded_types

    rng = np.random.default_rng(7)
    types = [t for t in embedded_types(system) if len(t.sites) <= MOST_SITES]
    weight = np.sqrt([t.count for t in types])
    found: list[dict[str, Any]] = []
    number = 0
    while len(found) < count:
        number += 1
        record = decorate(types[rng.choice(len(types), p=weight / weight.sum())], number, seed=160)
        if record and split_of(record["formula"]) == "validation":
            lattice = np.asarray(record["lattice"]) * np.exp(rng.normal(0, SPREAD) / 3)
            found.append({**record, "lattice": lattice.tolist(), "frac_coords": record["frac_coords"].tolist()})
    return found


def _random(system: str, count: int) -> list[dict[str, Any]]:
    """Crystals with random Wyckoff positions whose compositions validated the training."""
    from crystalnet.data.random_crystals import random_crystal
    from crystalnet.data.splits import split_of

    found: list[dict[str, Any]] = []
    number = 0
    while len(found) < count:
        number += 1
        record = random_crystal(system, number, seed=160)
        if record and split_of(record["formula"]) == "validation" and len(record["species"]) <= MOST_SITES:
            found.append({**record, "type": None, "lattice": np.asarray(record["lattice"]).tolist()})
            found[-1]["frac_coords"] = np.asarray(record["frac_coords"]).tolist()
    return found


def case(record: dict[str, Any], structure: Any, impurity: Any, seed: int) -> Case:
    """A laboratory pattern with strong texture, intensities that drift with angle, perhaps a second phase or steep air
    scatter; and a user who may not know the wavelength, or err in what he says.
    """
    from pymatgen.core import Composition

    from crystalnet.data.decoration import similar_elements
    from crystalnet.evaluation.own_answers import left_out
    from crystalnet.xrd.radiation import assumed_cu, parse_wavelength

    rng = np.random.default_rng((seed, 7))
    tube = str(rng.choice(TUBES))
    pattern = degraded_pattern(structure, impurity, tube, rng, seed)
    fate = rng.random()
    wavelength = "unsaid" if fate < UNSAID else "wrong" if fate < UNSAID + MISSAID else "right"
    if wavelength == "unsaid":
        pattern = replace(pattern, radiation=assumed_cu())
    elif wavelength == "wrong":
        other = str(rng.choice([t for t in ("CuKa", "CoKa", "MoKa", "FeKa") if t[:2] != tube[:2]]))
        pattern = replace(pattern, radiation=parse_wavelength(other))

    names = dict.fromkeys(record["species"])
    amounts = Composition(record["formula"]).get_el_amt_dict()
    fate, said = rng.random(), "right"
    if fate < EXCHANGED:
        swap = similar_elements(list(names), rng)
        one = {str(rng.choice(list(names)))}
        wrong = set(names) if rng.random() < 0.5 else one
        named = {swap[e] if e in wrong else e: n for e, n in amounts.items()}
        if len(named) == len(amounts) and set(named) != set(amounts):
            said, amounts = "exchanged", named
    elif fate < EXCHANGED + MISSING and len(names) > 1:
        said = "missing"
        del amounts[str(rng.choice(list(names)))]
    elif fate < EXCHANGED + MISSING + ADDED:
        extra = str(rng.choice(["O", "C", "Na", "Al", "Si", "S", "Cl", "Ca", "Fe", "Cu"]))
        said = "right" if extra in amounts else "added"
        amounts |= {extra: amounts.get(extra, 1)}
    fate = rng.random()
    formula = fate < FORMULA and said in ("right", "exchanged")
    nothing = fate > 1 - NOTHING
    rule = "type" if rng.random() < UNKNOWN_TYPE else "composition"
    catalogue = left_out(structure, _type_of(record) or "", rule)
    told: dict[str, Any] = {}
    if formula:
        told["formula"] = "".join(f"{e}{n:g}" for e, n in amounts.items())
    elif not nothing:
        told["elements"] = sorted(amounts)
    given = "formula" if formula else "nothing" if nothing else "elements"
    return Case(
        record, pattern, told, catalogue, {"wavelength": wavelength, "given": given, "said": said, "tube": tube}
    )


def _type_of(record: dict[str, Any]) -> str | None:
    return record.get("protostructure_canonical") or record.get("type") or record.get("protostructure")


def degraded_pattern(structure: Any, impurity: Any, tube: str, rng: np.random.Generator, seed: int) -> Any:
    """The profile, with the radiation that made it."""
    from crystalnet.records import AtomSites
    from crystalnet.xrd.profile import simulate_profile
    from crystalnet.xrd.radiation import parse_wavelength

    source = parse_wavelength(tube)
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
    if rng.random() < STEEP[0]:
        scatter = rng.uniform(0, STEEP[1]) * counts.max() * np.exp(-(two_theta - two_theta[0]) / rng.uniform(1.5, 6))
        counts = counts + rng.poisson(scatter)
    return replace(made, intensity=counts, sigma=np.sqrt(np.maximum(counts, 1.0)))


def collect(data: Path, out: Path, count: int, share: str) -> None:
    """Solve the patterns and append a line each to `out`."""
    from crystalnet.crystal.record_file import structure_of
    from crystalnet.evaluation.metrics import structure_scores
    from crystalnet.records import InputError
    from crystalnet.solving.given import Given
    from crystalnet.solving.solve import solve_pattern

    part, parts = map(int, share.split("/"))
    known = {json.loads(line)["seed"] for line in out.open()} if out.exists() else set()
    every = crystals(data, count)
    for number, (seed, record) in enumerate(every):
        if number % parts != part or seed in known:
            continue
        truth, impurity = structure_of(record), structure_of(every[(number + 1) % len(every)][1])
        asked = case(record, truth, impurity, seed)
        try:
            found = solve_pattern(asked.pattern, Given.of(**asked.told, catalogue=asked.catalogue, effort=EFFORT))
        except (InputError, ValueError) as error:
            answer: dict[str, Any] = {"refused": str(error), "candidates": []}
        else:
            judged = list(_judged(found, truth, structure_scores))
            answer = {"seconds": sum(found.seconds.values()), "candidates": judged}
        head = {"seed": seed, "formula": record["formula"], "system": record["system"]} | asked.conditions
        with out.open("a") as file:
            file.write(json.dumps(head | answer) + "\n")
        print(number + 1, "of", len(every), record["formula"], [c["right"] for c in answer["candidates"]], flush=True)


def _judged(found: Any, truth: Any, scores: Any) -> Iterator[dict[str, Any]]:
    for c in found.candidates:
        right = scores(truth, [c.conventional.structure()], [c.space_group_number])["match_top1"]
        yield {"right": right, "formula": c.formula, "confidence": c.confidence, "evidence": c.evidence}


def fitted(x: np.ndarray, right: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights and constant of a ridge logistic regression on columns x (n, k), of answers that count by weight (n,).

    Each weight has the sign that its evidence is known to have: among a few hundred crystals a feature may point the
    wrong way by chance, or because another says the same.
    """
    from scipy.optimize import minimize

    from crystalnet.solving.confidence import AGAINST, WEIGHED

    bounds = [(None, 0) if name in AGAINST else (0, None) for name in WEIGHED]

    mean, sd = x.mean(0), x.std(0) + 1e-9
    z = (x - mean) / sd

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        logit = z @ parameters[:-1] + parameters[-1]
        p = 1 / (1 + np.exp(-logit))
        miss = weight * (p - right)
        value = weight @ (np.logaddexp(0, logit) - logit * right) + PENALTY / 2 * (parameters[:-1] ** 2).sum()
        gradient = np.append(z.T @ miss + PENALTY * parameters[:-1], miss.sum())
        return float(value), gradient

    best = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, bounds=[*bounds, (None, None)]).x
    weights = best[:-1] / sd
    return weights, float(best[-1] - weights @ mean)


def fit(files: list[Path], figure: Path | None, out: Path) -> None:
    """Fit the first candidates, judge the very first by weights fitted without their crystal."""
    from crystalnet.records import BELIEVED
    from crystalnet.solving.confidence import CONTRADICTED, WEIGHED, calibration_error, is_contradicted

    answers = list({a["seed"]: a for file in files for a in map(json.loads, file.open())}.values())
    rows = [(i, k, c) for i, a in enumerate(answers) for k, c in enumerate(a["candidates"][:FITTED])]
    x = np.array([[c["evidence"][name] for name in WEIGHED] for _, _, c in rows])
    right = np.array([c["right"] for _, _, c in rows])
    erring = np.array([answers[i]["said"] != "right" or answers[i]["wavelength"] == "wrong" for i, _, _ in rows])
    weight = np.where(erring, ERRING / (1 - ERRING) * (~erring).sum() / max(erring.sum(), 1), 1.0)
    crystal, rank = np.array([i for i, _, _ in rows]), np.array([k for _, k, _ in rows])
    held_out = np.zeros(len(rows))
    for fold in range(FOLDS):
        test = crystal % FOLDS == fold
        weights, constant = fitted(x[~test], right[~test], weight[~test])
        held_out[test] = 1 / (1 + np.exp(-(x[test] @ weights + constant)))
    contradicted = np.array([is_contradicted(c["evidence"]) for _, _, c in rows])
    held_out[contradicted] = np.minimum(held_out[contradicted], CONTRADICTED)
    first = rank == 0
    error, diagram = calibration_error(held_out[first], right[first], weight[first])
    weights, constant = fitted(x, right, weight)
    answered, correct = int(first.sum()), int(right[first].sum())
    named = dict(zip(WEIGHED, (round(float(w), 4) for w in weights), strict=True))
    document = {
        "fitted_on": f"{len(answers)} simulated patterns, {answered} with an answer, {correct} right",
        "expected_calibration_error": round(error, 3),
        "reliability": [{"mean": round(m, 3), "right": round(s, 3), "n": n} for m, s, n in diagram],
        "weights": {**named, "constant": round(constant, 4)},
    }
    out.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document, indent=1))
    unlearnt = np.array([answers[i]["system"] not in ("cubic", "trigonal") for i in crystal])
    believed = held_out >= BELIEVED
    wrong, missed = first & ~right & believed, first & right & ~believed
    print(f"believed and wrong: {wrong.sum()} of {answered}, of systems without a network {(wrong & unlearnt).sum()}")
    print(f"    {(wrong & erring).sum()} of them where the user erred ({(first & erring).sum()} answers)")
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
    collecting.add_argument("--crystals", type=int, default=360)
    collecting.add_argument("--share", default="0/1", help="every so-manieth crystal: 0/2 and 1/2 for two processes")
    fitting = commands.add_parser("fit")
    fitting.add_argument("answers", type=Path, nargs="+")
    fitting.add_argument("--figure", type=Path)
    fitting.add_argument("--out", type=Path, default=Path("python/crystalnet/solving/confidence.json"))
    options = parser.parse_args()
    if options.command == "collect":
        collect(options.data, options.answers, options.crystals, options.share)
    else:
        fit(options.answers, options.figure, options.out)


if __name__ == "__main__":
    main()

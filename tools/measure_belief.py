"""Is what `solve` believes right? Simulated laboratory patterns of development crystals, which nothing was fitted on.

    python tools/measure_belief.py lab DATA_DIR ANSWERS.jsonl [--system cubic] [--count 200] [--share 0/2]
    python tools/measure_belief.py swaps DATA_DIR ANSWERS.jsonl [--count 200] [--share 0/2]
    python tools/measure_belief.py pairs DATA_DIR ANSWERS.jsonl [--count 200] [--share 0/2]
    python tools/measure_belief.py report ANSWERS.jsonl...

`lab`: the elements are given, and to every fifth pattern no wavelength. `swaps`: the formula of another development
crystal of the same structure type. `pairs`: the formula of any other development crystal. In the last two any answer is
wrong. All patterns are those of `simulate --measured-like` (Cu Kα, 10 to 90°), the crystal system is left open, and no
data set of the user's is looked at. Every command can be interrupted and called again; `report` says how many answers
were believed (confidence of at least 0.5), how many of them were wrong, and how far confidence was off.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

MOST_SITES = 60  # atoms in the primitive cell, as in fit_confidence.py
UNSAID = 5  # every so-manieth pattern comes without a wavelength
SEED = 16

Question = tuple[str, dict[str, Any], dict[str, Any], bool]  # name, record, what solve is told, wavelength said


def development(data: Path, system: str) -> list[dict[str, Any]]:
    """Relaxed records of development compositions, in seeded order."""
    from crystalnet.crystal.record_file import read_records
    from crystalnet.data.splits import is_dev
    from crystalnet.density.promolecule import element_table

    records = [
        r
        for r in read_records(data / "structures_other.jsonl.gz", system)
        if r.get("dft_relaxed") and is_dev(r["formula"]) and len(r["species"]) <= MOST_SITES
        if set(r["species"]) <= set(element_table())
    ]
    return [records[i] for i in np.random.default_rng(SEED).permutation(len(records))]


def lab(data: Path, system: str, count: int) -> Iterator[Question]:
    """The elements, of every fifth pattern no wavelength."""
    for number, record in enumerate(development(data, system)[:count]):
        yield f"lab {system} {number}", record, {"elements": sorted(set(record["species"]))}, number % UNSAID != 0


def swaps(data: Path, count: int) -> Iterator[Question]:
    """The formula of another crystal of the type."""
    types = defaultdict(list)
    for record in development(data, "cubic") + development(data, "trigonal"):
        types[record["protostructure_canonical"]].append(record)
    rng = np.random.default_rng(SEED)
    everything = [r for members in types.values() if len({m["formula"] for m in members}) > 1 for r in members]
    for number, i in enumerate(rng.permutation(len(everything))[:count]):
        record = everything[i]
        others = sorted({m["formula"] for m in types[record["protostructure_canonical"]]} - {record["formula"]})
        yield f"swap {number}", record, {"formula": str(rng.choice(others))}, True


def pairs(data: Path, count: int) -> Iterator[Question]:
    """The formula of any other crystal."""
    everything = development(data, "cubic") + development(data, "trigonal")
    rng = np.random.default_rng(SEED + 1)
    for number, i in enumerate(rng.permutation(len(everything))[:count]):
        record = everything[i]
        others = [r["formula"] for r in everything if r["formula"] != record["formula"]]
        yield f"pair {number}", record, {"formula": str(rng.choice(others))}, True


def ask(questions: list[Question], out: Path, share: str) -> None:
    """Solve and append a line each to `out`."""
    from crystalnet.crystal.record_file import structure_of
    from crystalnet.evaluation.metrics import structure_scores
    from crystalnet.evaluation.own_answers import left_out
    from crystalnet.records import AtomSites, InputError
    from crystalnet.solving.given import Given
    from crystalnet.solving.solve import solve_pattern
    from crystalnet.xrd.profile import simulate_profile
    from crystalnet.xrd.radiation import assumed_cu, parse_wavelength

    part, parts = map(int, share.split("/"))
    known = {json.loads(line)["name"] for line in out.open()} if out.exists() else set()
    for number, (name, record, told, said) in enumerate(questions):
        if number % parts != part or name in known:
            continue
        truth = structure_of(record)
        pattern = simulate_profile(
            AtomSites.from_structure(truth), parse_wavelength("CuKa"), measured_like=True, seed=number
        )
        if not said:
            pattern = replace(pattern, radiation=assumed_cu())
        answer: dict[str, Any] = {"right": False, "confidence": None, "formula_found": None}
        try:
            found = solve_pattern(pattern, Given.of(**told, catalogue=left_out(truth, "", "composition")))
        except (InputError, ValueError) as error:
            answer["refused"] = str(error)
        else:
            if found.candidates:
                first = found.candidates[0]
                right = structure_scores(truth, [first.conventional.structure()], [first.space_group_number])
                answer |= {
                    "right": right["match_top1"],
                    "confidence": first.confidence,
                    "formula_found": first.formula,
                    "evidence": first.evidence,
                }
            answer |= {"seconds": sum(found.seconds.values()), "wavelength": found.given["wavelength_angstrom"]}
        head = {"name": name, "formula": record["formula"], "told": told, "wavelength_said": said}
        with out.open("a") as file:
            file.write(json.dumps(head | answer) + "\n")
        print(name, record["formula"], told, answer["formula_found"], answer["right"], answer["confidence"], flush=True)


def report(files: list[Path]) -> None:
    """Print the figures of each kind of question."""
    from crystalnet.records import BELIEVED
    from crystalnet.solving.confidence import calibration_error, probability

    kinds = defaultdict(list)
    for file in files:
        for line in file.open():
            row = json.loads(line)
            if row.get("evidence"):  # by the weights of today
                row["confidence"] = probability(row["evidence"])
            kinds[row["name"].rsplit(" ", 1)[0]].append(row)
    for kind, rows in sorted(kinds.items()):
        right = np.array([r["right"] for r in rows])
        p = np.array([r["confidence"] or 0.0 for r in rows])
        believed = p >= BELIEVED
        error, _ = calibration_error(p, right)
        print(
            f"{kind}: {len(rows)} patterns, {right.sum()} right, {believed.sum()} believed,"
            f" {(believed & ~right).sum()} believed and wrong ({(believed & ~right).mean():.1%} of all),"
            f" {(right & ~believed).sum()} right and not believed, calibration error {error:.3f}"
        )
        for row, wrong in zip(rows, believed & ~right, strict=True):
            if wrong:
                print(f"    {row['formula']}: {row['formula_found']} with {row['confidence']:.2f}, told {row['told']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("lab", "swaps", "pairs"):
        asking = commands.add_parser(name)
        asking.add_argument("data", type=Path)
        asking.add_argument("answers", type=Path)
        asking.add_argument("--count", type=int, default=200)
        asking.add_argument("--share", default="0/1", help="every so-manieth question: 0/2 and 1/2 for two processes")
        if name == "lab":
            asking.add_argument("--system", default="cubic")
    commands.add_parser("report").add_argument("answers", type=Path, nargs="+")
    options = parser.parse_args()
    if options.command == "report":
        report(options.answers)
    elif options.command == "lab":
        ask(list(lab(options.data, options.system, options.count)), options.answers, options.share)
    else:
        questions = {"swaps": swaps, "pairs": pairs}[options.command]
        ask(list(questions(options.data, options.count)), options.answers, options.share)


if __name__ == "__main__":
    main()

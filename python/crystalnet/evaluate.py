"""Scores of many known crystals: the network's densities and solve's structures (definitions: docs/scores.md).

Each crystal's pattern is simulated, the lattice is never given, and guesses are ranked by the pattern.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from crystalnet.checkpoint import Model, load_model, shipped_model
from crystalnet.data.records_file import Record, read_records, structure_of
from crystalnet.data.splits import is_dev
from crystalnet.density.cell import SYMPREC, SYMPREC_RELAXED, holohedry, standard_primitive
from crystalnet.density.promolecule import promolecule
from crystalnet.metrics import density_scores, structure_scores, wilson
from crystalnet.records import AtomSites, InputError, Pattern, Solution
from crystalnet.solver import guess_densities, solve
from crystalnet.xrd.profile import calculated_peaks, simulate_profile
from crystalnet.xrd.radiation import parse_wavelength
from crystalnet.xrd.vector import N_BINS

GIVEN = ("formula", "elements", "drop-one", "none")
PROTOCOLS = ("paper", "single", "ranked")
MO_FULL_RANGE = np.arange(3.0, 150.0, 0.01)  # degrees at Mo Kα: every line that tells structures apart


def evaluate(
    structures: Path,
    *,
    system: str = "cubic",
    given: str = "formula",
    guesses: int = 5,
    candidates: str = "all",
    measured_like: bool = False,
    split: str = "composition",
    limit: int | None = None,
    seed: int = 0,
    model: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Score block of a file of structure records of one crystal system.

    given: what the network is told of the chemistry. split: "composition" takes the development compositions of
    DFT-relaxed records only, "all" every record. limit: a seeded choice of so many.
    """
    if given not in GIVEN:
        raise InputError(f"--given {given!r}: choose one of {', '.join(GIVEN)}")
    if split not in ("composition", "all"):
        raise InputError(f"--split {split!r}: choose composition or all")
    records = [r for r in read_records(structures, system) if split == "all" or _is_dev_record(r)]
    if not records:
        raise InputError(f"{structures}: no {system} record to evaluate (split {split})")
    if limit is not None and limit < len(records):
        chosen = np.random.default_rng(seed).choice(len(records), limit, replace=False)
        records = [records[i] for i in sorted(chosen)]
    network = load_model(Path(model) if model else shipped_model(system))
    rows = []
    for number, record in enumerate(records):
        rows.append(_score(record, network, model, system, given, guesses, candidates, measured_like, (seed, number)))
        progress(number + 1, len(records))
    return {
        "n": len(rows),
        "given": _given_text(given, measured_like, guesses, candidates),
        "guesses": guesses,
        "seed": seed,
        "model_sha256": network.sha256,
        **_summary(rows),
        "seconds_per_crystal": float(np.mean([row["seconds"] for row in rows])),
        "per_crystal": rows,
    }


def _is_dev_record(record: Record) -> bool:
    return bool(record.get("dft_relaxed")) and is_dev(record["formula"])


def _given_text(given: str, measured_like: bool, guesses: int, candidates: str) -> dict[str, Any]:
    return {
        "chemistry": given,
        "lattice": None,
        "pattern": "Cu Kα 10–90° with width, background and noise" if measured_like else "Mo Kα, 3–150°, perfect",
        "guesses_ranked_by": "pattern (ssim.paper: best of guesses × 24 rotations, by truth)",
        "guess_1": "latent mean",
        "candidates": candidates,
    }


def _score(
    record: Record,
    model: Model,
    model_file: Path | None,
    system: str,
    given: str,
    guesses: int,
    candidates: str,
    measured_like: bool,
    seed: tuple[int, int],
) -> dict[str, Any]:
    """One crystal: its pattern simulated and solved, density and structure held against the truth."""
    started = time.perf_counter()
    truth = standard_primitive(structure_of(record), SYMPREC_RELAXED if record.get("dft_relaxed") else SYMPREC)
    amounts = {symbol: float(n) for symbol, n in truth.composition.get_el_amt_dict().items()}
    told, level = _told(amounts, given, np.random.default_rng(seed))
    density, sites = promolecule(truth), AtomSites.from_structure(truth)
    pattern = _simulated(sites, measured_like, seed[1])
    # The lines of ideal patterns are known; measured-like ones go through peak search, as a user's would.
    peaks = None if measured_like else calculated_peaks(sites, pattern.radiation, pattern.two_theta)
    solution: Solution | None = None
    failure = None
    try:
        solution = solve(
            pattern,
            elements=list(told) or None,
            formula="".join(f"{symbol}{n:g}" for symbol, n in told.items()) if level == "formula" else None,
            system=system,
            guesses=guesses,
            seed=seed[1],
            model=model_file,
            candidates=candidates,
            peaks=peaks,
        )
    except InputError as error:
        failure = str(error)
    if solution is not None and len(solution.guesses):
        maps, first = solution.guesses, int(solution.guess_rank.argmin())
    else:  # no cell was found: what the chemistry says
        unseen = np.zeros(N_BINS)
        maps, first = guess_densities(model, unseen, unseen, None, told, level, guesses, seed[1]), 0
    found = solution.candidates if solution is not None else ()
    return {
        "id": record.get("id"),
        "formula": record["formula"],
        "space_group": record.get("space_group"),
        "type": record.get("protostructure_canonical"),
        **density_scores(density, maps, first, holohedry(truth.lattice.matrix)),
        "structure": structure_scores(
            truth, [c.conventional.structure() for c in found], [c.space_group_number for c in found]
        ),
        "source_top1": found[0].source if found else None,
        "rwp_top1": found[0].fit.rwp if found else None,
        "failure": failure,
        "seconds": time.perf_counter() - started,
    }


def _told(amounts: Mapping[str, float], given: str, rng: np.random.Generator) -> tuple[dict[str, float], str]:
    """What is told of a composition, and at which level the network takes it."""
    if given == "none":
        return {}, "none"
    if given == "drop-one" and len(amounts) > 1:
        lost = str(rng.choice(sorted(amounts)))
        return {s: 1.0 for s in amounts if s != lost}, "elements"
    return dict(amounts), "formula" if given == "formula" else "elements"


def _simulated(sites: AtomSites, measured_like: bool, seed: int) -> Pattern:
    if measured_like:
        return simulate_profile(sites, parse_wavelength("CuKa"), measured_like=True, seed=seed)
    return simulate_profile(sites, parse_wavelength("0.711"), MO_FULL_RANGE)


def _summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over crystals; structure proportions over all of them, with Wilson 95 % intervals."""
    summary: dict[str, Any] = {}
    for score in ("ssim", "psnr", "nmae"):
        summary[score] = {}
        for protocol in PROTOCOLS:
            values = np.array([row[score][protocol] for row in rows])
            block = {"mean": float(values.mean()), "sd": float(values.std()), "median": float(np.median(values))}
            if score == "ssim":
                block["ge_0.9"] = float((values >= 0.9).mean())
            summary[score][protocol] = block
    structure: dict[str, Any] = {}
    for key in ("match_top1", "match_any", "strict_top1", "exact_top1"):
        hits = sum(row["structure"][key] for row in rows)
        structure[key] = hits / len(rows)
        structure[f"{key}_interval"] = wilson(hits, len(rows))
    distances = [row["structure"]["rmsd"] for row in rows if row["structure"]["rmsd"] is not None]
    structure["rmsd_mean"] = float(np.mean(distances)) if distances else None
    return summary | {"structure": structure}

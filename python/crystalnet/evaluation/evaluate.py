"""Scores of many known crystals: the network's densities and solve's structures (definitions: docs/scores.md).

Each crystal's pattern is simulated, the lattice is never given, and guesses are ranked by the pattern. Beside them
stand the nearest known crystal, the composition alone and, where asked, another solver's CIFs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crystalnet import __version__
from crystalnet.bragg import N_BINS
from crystalnet.crystal.lattice import Cell, holohedry
from crystalnet.crystal.record_file import Record
from crystalnet.crystal.setting import standard_primitive
from crystalnet.crystal.symmetry import SYMPREC_RELAXED, space_group_of
from crystalnet.crystal.systems import SYSTEMS
from crystalnet.density.promolecule import promolecule
from crystalnet.evaluation.baselines import CompositionOnly, ForeignAnswers, Retrieval
from crystalnet.evaluation.metrics import aligned, density_scores, map_scores, matches, structure_scores
from crystalnet.evaluation.summary import (
    NETWORK,
    SCORES,
    _confidence_summary,
    _mean_seconds,
    _other,
    _structure_summary,
    breakdowns,
    summary,
)
from crystalnet.evaluation.targets import SPLITS, NothingToEvaluate, read_targets, type_of
from crystalnet.model.checkpoint import load_model, shipped_model
from crystalnet.model.guesses import guess_densities
from crystalnet.records import AtomSites, InputError, Peaks, Solution
from crystalnet.runtime.journal import Journal
from crystalnet.runtime.pool import Map, workers
from crystalnet.solving.from_catalogue import Catalogue
from crystalnet.solving.from_network import ask_network
from crystalnet.solving.given import Given
from crystalnet.solving.solve import solve_pattern
from crystalnet.xrd.peaks import find_peaks
from crystalnet.xrd.profile import calculated_peaks, simulate_profile
from crystalnet.xrd.radiation import parse_wavelength
from crystalnet.xrd.vector import observed_vector

if TYPE_CHECKING:
    from pymatgen.core import Structure


GIVEN = ("formula", "elements", "drop-one", "none")
MO_FULL_RANGE = np.array([3.0, 150.0])  # degrees at Mo Kα: every line that tells structures apart
# The profile ends at 0.7 Å, where refinement does: lines beyond would only be summed up, for half of all its time.
MO_PROFILE = np.arange(3.0, 61.0, 0.01)
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Options:
    """What is evaluated and how. InputError for values that do not exist.

    system: whose crystals are asked about; `solve` is not told. given: what the network is told of the chemistry.
    split: "composition" takes the development compositions of DFT-relaxed records, "type" those of them whose
    structure type may be left out of training, "all" every record.
    limit: a seeded choice of so many. seed: of samples, noise, dropped elements and that choice.
    """

    system: str = "cubic"
    given: str = "formula"
    guesses: int = 5
    candidates: str = "all"
    measured_like: bool = False
    split: str = "composition"
    limit: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        allowed = {"system": SYSTEMS, "given": GIVEN, "candidates": ("all", "network"), "split": SPLITS}
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise InputError(f"--{name} {getattr(self, name)!r}: choose one of {', '.join(values)}")
        if self.guesses < 1 or (self.limit is not None and self.limit < 1):
            raise InputError("--guesses and --limit must be at least 1")


def evaluate(
    structures: Path,
    *,
    model: Path | None = None,
    score_cifs: Path | None = None,
    retrieval_data: Path | None = None,
    journal: Path | None = None,
    progress: Progress = lambda done, total: None,
    jobs: int | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Score block of the crystals of a file of records, or of a data set directory.

    options: fields of `Options`; system "auto" (the default) or "all" takes the crystals of every system.
    score_cifs, retrieval_data: see `baselines`. journal: a file that keeps each crystal's scores, so that after a kill
    the same call goes on from there; removed at the end. jobs: new processes of one thread each, whose number the
    scores do not depend on; None: in this one.
    """
    asked = systems_asked(options.pop("system", "auto"))
    runs = runs_of(structures, [Options(system=s, **options) for s in asked], model, score_cifs, retrieval_data)
    with workers(jobs, threads=1) as mapped:
        return combined([run.scores(_journal_of(journal, run, runs), progress, mapped) for run in runs])


def systems_asked(system: str | None) -> tuple[str, ...]:
    """The crystal systems that --system names. InputError where it names none."""
    if system in (None, "auto", "all"):
        return SYSTEMS
    if system not in SYSTEMS:
        raise InputError(f"--system {system!r}: choose one of auto, all, {', '.join(SYSTEMS)}")
    return (system,)


def runs_of(
    structures: Path,
    options: Sequence[Options],
    model: Path | None = None,
    score_cifs: Path | None = None,
    retrieval_data: Path | None = None,
) -> list[Evaluation]:
    """A run for each of these options whose crystals the source holds. InputError where it holds none of any."""
    runs: list[Evaluation] = []
    missing: list[NothingToEvaluate] = []
    for chosen in options:
        own = model_of(model, chosen.system, chosen.given, alone=len(options) == 1)
        try:
            runs.append(Evaluation(structures, chosen, own, score_cifs, retrieval_data))
        except NothingToEvaluate as nothing:
            missing.append(nothing)
    if not runs:
        raise missing[0]
    return runs


def model_of(model: Path | None, system: str, given: str, alone: bool) -> Path | None:
    """The model of a run, None the package's: the user's file, or the one that his folder has for system and level.

    alone: no other system is asked about, so that a file of another one is an error; else the package's stands in.
    """
    if model is None:
        return None
    if not model.is_dir():
        return model if alone or load_model(model).config.system == system else None
    names = (f"{system}-{given}.safetensors", f"{system}.safetensors")
    found = [model / name for name in names if (model / name).is_file()]
    if not found:
        raise InputError(f"--model {model}: holds neither {names[0]} nor {names[1]}")
    return found[0]


def _journal_of(journal: Path | None, run: Evaluation, runs: Sequence[Evaluation]) -> Path | None:
    return journal if journal is None or len(runs) == 1 else journal.with_name(f"{run.options.system}.{journal.name}")


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
        "confidence": _confidence_summary(scored),
        "systems": {run["system"]: block for run, block in zip(runs, short, strict=True)},
        "left_out": [row for run in runs for row in run["left_out"]],
        "failures": [row for run in runs for row in run["failures"]],
        "seconds_per_crystal": sum(s * n for s, n in times) / sum(n for _, n in times) if times else None,
        "seconds": _mean_seconds(scored),
        "per_crystal": scored,
    }


@dataclass(frozen=True)
class Question:
    """One crystal as the network and `solve` are asked about it, with the truth beside it.

    told: element amounts at a level; peaks: None where the pattern shows none; seed: this crystal's own.
    """

    record: Record
    structure: Structure
    density: np.ndarray
    told: dict[str, float]
    level: str
    pattern: Any
    peaks: Peaks | None
    seed: int

    def vector(self, cell: Cell | None) -> tuple[np.ndarray, np.ndarray]:
        """Pattern vector and mask (1024,)."""
        if self.peaks is None:
            return np.zeros(N_BINS, np.float32), np.zeros(N_BINS, np.float32)
        return observed_vector(self.peaks, cell.zero_shift if cell else 0.0)


class Evaluation:
    """One run: the crystals, the model, the other answers."""

    def __init__(
        self,
        structures: Path,
        options: Options,
        model: Path | None = None,
        score_cifs: Path | None = None,
        retrieval_data: Path | None = None,
    ) -> None:
        self.made_of = structures, options, model, score_cifs, retrieval_data
        self.options = options
        self.targets = read_targets(structures, options.system, options.split, options.limit, options.seed)
        self.own_models = {options.system: model} if model else {}  # another system's cells are the package's model's
        self.model_file = Path(model) if model else shipped_model(options.system)
        self.model = load_model(self.model_file)
        if self.model.config.system != options.system:
            trained = self.model.config.system
            raise InputError(f"{self.model_file}: a model of the {trained} system, not the {options.system} one")
        self.retrieval = Retrieval(options.system, retrieval_data)
        self.composition_only = CompositionOnly(self.model)
        self.foreign = ForeignAnswers(score_cifs, self.targets.records) if score_cifs else None

    def __reduce__(self) -> tuple[Any, ...]:
        """What goes to another process is small; there it is made once."""
        return _evaluation, self.made_of

    def settings(self) -> dict[str, Any]:
        """All that the scores follow from; a journal of other settings is not gone on with."""
        return {
            "crystalnet": __version__,
            **asdict(self.options),
            "structures": self.targets.digest,
            "model": self.model.sha256,
            "retrieval-data": self.retrieval.digest,
            "score-cifs": sorted(map(str, self.foreign.files.values())) if self.foreign else None,
        }

    def scores(
        self,
        journal: Path | None = None,
        progress: Progress = lambda done, total: None,
        mapped: Map = map,
        keep: bool = False,
    ) -> dict[str, Any]:
        """Every crystal scored, and the summary. mapped: from `workers`. keep: leave the journal at the end."""
        records = self.targets.records
        started = time.perf_counter()
        with Journal(journal, self.settings(), keep) as kept:
            rows = list(iter(kept.next, None))
            before = len(rows)
            for row in mapped(self.score, records[before:]):
                kept.append(row)
                rows.append(row)
                progress(len(rows), len(records))
        seconds = time.perf_counter() - started
        scored = [row for row in rows if "left_out" not in row]
        if not scored:
            raise InputError(f"no crystal could be scored; the first: {rows[0]['id']}: {rows[0]['left_out']}")
        result = {
            "n": len(scored),
            "given": self.given(),
            "guesses": self.options.guesses,
            "seed": self.options.seed,
            "model_sha256": self.model.sha256,
            "system": self.options.system,
            "split": {"name": self.options.split, "rule": self.targets.rule},
            "density": self.targets.density,
            **summary(scored),
            "by": breakdowns(scored),
            "confidence": _confidence_summary(scored),
            "baselines": {
                "retrieval": {"from": self.retrieval.source} | _other(scored, "retrieval", ("single",)),
                "composition_only": {"from": "the same network, no pattern, no cell"}
                | _other(scored, "composition_only", ("single",)),
            },
            "left_out": [row for row in rows if "left_out" in row],
            "failures": [{key: row[key] for key in ("id", "failure")} for row in scored if row["failure"]],
            "seconds_per_crystal": seconds / (len(rows) - before) if len(rows) > before else None,
            "seconds": _mean_seconds(scored),
            "per_crystal": scored,
        }
        if self.foreign:
            result["score_cifs"] = {
                "n": len(scored),
                "answered": sum(bool(row["score_cifs"]["files"]) for row in scored),
                **_other(scored, "score_cifs", ("single", "ranked")),
                "structure": _structure_summary([row["score_cifs"]["structure"] for row in scored]),
            }
        return result

    def given(self) -> dict[str, Any]:
        """What solve and the network were told, in words."""
        measured = self.options.measured_like
        return {
            "chemistry": self.options.given,
            "lattice": None,
            "system": None,
            "pattern": "Cu Kα 10–90° with width, background and noise"
            if measured
            else "Mo Kα, perfect: lines of 3–150°, profile to 61°",
            "guesses_ranked_by": "pattern (paper: best of N latent samples × 24 rotations, by truth)",
            "guess_1": "latent mean",
            "candidates": self.options.candidates,
        }

    def question(self, record: Record, given: str | None = None) -> Question:
        """A crystal's pattern and what is told of its chemistry; given: another level than the run's."""
        structure, density = self.targets.truth(record)
        seed = crystal_seed(record, self.options.seed)
        amounts = {symbol: float(n) for symbol, n in structure.composition.get_el_amt_dict().items()}
        told, level = _told(amounts, given or self.options.given, np.random.default_rng(seed))
        sites = AtomSites.from_structure(structure)
        peaks: Peaks | None
        if self.options.measured_like:
            pattern = simulate_profile(sites, parse_wavelength("CuKa"), measured_like=True, seed=seed)
            try:  # measured-like patterns go through peak search, as a user's would
                peaks = find_peaks(pattern)
            except InputError:
                peaks = None
        else:
            pattern = simulate_profile(sites, parse_wavelength("0.711", exact=True), MO_PROFILE)
            lines = calculated_peaks(sites, pattern.radiation, MO_FULL_RANGE)
            peaks = replace(lines, background=np.zeros(len(MO_PROFILE)))
        return Question(record, structure, density, told, level, pattern, peaks, seed)

    def score(self, record: Record) -> dict[str, Any]:
        """One crystal: its pattern simulated and solved, density and structure held against the truth."""
        started = time.perf_counter()
        about = {"id": record.get("id"), "formula": record["formula"], "space_group": record.get("space_group")}
        try:
            asked = self.question(record)
        except InputError as error:
            return about | {"left_out": str(error)}
        clock = {"question": time.perf_counter() - started}
        solution, failure = self._solved(asked)
        clock |= solution.seconds if solution else {}
        cell = solution.cell if solution else None
        mark = time.perf_counter()
        if solution is not None and len(solution.guesses):
            maps, first = solution.guesses, int(solution.guess_rank.argmin())
        else:  # no cell was found: what the chemistry says
            maps, first = self.guesses(asked, None, self.options.guesses), 0
        # solve's guesses are the mean and N − 1 samples: one more sample for the paper's protocol.
        samples = np.concatenate([maps[1:], self.guesses(asked, cell, 1, asked.seed + 1, mean=False)])
        clock["samples"] = time.perf_counter() - mark
        mark = time.perf_counter()
        point_group = holohedry(asked.structure.lattice.matrix)
        found = solution.candidates if solution else ()
        structures = [c.conventional.structure() for c in found]
        density = density_scores(asked.density, maps, samples, first, point_group)
        structure = structure_scores(asked.structure, structures, [c.space_group_number for c in found])
        own = next((i for i, c in enumerate(found) if c.source == "network" or c.evidence["agreed"]), None)
        structure[NETWORK] = own is not None and matches(asked.structure, structures[own])
        clock["scores"] = time.perf_counter() - mark
        mark = time.perf_counter()
        nearest, answer = self.retrieval.nearest(*asked.vector(cell))
        expected = self.composition_only.density(asked.told, asked.level)
        others: dict[str, Any] = {
            "retrieval": _single(map_scores(asked.density, answer)) | {"nearest": nearest},
            "composition_only": _single(map_scores(asked.density, expected)),
        }
        if self.foreign:
            others["score_cifs"] = self._foreign(asked, point_group)
        clock["baselines"] = time.perf_counter() - mark
        return {
            **about,
            "type": type_of(record) or None,
            "sites": len(asked.structure),
            "elements": sorted({site.specie.symbol for site in asked.structure}),
            **density,
            "structure": structure,
            **others,
            "source_top1": found[0].source if found else None,
            "rwp_top1": float(found[0].fit.rwp) if found else None,
            "confidence_top1": found[0].confidence if found else None,
            "cell": {k: getattr(cell, k) for k in ("system", "centring", "a", "c", "zero_shift")} if cell else None,
            "ranked_first": first + 1,
            "failure": failure,
            "seconds": time.perf_counter() - started,
            "seconds_by_stage": {stage: round(float(s), 4) for stage, s in clock.items()},
        }

    def guesses(
        self, asked: Question, cell: Cell | None, count: int, seed: int | None = None, mean: bool = True
    ) -> np.ndarray:
        """The network's densities (count, 50, 50, 50), solve's own where no seed is given."""
        seed = asked.seed if seed is None else seed
        if cell is None or asked.peaks is None:
            return guess_densities(self.model, *asked.vector(None), None, asked.told, asked.level, count, seed, mean)
        amounts = asked.told if asked.level == "formula" else None
        given = Given(tuple(asked.told), amounts, models=self.own_models)
        return ask_network(given, asked.peaks, cell, count, seed, mean=mean)[0]

    def _solved(self, asked: Question) -> tuple[Solution | None, str | None]:
        """What solve finds, or why it does not."""
        formula = "".join(f"{symbol}{n:g}" for symbol, n in asked.told.items()) if asked.level == "formula" else None
        try:
            given = Given.of(
                list(asked.told) or None,
                formula,
                guesses=self.options.guesses,
                seed=asked.seed,
                models=self.own_models,
                # Scores are the package's, whatever the user has fetched.
                catalogue=Catalogue(own=False) if self.options.candidates == "all" else None,
            )
            solution = solve_pattern(asked.pattern, given, asked.peaks)
        except InputError as error:
            return None, str(error)
        except Exception as error:  # a crash is a miss, on record, and no reason to lose the other crystals
            return None, f"{type(error).__name__}: {error}"
        return solution, None

    def _foreign(self, asked: Question, point_group: np.ndarray) -> dict[str, Any]:
        """Another solver's answers to one crystal; where there is none, SSIM is 0 and the rest an empty cell's."""
        assert self.foreign is not None
        found, problems = self.foreign.structures(asked.record)
        # An empty cell would have the SSIM of the truth's own voids, up to a half.
        plain = moved = map_scores(asked.density, np.zeros_like(asked.density)) | {"ssim": 0.0}
        try:
            if found:
                answer = promolecule(standard_primitive(found[0], SYMPREC_RELAXED))
                plain = map_scores(asked.density, answer)
                moved = map_scores(asked.density, aligned(asked.density, answer, point_group))
        except InputError as error:
            problems.append(str(error))
        return {
            "files": len(found),
            **{score: {"single": plain[score], "ranked": moved[score]} for score in SCORES},
            "structure": structure_scores(asked.structure, found, [space_group_of(s, SYMPREC_RELAXED) for s in found]),
            "problems": problems,
        }


@lru_cache(maxsize=1)
def _evaluation(*made_of: Any) -> Evaluation:
    """A worker process's own."""
    return Evaluation(*made_of)


def crystal_seed(record: Record, seed: int) -> int:
    """A crystal's own seed: it does not depend on which others are evaluated."""
    name = f"{seed}:{record.get('id')}:{record['formula']}:{record.get('space_group')}"
    return int(sha256(name.encode()).hexdigest()[:7], 16)


def _told(amounts: Mapping[str, float], given: str, rng: np.random.Generator) -> tuple[dict[str, float], str]:
    """What is told of a composition, and at which level the network takes it."""
    if given == "none":
        return {}, "none"
    if given == "drop-one" and len(amounts) > 1:
        lost = str(rng.choice(sorted(amounts)))
        return {s: 1.0 for s in amounts if s != lost}, "elements"
    return dict(amounts), "formula" if given == "formula" else "elements"


def _single(scores: dict[str, float]) -> dict[str, dict[str, float]]:
    return {score: {"single": value} for score, value in scores.items()}

"""Scores of many known crystals: the network's densities and solve's structures (definitions: docs/scores.md).

Each crystal's pattern is simulated, the lattice is never given, and guesses are ranked by the pattern. Beside them
stand the nearest known crystal, the composition alone and, where asked, another solver's CIFs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from crystalnet import __version__
from crystalnet.crystal.lattice import Cell, holohedry
from crystalnet.crystal.record_file import Record
from crystalnet.crystal.systems import system_named
from crystalnet.evaluation.baselines import CompositionOnly, ForeignAnswers, Retrieval
from crystalnet.evaluation.metrics import density_scores, map_scores, matches, single, structure_scores
from crystalnet.evaluation.options import Options
from crystalnet.evaluation.own_answers import OwnAnswers
from crystalnet.evaluation.question import Question, in_words, question
from crystalnet.evaluation.summary import NETWORK, NO_MAPS, run_summary
from crystalnet.evaluation.targets import NothingToEvaluate, read_targets, type_of
from crystalnet.model.checkpoint import load_model
from crystalnet.model.choice import has_model, shipped_model
from crystalnet.records import InputError, Solution
from crystalnet.runtime.journal import Journal
from crystalnet.runtime.pool import Map

Progress = Callable[[int, int], None]


class Evaluation:
    """One run: the crystals of one system, the model, the other answers.

    Parameters
    ----------
    structures : Path
        A file of structure records, or a data set directory.
    options : Options
        What is asked.
    model : Path, optional
        A model file; the package's by default.
    score_cifs : Path, optional
        A folder with another solver's CIFs.
    retrieval_data : Path, optional
        The data set that the retrieval baseline knows; the table of structure types by default.

    Raises
    ------
    InputError
        Where one of these cannot be used; NothingToEvaluate where the source has no such crystal.
    """

    def __init__(
        self,
        structures: Path,
        options: Options,
        model: Path | None = None,
        score_cifs: Path | None = None,
        retrieval_data: Path | None = None,
    ) -> None:
        files = (path and path.absolute() for path in (model, score_cifs, retrieval_data))
        self.made_of = structures.absolute(), options, *files  # the other process may stand in another folder
        self.options = options
        self.targets = read_targets(structures, options.system, options.split, options.limit, options.seed)
        learnt = model is not None or system_named(options.system).learnt
        self.model = load_model(model or shipped_model(options.system), options.system) if learnt else None
        self.own = OwnAnswers(self.model, {options.system: model} if model else {}, options)
        self.retrieval = Retrieval(options.system, retrieval_data) if learnt else None
        self.composition_only = CompositionOnly(self.model) if self.model is not None else None
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
            "model": self.model.sha256 if self.model else None,
            "retrieval-data": self.retrieval.digest if self.retrieval else None,
            "score-cifs": sorted(map(str, self.foreign.files.values())) if self.foreign else None,
        }

    def scores(
        self,
        journal: Path | None = None,
        progress: Progress = lambda done, total: None,
        mapped: Map = map,
        keep: bool = False,
    ) -> dict[str, Any]:
        """Every crystal scored, and the summary.

        Parameters
        ----------
        journal : Path, optional
            A file that keeps each crystal's scores, so that after a kill the same call goes on from there.
        progress : callable
            Gets how many crystals are done, and of how many.
        mapped : Map
            From `workers`; the scores do not depend on it.
        keep : bool
            Leave the journal at the end.

        Returns
        -------
        dict
            The score block, as docs/scores.md describes it.
        """
        with Journal(journal, self.settings(), keep) as kept:
            rows, a_crystal = kept.rows(self.targets.records, self.score, mapped, progress)
        about = {
            "given": in_words(self.options),
            "guesses": self.options.guesses,
            "seed": self.options.seed,
            "model_sha256": self.model.sha256 if self.model else None,
            "system": self.options.system,
            "split": {"name": self.options.split, "rule": self.targets.rule},
            "density": self.targets.density,
        }
        return run_summary(rows, about, self.retrieval.source if self.retrieval else None, a_crystal)

    def question(self, record: Record, given: str | None = None) -> Question:
        """A crystal as this run asks about it; given: at another level."""
        return question(record, self.targets, self.options, given)

    def score(self, record: Record, failure: str | None = None) -> dict[str, Any]:
        """One crystal: its pattern simulated and solved, density and structure held against the truth.

        failure: why it was not solved, where that is known already.
        """
        started = time.perf_counter()
        about = {"id": record.get("id"), "formula": record["formula"], "space_group": record.get("space_group")}
        try:
            asked = self.question(record)
        except InputError as error:
            return about | {"left_out": str(error)}
        clock = {"question": time.perf_counter() - started}
        solution = None
        if failure is None:
            solution, failure = self.own.solved(asked)
        clock |= solution.seconds if solution else {}
        cell = solution.cell if solution else None
        point_group = holohedry(asked.structure.lattice.matrix)
        found = solution.candidates if solution else ()
        structures = [c.conventional.structure() for c in found]
        mark = time.perf_counter()
        structure = structure_scores(asked.structure, structures, [c.space_group_number for c in found])
        clock["scores"] = time.perf_counter() - mark
        network, first = (
            self._network(asked, solution, structure, point_group, clock) if self.model else (NO_MAPS, None)
        )
        return {
            **about,
            "type": type_of(record) or None,
            "sites": len(asked.structure),
            "elements": sorted({site.specie.symbol for site in asked.structure}),
            **network,
            "structure": structure,
            "source_top1": found[0].source if found else None,
            "rwp_top1": float(found[0].fit.rwp) if found else None,
            "confidence_top1": found[0].confidence if found else None,
            "cell": {k: getattr(cell, k) for k in ("system", "centring", "a", "c", "zero_shift")} if cell else None,
            "ranked_first": first,
            "failure": failure,
            "seconds": time.perf_counter() - started,
            "seconds_by_stage": {stage: round(float(s), 4) for stage, s in clock.items()},
        }

    def _network(
        self,
        asked: Question,
        solution: Solution | None,
        structure: dict[str, Any],
        point_group: np.ndarray,
        clock: dict[str, float],
    ) -> tuple[dict[str, Any], int]:
        """Scores of the network's densities and of what they must beat, and the guess that the pattern ranks first.

        structure gets NETWORK: whether the first candidate that the network proposed is right.
        """
        cell = solution.cell if solution else None
        mark = time.perf_counter()
        if solution is not None and len(solution.guesses):
            maps, first = solution.guesses, int(solution.guess_rank.argmin())
        else:  # no cell was found, or none that a network knows: what the chemistry says
            maps, first = self.own.densities(asked, None, self.options.guesses), 0
        known = cell if cell is not None and has_model(cell.system, self.own.files) else None
        # solve's guesses are the mean and N − 1 samples: one more sample for the paper's protocol.
        samples = np.concatenate([maps[1:], self.own.densities(asked, known, 1, asked.seed + 1, mean=False)])
        clock["samples"] = time.perf_counter() - mark
        mark = time.perf_counter()
        density = density_scores(asked.density, maps, samples, first, point_group)
        found = solution.candidates if solution else ()
        own = next((c for c in found if c.source == "network" or c.evidence["agreed"]), None)
        structure[NETWORK] = own is not None and matches(asked.structure, own.conventional.structure())
        clock["scores"] += time.perf_counter() - mark
        mark = time.perf_counter()
        others = self._others(asked, known, point_group)
        clock["baselines"] = time.perf_counter() - mark
        return {**density, **others}, first + 1

    def _others(self, asked: Question, cell: Cell | None, point_group: np.ndarray) -> dict[str, Any]:
        """Scores of the answers that the network must beat, and of another solver's."""
        assert self.retrieval is not None and self.composition_only is not None
        nearest, answer = self.retrieval.nearest(*asked.vector(cell))
        expected = self.composition_only.density(asked.composition, asked.level)
        others: dict[str, Any] = {
            "retrieval": single(map_scores(asked.density, answer)) | {"nearest": nearest},
            "composition_only": single(map_scores(asked.density, expected)),
        }
        if self.foreign:
            others["score_cifs"] = self.foreign.scores(asked.record, asked.structure, asked.density, point_group)
        return others


@lru_cache(maxsize=1)
def _evaluation(*made_of: Any) -> Evaluation:
    """A worker process's own."""
    return Evaluation(*made_of)


def runs_of(
    structures: Path,
    options: Sequence[Options],
    model: Path | None = None,
    score_cifs: Path | None = None,
    retrieval_data: Path | None = None,
) -> list[Evaluation]:
    """A run for each of these options whose crystals the source holds.

    Parameters
    ----------
    structures, score_cifs, retrieval_data
        As in `Evaluation`.
    options : sequence of Options
        One for each run.
    model : Path, optional
        As in `model_of`.

    Returns
    -------
    list of Evaluation

    Raises
    ------
    NothingToEvaluate
        Where the source holds crystals for none of them.
    """
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
    """The model file of a run.

    Parameters
    ----------
    model : Path, optional
        The user's model file, or a folder with SYSTEM-GIVEN.safetensors or SYSTEM.safetensors.
    system, given : str
        As in `Options`.
    alone : bool
        Whether this is the only run. Then a file of another system is returned too, for `Evaluation` to refuse;
        otherwise the package's model takes its place.

    Returns
    -------
    Path or None
        None for the package's model.

    Raises
    ------
    InputError
        Where the folder has no such file.
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

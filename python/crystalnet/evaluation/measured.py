"""Scores of measured patterns whose crystals are known: each is solved as a user would."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crystalnet import __version__
from crystalnet.crystal.symmetry import protostructure
from crystalnet.evaluation.evaluate import Progress, model_of
from crystalnet.evaluation.metrics import structure_scores
from crystalnet.evaluation.options import Options
from crystalnet.evaluation.own_answers import left_out
from crystalnet.evaluation.question import composition_as_given, in_words
from crystalnet.evaluation.summary import NO_MAPS, run_summary
from crystalnet.evaluation.targets import NothingToEvaluate, some_of
from crystalnet.model.choice import has_model, model_for
from crystalnet.records import InputError
from crystalnet.runtime.journal import Journal
from crystalnet.runtime.pool import Map
from crystalnet.solving.given import Given
from crystalnet.solving.solve import measured_pattern, solve_pattern

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from crystalnet.records import Solution

REQUIRED = ("name", "pattern", "truth", "formula", "elements", "wavelength", "system")


class MeasuredEvaluation:
    """One run: the measured patterns of one crystal system.

    Parameters
    ----------
    index : Path
        A JSON list with an object for each pattern: name, pattern and truth (files beside it), formula, elements,
        wavelength (Å) and system.
    options : Options
        What is asked. Patterns are as they were measured: `measured_like` and `split` mean nothing here.

    model : Path, optional
        A model file of the system; the package's by default, where it has one.

    Raises
    ------
    InputError
        Where one of these cannot be used; NothingToEvaluate where it has no pattern of the system.
    """

    def __init__(self, index: Path, options: Options, model: Path | None = None) -> None:
        self.index, self.options = index.absolute(), options  # another process may stand in another folder
        self.files = {options.system: model.absolute()} if model else {}
        drawn = has_model(options.system, self.files)
        self.sha256 = model_for(options.system, self.files).sha256 if drawn else None
        text = index.read_bytes()
        self.digest = sha256(text).hexdigest()
        try:
            entries = json.loads(text)
            missing = {key for entry in entries for key in REQUIRED if key not in entry}
        except (ValueError, TypeError) as error:
            raise InputError(f"{index}: no list of measured patterns ({error})") from None
        if missing:
            raise InputError(f"{index}: a pattern lacks {', '.join(sorted(missing))}")
        own = [entry for entry in entries if entry["system"] == options.system]
        if not own:
            raise NothingToEvaluate(f"{index}: no pattern of a {options.system} crystal")
        self.entries = some_of(own, options.limit, options.seed)

    def settings(self) -> dict[str, Any]:
        """All that the scores follow from; a journal of other settings is not gone on with."""
        return {"crystalnet": __version__, **asdict(self.options), "patterns": self.digest, "model": self.sha256}

    def scores(
        self,
        journal: Path | None = None,
        progress: Progress = lambda done, total: None,
        mapped: Map = map,
        keep: bool = False,
    ) -> dict[str, Any]:
        """Every pattern solved and scored, and the summary; arguments as of `Evaluation.scores`."""
        with Journal(journal, self.settings(), keep) as kept:
            rows, a_pattern = kept.rows(self.entries, self.score, mapped, progress)
        about = {
            "given": in_words(self.options, "as measured, with its wavelength"),
            "guesses": self.options.guesses,
            "seed": self.options.seed,
            "model_sha256": self.sha256,
            "system": self.options.system,
            "split": {"name": "measured", "rule": "every pattern of the list"},
            "density": None,
        }
        return run_summary(rows, about, None, a_pattern)

    def score(self, entry: dict[str, Any], failure: str | None = None) -> dict[str, Any]:
        """One pattern, solved and held against its crystal; hydrogen is left out of both.

        failure: why it was not solved, where that is known already.
        """
        started = time.perf_counter()
        truth = _without_hydrogen(_read(self.index.parent / entry["truth"]))
        solution = None
        if failure is None:
            solution, failure = self._solved(entry, truth)
        found = solution.candidates if solution else ()
        structures = [_without_hydrogen(c.conventional.structure()) for c in found]
        return {
            "id": entry["name"],
            "formula": entry["formula"],
            "space_group": entry.get("spacegroup"),
            "type": None,
            "sites": len(truth),
            "elements": sorted({site.specie.symbol for site in truth}),
            **NO_MAPS,
            "structure": structure_scores(truth, structures, [c.space_group_number for c in found]),
            "source_top1": found[0].source if found else None,
            "rwp_top1": float(found[0].fit.rwp) if found else None,
            "confidence_top1": found[0].confidence if found else None,
            "failure": failure,
            "seconds": time.perf_counter() - started,
            "seconds_by_stage": {k: round(float(s), 4) for k, s in solution.seconds.items()} if solution else {},
        }

    def _solved(self, entry: dict[str, Any], truth: Structure) -> tuple[Solution | None, str | None]:
        """The answer, or why there is none."""
        amounts = {symbol: float(n) for symbol, n in _formula(entry["formula"]).items()}
        composition, level = composition_as_given(amounts, self.options.given, np.random.default_rng(self.options.seed))
        try:
            given = Given.of(
                list(composition) or None,
                entry["formula"] if level == "formula" else None,
                cell=_cell(entry) if self.options.cell_given else None,
                guesses=self.options.guesses,
                seed=self.options.seed,
                models=self.files,
                catalogue=left_out(truth, protostructure(truth) or "", self.options.leave_out),
                candidates=self.options.candidates,
                effort=self.options.effort,
            )
            file = self.index.parent / entry["pattern"]
            return solve_pattern(measured_pattern(file, entry["wavelength"], None, None, "auto"), given), None
        except InputError as error:
            return None, str(error)
        except Exception as error:  # a crash is a miss, on record, and no reason to lose the other patterns
            return None, f"{type(error).__name__}: {error}"


def measured_runs(index: Path, options: Sequence[Options], model: Path | None = None) -> list[MeasuredEvaluation]:
    """A run for each of these options whose patterns the list holds. NothingToEvaluate where it has none.

    model: a file, or a folder of them, as `model_of` takes it.
    """
    runs: list[MeasuredEvaluation] = []
    missing: list[NothingToEvaluate] = []
    for chosen in options:
        try:
            own = model_of(model, chosen.system, chosen.given, alone=len(options) == 1)
            runs.append(MeasuredEvaluation(index, chosen, own))
        except NothingToEvaluate as nothing:
            missing.append(nothing)
    if not runs:
        raise missing[0]
    return runs


def _read(path: Path) -> Structure:
    from pymatgen.core import Structure

    return Structure.from_file(path).get_primitive_structure()


def _without_hydrogen(structure: Structure) -> Structure:
    bare = structure.copy()
    bare.remove_species([e for e in bare.composition.elements if e.symbol in ("H", "D")])
    return bare if len(bare) else structure


def _formula(text: str) -> dict[str, float]:
    from crystalnet.crystal.formula import parse_formula

    return dict(parse_formula(text))


def _cell(entry: dict[str, Any]) -> str:
    return ",".join(f"{entry[name]:.6f}" for name in ("a", "b", "c", "alpha", "beta", "gamma"))

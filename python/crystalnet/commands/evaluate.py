"""`crystalnet evaluate`: one run or a table of runs; the files it writes and what it prints."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystalnet.commands.progress import bar
from crystalnet.defaults import EFFORT
from crystalnet.evaluation import paper_tables as tables
from crystalnet.evaluation.options import Options, systems_asked
from crystalnet.records import InputError
from crystalnet.runtime.log import log
from crystalnet.runtime.pool import cpus, workers
from crystalnet.runtime.whole_file import begins_with, is_our_picture, refuse_foreign, replacing

if TYPE_CHECKING:
    from crystalnet.evaluation.evaluate import Evaluation
    from crystalnet.evaluation.measured import MeasuredEvaluation

Row = tuple[str, str]  # a run's system and what is given
WIDTH = 132  # of a table that goes to a file or a pipe


@dataclass(frozen=True)
class Request:
    """What the command line asks for.

    Attributes
    ----------
    structures : Path
        A file of structure records, or a data set folder.
    system : str, optional
        Whose crystals: a system, or "auto" or "all", as by default, for every one. `solve` is not given it.
    given : str, optional
        What is given of the chemistry; formula by default, in a table what its rows say.
    guesses : int, optional
        Densities of the network for each crystal; by default as many as the table has, or table 1.
    candidates, leave_out, cell_given, effort, measured_like, split, limit, seed
        As in `Options`.
    table : int, optional
        A table of the paper instead of one block of scores.
    figures : Path, optional
        The folder for the paper's figures.
    score_cifs, retrieval_data
        As in `Evaluation`.
    model : Path, optional
        A file, or for tables and several systems a folder of SYSTEM-GIVEN.safetensors or SYSTEM.safetensors.
    jobs : int, optional
        Processes at work; by default as many as there are processors, or workers of the cluster.
    cluster : str, optional
        As `workers` takes it.
    out : Path, optional
        The JSON file of the scores.
    json : bool
        Print the scores as JSON on a terminal too, where ten lines say the most of them.
    """

    structures: Path
    system: str | None = None
    given: str | None = None
    guesses: int | None = None
    candidates: str = "all"
    leave_out: str = "composition"
    cell_given: bool = False
    effort: float = EFFORT
    measured_like: bool = False
    split: str = "composition"
    table: int | None = None
    figures: Path | None = None
    score_cifs: Path | None = None
    retrieval_data: Path | None = None
    limit: int | None = None
    seed: int = 0
    model: Path | None = None
    jobs: int | None = None
    cluster: str | None = None
    out: Path | None = None
    json: bool = False

    def options(self, system: str, given: str) -> Options:
        """Those of one run."""
        return Options(
            system=system,
            given=given,
            guesses=self.guesses or tables.GUESSES[self.table or 1],
            candidates=self.candidates,
            leave_out=self.leave_out,
            cell_given=self.cell_given,
            effort=self.effort,
            measured_like=self.measured_like,
            split=self.split,
            limit=self.limit,
            seed=self.seed,
        )

    def journal(self, row: Row, several: bool) -> Path | None:
        """The file that keeps what a killed run had scored."""
        return self.out and self.out.with_name(".".join((self.out.name, *(row if several else ()), "partial")))


def evaluate_files(asked: Request) -> None:
    """Evaluate, write --out and --figures, print the scores (or the table)."""
    if not asked.structures.exists():
        raise InputError(
            f"{asked.structures}: no such file; give structure records (.jsonl, .jsonl.gz) or a data set folder"
        )
    if asked.table is not None and asked.given is not None:
        raise InputError("--given does not go with --table, whose rows say what is given")
    table = None if asked.table is None else tables.paper_table(asked.table, asked.system)
    rows = table.rows if table else tuple((name, asked.given or "formula") for name in systems_asked(asked.system))
    refuse_foreign_results(asked, {system for system, _ in rows})
    evaluations = _evaluations(asked, [asked.options(*row) for row in rows])
    several = table is not None or len(evaluations) > 1
    runs: dict[Row, dict[str, Any]] = {}
    jobs = asked.jobs or (cpus() if asked.cluster is None else None)
    with workers(jobs, threads=1, cluster=asked.cluster) as mapped:
        for row, evaluation in evaluations.items():
            with bar(" ".join(row)) as progress:
                # Finished rows wait for the others: what a kill leaves is gone on with.
                runs[row] = evaluation.scores(asked.journal(row, several), progress, mapped, keep=several)
    paths = _draw(asked.figures, evaluations, runs) if asked.figures is not None else []
    if table is None:
        from crystalnet.evaluation.summary import combined, in_lines

        document = combined(list(runs.values()))
        if sys.stdout.isatty() and not asked.json:  # a program that reads the answer wants all of it
            print("\n".join(in_lines(document)))
        else:
            print(json.dumps({key: value for key, value in document.items() if key != "per_crystal"}, indent=1))
    else:
        from rich.console import Console

        Console(width=None if sys.stdout.isatty() else WIDTH).print(tables.printed(table, runs))
        document = {"table": table.number, "caption": tables.caption(table, runs), "runs": {}}
        for row, run in runs.items():
            document["runs"].setdefault(row[0], {})[row[1]] = run | {"published": _published(table.published[row])}
    if asked.out is not None:
        _write(asked.out, json.dumps(document, indent=1) + "\n")
        if table is not None:
            _write(asked.out.with_suffix(".md"), tables.markdown(table, runs))
        for row in runs if several else ():
            asked.out.with_name(".".join((asked.out.name, *row, "partial"))).unlink(missing_ok=True)
    if paths:
        print("\n".join(str(path) for path in paths))


def _evaluations(asked: Request, options: list[Options]) -> dict[Row, Evaluation | MeasuredEvaluation]:
    """A run for each row of a table; for a block of scores, one for each system that the source holds."""
    from crystalnet.evaluation.evaluate import Evaluation, model_of, runs_of  # after all options have been checked

    if asked.structures.suffix == ".json":
        from crystalnet.evaluation.measured import measured_runs

        if asked.table is not None or asked.figures is not None or asked.score_cifs is not None:
            raise InputError(
                "--table, --figures and --score-cifs go with structure records, not with measured patterns"
            )
        measured = measured_runs(asked.structures, options, asked.model)
        return {(run.options.system, run.options.given): run for run in measured}
    others = asked.score_cifs, asked.retrieval_data
    if asked.table is None:
        found = runs_of(asked.structures, options, asked.model, *others)
    else:
        models = [model_of(asked.model, chosen.system, chosen.given, alone=False) for chosen in options]
        found = [
            Evaluation(asked.structures, chosen, model, *others) for chosen, model in zip(options, models, strict=True)
        ]
    return {(run.options.system, run.options.given): run for run in found}


def _draw(folder: Path, evaluations: Mapping[Row, Any], runs: dict[Row, dict[str, Any]]) -> list[Path]:
    """The paper's figures of each system, by its first row; returns their paths."""
    from crystalnet.evaluation.paper_figures import write_figures

    firsts = {row[0]: row for row in reversed(runs)}
    rows = [row for row in runs if firsts[row[0]] == row]
    with bar("figures") as progress:
        return write_figures([(evaluations[row], runs[row]["per_crystal"]) for row in rows], folder, progress)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_text(text)


def refuse_foreign_results(asked: Request, systems: Iterable[str]) -> None:
    """InputError, before the work, where --out or --figures would write over a file of the user's."""
    if asked.out is not None:
        refuse_foreign(asked.out, _is_ours, reads=asked.structures)
        if asked.table is not None:
            ours = begins_with(f"| {tables.HEADINGS[0]} | ")
            refuse_foreign(asked.out.with_suffix(".md"), ours, reads=asked.structures)
    if asked.figures is not None:
        from crystalnet.evaluation.paper_figures import figure_paths

        paths = [path for system in systems for path in figure_paths(asked.figures, system)]
        if any([refuse_foreign(path, is_our_picture) for path in paths]):
            log.warning(f"replaces the earlier figures in {asked.figures}")


def _is_ours(path: Path) -> bool:
    """Whether a file holds the scores of a run or of a table."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return isinstance(content, dict) and ({"model_sha256", "per_crystal"} <= content.keys() or "runs" in content)


def _published(row: tables.Published) -> dict[str, dict[str, float]]:
    return {"ssim": {"mean": row[0], "sd": row[1]}, "psnr": {"mean": row[2], "sd": row[3]}}

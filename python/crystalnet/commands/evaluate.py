"""`crystalnet evaluate`: one run or a table of runs; the files it writes and what it prints."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from crystalnet.commands.progress import bar
from crystalnet.evaluation import paper_tables as tables
from crystalnet.evaluation.evaluate import Evaluation, Options, combined, model_of, runs_of, systems_asked
from crystalnet.records import InputError
from crystalnet.runtime.pool import cpus, workers
from crystalnet.runtime.whole_file import begins_with, is_our_picture, refuse_foreign, replacing

WIDTH = 132  # of a table that goes to a file or a pipe


def evaluate_files(
    structures: Path,
    *,
    system: str | None = None,
    given: str | None = None,
    guesses: int | None = None,
    table: int | None = None,
    figures: Path | None = None,
    model: Path | None = None,
    score_cifs: Path | None = None,
    retrieval_data: Path | None = None,
    out: Path | None = None,
    jobs: int | None = None,
    **options: Any,
) -> None:
    """Evaluate, write --out and --figures, print the scores (or the table).

    system: whose crystals, auto (every system's) where not given; `solve` is told none. given: formula where not
    given, in a table its rows.
    model: a file, or for tables and several systems a folder of SYSTEM-GIVEN.safetensors or SYSTEM.safetensors.
    jobs: processes at work; as many as there are processors where not given.
    """
    if not structures.exists():
        raise InputError(f"{structures}: no such file; give structure records (.jsonl, .jsonl.gz) or a data set folder")
    shared = {"score_cifs": score_cifs, "retrieval_data": retrieval_data}
    if table is None:
        rows = [(name, given or "formula") for name in systems_asked(system)]
    else:
        if given is not None:
            raise InputError("--given does not go with --table, whose rows say what is given")
        wanted = tables.paper_table(table, system)
        rows = list(wanted.rows)
    refuse_foreign_results(out, table, figures, {row[0] for row in rows}, structures)
    runs: dict[tuple[str, str], dict[str, Any]] = {}
    evaluations: dict[tuple[str, str], Evaluation] = {}
    chosen = [Options(system=s, given=g, guesses=guesses or tables.GUESSES[table or 1], **options) for s, g in rows]
    if table is None:
        evaluations = {(r.options.system, r.options.given): r for r in runs_of(structures, chosen, model, **shared)}
        rows = list(evaluations)
    else:
        for row, option in zip(rows, chosen, strict=True):
            evaluations[row] = Evaluation(structures, option, model_of(model, *row, alone=False), **shared)
    several = table is not None or len(rows) > 1
    with workers(jobs or cpus(), threads=1) as mapped:
        for row, evaluation in evaluations.items():
            with bar(" ".join(row)) as progress:
                name = ".".join((out.name, *(row if several else ()), "partial")) if out else ""
                # Finished rows wait for the others: what a kill leaves is gone on with.
                journal = out.with_name(name) if out else None
                runs[row] = evaluation.scores(journal, progress, mapped, keep=several)
    if figures is not None:
        from crystalnet.evaluation.paper_figures import write_figures

        with bar("figures") as progress:
            firsts = [row for number, row in enumerate(rows) if row[0] not in {r[0] for r in rows[:number]}]
            drawn = [(evaluations[row], runs[row]["per_crystal"]) for row in firsts]
            paths = write_figures(drawn, figures, progress)
    document: dict[str, Any]
    if table is None:
        document = combined([runs[row] for row in rows])
        print(json.dumps({key: value for key, value in document.items() if key != "per_crystal"}, indent=1))
    else:
        from rich.console import Console

        Console(width=None if sys.stdout.isatty() else WIDTH).print(tables.printed(wanted, runs))
        document = {"table": table, "caption": tables.caption(wanted, runs), "runs": {}}
        for row, run in runs.items():
            document["runs"].setdefault(row[0], {})[row[1]] = run | {"published": _published(wanted.published[row])}
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(out) as partial:
            partial.write_text(json.dumps(document, indent=1) + "\n")
        if table is not None:
            with replacing(out.with_suffix(".md")) as partial:
                partial.write_text(tables.markdown(wanted, runs))
        for row in rows if several else ():
            out.with_name(".".join((out.name, *row, "partial"))).unlink(missing_ok=True)
    if figures is not None:
        print("\n".join(str(path) for path in paths))


def refuse_foreign_results(
    out: Path | None, table: int | None, figures: Path | None, systems: Iterable[str], structures: Path
) -> None:
    """InputError, before the work, where --out or --figures would write over a file of the user's."""
    if out is not None:
        refuse_foreign(out, _is_ours, reads=structures)
        if table is not None:
            refuse_foreign(out.with_suffix(".md"), begins_with(f"| {tables.HEADINGS[0]} | "), reads=structures)
    if figures is not None:
        from crystalnet.evaluation.paper_figures import figure_paths

        if any([refuse_foreign(path, is_our_picture) for system in systems for path in figure_paths(figures, system)]):
            print(f"crystalnet: replaces the earlier figures in {figures}", file=sys.stderr)


def _is_ours(path: Path) -> bool:
    """Whether a file holds the scores of a run or of a table."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return isinstance(content, dict) and ({"model_sha256", "per_crystal"} <= content.keys() or "runs" in content)


def _published(row: tables.Published) -> dict[str, dict[str, float]]:
    return {"ssim": {"mean": row[0], "sd": row[1]}, "psnr": {"mean": row[2], "sd": row[3]}}

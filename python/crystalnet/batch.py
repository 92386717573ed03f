"""`crystalnet solve` for files: one folder of results a pattern, a summary where there are several."""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import Any

from crystalnet.pool import Map, helped, workers
from crystalnet.progress import stages
from crystalnet.records import InputError

NO_CONFIDENT_MATCH = 1
# What shared work imports, in the order that it is needed in.
HELPER = (
    *("crystalnet.ranking", "pymatgen.symmetry.analyzer", "rietx", "crystalnet.report.figure"),
    *("matplotlib.figure", "matplotlib.backends.backend_agg"),
)


def solve_files(patterns: list[Path], *, out: Path | None, jobs: int, print_json: bool, **options: Any) -> int:
    """Solve every pattern and write its folder; returns the exit code (the worst of the patterns')."""
    from crystalnet.report import summary_row, write_summary

    if out is None:
        folders = [Path(path.stem + ".crystalnet") for path in patterns]
    elif len(patterns) == 1:
        folders = [out]
    else:
        folders = [out / (path.stem + ".crystalnet") for path in patterns]
    if len(set(folders)) < len(folders):
        raise InputError("two patterns have the same name and would share a results folder; solve them one by one")
    if len(patterns) == 1:
        with helped(HELPER) as mapped:
            code, document = solve_file(patterns[0], folders[0], options, mapped)
        print(json.dumps(document, indent=1) if print_json else summary_line(patterns[0], document, folders[0]))
        return code

    results: list[tuple[int, dict[str, Any], str]]
    if jobs == 1:
        with helped(HELPER) as shared:
            results = [
                _guarded(pattern, folder, options, shared) for pattern, folder in zip(patterns, folders, strict=True)
            ]
    else:
        with workers(jobs) as mapped:
            results = list(mapped(_guarded, patterns, folders, [options] * len(patterns)))
    documents = [document for _, document, _ in results]
    if print_json:
        print(json.dumps(documents, indent=1))
    for pattern, folder, (_, document, problem) in zip(patterns, folders, results, strict=True):
        if problem:
            print(f"crystalnet: {problem}", file=sys.stderr)
        elif not print_json:
            print(summary_line(pattern, document, folder))
    rows = [
        summary_row(str(pattern), str(folder), document or None, problem)
        for pattern, folder, (_, document, problem) in zip(patterns, folders, results, strict=True)
    ]
    write_summary(rows, (out or Path()) / "summary.csv")
    return max(code for code, _, _ in results)


def solve_file(pattern: Path, folder: Path, options: dict[str, Any], mapped: Map = map) -> tuple[int, dict[str, Any]]:
    """Solve one pattern file and write its folder; returns (exit code, solution.json's content)."""
    from crystalnet.report import write_solution
    from crystalnet.solver import is_confident, solve

    with stages(pattern.name) as progress:
        solution = solve(pattern, progress=progress, mapped=mapped, **options)
        progress("report")
        document = write_solution(solution, folder, mapped)
    for warning in solution.warnings:
        print(f"crystalnet: {pattern.name}: {warning}", file=sys.stderr)
    return (0 if is_confident(solution) else NO_CONFIDENT_MATCH), document


def _guarded(
    pattern: Path, folder: Path, options: dict[str, Any], mapped: Map = map
) -> tuple[int, dict[str, Any], str]:
    """As solve_file, but one bad file does not stop the others: (code, document, what was wrong)."""
    try:
        return *solve_file(pattern, folder, options, mapped), ""
    except InputError as error:
        return 2, {}, str(error)
    except Exception as error:  # a fault of ours with one of a thousand patterns must not cost the others
        traceback.print_exc()
        return 2, {}, f"{pattern.name}: internal fault ({type(error).__name__}: {error}); please report it"


def summary_line(pattern: Path, document: dict[str, Any], folder: Path) -> str:
    """One line a pattern."""
    if not document["candidates"]:
        return f"{pattern.name}: no candidate; see {folder / 'report.html'}"
    best = document["candidates"][0]
    cell = best["lattice"]
    return (
        f"{pattern.name}: {best['formula']}  {best['space_group']['symbol']}  a = {cell['a']:.4f}"
        f"  c = {cell['c']:.4f} Å  Rwp {best['rwp']:.3f}  confidence {best['confidence']:.0%}  ({best['source']})"
        f"  → {folder / 'report.html'}"
    )

"""`crystalnet solve` for files: one folder of results a pattern, a summary where there are several."""

from __future__ import annotations

import json
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crystalnet.commands.progress import stages
from crystalnet.crystal.systems import system_of
from crystalnet.records import InputError
from crystalnet.runtime.faults import FAULT, fault_line
from crystalnet.runtime.log import log
from crystalnet.runtime.pool import Map, helped, workers
from crystalnet.runtime.whole_folder import claimed

Result = tuple[int, dict[str, Any], str]  # exit code, solution.json's content, what was wrong
NO_CONFIDENT_MATCH = 1
# What shared work imports, in the order that it is needed in.
HELPER = (
    *("crystalnet.solving.ranking", "pymatgen.symmetry.analyzer", "rietx", "crystalnet.report.figure"),
    *("matplotlib.figure", "matplotlib.backends.backend_agg"),
)


@dataclass(frozen=True)
class Options:
    """What `crystalnet solve` offers, by the names of `solving.solve.solve`."""

    elements: str | None = None
    formula: str | None = None
    wavelength: str | None = None
    monochromator: str | None = None
    scan: int | None = None
    axis: str = "auto"
    system: str = "auto"
    cell: str | None = None
    guesses: int = 5
    seed: int = 0
    model: Path | None = None
    candidates: str = "all"
    effort: float = 30.0
    distances: tuple[str, ...] = ()
    coordination: tuple[str, ...] = ()


def solve_files(
    patterns: list[Path], options: Options, *, out: Path | None = None, jobs: int = 1, print_json: bool = False
) -> int:
    """Solve every pattern and write its folder; returns the exit code (the worst of the patterns')."""
    if out is None:
        folders = [Path(path.stem + ".crystalnet") for path in patterns]
    elif len(patterns) == 1:
        folders = [out]
    else:
        folders = [out / (path.stem + ".crystalnet") for path in patterns]
    _refuse_shared(patterns, folders)
    if len(patterns) == 1:
        with helped(HELPER) as mapped:
            code, document = solve_file(patterns[0], folders[0], options, mapped)
        print(json.dumps(document, indent=1) if print_json else summary_line(patterns[0], document, folders[0]))
        return code

    from crystalnet.report import refuse_foreign_summary, summary_row, write_summary

    summary = (out or Path()) / "summary.csv"
    with claimed(summary.parent):
        if refuse_foreign_summary(summary):
            log.warning(f"replaces the earlier {summary}")
        results = _solve_all(patterns, folders, options, jobs)
        rows = [
            summary_row(str(pattern), str(folder), document or None, problem)
            for pattern, folder, (_, document, problem) in zip(patterns, folders, results, strict=True)
        ]
        write_summary(rows, summary)
    documents = [document for _, document, _ in results]
    if print_json:
        print(json.dumps(documents, indent=1))
    for pattern, folder, (_, document, problem) in zip(patterns, folders, results, strict=True):
        if problem:
            log.error(problem)
        elif not print_json:
            print(summary_line(pattern, document, folder))
    return max(code for code, _, _ in results)


def _refuse_shared(patterns: list[Path], folders: list[Path]) -> None:
    """InputError where two patterns would share a folder, also on a disk that takes upper and lower case for one."""
    shared: dict[str, list[Path]] = defaultdict(list)
    for pattern, folder in zip(patterns, folders, strict=True):
        shared[str(folder).casefold()].append(pattern)
    for name, alike in shared.items():
        if len(alike) > 1:
            raise InputError(
                f"{alike[0]} and {alike[1]} have the same name and would share the results folder {name}; "
                "solve them one by one, each with its own --out"
            )


def _solve_all(patterns: list[Path], folders: list[Path], options: Options, jobs: int) -> list[Result]:
    """Every pattern's result, in order. A worker process that dies costs the pattern that it died of."""
    tasks = list(zip(patterns, folders, strict=True))
    results: list[Result] = []
    if jobs == 1:
        with helped(HELPER) as shared:
            return [_guarded(pattern, folder, options, shared) for pattern, folder in tasks]
    try:
        with workers(jobs) as mapped:
            results += mapped(_guarded, patterns, folders, [options] * len(patterns))
    except InputError:  # a worker died, and the others with it: what it was at is among the patterns left
        for pattern, folder in tasks[len(results) :]:
            try:
                with workers(1) as alone:
                    results += alone(_guarded, [pattern], [folder], [options])
            except InputError:
                died = f"{pattern.name}: the process that solved it died (killed, or out of memory?)"
                results.append((FAULT, {}, died))
    return results


def solve_file(pattern: Path, folder: Path, options: Options, mapped: Map = map) -> tuple[int, dict[str, Any]]:
    """Solve one pattern file and write its folder; returns (exit code, solution.json's content).

    InputError, before the work, where the folder holds files of the user's or another run writes there.
    """
    if not pattern.exists():
        from crystalnet.xrd.reader import read_pattern

        read_pattern(pattern)  # says so before torch is loaded

    from crystalnet.report import earlier_solution, write_solution
    from crystalnet.solving.answer import REPORTED
    from crystalnet.solving.solve import solve
    from crystalnet.solving.verdict import is_confident

    with ExitStack() as stack:
        if pattern.is_file():  # else `solve` says what is wrong with it
            stack.enter_context(claimed(folder))
            earlier = earlier_solution(folder, REPORTED)
            if earlier is not None:
                what = f"replaces the earlier solution of {earlier.pattern} in {folder}"
                log.warning(f"{pattern.name}: {what}")
        with stages(pattern.name) as progress:
            solution = solve(pattern, progress=progress, mapped=mapped, **vars(options))
            progress("report")
            document = write_solution(solution, folder, mapped)
    for warning in solution.warnings:
        log.warning(f"{pattern.name}: {warning}")
    return (0 if is_confident(solution.candidates) else NO_CONFIDENT_MATCH), document


def _guarded(pattern: Path, folder: Path, options: Options, mapped: Map = map) -> Result:
    """As solve_file, but one bad file, or a fault of ours with it, does not stop the others."""
    try:
        return *solve_file(pattern, folder, options, mapped), ""
    except InputError as error:
        return 2, {}, str(error)
    except OSError as error:
        return 2, {}, f"{pattern.name}: {error.filename or folder}: {error.strerror or error}"
    except Exception as error:
        return FAULT, {}, fault_line(error, pattern.name)


def summary_line(pattern: Path, document: dict[str, Any], folder: Path) -> str:
    """One line a pattern."""
    if not document["candidates"]:
        return f"{pattern.name}: no candidate; see {folder / 'report.html'}"
    best = document["candidates"][0]
    free = system_of(best["space_group"]["number"]).free
    edges = "  ".join(f"{name} = {best['lattice'][name]:.4f}" for name in free if name in "abc")
    angles = "".join(f"  {name} = {best['lattice'][name]:.2f}°" for name in free if name not in "abc")
    return (
        f"{pattern.name}: {best['formula']}  {best['space_group']['symbol']}  {edges} Å{angles}"
        f"  Rwp {best['rwp']:.3f}  confidence {best['confidence']:.0%}  ({best['source']})  → {folder / 'report.html'}"
    )

"""The files of a solution, written whole or not at all, and the density files of other programs."""

from __future__ import annotations

import json
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from crystalnet.records import Solution
from crystalnet.report.cif_file import write_cif
from crystalnet.report.reflections_file import reflections, write_reflections
from crystalnet.report.solution_file import DOCUMENT, MEASURED, solution_json
from crystalnet.report.structure_files import write_cube
from crystalnet.report.view import View, view
from crystalnet.runtime.pool import Map
from crystalnet.runtime.whole_file import file_sha256
from crystalnet.runtime.whole_folder import heal, refilling, refuse_names, unchanged

OTHERS = ("report.html", "figure.png", "density.npz", MEASURED)  # beside the candidates' files


def write_solution(solution: Solution, out: Path, mapped: Map = map, asked: str | None = None) -> dict[str, Any]:
    """Write everything that `solve` found into a folder.

    The files replace those of an earlier solution when all are complete, solution.json last, so that a failure leaves
    the earlier files as they were.

    Parameters
    ----------
    solution
        What `solve` found.
    out
        The folder, made where it is absent.
    mapped
        The built-in map, or one over several processes (`pool.helped`).
    asked
        What names the question, kept as `asked`: by it a later run tells that it need not be answered again.

    Returns
    -------
    dict
        The content of solution.json. Its `files` names the other files with their SHA-256: a later run replaces these
        alone.

    Raises
    ------
    InputError
        `out` cannot be written, or holds a file of the user's by one of the names.
    """
    from crystalnet.report.figure import draw_scenes, write_figure

    content = solution_json(solution) | ({"asked": asked} if asked else {})
    views = [view(candidate, solution) for candidate in solution.candidates]
    out = Path(out)
    earlier = earlier_solution(out, len(views))
    with refilling(out, earlier.files if earlier else (), DOCUMENT) as scratch:
        scenes = draw_scenes(solution, views, mapped)
        figure = partial(write_figure, solution, views, scenes, scratch / "figure.png")
        others = partial(_write_answers, solution, content, views, scratch)
        list(mapped(operator.call, [figure, others]))
        content["files"] = {path.name: file_sha256(path) for path in sorted(scratch.iterdir())}
        (scratch / DOCUMENT).write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return content


@dataclass(frozen=True)
class Earlier:
    """A solution that a new one replaces: its pattern's name and the files that are as it left them."""

    pattern: str
    files: frozenset[str]


def earlier_solution(out: Path, candidates: int) -> Earlier | None:
    """The solution in a folder that a new one would replace; None where there is none.

    Parameters
    ----------
    out
        The folder.
    candidates
        Most candidates that the new solution may have.

    Raises
    ------
    InputError
        A file there bears one of the names of the new solution and is not one that solution.json lists, or was
        changed since.
    """
    heal(out)
    earlier = _listed(out)
    numbers = range(1, candidates + 1)
    names = {DOCUMENT, *OTHERS, *(f"candidate-{n}.{suffix}" for n in numbers for suffix in ("cif", "cube", "hkl.csv"))}
    refuse_names(out, names, earlier.files if earlier else ())
    return earlier


def _listed(out: Path) -> Earlier | None:
    """What solution.json lists; a run before there were hashes listed the candidates' files alone."""
    try:
        content = json.loads((out / DOCUMENT).read_text(encoding="utf-8"))
        if not isinstance(content["crystalnet"], str):
            return None
        listed = content.get("files")
        if listed is None:
            listed = dict.fromkeys(entry[key] for entry in content["candidates"] for key in ("cif", "density"))
        return Earlier(str(content["pattern"]["file"]), frozenset({DOCUMENT, *unchanged(out, listed)}))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # no solution.json, or another program's
        return None


def _write_answers(solution: Solution, content: Mapping[str, Any], views: Sequence[View], folder: Path) -> None:
    from crystalnet.report.page import write_page

    for shown, entry in zip(views, content["candidates"], strict=True):
        candidate, title = shown.candidate, f"candidate {entry['rank']}"
        write_cif(candidate, folder / entry["cif"], solution.pattern, solution.peaks.radiation, title)
        if (lines := reflections(candidate)) is not None:
            write_reflections(lines, folder / entry["reflections"])
        write_cube(shown.grid, shown.atoms, folder / entry["density"])
    pattern = solution.pattern
    np.savetxt(folder / MEASURED, np.column_stack([pattern.two_theta, pattern.intensity, pattern.sigma]), "%.10g")
    if len(solution.guesses) or solution.candidates:
        _write_guesses(solution, folder / "density.npz")
    write_page(solution, content, views, folder / "report.html")


def _write_guesses(solution: Solution, path: Path) -> None:
    """The network's densities; where no network drew any, the density of the first candidate as the only one."""
    if not len(solution.guesses):
        own = solution.candidates[0].density
        maps, rank, spread = own.values[None], np.ones(1, np.int64), np.zeros_like(own.values)
        solution = replace(solution, guesses=maps, guess_rank=rank, spread=spread, lattice=own.lattice)
    lattice = np.full((3, 3), np.nan) if solution.lattice is None else solution.lattice
    np.savez(
        path,
        density=np.asarray(solution.guesses, dtype=np.float32),
        spread=np.asarray(solution.spread, dtype=np.float32),
        lattice=np.asarray(lattice, dtype=float),
        rank=np.asarray(solution.guess_rank),
    )

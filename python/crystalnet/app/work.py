"""What a worker process does for the page, by the doors of the rooms below.

Every function can be sent to a worker by its name; `say` tells the page which stage begins.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

from crystalnet.app.request import Request
from crystalnet.records import Pattern, Peaks
from crystalnet.runtime.clock import Clock, Progress

CELLS = 10


@dataclass(frozen=True)
class Found:
    """The lines of a pattern and the cells that explain those which were not rejected.

    Attributes
    ----------
    peaks : Peaks
        Every line, also the rejected ones.
    indices : tuple of str
        "h k l" of each line by the first cell, "" where it has none.
    cells : tuple of dict
        As `crystalnet index --json` prints them, best first.
    positions : tuple of tuple of float
        Degrees 2θ where the lines of each cell lie.
    """

    peaks: Peaks
    indices: tuple[str, ...]
    cells: tuple[dict[str, Any], ...]
    positions: tuple[tuple[float, ...], ...]


def look(path: Path, request: Request, say: Progress) -> Pattern:
    """Read a file."""
    from crystalnet.solving.solve import measured_pattern

    say("reading")
    pattern = measured_pattern(path, request.wavelength or None, None, None, request.axis)
    return replace(pattern, file=path.name)  # not where the page keeps its copy


def find(path: Path, request: Request, peaks: Peaks | None, rejected: Collection[int], say: Progress) -> Found:
    """The lines, picked from the file where they are not known yet, and the cells of those that are not rejected."""
    from crystalnet.commands.index import document, index_lines
    from crystalnet.solving.given import Given
    from crystalnet.xrd.excerpt import within, without
    from crystalnet.xrd.indexing.lattices import line_positions
    from crystalnet.xrd.peaks import find_peaks

    given = Given.of(request.elements or None, request.formula or None, request.system)
    pattern = within(look(path, request, say), request.low, request.high)
    say("peaks")
    peaks = find_peaks(pattern) if peaks is None else peaks
    say("indexing")
    answer = index_lines(path, pattern, without(peaks, rejected), given.symbols or None, request.system, CELLS)
    printed = document(answer)
    indices = {line["two_theta"]: " ".join(map(str, line["hkl"])) for line in printed["lines"] if line["hkl"]}
    return Found(
        peaks,
        tuple(indices.get(float(x), "") for x in peaks.two_theta),
        tuple(printed["cells"]),
        tuple(tuple(line_positions(one.cell, peaks).tolist()) for one in answer.assignments),
    )


def solve(path: Path, request: Request, lines: Peaks | None, folder: Path, say: Progress) -> dict[str, Any]:
    """Solve a pattern and write its folder; returns the content of solution.json.

    lines: those to go by where the user rejected some; else the solver picks them itself.
    """
    from crystalnet.commands.solve import HELPER
    from crystalnet.report import earlier_solution, write_solution
    from crystalnet.runtime.pool import helped
    from crystalnet.runtime.whole_folder import claimed
    from crystalnet.solving.answer import REPORTED
    from crystalnet.solving.given import Given
    from crystalnet.solving.solve import solve_pattern
    from crystalnet.xrd.excerpt import within

    given = Given.of(
        request.elements or None,
        request.formula or None,
        request.system,
        request.cell or None,
        effort=request.effort,
    )
    with ExitStack() as stack:
        stack.enter_context(claimed(folder))
        earlier_solution(folder, REPORTED)  # refuses, before the work, a folder that holds the user's files
        mapped = stack.enter_context(helped(HELPER))
        clock = Clock(say)
        with clock("reading"):
            pattern = within(look(path, request, say), request.low, request.high)
        solution = solve_pattern(pattern, given, lines, clock=clock, mapped=mapped)
        say("report")
        return write_solution(solution, folder, mapped)


def export(folder: Path, program: str, candidate: int, say: Progress) -> bytes:
    """A candidate as a project of another program, zipped."""
    from crystalnet.commands.export import export_folder

    say("export")
    with TemporaryDirectory() as scratch:
        export_folder(folder, [program], candidate, Path(scratch))
        return zipped(Path(scratch))


def zipped(folder: Path) -> bytes:
    """The files of a folder; hidden ones, which are being made, are left out."""
    packed = BytesIO()
    with ZipFile(packed, "w", ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            if path.is_file() and not path.name.startswith("."):
                archive.write(path, path.name)
    return packed.getvalue()

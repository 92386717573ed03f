"""`crystalnet export`: a candidate of a solution as a project of another program."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from crystalnet.records import InputError
from crystalnet.runtime.log import log


def export_folder(solution: Path, programs: Iterable[str], candidate: int, out: Path | None) -> str:
    """Write a candidate for one program; returns a line about it.

    Without `out` the folder is STEM-K.PROGRAM in the working directory, STEM.crystalnet being the solution's.
    """
    from crystalnet.export import PROGRAMS, read_project, write_project

    chosen = list(programs)
    if len(chosen) != 1:
        options = ", ".join(f"--{program}" for program in PROGRAMS)
        what = f"{' and '.join(f'--{program}' for program in chosen)} at once" if chosen else "no program"
        raise InputError(f"{what}: choose one of {options}")
    project = read_project(solution, candidate)
    folder = out or Path(f"{solution.resolve().stem}-{candidate}.{chosen[0]}")
    names = write_project(project, chosen[0], folder)
    for remark in project.remarks:
        log.warning(f"{project.name}: {remark}")
    return f"{folder}: {', '.join(names)} of {project.title}"

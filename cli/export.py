"""crystalnet export: a candidate as a project of another program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    solution: Annotated[Path, typer.Argument(help="Folder that `crystalnet solve` wrote.", metavar="SOLUTION_DIR")],
    gsas2: Annotated[
        bool, typer.Option("--gsas2", help="CIF, .xye, .instprm and a script that makes the .gpx.")
    ] = False,
    fullprof: Annotated[bool, typer.Option("--fullprof", help=".pcr and .dat.")] = False,
    topas: Annotated[bool, typer.Option("--topas", help=".inp of launch mode and .xye.")] = False,
    jana: Annotated[
        bool, typer.Option("--jana", help="CIF and .dat for Jana2020's import wizard, with its steps.")
    ] = False,
    vesta: Annotated[bool, typer.Option("--vesta", help="CIF and density (.cube) for VESTA.")] = False,
    candidate: Annotated[int, typer.Option(help="Number of the candidate, 1 the best.")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the files; default SOLUTION-K.PROGRAM, as Zr3Sb4Pt3-1.gsas2.")
    ] = None,
) -> None:
    """Write a candidate as a project that another program opens and refines."""
    from crystalnet.commands.export import export_folder

    asked = {"gsas2": gsas2, "fullprof": fullprof, "topas": topas, "jana": jana, "vesta": vesta}
    typer.echo(export_folder(solution, [program for program, wanted in asked.items() if wanted], candidate, out))

"""crystalnet index: the cells that explain a pattern's lines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crystalnet.cli.choices import AnySystem, Axis


def index(
    pattern: Annotated[
        Path, typer.Argument(help="A measured pattern, or a list of d values or 2θ.", metavar="PATTERN|LINES")
    ],
    wavelength: Annotated[
        str | None, typer.Option(help="CuKa, CuKa1, MoKa, ... or Å; else the file's, else Cu Kα with a warning.")
    ] = None,
    elements: Annotated[
        str | None, typer.Option(help="Elements in the sample: a cell must have room for them.")
    ] = None,
    system: Annotated[AnySystem, typer.Option(help="The crystal system, where it is known.")] = "auto",
    axis: Annotated[Axis, typer.Option(help="What the first column is where the file does not say.")] = "auto",
    scan: Annotated[
        int | None, typer.Option(min=1, help="Number of the scan in a file of several; default the longest.")
    ] = None,
    two_theta_range: Annotated[
        str | None, typer.Option("--range", help="Degrees 2θ to use: 15,90 or 15, or ,90; default all.")
    ] = None,
    cells: Annotated[int, typer.Option(min=1, max=100, help="Most cells shown.")] = 10,
    figure: Annotated[Path | None, typer.Option(help="FILE.png: the lines and those of the best cells.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print cells and lines as JSON.")] = False,
) -> None:
    """Find the unit cell: cells of all crystal systems, best first, with figures of merit and indexed lines."""
    from crystalnet.commands.index import index_file, printed

    answer = index_file(
        pattern,
        wavelength=wavelength,
        elements=elements,
        system=system,
        axis=axis,
        scan=scan,
        limit=cells,
        two_theta_range=two_theta_range,
    )
    raise typer.Exit(printed(answer, json, figure))

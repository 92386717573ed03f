"""crystalnet solve: a measured pattern in; density, cell, atoms and a report out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crystalnet.cli.choices import AnySystem, Axis
from crystalnet.defaults import EFFORT, GUESSES


def solve(
    patterns: Annotated[
        list[Path], typer.Argument(help="Measured patterns, or a CSV that lists them.", metavar="PATTERN...")
    ],
    elements: Annotated[str | None, typer.Option(help="Elements in the sample, e.g. Zr,Sb,Pt.")] = None,
    formula: Annotated[str | None, typer.Option(help="Formula, where known, e.g. Zr3Sb4Pt3.")] = None,
    wavelength: Annotated[
        str | None,
        typer.Option(help="CuKa, CuKa1, MoKa, ... or Å; else the file's, else sought, or Cu Kα, with a warning."),
    ] = None,
    monochromator: Annotated[
        str | None, typer.Option(help="Its crystal (graphite, Ge, Si, LiF, quartz) or 2θ in degrees; else the file's.")
    ] = None,
    scan: Annotated[
        int | None, typer.Option(min=1, help="Number of the scan in a file of several; default the longest.")
    ] = None,
    axis: Annotated[Axis, typer.Option(help="What the first column is where the file does not say.")] = "auto",
    two_theta_range: Annotated[
        str | None, typer.Option("--range", help="Degrees 2θ to use: 15,90 or 15, or ,90; default all.")
    ] = None,
    system: Annotated[AnySystem, typer.Option(help="The crystal system, where it is known.")] = "auto",
    cell: Annotated[
        str | None, typer.Option(help="Known cell: a | a,c (hexagonal axes) | a,alpha=55 | a,b,c,alpha,beta,gamma; Å.")
    ] = None,
    guesses: Annotated[
        int, typer.Option(min=1, max=1000, help="Densities drawn; the first is the latent mean.")
    ] = GUESSES,
    seed: Annotated[int, typer.Option(help="Seed of the latent samples.")] = 0,
    model: Annotated[Path | None, typer.Option(help="Model file instead of the package's.")] = None,
    candidates: Annotated[
        str, typer.Option(help="all, or some of known, catalogue, search, network with commas.")
    ] = "all",
    effort: Annotated[float, typer.Option(help="Seconds of search where no known structure type convinces.")] = EFFORT,
    distance: Annotated[list[str] | None, typer.Option(help="A bond length that you expect, as Si-O=1.62.")] = None,
    coordination: Annotated[list[str] | None, typer.Option(help="Neighbours that you expect, as Si=4.")] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Patterns solved at once; default 1, on a cluster all its workers.")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="Solve on a Dask cluster: local, or its scheduler's address.", metavar="ADDRESS")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on: patterns that were solved with these options are not solved again.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for the results; default PATTERN-STEM.crystalnet.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print solution.json on stdout.")] = False,
) -> None:
    """Solve measured powder patterns: cell, density, atoms, refined and ranked."""
    from crystalnet.commands.samples import Options
    from crystalnet.commands.solve import solve_files

    options = Options(
        elements=elements,
        formula=formula,
        wavelength=wavelength,
        monochromator=monochromator,
        scan=scan,
        axis=axis,
        two_theta_range=two_theta_range,
        system=system,
        cell=cell,
        guesses=guesses,
        seed=seed,
        model=model,
        candidates=candidates,
        effort=effort,
        distances=tuple(distance or ()),
        coordination=tuple(coordination or ()),
    )
    code = solve_files(patterns, options, out=out, jobs=jobs, cluster=cluster, resume=resume, print_json=json)
    raise typer.Exit(code)

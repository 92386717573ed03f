"""crystalnet fetch: make a data set of crystals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crystalnet.cli.choices import Source, Split, System


def fetch(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Structure files (source files).", metavar="[PATHS]...")
    ] = None,
    source: Annotated[
        Source | None,
        typer.Option(help="Default: the Materials Project with a key, else the embedded prototypes."),
    ] = None,
    system: Annotated[System | None, typer.Option(help="Cubic or trigonal, of your files any; default all.")] = None,
    types: Annotated[
        list[Path] | None, typer.Option(help="Structure records that serve as further prototypes.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Most crystals a system.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the generator.")] = 0,
    split: Annotated[
        Split, typer.Option(help="By composition polymorphs stay together; by type whole structure types are left out.")
    ] = "composition",
    split_file: Annotated[
        list[Path] | None,
        typer.Option(help="Lists of Materials Project ids, fetched and divided exactly so; JSON, as the paper's."),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(help="Make embedded crystals on a Dask cluster: local, or its address.", metavar="ADDRESS"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder; one data set a system is made in it.")] = None,
) -> None:
    """Make a data set: from the Materials Project, from embedded structure types, or from your files."""
    from crystalnet.commands.fetch import fetch as run
    from crystalnet.commands.progress import bar

    with bar("crystals") as progress:
        made = run(
            source,
            system,
            tuple(types or ()),
            tuple(paths or ()),
            limit,
            seed,
            out,
            progress,
            typer.echo,
            split,
            tuple(split_file or ()),
            cluster,
        )
    for directory, count in made:
        typer.echo(f"{count} crystals in {directory}")

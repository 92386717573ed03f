"""crystalnet data: look at a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(name="data", help="Look at a data set directory, or check it.", no_args_is_help=True)
Directory = Annotated[Path, typer.Argument(help="Data set directory.", metavar="DIR")]


@app.command(epilog="Example: crystalnet data info data/cubic --figures figures")
def info(
    directory: Directory,
    figures: Annotated[Path | None, typer.Option(help="Folder for pictures of the distributions and of maps.")] = None,
) -> None:
    """What a data set holds."""
    from crystalnet.commands.data import describe

    typer.echo(describe(directory))
    if figures is not None:
        from crystalnet.commands.data_figures import write_figures

        for path in write_figures(directory, figures):
            typer.echo(path)


@app.command(epilog="Example: crystalnet data verify data/cubic")
def verify(directory: Directory) -> None:
    """Check every file of a data set against its hash."""
    from crystalnet.data.store import verify_store

    manifest = verify_store(directory)
    typer.echo(f"{directory}: {manifest['count']} crystals, all files as written")

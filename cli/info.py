"""crystalnet info: what is installed."""

from __future__ import annotations

import typer


def info() -> None:
    """Version, build, which kernels run, models and paths."""
    from crystalnet.commands.info import describe

    typer.echo(describe())

"""crystalnet train: a network from a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crystalnet.cli.choices import Device, Learnt, Preset


def train(
    system: Annotated[Learnt, typer.Option(help="The crystal system.")] = "cubic",
    preset: Annotated[Preset, typer.Option(help="small is for laptops, base for GPUs, paper as published.")] = "small",
    data: Annotated[
        Path | None, typer.Option(help="Data set directory; default: fetch's, made first if need be.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    max_minutes: Annotated[float | None, typer.Option(min=0.05, help="Anneal the learning rate to this time.")] = None,
    device: Annotated[Device, typer.Option(help="Where it is trained.")] = "auto",
    devices: Annotated[int, typer.Option(min=1, help="Processes that share each batch, one a GPU.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Seed.")] = 0,
) -> None:
    """Train a network; interrupt it at any time and go on with --resume."""
    from crystalnet.commands.train import train_default

    model = train_default(system, preset, data, out, resume, max_minutes, device, devices, seed)
    typer.echo(f"model: {model}")

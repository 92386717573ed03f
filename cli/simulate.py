"""crystalnet simulate: the powder pattern of a known structure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def simulate(
    structure: Annotated[Path, typer.Argument(help="CIF, POSCAR or anything pymatgen reads.", metavar="STRUCTURE")],
    wavelength: Annotated[str, typer.Option(help="CuKa, MoKa, ... or Å.")] = "MoKa",
    measured_like: Annotated[
        bool, typer.Option("--measured-like", help="A profile with width, background, noise and Kα2.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    out: Annotated[Path | None, typer.Option(help="FILE.xy; default: print.")] = None,
) -> None:
    """Peaks of a structure, or the profile a diffractometer would measure."""
    from crystalnet.commands.simulate import simulated_file

    typer.echo(simulated_file(structure, wavelength, measured_like, seed, out), nl=out is not None)

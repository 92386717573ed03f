"""crystalnet density: the ground-truth density of a known structure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crystalnet.cli.choices import OfDensity


def density(
    structure: Annotated[Path, typer.Argument(help="CIF, POSCAR or anything pymatgen reads.", metavar="STRUCTURE")],
    grid: Annotated[int, typer.Option(min=8, max=400, help="Points along each cell vector.")] = 50,
    cell: Annotated[OfDensity, typer.Option(help="The canonical primitive cell, or that of the file.")] = "primitive",
    out: Annotated[Path | None, typer.Option(help="FILE.npz, .cube or CHGCAR; default STRUCTURE-STEM.npz.")] = None,
) -> None:
    """Valence density (promolecule, CMED) of a known structure."""
    from crystalnet.commands.density import density_file

    typer.echo(density_file(structure, grid, cell, out))

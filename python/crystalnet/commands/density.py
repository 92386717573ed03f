"""`crystalnet density`: the promolecule of a known structure."""

from __future__ import annotations

from pathlib import Path

from crystalnet.crystal.setting import standard_primitive
from crystalnet.data.structure_files import read_structure
from crystalnet.density.promolecule import promolecule
from crystalnet.records import AtomSites, DensityGrid, InputError


def density_file(structure: Path, grid: int, cell: str, out: Path | None) -> str:
    """Write the promolecule of a structure file (.npz, .cube or CHGCAR); returns a line about it."""
    from crystalnet.report import refuse_foreign_density, write_density

    if cell not in ("primitive", "as-given"):
        raise InputError(f"--cell {cell!r}: choose primitive or as-given")
    path = out or Path(structure.stem + ".npz")
    refuse_foreign_density(path, structure)
    crystal = read_structure(structure)
    if cell == "primitive":
        crystal = standard_primitive(crystal)
    density = DensityGrid(promolecule(crystal, grid), crystal.lattice.matrix)
    write_density(density, AtomSites.from_structure(crystal), path)
    electrons = density.values.sum() * crystal.volume / grid**3
    return f"{path}: {grid}³ points, {electrons:.2f} valence electrons in {crystal.volume:.3f} Å³"

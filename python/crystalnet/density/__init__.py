"""Density and cell: the definitions, and atoms from a density.

`promolecule(structure, grid=50)` is the ground-truth map of a pymatgen Structure in the cell and origin given.
"""

from crystalnet.density.promolecule import GRID, promolecule, promolecule_density

__all__ = ["GRID", "promolecule", "promolecule_density"]

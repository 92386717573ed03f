"""Crystals of CIFs.

A CIF may state its symmetry as a list of operations, a Hall symbol, a Hermann-Mauguin symbol or a number. It may state
it in several ways that disagree, and it may leave the setting open (two origins, hexagonal or rhombohedral axes). Each
setting that its words allow is a reading, and each reading gives a crystal. The rest of the file decides between them:

* A reading is impossible if its operations do not preserve the metric of the cell, if it puts atoms within
  MIN_DISTANCE of each other, or if its composition differs from `_chemical_formula_sum` (hydrogen may be missing).
* A reading is doubtful if its number of atoms differs from formula times `_cell_formula_units_Z`, if its density
  differs from the stated one, or if distances are much shorter than bonds.

The reading that is stated most exactly is believed. InputError names the readings if equally exact ones are different
crystals. A reading with two facts against it is refused; one fact against it is a warning.

Modules: `blocks` (text and numbers), `sites` (the atoms listed), `symmetry` (settings that are stated), `reading` (the
crystal of a setting), `crystals` (the choice).
"""

from crystalnet.crystal.cif.crystals import ReadCrystal, is_cif, read_cif
from crystalnet.crystal.cif.reading import LACKING, MIN_DISTANCE

__all__ = ["LACKING", "MIN_DISTANCE", "ReadCrystal", "is_cif", "read_cif"]

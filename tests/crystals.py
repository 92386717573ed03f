"""Crystals that tests of several rooms know."""

from __future__ import annotations

from pymatgen.core import Lattice, Structure

SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
RUTILE = Structure.from_spacegroup(
    "P4_2/mnm", Lattice.tetragonal(4.594, 2.959), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
)
BADDELEYITE = Structure.from_spacegroup(
    "P2_1/c",
    Lattice.from_parameters(5.15, 5.21, 5.31, 90, 99.2, 90),
    ["Zr", "O", "O"],
    [[0.275, 0.040, 0.208], [0.070, 0.332, 0.345], [0.450, 0.757, 0.479]],
)

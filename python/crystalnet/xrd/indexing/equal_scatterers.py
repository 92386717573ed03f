"""Lattices that show only the lines of a smaller one, because their atoms scatter alike or only light ones differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from pymatgen.core import Lattice

from crystalnet.crystal.lattice import Cell, holohedry
from crystalnet.crystal.symmetry import bravais_lattice
from crystalnet.xrd.indexing.lattices import cell_of
from crystalnet.xrd.indexing.lines import Lines
from crystalnet.xrd.indexing.related import sublattice_matrices

if TYPE_CHECKING:
    from crystalnet.xrd.indexing.index import Indexed

#: A primitive cubic cell up to this edge (Å) has room for one or two atoms only, see `behind_simple_cubic`.
SIMPLE_CUBIC_EDGE = 3.6
#: Strength of the first line, of the strongest, from which a simple cubic cell is doubted: rock salt and metals have it
#: among their strongest (Ni3Si's is weak).
LEADING = 0.5
#: Strength of 110, of 100, from which a cube is as simple as it looks. Calculated with Cu, Co and Mo Kα, equal
#: scatterers show 0.57 (NaF) to 0.81 (RbBr), CsCl's two kinds of atoms, which are opposed in 100, 0.86 (LiHg) and more.
OPPOSED = 0.83
#: Å; a shorter edge has no room for two atoms (BeCo, of CsCl's type: 2.61).
TWO_ATOMS = 2.5
#: How many times the volume of a lattice that explains the lines the hidden ones have, and how many are tried.
HIDDEN, MOST_HIDDEN = (2, 3, 4), 4
#: The same of lattices that have no room for a formula unit, and how far off a volume may be, relative.
MOST_TIMES, MOST_ROOMIER, ROOM = 8, 24, 0.3
#: Relative, and Å: a sublattice has just the symmetry that its lattice was given.
EXACT = 1e-4
#: Relative, of edges that are one.
SAME_EDGE = 3e-3


def hidden_lattices(cell: Cell) -> list[Cell]:
    """Larger lattices whose extra lines are faint when atoms scatter alike, or only the light ones differ.

    KCl (rock salt) looks primitive with half the edge, CsI (CsCl type) body-centred, and an ordered fcc alloy
    face-centred. Calcite and corundum types look as if c were half as long.
    """
    return [larger for index in HIDDEN for larger in larger_lattices(cell, index)][:MOST_HIDDEN]


def roomier_lattices(cells: Sequence[Cell], volume: float) -> list[Cell]:
    """Larger lattices that have room for whole formula units where the cells have not; the most compact first.

    In chalcopyrite copper and iron scatter alike, and the lines are those of half a formula unit. volume: Å³ of one.
    """
    found: list[Cell] = []
    for cell in cells:
        if cell.primitive_volume > (1 - ROOM) * volume:
            continue
        for index in range(2, MOST_TIMES + 1):
            units = index * cell.primitive_volume / volume
            if round(units) >= 1 and abs(units / round(units) - 1) < ROOM:
                found += larger_lattices(cell, index)
    return sorted(found, key=lambda one: max(one.a, one.b, one.c))[:MOST_ROOMIER]


def larger_lattices(cell: Cell, index: int) -> list[Cell]:
    """The lattices of `index` times the volume that have the symmetry of the cell's lattice.

    Each is a sublattice (Santoro & Mighell, Acta Cryst. A28, 284, 1972) that every operation of the holohedry maps onto
    itself.
    """
    primitive = cell.primitive_lattice
    operations = holohedry(primitive, EXACT)
    found = []
    for matrix in sublattice_matrices(index):
        # A row r of the matrix is a point of the lattice; W r must be whole in the axes of the larger one.
        images = matrix @ operations.transpose(0, 2, 1) @ np.linalg.inv(matrix)
        if not np.allclose(images, np.rint(images), atol=1e-6):
            continue
        axes = matrix @ primitive
        bravais = bravais_lattice(axes, EXACT)
        if bravais is not None:
            system, centring, conventional = bravais
            a, b, c, alpha, beta, gamma = Lattice(conventional).parameters
            larger = replace(cell, system=system, centring=centring, a=a, b=b, c=c, alpha=alpha, beta=beta, gamma=gamma)
            found.append(larger)
    return found


def behind_simple_cubic(lines: Lines, ranked: list[Indexed]) -> list[Indexed]:
    """Put the likeliest of three lattices first where a tiny primitive cube is among the best.

    Equal scatterers on a simple cubic lattice give lines with 100 stronger than 110, and only polonium is built so. The
    lines are those of rock salt with ions of nearly equal electrons (KCl: twice the edge, F). Where 111 is stronger
    than 110 they are a body-centred metal's (√2 times the edge, I), which has the same lines up to N = 7, the first gap
    of the primitive set. Where 110 is the stronger they are those of CsCl's type.
    """
    for one in ranked:
        cell = cell_of(one.state)
        # The lines alone count: of two elements there is no room for both in such a cube.
        if (
            one.state["score"] < ranked[0].state["score"] - 1
            or cell.free != ("a",)
            or cell.centring != "P"
            or cell.a > SIMPLE_CUBIC_EDGE
        ):
            continue
        first, second, third = (_strength_at(lines, cell, number) for number in (1, 2, 3))
        likely = cell
        if cell.a < TWO_ATOMS or (first > LEADING and OPPOSED * first > second > 0):
            edge = 2**0.5 * cell.a
            likely = replace(cell, centring="I", a=edge, c=edge) if third >= second else hidden_lattices(cell)[0]
        if second > 0:
            ranked = sorted(ranked, key=lambda item: not _is(cell_of(item.state), likely))
    return ranked


def _is(cell: Cell, likely: Cell) -> bool:
    same = cell.system == likely.system and cell.centring == likely.centring
    return same and abs(cell.a / likely.a - 1) < SAME_EDGE


def _strength_at(lines: Lines, cell: Cell, number: int) -> float:
    """Strength of the line met at h²+k²+l² = number of a cubic cell, 0 where there is none."""
    miss = np.abs(lines.q(cell.zero_shift) - number / cell.a**2) / lines.slope
    return float(np.max(lines.strength, where=miss < 2 * lines.tolerance, initial=0.0))

"""Larger lattices whose further lines are weak."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from crystalnet.crystal.lattice import Cell
from crystalnet.xrd.indexing.comparison import MAX_CHANCE, Comparison
from crystalnet.xrd.indexing.lattices import lattice_of, state_of
from crystalnet.xrd.indexing.least_squares import refine
from crystalnet.xrd.indexing.lines import Lines
from crystalnet.xrd.indexing.rating import Rated, same_cell

#: Most lines that decide whether a larger lattice is needed, see `with_superlattice`.
MANY_LINES = 120
#: Nats by which the lines that only a larger lattice explains must argue for it.
SUPERLATTICE_GAIN = 6.0
#: A primitive cubic cell up to this edge (Å) has room for one or two atoms only, see `behind_simple_cubic`.
SIMPLE_CUBIC_EDGE = 3.6
#: Strength of the first line, of the strongest, from which a simple cubic cell is doubted: rock salt and metals have it
#: among their strongest (Ni3Si's is weak).
LEADING = 0.5


def hidden_lattices(cell: Cell) -> list[Cell]:
    """Larger lattices whose extra lines are faint when atoms scatter alike, or only the light ones differ.

    KCl (rock salt) looks primitive with half the edge, CsI (CsCl type) body-centred, and an ordered fcc alloy
    face-centred. Calcite and corundum types look as if c were half as long.
    """
    if "c" in cell.free:
        doubled = replace(cell, c=2 * cell.c)
        return [doubled, replace(cell, centring="P")] if cell.centring == "R" else [doubled]
    if cell.centring == "P":
        return [replace(cell, centring=x, a=2 * cell.a, c=2 * cell.c) for x in "FI"]
    return [replace(cell, centring="P")]


def with_superlattice(lines: Lines, ranked: list[Rated]) -> list[Rated]:
    """Put a larger lattice that contains the best one first, where lines that only it explains ask for it.

    Its extra lines are few and weak as a rule (ordering, tilted octahedra). The score, which wants all calculated lines
    seen alike, therefore never puts it first.
    """
    for _ in range(2):  # a superlattice may have one of its own
        if not ranked:
            break
        best = ranked[0]
        larger = [(_superlattice_gain(lines, best.cell, one.cell), one) for one in ranked[1:]]
        gain, found = max(larger, key=lambda item: item[0], default=(0.0, best))
        if gain < SUPERLATTICE_GAIN:
            break
        others = [one for one in ranked if one.cell is not found.cell]
        ranked = [Rated(max(best.score, found.score), found.cell), *others]
    return ranked


def _superlattice_gain(lines: Lines, small: Cell, large: Cell) -> float:
    """Score that `large` gains by the lines that `small` leaves unexplained; −∞ where it does not contain `small`.

    To `small` such a line is spurious. `large` has a place for it, which a random line meets by chance, and of all its
    extra places it expects as many to be met as are.
    """
    times = large.primitive_volume / small.primitive_volume
    if small.system != large.system or times < 1.5 or abs(times - round(times)) > 0.02 * times:
        return -math.inf
    hits, chances, places = [], [], []
    q_max = lines.q(small.zero_shift).max()
    for cell in (small, large):
        lattice = lattice_of(cell)
        match = Comparison(lines, lattice)
        state = refine(lines, lattice, state_of(cell))
        q, every = lines.q(*state[:, 2:].T), np.arange(len(lines))
        hits.append(match.distance(state[:, :2], q, every)[0] < 1)
        chances.append(match.chance(state[:, :2], q, every)[0])
        places.append(len(lattice.calculated(state[0, :2], q_max)))
    telling = chances[1] < MAX_CHANCE
    if (hits[0] & ~hits[1] & telling).sum() > 1:
        return -math.inf
    gained = hits[1] & ~hits[0] & telling
    found, possible = int(gained.sum()), max(places[1] - places[0], int(gained.sum()) + 1)
    if not found:
        return -math.inf
    ratio = 1.6 * found / (len(lines) * chances[1][gained] * lines.spurious[gained])
    return float(np.log(ratio).sum() + (possible - found) * math.log(1 - found / possible))


def behind_simple_cubic(lines: Lines, ranked: list[Rated]) -> list[Rated]:
    """Put the likelier lattice first where the best one is a tiny primitive cube with 100 stronger than 110.

    Equal scatterers on a simple cubic lattice give such lines, and only polonium is built so. The lines are those of
    rock salt with ions of nearly equal electrons (KCl: twice the edge, F). Where 111 is stronger than 110 they are a
    body-centred metal's (√2 times the edge, I), which has the same lines up to N = 7, the first gap of the primitive
    set.
    """
    for score, cell in ranked[:3]:
        if score < ranked[0].score - 1 or cell.free != ("a",) or cell.centring != "P" or cell.a > SIMPLE_CUBIC_EDGE:
            continue
        first, second, third = (_strength_at(lines, cell, number) for number in (1, 2, 3))
        if first > LEADING and first > second > 0:
            edge = 2**0.5 * cell.a
            likely = replace(cell, centring="I", a=edge, c=edge) if third > second else hidden_lattices(cell)[0]
            ranked = sorted(ranked, key=lambda item: not same_cell(item.cell, likely))
    return ranked


def _strength_at(lines: Lines, cell: Cell, number: int) -> float:
    """Strength of the line met at h²+k²+l² = number of a cubic cell, 0 where there is none."""
    miss = np.abs(lines.q(cell.zero_shift) - number / cell.a**2) / lines.slope
    return float(np.max(lines.strength, where=miss < 2 * lines.tolerance, initial=0.0))

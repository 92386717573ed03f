"""Larger lattices whose further lines are weak."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from crystalnet.crystal.lattice import Cell
from crystalnet.xrd.indexing.lattices import _calculated, _state
from crystalnet.xrd.indexing.lines import _Lines
from crystalnet.xrd.indexing.rating import _same
from crystalnet.xrd.indexing.search import MAX_CHANCE, _chance, _misfit, _refine

#: Most lines that are asked whether a larger lattice is needed, see `_with_superlattice`.
MANY_LINES = 120
#: Nats by which the lines that only a larger lattice explains must argue for it.
SUPERLATTICE_GAIN = 6.0
#: A primitive cubic cell up to this edge (Å) has room for one or two atoms only, see `_behind_simple_cubic`.
SIMPLE_CUBIC_EDGE = 3.6
#: Of the strongest line: what stands behind simple cubic has its first line among the strongest (Ni3Si's is weak).
LEADING = 0.5


def hidden_lattices(cell: Cell) -> list[Cell]:
    """Larger lattices whose extra lines are faint when atoms scatter alike, or only the light ones differ.

    KCl (rock salt) looks primitive with half the edge; CsI (CsCl type), body-centred; an ordered fcc alloy,
    face-centred; calcite and corundum types look as if c were half.
    """
    if "c" in cell.free:
        doubled = replace(cell, c=2 * cell.c)
        return [doubled, replace(cell, centring="P")] if cell.centring == "R" else [doubled]
    if cell.centring == "P":
        return [replace(cell, centring=x, a=2 * cell.a, c=2 * cell.c) for x in "FI"]
    return [replace(cell, centring="P")]


def _with_superlattice(lines: _Lines, ranked: list[tuple[float, Cell]]) -> list[tuple[float, Cell]]:
    """Put a larger lattice that contains the best one first, where lines that only it explains ask for it.

    Its extra lines are few and weak as a rule (ordering, tilted octahedra), so that by its own description length,
    which wants all calculated lines seen alike, it never wins.
    """
    for _ in range(2):  # a superlattice may have one of its own
        if not ranked:
            break
        best = ranked[0]
        larger = [(_superlattice_gain(lines, best[1], cell), (score, cell)) for score, cell in ranked[1:]]
        gain, found = max(larger, key=lambda item: item[0], default=(0.0, best))
        if gain < SUPERLATTICE_GAIN:
            break
        ranked = [(max(best[0], found[0]), found[1]), *(item for item in ranked if item[1] is not found[1])]
    return ranked


def _superlattice_gain(lines: _Lines, small: Cell, large: Cell) -> float:
    """Nats for `large` from the lines that `small` leaves over; −∞ where it does not contain `small`.

    A line left over is strange to `small`; `large` has a place for it, found by chance in the share `chance` of cases,
    and expects as many such lines as there are, of all its extra places.
    """
    times = large.primitive_volume / small.primitive_volume
    if small.system != large.system or times < 1.5 or abs(times - round(times)) > 0.02 * times:
        return -math.inf
    hits, chances, places = [], [], []
    q_max = lines.q(small.zero_shift).max()
    for cell in (small, large):
        state = _refine(lines, cell.system, cell.centring, _state(cell))
        q, every = lines.q(*state[:, 2:].T), np.arange(len(lines))
        hits.append(_misfit(lines, cell.system, cell.centring, state[:, :2], q, every, 0.0)[0] < 1)
        chances.append(_chance(lines, cell.system, cell.centring, state[:, :2], q, every, 0.0)[0])
        places.append(len(_calculated(cell.system, cell.centring, "", state[0, :2], q_max)))
    telling = chances[1] < MAX_CHANCE
    if (hits[0] & ~hits[1] & telling).sum() > 1:
        return -math.inf
    gained = hits[1] & ~hits[0] & telling
    found, possible = int(gained.sum()), max(places[1] - places[0], int(gained.sum()) + 1)
    if not found:
        return -math.inf
    ratio = 1.6 * found / (len(lines) * chances[1][gained] * lines.strange[gained])
    return float(np.log(ratio).sum() + (possible - found) * math.log(1 - found / possible))


def _behind_simple_cubic(lines: _Lines, ranked: list[tuple[float, Cell]]) -> list[tuple[float, Cell]]:
    """Put the likelier lattice first where the best one is a tiny primitive cube with 100 stronger than 110.

    That is what equal scatterers on a simple cubic lattice give, and only polonium is built so: behind it
    stands rock salt of near-isoelectronic ions (KCl: twice the edge, F) or, if 111 is stronger than 110, a
    body-centred metal (√2 times the edge, I: the same lines up to N = 7, the first gap of the primitive set).
    """
    for score, cell in ranked[:3]:
        if score < ranked[0][0] - 1 or cell.free != ("a",) or cell.centring != "P" or cell.a > SIMPLE_CUBIC_EDGE:
            continue
        first, second, third = (_strength_at(lines, cell, number) for number in (1, 2, 3))
        if first > LEADING and first > second > 0:
            edge = 2**0.5 * cell.a
            likely = replace(cell, centring="I", a=edge, c=edge) if third > second else hidden_lattices(cell)[0]
            ranked = sorted(ranked, key=lambda item: not (_same(item[1], likely)))
    return ranked


def _strength_at(lines: _Lines, cell: Cell, number: int) -> float:
    """Strength of the line met at h²+k²+l² = number of a cubic cell, 0 where there is none."""
    miss = np.abs(lines.q(cell.zero_shift) - number / cell.a**2) / lines.slope
    return float(np.max(lines.strength, where=miss < 2 * lines.tolerance, initial=0.0))

"""How much a cell explains, by description length.

The score is what is saved, in nats, where the lines are described by a cell instead of one by one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from crystalnet.bragg import inverse_d_squared, two_theta_of_inverse_d
from crystalnet.crystal.lattice import Cell
from crystalnet.xrd.indexing.lattices import Lattice
from crystalnet.xrd.indexing.lines import DISPLACEMENT_ESD, ZERO_ESD, Lines

#: Nats a cell parameter costs: log(range searched / precision reached) = log(10 Å / 0.005 Å).
PARAMETER_COST = 7.6


class Rated(NamedTuple):
    """A cell and how well the lines speak for it.

    Attributes
    ----------
    score : float
        Nats saved where the lines are described by the cell; higher is better.
    cell : Cell
    """

    score: float
    cell: Cell


def rate(lines: Lines, lattice: Lattice, state: np.ndarray) -> Rated:
    """The cell of a state with its score and de Wolff's M, for the likeliest of the lattice's extinctions.

    Parameters
    ----------
    lines : Lines
    lattice : Lattice
    state : ndarray, shape (4,)
        A, C, zero, displacement.
    """
    rates = [_rate_with(lines, lattice, glide, state) for glide in lattice.glides]
    score, cell = max(rates, key=lambda rated: rated.score)
    return Rated(score - math.log(len(rates)), cell)


def _rate_with(lines: Lines, lattice: Lattice, glide: str, state: np.ndarray) -> Rated:
    """Score and cell for one set of extinctions."""
    cell = lattice.cell(state)
    zero, displacement = state[2:]
    n = len(lines)
    observed = lines.two_theta - zero - displacement * lines.displacement_shift
    first, last = lines.two_theta_min - zero, observed[-1] + lines.tolerance[-1]
    q_max = inverse_d_squared(last, lines.wavelength)
    q_calc = lattice.calculated(state[:2], q_max, glide)
    calc = two_theta_of_inverse_d(np.sqrt(q_calc), lines.wavelength)
    calc = calc[calc > first]
    if not len(calc):
        return Rated(-math.inf, cell)
    miss, group, seen = _assigned(lines, observed, calc)
    hit = np.zeros(n, bool)
    hit[list(seen.values())] = True
    found, possible = len(seen), int(group[-1]) + 1
    # The spread of the lines comes from themselves and from a prior worth three lines at half the tolerance. A broad
    # line, perhaps several in one, is known less well.
    breadth = lines.tolerance[hit] / lines.usual_tolerance
    square = float(np.sum((miss[hit] / breadth) ** 2))
    variance = (square + 3 * (lines.usual_tolerance / 2) ** 2) / (found + 3)
    # A group of m lines may be met anywhere on its width: m places at most, fewer where they overlap.
    size = np.bincount(group)
    start = np.concatenate([[0], np.cumsum(size)])[:-1]
    width = calc[start + size - 1] - calc[start]
    places = np.minimum(size, 1 + width / math.sqrt(2 * math.pi * variance))
    span = last - min(lines.two_theta_min + 5, observed[0])
    score = (
        found * math.log(span / math.sqrt(2 * math.pi * variance))
        - square / (2 * variance)
        - np.log(breadth).sum()
        - np.log(places[list(seen)]).sum()
        + np.log(1 - lines.spurious[hit]).sum()
        + np.log(lines.spurious[~hit]).sum()
        - _log_choose(possible, found)
        - math.lgamma(n + 1)
        + math.lgamma(n - found + 1)
        - lattice.free_parameters * PARAMETER_COST
        - max(0.0, math.log(cell.primitive_volume / 200))
        - zero**2 / (2 * ZERO_ESD**2)
        - displacement**2 / (2 * DISPLACEMENT_ESD**2)
    )
    merit = 0.0
    if found:
        discrepancy = np.abs(miss * lines.slope)[hit].mean() + 1e-6 * q_calc[-1]
        merit = float(q_calc[-1] / (2 * discrepancy * possible))
    return Rated(float(score), replace(cell, figure_of_merit=merit, n_indexed=found, n_lines=n))


def _assigned(lines: Lines, observed: np.ndarray, calc: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict[int, int]]:
    """(distance (n,) of each measured line from the nearest calculated one, group (m,) of each calculated line, seen).

    Calculated lines closer than the resolution make one group. seen: the strongest measured line of each group that is
    met. observed (n,) and calc (m,): degrees 2θ.
    """
    upper = np.clip(np.searchsorted(calc, observed), 0, len(calc) - 1)
    below = np.maximum(upper - 1, 0)
    near = np.where(np.abs(observed - calc[below]) < np.abs(observed - calc[upper]), below, upper)
    miss = observed - calc[near]
    group = np.concatenate([[0], np.cumsum(np.diff(calc) > 2 * lines.usual_tolerance)])
    seen: dict[int, int] = {}
    for i in np.flatnonzero(np.abs(miss) < 2 * lines.tolerance)[::-1]:
        j = seen.setdefault(int(group[near[i]]), int(i))
        if lines.strength[i] > lines.strength[j]:
            seen[int(group[near[i]])] = int(i)
    return miss, group, seen


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def same_cell(one: Cell, other: Cell) -> bool:
    """Of one Bravais lattice, the edges equal within 0.3%?"""
    same = one.system == other.system and one.centring == other.centring
    return same and abs(one.a / other.a - 1) < 3e-3 and abs(one.c / other.c - 1) < 3e-3


def without_repeats(rated: Sequence[Rated], limit: int) -> list[Rated]:
    """The best distinct cells, best first."""
    kept: list[Rated] = []
    for one in sorted(rated, key=lambda rated: -rated.score):
        if not any(same_cell(one.cell, other.cell) for other in kept):
            kept.append(one)
        if len(kept) == limit:
            break
    return kept

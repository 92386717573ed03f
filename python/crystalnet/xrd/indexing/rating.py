"""How much a cell explains, by description length."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from crystalnet.bragg import inverse_d_squared, two_theta_of_inverse_d
from crystalnet.crystal.lattice import Cell
from crystalnet.xrd.indexing.lattices import GLIDES, _calculated, _cell
from crystalnet.xrd.indexing.lines import LEAN_ESD, ZERO_ESD, _Lines
from crystalnet.xrd.indexing.search import _search

#: Nats a cell parameter costs: log(range searched / precision reached) = log(10 Å / 0.005 Å).
PARAMETER_COST = 7.6
#: Best cells on hexagonal axes whose metric is asked whether a cubic lattice has all their lines.
HOLOHEDRIES = 6


# --------------------------------------------------------------------------------------------------
# ranking


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _rated(lines: _Lines, system: str, centring: str, state: np.ndarray) -> tuple[float, Cell]:
    """Score in nats (module docstring) and the cell with de Wolff's M, for the likeliest extinctions."""
    glides = GLIDES.get((system, centring), ("",))
    rates = [_rate(lines, system, centring, glide, state) for glide in glides]
    score, cell = max(rates, key=lambda item: item[0])
    return score - math.log(len(glides)), cell


def _searched(lines: _Lines, system: str, centring: str) -> list[tuple[float, Cell]]:
    """Promising cells of one Bravais lattice with their scores."""
    return [_rated(lines, system, centring, state) for state in _search(lines, system, centring)]


def _rate(lines: _Lines, system: str, centring: str, glide: str, state: np.ndarray) -> tuple[float, Cell]:
    """Score and cell for one set of extinctions."""
    cell = _cell(system, centring, state)
    zero, lean = state[2:]
    n = len(lines)
    observed = lines.two_theta - zero - lean * lines.lean
    first, last = lines.two_theta_min - zero, observed[-1] + lines.tolerance[-1]
    q_max = inverse_d_squared(last, lines.wavelength)
    q_calc = _calculated(system, centring, glide, state[:2], q_max)
    calc = two_theta_of_inverse_d(np.sqrt(q_calc), lines.wavelength)
    calc = calc[calc > first]
    if not len(calc):
        return -math.inf, cell
    upper = np.clip(np.searchsorted(calc, observed), 0, len(calc) - 1)
    below = np.maximum(upper - 1, 0)
    near = np.where(np.abs(observed - calc[below]) < np.abs(observed - calc[upper]), below, upper)
    miss = observed - calc[near]
    # Calculated lines closer than the resolution make one line.
    group = np.concatenate([[0], np.cumsum(np.diff(calc) > 2 * lines.usual_tolerance)])
    seen: dict[int, int] = {}
    for i in np.flatnonzero(np.abs(miss) < 2 * lines.tolerance)[::-1]:
        j = seen.setdefault(int(group[near[i]]), int(i))
        if lines.strength[i] > lines.strength[j]:
            seen[int(group[near[i]])] = int(i)
    hit = np.zeros(n, bool)
    hit[list(seen.values())] = True
    found, possible = len(seen), int(group[-1]) + 1
    # The misfit comes from the lines themselves and a prior worth three lines at half the tolerance; a broad
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
        + np.log(1 - lines.strange[hit]).sum()
        + np.log(lines.strange[~hit]).sum()
        - _log_choose(possible, found)
        - math.lgamma(n + 1)
        + math.lgamma(n - found + 1)
        - len(cell.free) * PARAMETER_COST
        - max(0.0, math.log(cell.primitive_volume / 200))
        - zero**2 / (2 * ZERO_ESD**2)
        - lean**2 / (2 * LEAN_ESD**2)
    )
    merit = 0.0
    if found:
        misfit = np.abs(miss * lines.slope)[hit].mean() + 1e-6 * q_calc[-1]
        merit = float(q_calc[-1] / (2 * misfit * possible))
    return float(score), replace(cell, figure_of_merit=merit, n_indexed=found, n_lines=n)


def _same(one: Cell, other: Cell) -> bool:
    """Equal within 0.3%."""
    same = one.system == other.system and one.centring == other.centring
    return same and abs(one.a / other.a - 1) < 3e-3 and abs(one.c / other.c - 1) < 3e-3


def _without_repeats(rated: Sequence[tuple[float, Cell]], limit: int) -> list[tuple[float, Cell]]:
    """The best distinct cells, best first."""
    kept: list[tuple[float, Cell]] = []
    for score, cell in sorted(rated, key=lambda item: -item[0]):
        if not any(_same(cell, other) for _, other in kept):
            kept.append((score, cell))
        if len(kept) == limit:
            break
    return kept

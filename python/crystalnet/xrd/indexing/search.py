"""From single lines and pairs of lines to cells that explain many."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from crystalnet.xrd.indexing.comparison import MAX_CHANCE, Comparison
from crystalnet.xrd.indexing.lattices import Lattice
from crystalnet.xrd.indexing.least_squares import refine
from crystalnet.xrd.indexing.lines import ZERO_STEPS, Lines

#: Base lines, which are indexed in pairs: (how many, of lowest angle among how many strongest). One pair of the
#: crystal's own lines suffices. The first choice serves large cells, whose low orders are weak, the second one patterns
#: with many weak foreign lines at low angle.
BASES = ((6, 14), (4, 7))
#: Starts kept at each sieve, and refined cells of a lattice that are rated in full.
KEEP, RATED = 500, 60


def search(lines: Lines, lattice: Lattice) -> np.ndarray:
    """Promising cells of one Bravais lattice, refined.

    Returns
    -------
    ndarray, shape (m, 4)
        States: A, C, zero, displacement.
    """
    base, pairs = _bases(lines)
    strong = np.sort(_best(lines.strength, max(of for _, of in BASES)))
    step = lines.max_zero / ZERO_STEPS
    coarse = Comparison(lines, lattice, step / 2)
    starts = [np.empty((0, 4))]
    for trial in step * np.arange(-ZERO_STEPS, ZERO_STEPS + 1):
        q = lines.q(trial)
        metric = lattice.starts(q, pairs)
        metric = metric[_sieve(coarse, metric, q, base)]
        metric = metric[_best(coarse.gain(metric, q, base), KEEP)]
        starts.append(np.column_stack([metric, np.full(len(metric), trial), np.zeros(len(metric))]))
    state = np.concatenate(starts)
    gain = coarse.gain(state[:, :2], lines.q(state[:, 2]), strong)
    # Trial zeros a step apart give versions of a cell that differ by half a percent and refine to the same.
    state = state[_distinct(state[:, :2], gain, KEEP, 0.006)]
    state = refine(lines, lattice, state, step / 2)
    gain = Comparison(lines, lattice).gain(state[:, :2], lines.q(*state[:, 2:].T), np.arange(len(lines)))
    cells: np.ndarray = state[_distinct(state[:, :2], gain, RATED, 0.0015)]
    return cells


def _bases(lines: Lines) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """The base lines, and the pairs of them to be indexed together."""
    chosen = [np.sort(_best(lines.strength, of))[:count] for count, of in BASES]
    pairs = {(int(i), int(j)) for base in chosen for i, j in combinations(base, 2)}
    return np.unique(np.concatenate(chosen)), sorted(pairs)


def _sieve(match: Comparison, metric: np.ndarray, q: np.ndarray, use: np.ndarray) -> np.ndarray:
    """Indices of the starts worth a full test: not too dense, and meeting two of the three strongest."""
    chance = match.chance(metric, q, use[len(use) // 2 :][:1])
    keep = np.flatnonzero(chance[:, 0] < MAX_CHANCE)
    strongest = use[_best(match.lines.strength[use], 3)]
    hit = match.distance(metric[keep], q, strongest) < 1
    worth: np.ndarray = keep[hit.sum(1) >= min(2, len(strongest))]
    return worth


def _best(values: np.ndarray, count: int) -> np.ndarray:
    """Indices of the count largest finite values, largest first."""
    order = np.argsort(-values, kind="stable")[:count]
    finite: np.ndarray = order[np.isfinite(values[order])]
    return finite


def _distinct(metric: np.ndarray, gain: np.ndarray, count: int, relative: float) -> np.ndarray:
    """Indices of the best, one of those whose A and C agree within about this relative difference."""
    order = _best(gain, len(gain))
    key = np.round(np.log(np.maximum(metric[order], 1e-9)) / relative).astype(np.int64)
    _, first = np.unique(key, axis=0, return_index=True)
    return order[np.sort(first)[:count]]

"""From pairs of lines to cells that explain many."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np

from crystalnet.xrd.indexing.lattices import _distance, _line_density, _nearest, _starts
from crystalnet.xrd.indexing.lines import LEAN_ESD, ZERO_ESD, ZERO_STEPS, _Lines

#: Base lines: (how many, lowest of how many strongest). Two real ones suffice; the second choice is there for
#: patterns with many weak foreign lines at low angle, the first for large cells, whose low orders are weak.
BASES = ((6, 14), (4, 7))
#: Starts kept at each sieve, and refined cells of a lattice that are rated in full.
KEEP, RATED = 500, 60
#: Chance of a random hit on the base lines above which a hit says too little and a cell is not tried.
MAX_CHANCE = 0.4


def _bases(lines: _Lines) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """The base lines, and the pairs of them to be indexed together."""
    chosen = [np.sort(_best(lines.strength, of))[:count] for count, of in BASES]
    pairs = {(int(i), int(j)) for base in chosen for i, j in combinations(base, 2)}
    return np.unique(np.concatenate(chosen)), sorted(pairs)


def _misfit(
    lines: _Lines,
    system: str,
    centring: str,
    metric: np.ndarray,
    q: np.ndarray,
    use: np.ndarray,
    slack: float,
) -> np.ndarray:
    """Distance of each line of `use` to a calculated one, in windows, (m, len(use)); q (n,) or (m, n)."""
    window = (lines.window(1.5, slack) * lines.slope)[use]
    q = np.broadcast_to(q, (len(metric), len(lines)))[:, use]
    misfit = np.empty(q.shape)
    if not misfit.size:  # no start survived the sieve
        return misfit
    order = np.argsort(metric[:, 0])  # cells of like A need like numbers of M
    for part in np.array_split(order, max(1, q.size // 40_000)):
        misfit[part] = _distance(system, centring, metric[part], q[part]) / window
    return misfit


def _chance(
    lines: _Lines,
    system: str,
    centring: str,
    metric: np.ndarray,
    q: np.ndarray,
    use: np.ndarray,
    slack: float,
) -> np.ndarray:
    """Chance of a hit on a lattice with as many lines but no relation to the crystal, (m, len(use))."""
    window = (lines.window(1.5, slack) * lines.slope)[use]
    q = np.broadcast_to(q, (len(metric), len(lines)))[:, use]
    chance: np.ndarray = 1 - np.exp(-2 * window * _line_density(system, centring, metric, q))
    return chance


def _sieve(
    lines: _Lines,
    system: str,
    centring: str,
    metric: np.ndarray,
    q: np.ndarray,
    use: np.ndarray,
    slack: float,
) -> np.ndarray:
    """Indices of the starts worth a full test: not too dense, and meeting two of the three strongest."""
    chance = _chance(lines, system, centring, metric, q, use[len(use) // 2 :][:1], slack)
    keep = np.flatnonzero(chance[:, 0] < MAX_CHANCE)
    strongest = use[_best(lines.strength[use], 3)]
    hit = _misfit(lines, system, centring, metric[keep], q, strongest, slack) < 1
    worth: np.ndarray = keep[hit.sum(1) >= min(2, len(strongest))]
    return worth


def _gain(
    lines: _Lines,
    system: str,
    centring: str,
    metric: np.ndarray,
    q: np.ndarray,
    use: np.ndarray,
    slack: float,
) -> np.ndarray:
    """Log-likelihood ratio against chance of the lines `use` falling on calculated ones, (m,)."""
    misfit = _misfit(lines, system, centring, metric, q, use, slack)
    chance = _chance(lines, system, centring, metric, q, use, slack)
    strange = lines.strange[use]
    # Met lines are spread normally with half the window, chance ones evenly over all of it.
    met = np.log((1 - strange) / chance) + math.log(4 / math.sqrt(2 * math.pi)) - 2 * misfit**2
    missed = np.log(strange / np.maximum(1 - chance, 0.02))
    gain: np.ndarray = np.where(misfit < 1, met, missed).sum(1)
    return gain


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


def _search(lines: _Lines, system: str, centring: str) -> np.ndarray:
    """Promising cells of one Bravais lattice, refined: (m, 4) of A, C, zero, lean."""
    base, pairs = _bases(lines)
    strong = np.sort(_best(lines.strength, max(of for _, of in BASES)))
    step = lines.max_zero / ZERO_STEPS
    starts = [np.empty((0, 4))]
    for trial in step * np.arange(-ZERO_STEPS, ZERO_STEPS + 1):
        q = lines.q(trial)
        metric = _starts(system, centring, q, pairs)
        metric = metric[_sieve(lines, system, centring, metric, q, base, step / 2)]
        metric = metric[_best(_gain(lines, system, centring, metric, q, base, step / 2), KEEP)]
        starts.append(np.column_stack([metric, np.full(len(metric), trial), np.zeros(len(metric))]))
    state = np.concatenate(starts)
    gain = _gain(lines, system, centring, state[:, :2], lines.q(state[:, 2]), strong, step / 2)
    # Trial zeros a step apart give versions of a cell that differ by half a percent and refine to the same.
    state = state[_distinct(state[:, :2], gain, KEEP, 0.006)]
    state = _refine(lines, system, centring, state, step / 2)
    gain = _gain(lines, system, centring, state[:, :2], lines.q(*state[:, 2:].T), np.arange(len(lines)), 0.0)
    cells: np.ndarray = state[_distinct(state[:, :2], gain, RATED, 0.0015)]
    return cells


def _refine(lines: _Lines, system: str, centring: str, state: np.ndarray, slack: float = 0.0) -> np.ndarray:
    """Least squares of (A, C, zero, lean) for all m starts at once: (m, 4) in and out.

    The two shift parameters are held softly at 0 by their expected spread: it matters where lines are few.
    """
    state = state.copy()
    if not len(state):
        return state
    held = np.array([0.0, 0.0, ZERO_ESD**-2, LEAN_ESD**-2])
    for times, left in ((4.0, slack), (4.0, slack / 2), (3.0, slack / 4), (2.5, 0.0), (2.5, 0.0)):
        q = lines.q(state[:, 2], state[:, 3])
        i, s = _nearest(system, centring, state[:, :2], q)
        miss = (q - state[:, :1] * i - state[:, 1:2] * s) / lines.slope
        weight = (np.abs(miss) < lines.window(times, left)) / lines.tolerance**2
        # Columns A and C in relative units, so that the normal matrix is well scaled.
        design = np.stack(
            [
                state[:, :1] * i / lines.slope,
                state[:, 1:2] * s / lines.slope,
                np.ones_like(i),
                np.broadcast_to(lines.lean, i.shape),
            ],
            axis=-1,
        )
        normal = np.einsum("mn,mnp,mnq->mpq", weight, design, design)
        normal += np.eye(4) * (held + 1e-6)
        right = np.einsum("mn,mnp,mn->mp", weight, design, miss) - held * state
        step = np.linalg.solve(normal, right[..., None])[..., 0]
        # A start whose lines do not determine it may run away: not far in one cycle.
        step = np.clip(step, [-0.02, -0.02, -0.2, -0.2], [0.02, 0.02, 0.2, 0.2])
        state[:, :2] *= 1 + step[:, :2]
        state[:, 2:] += step[:, 2:]
    return state

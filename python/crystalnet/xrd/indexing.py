"""From line positions to the unit cell: exhaustive indexing of cubic and trigonal (hexagonal-axes) lattices.

With Q = 1/d² a cubic lattice has Q = A·N, N = h²+k²+l², and a lattice on hexagonal axes Q = A·M + C·l²,
M = h²+hk+k². One or two lines with guessed indices therefore fix the cell for each trial zero shift; all such
guesses on the low-angle strong lines are made, tested against the other lines, refined by least squares and
ranked. Nothing about the cell is assumed.

The ranking is a description length: how much better "these Nc calculated lines, n of them seen" tells the
measured positions than chance does. It contains de Wolff's M (J. Appl. Cryst. 1, 108, 1968): an indexed line
earns the log of (mean spacing of calculated lines / misfit). Beyond M it makes a strong unexplained line cost
more than a weak one and a calculated but unseen line cost something, which is also what decides the centring.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import combinations

import numpy as np

from crystalnet.pool import Map
from crystalnet.records import Cell, InputError, Peaks
from crystalnet.xrd.holohedry import cubic_lattice, same_metric

#: A cell scoring less (nats, `_rated`), or of lower de Wolff's M, is not returned: "neither fits". Three lines of a
#: body-centred metal that fit to the last digit are worth 7.5.
MIN_SCORE, MIN_MERIT = 5.0, 5.0
#: Most lines used, lowest angles first: further up, lines overlap and every large cell fits them.
MAX_LINES = 30
#: Most lines that are asked whether a larger lattice is needed, see `_with_superlattice`.
MANY_LINES = 120
#: Nats by which the lines that only a larger lattice explains must argue for it.
SUPERLATTICE_GAIN = 6.0
#: In a long list, lines weaker than this fraction of the strongest are left out (in a short one, those of noise size).
LEAST_STRENGTH = 0.02
#: Cell edges searched, Å. The lower end leaves room for halved pseudo-cells (KCl, NaF seen as primitive).
A_RANGE = (2.2, 26.0)
C_RANGE = (2.2, 50.0)
#: Zero shift searched, degrees, and the number of trial values on each side of 0.
MAX_ZERO, ZERO_STEPS = 0.3, 5
#: Standard deviations expected of the shift: its mean (zero), and its slope in cosθ (specimen displacement).
ZERO_ESD, LEAN_ESD = 0.12, 0.1
#: Indices guessed for the base lines: h²+k²+l² (cubic); h²+hk+k² and l on hexagonal axes.
MAX_N, MAX_M, MAX_L = 60, 13, {"P": 10, "R": 18}
#: Base lines: (how many, lowest of how many strongest). Two real ones suffice; the second choice is there for
#: patterns with many weak foreign lines at low angle, the first for large cells, whose low orders are weak.
BASES = ((6, 14), (4, 7))
#: Starts kept at each sieve, and refined cells of a lattice that are rated in full.
KEEP, RATED = 500, 60
#: Chance of a random hit on the base lines above which a hit says too little and a cell is not tried.
MAX_CHANCE = 0.4
#: Nats a cell parameter costs: log(range searched / precision reached) = log(10 Å / 0.005 Å).
PARAMETER_COST = 7.6
#: Best cells on hexagonal axes whose metric is asked whether a cubic lattice has all their lines.
HOLOHEDRIES = 6
#: A primitive cubic cell up to this edge (Å) has room for one or two atoms only, see `_behind_simple_cubic`.
SIMPLE_CUBIC_EDGE = 3.6
#: Of the strongest line: what stands behind simple cubic has its first line among the strongest (Ni3Si's is weak).
LEADING = 0.5

#: Zones in which a c glide may extinguish odd l: too common to charge the lattice with the missing lines.
GLIDES = {"P": ("", "h0l", "hhl"), "R": ("", "h0l")}
LATTICES: dict[str, tuple[str, ...]] = {"cubic": ("P", "I", "F"), "trigonal": ("P", "R")}


# --------------------------------------------------------------------------------------------------
# the measured lines


@dataclass(frozen=True)
class _Lines:
    """The lines that take part, ascending: two_theta, strength (strongest = 1), tolerance (degrees), (n,)."""

    two_theta: np.ndarray
    strength: np.ndarray
    tolerance: np.ndarray
    wavelength: float
    two_theta_min: float
    max_zero: float

    noise: float

    @classmethod
    def of(cls, peaks: Peaks, most: int = MAX_LINES, faint: bool = False) -> _Lines:
        """The first lines that are strong enough; faint: noise-sized ones left out only."""
        strength = peaks.area / peaks.area.max()
        # In a long list the faint lines are mostly noise and the strong ones are enough.
        least = peaks.noise if faint else np.clip(np.sort(strength)[-most:][0], peaks.noise, LEAST_STRENGTH)
        keep = np.flatnonzero(strength >= least)[:most]
        width = float(np.median(peaks.fwhm[keep]))
        # A position is good to a small part of the width, so long as the width is that of one line.
        tolerance = np.clip(peaks.precision * np.clip(peaks.fwhm[keep], 0.5 * width, 2 * width), 0.002, 0.08)
        # Narrow lines and short wavelengths mean a calibrated synchrotron: there 0.3° would be a tenth of d.
        max_zero = MAX_ZERO * min(1.0, width / 0.06, peaks.radiation.wavelength / 0.7)
        return cls(
            peaks.two_theta[keep],
            strength[keep],
            tolerance,
            peaks.radiation.wavelength,
            peaks.two_theta_min,
            max_zero,
            peaks.noise,
        )

    def __len__(self) -> int:
        return len(self.two_theta)

    @cached_property
    def slope(self) -> np.ndarray:
        """dQ/d2θ, per degree."""
        slope: np.ndarray = 2 / self.wavelength**2 * np.sin(np.radians(self.two_theta)) * np.pi / 180
        return slope

    @cached_property
    def lean(self) -> np.ndarray:
        """What a specimen displacement does to 2θ beyond a mean shift: cosθ less its mean."""
        cosine = np.cos(np.radians(self.two_theta / 2))
        lean: np.ndarray = cosine - cosine.mean()
        return lean

    @cached_property
    def strange(self) -> np.ndarray:
        """Chance that a line belongs to no lattice: usual for noise-sized ones, rare for strong ones."""
        return 0.02 + 0.4 * np.exp(-self.strength / (5 * self.noise + 1e-9))

    @cached_property
    def usual_tolerance(self) -> float:
        """Median tolerance, degrees."""
        return float(np.median(self.tolerance))

    def q(self, zero: float | np.ndarray = 0.0, lean: float | np.ndarray = 0.0) -> np.ndarray:
        """1/d² (..., n) after taking off the shift zero (...) + lean (...)·`self.lean`."""
        shift = np.asarray(zero)[..., None] + np.asarray(lean)[..., None] * self.lean
        q: np.ndarray = (2 / self.wavelength * np.sin(np.radians(self.two_theta - shift) / 2)) ** 2
        return q

    def window(self, times: float, slack: float) -> np.ndarray:
        """Degrees within which a line counts as met, where the zero may still be wrong by slack.

        At low angle the cell takes up an error of the zero; what is left at θ is slack·|1 − tanθ/tanθ_low|.
        """
        tan = np.tan(np.radians(self.two_theta / 2))
        window: np.ndarray = times * self.tolerance + slack * np.abs(1 - tan / np.median(tan[:12]))
        return window


# --------------------------------------------------------------------------------------------------
# the lattices' lines


@lru_cache
def _cubic_numbers(centring: str, limit: int = 1200) -> np.ndarray:
    """Ascending values of h²+k²+l² up to limit that the centring allows."""
    i = np.arange(math.isqrt(limit) + 1)
    hkl = np.stack(np.meshgrid(i, i, i, indexing="ij"))
    if centring == "I":
        allowed = hkl.sum(0) % 2 == 0
    elif centring == "F":
        allowed = np.ptp(hkl % 2, axis=0) == 0
    else:
        allowed = np.ones(hkl.shape[1:], bool)
    n = np.unique((hkl**2).sum(0)[allowed])
    return n[(n > 0) & (n <= limit)].astype(float)


@lru_cache
def _hexagonal_numbers(limit: int = 1200) -> np.ndarray:
    """Ascending values of h²+hk+k² up to limit, 0 included."""
    i = np.arange(math.isqrt(limit) + 1)
    h, k = np.meshgrid(i, i, indexing="ij")
    m = np.unique(h * h + h * k + k * k)
    return m[m <= limit].astype(float)


@lru_cache
def _glide_numbers(zone: str, limit: int = 1200) -> np.ndarray:
    """Values of h²+hk+k² that only reflections h0 (or 00), respectively hh, have."""
    i = np.arange(math.isqrt(limit) + 1)
    h, k = np.meshgrid(i, i, indexing="ij")
    m = h * h + h * k + k * k
    inside = (k == 0) | (h == 0) if zone == "h0l" else (h == k)
    return np.setdiff1d(np.append(m[inside], 0), m[~inside & (m > 0)]).astype(float)


def _allowed(centring: str, m: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Whether (M, order l) occurs: an obverse R lattice has −h+k+l = 3n, so l = 3n exactly where M = 3n."""
    allowed: np.ndarray = (m + order > 0) & ((centring == "P") | ((m % 3 == 0) == (order % 3 == 0)))
    return allowed


def _calculated(system: str, centring: str, glide: str, metric: np.ndarray, q_max: float) -> np.ndarray:
    """Ascending Q of all distinct lines up to q_max; metric = (A, C); glide as in `GLIDES`."""
    a, c = metric
    if system == "cubic":
        q = a * _cubic_numbers(centring)
        calculated: np.ndarray = q[q <= q_max]
        return calculated
    m = _hexagonal_numbers()
    m = m[m * a <= q_max][:, None]
    order = np.arange(int(math.sqrt(q_max / c)) + 1)
    allowed = _allowed(centring, m, order)
    if glide:
        allowed &= ~(np.isin(m, _glide_numbers(glide)) & (order % 2 == 1))
    q = (a * m + c * order**2)[allowed]
    return np.sort(q[q <= q_max])


def _nearest_cubic(centring: str, x: np.ndarray) -> np.ndarray:
    """The allowed N nearest to x = Q/A."""
    numbers = _cubic_numbers(centring)
    upper = np.clip(np.searchsorted(numbers, x), 1, len(numbers) - 1)
    below, above = numbers[upper - 1], numbers[upper]
    return np.where(x - below < above - x, below, above)


def _nearest(system: str, centring: str, metric: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices (N or M, l²) of the calculated lines nearest to q (m, n) for metrics (m, 2), each (m, n)."""
    a, c = metric[:, :1], metric[:, 1:]
    if system == "cubic":
        return _nearest_cubic(centring, q / a), np.zeros_like(q)
    best = np.full(q.shape, np.inf)
    best_m, best_s = np.zeros_like(q), np.zeros_like(q)
    numbers = _hexagonal_numbers()
    for m in numbers[: np.searchsorted(numbers, q.max() / a.min()) + 1]:
        x = np.sqrt(np.maximum(q - a * m, 0) / c)
        step = 3 if centring == "R" and m % 3 == 0 else 1
        order = step * np.rint(x / step)
        if centring == "R" and step == 1:  # l = 3n is absent here: the nearest neighbour of it instead
            order += (order % 3 == 0) * np.where((x < order) & (order > 0), -1, 1)
        if m == 0:
            order = np.maximum(order, step)
        miss = np.abs(a * m + c * order**2 - q)
        closer = miss < best
        best[closer], best_m[closer], best_s[closer] = miss[closer], m, (order**2)[closer]
    return best_m, best_s


def _distance(system: str, centring: str, metric: np.ndarray, q: np.ndarray) -> np.ndarray:
    """|Q − nearest calculated Q| (m, n): `_nearest` without the indices, in single precision for speed."""
    a, c = metric[:, :1], metric[:, 1:]
    if system == "cubic":
        cubic: np.ndarray = np.abs(_nearest_cubic(centring, q / a) * a - q)
        return cubic
    # In units of C: Q/C − (A/C)·M should be a square l².
    rest, ratio = (q / c).astype(np.float32), (a / c).astype(np.float32)
    best = np.full(q.shape, np.inf, np.float32)
    y, x = np.empty_like(rest), np.empty_like(rest)
    numbers = _hexagonal_numbers()
    for m in numbers[: np.searchsorted(numbers, q.max() / a.min()) + 1]:
        np.subtract(rest, ratio * np.float32(m), out=y)
        np.maximum(y, 0, out=x)
        np.sqrt(x, out=x)
        if centring == "R" and m % 3:
            # The nearest l that is not 3n is ||x mod 3 − 1.5| − 0.5| away; |y − l²| is about that times 2x.
            np.add(x, np.maximum(x, 1), out=y)
            x -= 3 * np.floor(x / 3) + np.float32(1.5)
            np.abs(x, out=x)
            x -= np.float32(0.5)
            y *= x
        else:
            step = np.float32(3 if centring == "R" else 1)
            x /= step
            np.rint(x, out=x)
            x *= step
            if m == 0:
                np.maximum(x, step, out=x)
            x *= x
            y -= x
        np.abs(y, out=y)
        np.minimum(best, y, out=best)
    distance: np.ndarray = best * c
    return distance


def _line_density(system: str, centring: str, metric: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Mean number of distinct calculated lines per unit of Q, (m, n) (counting N, and pairs M, l)."""
    a, c = metric[:, :1], metric[:, 1:]
    if system == "cubic":
        density: np.ndarray = {"P": 0.85, "I": 0.48, "F": 0.36}[centring] / a + 0 * q
    else:
        density = 0.42 * np.sqrt(q) / (a * np.sqrt(c)) + 0.4 / np.sqrt(q * c) + 0.2 / a
        density *= 1.0 if centring == "P" else 5 / 9
    return density


# --------------------------------------------------------------------------------------------------
# search


@lru_cache
def _index_pairs(centring: str) -> tuple[np.ndarray, ...]:
    """All pairs of guessed indices (M₁, l₁²), (M₂, l₂²) that determine A and C, and their determinant."""
    m = _hexagonal_numbers()
    orders = np.arange(MAX_L[centring] + 1.0)
    m, order = (x.ravel() for x in np.meshgrid(m[m <= MAX_M], orders, indexing="ij"))
    real = _allowed(centring, m, order)
    m, s = m[real], order[real] ** 2
    det = m[:, None] * s - s[:, None] * m
    i, j = np.nonzero(det)
    return m[i], s[i], m[j], s[j], det[i, j]


def _bases(lines: _Lines) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """The base lines, and the pairs of them to be indexed together."""
    chosen = [np.sort(_best(lines.strength, of))[:count] for count, of in BASES]
    pairs = {(int(i), int(j)) for base in chosen for i, j in combinations(base, 2)}
    return np.unique(np.concatenate(chosen)), sorted(pairs)


def _starts(system: str, centring: str, q: np.ndarray, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """Metrics (m, 2) from every guess of indices for single lines (cubic) or pairs of lines, q (n,)."""
    if system == "cubic":
        numbers = _cubic_numbers(centring)
        a = (q[sorted({i for pair in pairs for i in pair}), None] / numbers[numbers <= MAX_N]).ravel()
        a = a[(a > A_RANGE[1] ** -2) & (a < A_RANGE[0] ** -2)]
        return np.column_stack([a, np.zeros_like(a)])
    m1, s1, m2, s2, det = _index_pairs(centring)
    found = [np.empty((0, 2))]
    for i, j in pairs:
        a, c = (q[i] * s2 - q[j] * s1) / det, (q[j] * m1 - q[i] * m2) / det
        good = (a > 4 / 3 * A_RANGE[1] ** -2) & (a < 4 / 3 * A_RANGE[0] ** -2)
        good &= (c > C_RANGE[1] ** -2) & (c < C_RANGE[0] ** -2)
        found.append(np.column_stack([a[good], c[good]]))
    return np.concatenate(found)


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


# --------------------------------------------------------------------------------------------------
# ranking


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _cell(system: str, centring: str, state: np.ndarray) -> Cell:
    if system == "cubic":
        a = c = float(state[0] ** -0.5)
    else:
        a, c = float((4 / 3 / state[0]) ** 0.5), float(state[1] ** -0.5)
    return Cell(system, centring, a, c, float(state[2]))


def _state(cell: Cell) -> np.ndarray:
    """(1, 4): A, C, zero, lean of a cell."""
    metric = (cell.a**-2, 0.0) if cell.system == "cubic" else (4 / 3 / cell.a**2, cell.c**-2)
    return np.array([[*metric, cell.zero_shift, 0.0]])


def _rated(lines: _Lines, system: str, centring: str, state: np.ndarray) -> tuple[float, Cell]:
    """Score in nats (module docstring) and the cell with de Wolff's M, for the likeliest extinctions."""
    glides = GLIDES[centring] if system == "trigonal" else ("",)
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
    q_max = (2 / lines.wavelength * math.sin(math.radians(last / 2))) ** 2
    q_calc = _calculated(system, centring, glide, state[:2], q_max)
    calc = 2 * np.degrees(np.arcsin(lines.wavelength * np.sqrt(q_calc) / 2))
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
        - (PARAMETER_COST if system == "cubic" else 2 * PARAMETER_COST)
        - max(0.0, math.log(cell.primitive_volume / 200))
        - zero**2 / (2 * ZERO_ESD**2)
        - lean**2 / (2 * LEAN_ESD**2)
    )
    merit = 0.0
    if found:
        misfit = np.abs(miss * lines.slope)[hit].mean() + 1e-6 * q_calc[-1]
        merit = float(q_calc[-1] / (2 * misfit * possible))
    return float(score), replace(cell, figure_of_merit=merit, n_indexed=found, n_lines=n)


def hidden_lattices(cell: Cell) -> list[Cell]:
    """Larger lattices whose extra lines are faint when atoms scatter alike, or only the light ones differ.

    KCl (rock salt) looks primitive with half the edge; CsI (CsCl type), body-centred; an ordered fcc alloy,
    face-centred; calcite and corundum types look as if c were half.
    """
    if cell.system == "trigonal":
        doubled = replace(cell, c=2 * cell.c)
        return [doubled, replace(cell, centring="P")] if cell.centring == "R" else [doubled]
    if cell.centring == "P":
        return [replace(cell, centring=x, a=2 * cell.a, c=2 * cell.c) for x in "FI"]
    return [replace(cell, centring="P")]


def _same(one: Cell, other: Cell) -> bool:
    """Equal within 0.3%."""
    same = one.system == other.system and one.centring == other.centring
    return same and abs(one.a / other.a - 1) < 3e-3 and abs(one.c / other.c - 1) < 3e-3


def index_peaks(
    peaks: Peaks, systems: tuple[str, ...] = ("cubic", "trigonal"), limit: int = 10, mapped: Map = map
) -> list[Cell]:
    """Cells that explain the lines, best first; empty where no lattice of these systems does.

    systems: of "cubic" and "trigonal" (any lattice on hexagonal axes). limit: most cells returned.
    Larger lattices whose extra lines may be too weak to be seen (see `hidden_lattices`) follow in the list.
    mapped: the built-in map, or one over several processes.

    >>> from crystalnet.xrd.peaks import find_peaks
    >>> from crystalnet.xrd.reader import read_pattern
    >>> cell = index_peaks(find_peaks(read_pattern("examples/Zr3Sb4Pt3.xy")), systems=("cubic",))[0]
    >>> cell.centring, round(cell.a, 2)
    ('I', 9.63)
    """
    return [cell for _, cell in _ranked(peaks, systems, limit, mapped)]


def _ranked(peaks: Peaks, systems: Sequence[str], limit: int, mapped: Map = map) -> list[tuple[float, Cell]]:
    if len(peaks) < 2:
        return []
    lines = _Lines.of(peaks)
    lattices = [(system, centring) for system in systems for centring in LATTICES[system]]
    found = mapped(_searched, [lines] * len(lattices), *zip(*lattices, strict=True))
    rated = [rate for rates in found for rate in rates]
    rated = _without_repeats(rated, 2 * limit)
    if "cubic" in systems:
        cubic = [larger for _, cell in rated[:HOLOHEDRIES] if (larger := cubic_lattice(cell))]
        rated += [_refined(lines, cell) for cell in cubic]
        rated.sort(key=lambda item: -item[0])
    # Where lines are dense, index assignments have several optima close by, and the search of the right centring may
    # have missed its own: look around the best cells once more, with every centring.
    best = [cell for _, cell in rated[:2]]
    rated += [_refined(lines, replace(cell, centring=other)) for cell in best for other in LATTICES[cell.system]]
    rated.sort(key=lambda item: -item[0])
    for _, cell in rated[:3]:
        for larger in hidden_lattices(cell):
            state = _refine(lines, larger.system, larger.centring, _state(larger))[0]
            rated.append(_rated(lines, larger.system, larger.centring, state))
    kept = _behind_simple_cubic(lines, _without_repeats(rated, limit))
    kept = _cubic_first(_with_superlattice(_Lines.of(peaks, MANY_LINES, faint=True), kept))
    return [x for x in kept if x[0] >= MIN_SCORE and x[1].figure_of_merit >= MIN_MERIT]


def _cubic_first(ranked: list[tuple[float, Cell]]) -> list[tuple[float, Cell]]:
    """Put a cubic lattice before those on hexagonal axes that have its metric, where it indexes as many lines.

    The lines then speak for the lower symmetry only by what is not seen, which weak superstructure lines are apt to be.
    """
    order = list(ranked)
    for item in ranked:
        cell = item[1]
        if cell.system == "cubic":
            continue
        cubic = next((o for o in order if o[1].system == "cubic" and same_metric(cell, o[1])), None)
        if cubic and cubic[1].n_indexed >= cell.n_indexed and order.index(cubic) > order.index(item):
            order.remove(cubic)
            order.insert(order.index(item), (max(item[0], cubic[0]), cubic[1]))
    return order


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
        if score < ranked[0][0] - 1 or cell.system + cell.centring != "cubicP" or cell.a > SIMPLE_CUBIC_EDGE:
            continue
        first, second, third = (_strength_at(lines, cell, number) for number in (1, 2, 3))
        if first > LEADING and first > second > 0:
            edge = 2**0.5 * cell.a
            likely = replace(cell, centring="I", a=edge, c=edge) if third > second else hidden_lattices(cell)[0]
            ranked = sorted(ranked, key=lambda item: not (_same(item[1], likely)))
    return ranked


def line_positions(cell: Cell, peaks: Peaks) -> np.ndarray:
    """2θ in degrees, ascending, of all lines of a cell in the observed range (no extinctions but the centring's)."""
    sine = math.sin(math.radians(peaks.two_theta_max / 2))
    q = _calculated(cell.system, cell.centring, "", _state(cell)[0, :2], (2 / peaks.radiation.wavelength * sine) ** 2)
    positions: np.ndarray = 2 * np.degrees(np.arcsin(peaks.radiation.wavelength * np.sqrt(q) / 2)) + cell.zero_shift
    return positions[positions > peaks.two_theta_min]


def _strength_at(lines: _Lines, cell: Cell, number: int) -> float:
    """Strength of the line met at h²+k²+l² = number of a cubic cell, 0 where there is none."""
    miss = np.abs(lines.q(cell.zero_shift) - number / cell.a**2) / lines.slope
    return float(np.max(lines.strength, where=miss < 2 * lines.tolerance, initial=0.0))


def _without_repeats(rated: Sequence[tuple[float, Cell]], limit: int) -> list[tuple[float, Cell]]:
    """The best distinct cells, best first."""
    kept: list[tuple[float, Cell]] = []
    for score, cell in sorted(rated, key=lambda item: -item[0]):
        if not any(_same(cell, other) for _, other in kept):
            kept.append((score, cell))
        if len(kept) == limit:
            break
    return kept


# --------------------------------------------------------------------------------------------------
# a cell the user gives


def cell_from_option(text: str, system: str = "auto") -> Cell:
    """Read `--cell`: "a" (cubic), "a,c" (hexagonal axes) or "a,alpha=55" (rhombohedral axes).

    Å and degrees; system: "auto", "cubic" or "trigonal". The result is on hexagonal axes, its centring P (R
    for the rhombohedral form) until the lines decide, see `centrings`. Raises InputError on anything else.
    """
    form = 'write --cell as "a" (cubic), "a,c" (hexagonal axes) or "a,alpha=55" (rhombohedral)'
    names = ["a", "c"]
    values: dict[str, float] = {}
    for place, part in enumerate(text.split(",")):
        name, equals, number = part.rpartition("=")
        name = name.strip().lower() if equals else names[place] if place < 2 else ""
        try:
            value = float(number)
        except ValueError:
            raise InputError(f'cannot read "{part.strip()}" in --cell "{text}": {form}') from None
        if name not in ("a", "c", "alpha") or name in values or not math.isfinite(value):
            raise InputError(f'--cell "{text}" is not understood: {form}')
        values[name] = value
    if set(values) not in ({"a"}, {"a", "c"}, {"a", "alpha"}):
        raise InputError(f'--cell "{text}" is not understood: {form}')
    if any(not 1 <= values[edge] <= 200 for edge in ("a", "c") if edge in values):
        raise InputError(f'--cell "{text}": edges are in Å, between 1 and 200')
    found = "cubic" if set(values) == {"a"} else "trigonal"
    if system not in ("auto", found):
        raise InputError(f'--cell "{text}" is {found} but --system is {system}: {form}')
    if found == "cubic":
        return Cell("cubic", "P", values["a"], values["a"])
    if "c" in values:
        return Cell("trigonal", "P", values["a"], values["c"])
    if not 0 < values["alpha"] < 120:
        raise InputError(f'--cell "{text}": alpha lies between 0 and 120 degrees')
    alpha = math.radians(values["alpha"])
    edge = values["a"]
    return Cell("trigonal", "R", 2 * edge * math.sin(alpha / 2), edge * math.sqrt(3 + 6 * math.cos(alpha)))


def refine_cell(peaks: Peaks, cell: Cell) -> Cell:
    """The cell with a (, c) and zero shift by least squares on the lines; edges may be off by about 1%."""
    return _refined(_Lines.of(peaks), cell)[1]


def centrings(peaks: Peaks, cell: Cell) -> list[Cell]:
    """The cell refined with each centring its system allows, the one the lines prefer first."""
    lines = _Lines.of(peaks)
    rated = [_refined(lines, replace(cell, centring=centring)) for centring in LATTICES[cell.system]]
    return [found for _, found in sorted(rated, key=lambda item: -item[0])]


def _refined(lines: _Lines, cell: Cell) -> tuple[float, Cell]:
    """Best of refinements from the cell as given and somewhat scaled, over the trial zero shifts."""
    step = lines.max_zero / ZERO_STEPS
    zeros = step * np.arange(-ZERO_STEPS, ZERO_STEPS + 1)
    scale, zero = (x.ravel() for x in np.meshgrid(np.linspace(0.98, 1.02, 9), zeros))
    starts = np.repeat(_state(cell), len(zero), axis=0)
    starts[:, :2] *= scale[:, None]
    starts[:, 2] = zero
    states = _refine(lines, cell.system, cell.centring, starts, step / 2)
    rated = [_rated(lines, cell.system, cell.centring, state) for state in states]
    return max(rated, key=lambda item: item[0])

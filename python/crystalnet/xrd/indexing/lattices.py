"""The Bravais lattices that are searched, and where their lines lie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from crystalnet.bragg import inverse_d_squared, two_theta_of_inverse_d
from crystalnet.crystal.lattice import Cell
from crystalnet.crystal.systems import SYSTEMS, system_named
from crystalnet.records import Peaks

#: Cell edges searched, Å. The lower end leaves room for halved pseudo-cells (KCl, NaF seen as primitive).
A_RANGE = (2.2, 26.0)
C_RANGE = (2.2, 50.0)
#: Indices guessed for the base lines: h²+k²+l² (cubic); h²+hk+k² and l on hexagonal axes.
MAX_N, MAX_M, MAX_L = 60, 13, {"P": 10, "R": 18}
#: Zones in which a c glide may extinguish odd l. Such glides are common, and the lines that they extinguish must not
#: count against the lattice.
GLIDES = {("trigonal", "P"): ("", "h0l", "hhl"), ("trigonal", "R"): ("", "h0l")}
#: Centrings searched in each system.
CENTRINGS = {system: system_named(system).centrings for system in SYSTEMS}


@dataclass(frozen=True)
class Lattice:
    """One Bravais lattice, on cubic or hexagonal axes.

    A metric is a pair (A, C) with Q = A·N (cubic, N = h²+k²+l²; C is not used) or Q = A·M + C·l² (hexagonal axes,
    M = h²+hk+k²), in 1/Å². A state (A, C, zero, displacement) adds what shifts the lines, in degrees.
    """

    system: str
    centring: str

    @property
    def free_parameters(self) -> int:
        """Number of edges that the lattice leaves free."""
        return len(system_named(self.system).free)

    @property
    def glides(self) -> tuple[str, ...]:
        """Sets of further extinctions to be tried, "" for none; see `GLIDES`."""
        return GLIDES.get((self.system, self.centring), ("",))

    def calculated(self, metric: np.ndarray, q_max: float, glide: str = "") -> np.ndarray:
        """Ascending Q of all distinct lines, 1/Å².

        Parameters
        ----------
        metric : ndarray, shape (2,)
        q_max : float
            1/Å².
        glide : str
            One of `glides`.
        """
        a, c = metric
        if self.system == "cubic":
            q = a * _cubic_numbers(self.centring)
            calculated: np.ndarray = q[q <= q_max]
            return calculated
        m = _hexagonal_numbers()
        m = m[m * a <= q_max][:, None]
        order = np.arange(int(math.sqrt(q_max / c)) + 1)
        allowed = _allowed(self.centring, m, order)
        if glide:
            allowed &= ~(np.isin(m, _glide_numbers(glide)) & (order % 2 == 1))
        q = (a * m + c * order**2)[allowed]
        return np.sort(q[q <= q_max])

    def nearest(self, metric: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the calculated lines nearest to measured ones.

        The order l is rounded: far from any line the second nearest may be returned.

        Parameters
        ----------
        metric : ndarray, shape (m, 2)
        q : ndarray, shape (m, n)
            1/Å².

        Returns
        -------
        number, square : ndarray, shape (m, n)
            N or M, and l² (0 for cubic).
        """
        a, c = metric[:, :1], metric[:, 1:]
        if self.system == "cubic":
            return _nearest_cubic(self.centring, q / a), np.zeros_like(q)
        best = np.full(q.shape, np.inf)
        best_m, best_s = np.zeros_like(q), np.zeros_like(q)
        numbers = _hexagonal_numbers()
        for m in numbers[: np.searchsorted(numbers, q.max() / a.min()) + 1]:
            x = np.sqrt(np.maximum(q - a * m, 0) / c)
            step = 3 if self.centring == "R" and m % 3 == 0 else 1
            order = step * np.rint(x / step)
            if self.centring == "R" and step == 1:  # l = 3n is absent here: the nearest neighbour of it instead
                order += (order % 3 == 0) * np.where((x < order) & (order > 0), -1, 1)
            if m == 0:
                order = np.maximum(order, step)
            miss = np.abs(a * m + c * order**2 - q)
            closer = miss < best
            best[closer], best_m[closer], best_s[closer] = miss[closer], m, (order**2)[closer]
        return best_m, best_s

    def distance(self, metric: np.ndarray, q: np.ndarray) -> np.ndarray:
        """|Q − nearest calculated Q| (m, n): `nearest` without the indices, in single precision for speed."""
        a, c = metric[:, :1], metric[:, 1:]
        if self.system == "cubic":
            cubic: np.ndarray = np.abs(_nearest_cubic(self.centring, q / a) * a - q)
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
            if self.centring == "R" and m % 3:
                # The nearest l that is not 3n is ||x mod 3 − 1.5| − 0.5| away; |y − l²| is about that times 2x.
                np.add(x, np.maximum(x, 1), out=y)
                x -= 3 * np.floor(x / 3) + np.float32(1.5)
                np.abs(x, out=x)
                x -= np.float32(0.5)
                y *= x
            else:
                step = np.float32(3 if self.centring == "R" else 1)
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

    def line_density(self, metric: np.ndarray, q: np.ndarray) -> np.ndarray:
        """Mean number of distinct calculated lines per unit of Q, (m, n): of values N, or of pairs (M, l)."""
        a, c = metric[:, :1], metric[:, 1:]
        if self.system == "cubic":
            density: np.ndarray = {"P": 0.85, "I": 0.48, "F": 0.36}[self.centring] / a + 0 * q
        else:
            density = 0.42 * np.sqrt(q) / (a * np.sqrt(c)) + 0.4 / np.sqrt(q * c) + 0.2 / a
            density *= 1.0 if self.centring == "P" else 5 / 9
        return density

    def starts(self, q: np.ndarray, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
        """Metrics (m, 2) from every guess of indices for single lines (cubic) or pairs of lines, q (n,)."""
        if self.system == "cubic":
            numbers = _cubic_numbers(self.centring)
            a = (q[sorted({i for pair in pairs for i in pair}), None] / numbers[numbers <= MAX_N]).ravel()
            a = a[(a > A_RANGE[1] ** -2) & (a < A_RANGE[0] ** -2)]
            return np.column_stack([a, np.zeros_like(a)])
        m1, s1, m2, s2, det = _index_pairs(self.centring)
        found = [np.empty((0, 2))]
        for i, j in pairs:
            a, c = (q[i] * s2 - q[j] * s1) / det, (q[j] * m1 - q[i] * m2) / det
            good = (a > 4 / 3 * A_RANGE[1] ** -2) & (a < 4 / 3 * A_RANGE[0] ** -2)
            good &= (c > C_RANGE[1] ** -2) & (c < C_RANGE[0] ** -2)
            found.append(np.column_stack([a[good], c[good]]))
        return np.concatenate(found)

    def cell(self, state: np.ndarray) -> Cell:
        """The cell of a state (4,)."""
        if self.system == "cubic":
            a = c = float(state[0] ** -0.5)
        else:
            a, c = float((4 / 3 / state[0]) ** 0.5), float(state[1] ** -0.5)
        return Cell(self.system, self.centring, a, c, float(state[2]))


def lattice_of(cell: Cell) -> Lattice:
    """The Bravais lattice of a cell."""
    return Lattice(cell.system, cell.centring)


def state_of(cell: Cell) -> np.ndarray:
    """The state of a cell, (1, 4): A, C, zero shift, no displacement."""
    metric = (cell.a**-2, 0.0) if cell.system == "cubic" else (4 / 3 / cell.a**2, cell.c**-2)
    return np.array([[*metric, cell.zero_shift, 0.0]])


def line_positions(cell: Cell, peaks: Peaks) -> np.ndarray:
    """Where all lines of a cell lie in the observed range; no extinctions but the centring's.

    Returns
    -------
    ndarray, shape (n,)
        2θ in degrees, ascending.
    """
    wavelength = peaks.radiation.wavelength
    q = lattice_of(cell).calculated(state_of(cell)[0, :2], inverse_d_squared(peaks.two_theta_max, wavelength))
    positions: np.ndarray = two_theta_of_inverse_d(np.sqrt(q), wavelength) + cell.zero_shift
    return positions[positions > peaks.two_theta_min]


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


def _nearest_cubic(centring: str, x: np.ndarray) -> np.ndarray:
    """The allowed N nearest to x = Q/A."""
    numbers = _cubic_numbers(centring)
    upper = np.clip(np.searchsorted(numbers, x), 1, len(numbers) - 1)
    below, above = numbers[upper - 1], numbers[upper]
    return np.where(x - below < above - x, below, above)


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

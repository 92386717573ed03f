"""The compiled search for unit cells and their rating; see cpp/include/crystalnet/index_cells.hpp.

There is no reference of the search: starts without number, of which the best are kept, have no plain form. What it
returns is rated, and `reference_rating` is the oracle of the rating. Needs numpy only.
"""

from __future__ import annotations

import importlib
import math
from functools import cache
from types import ModuleType

import numpy as np

from crystalnet.bragg import inverse_d_squared, inverse_d_squared_slope, two_theta_of_inverse_d

#: The lattice types in the kernel's order: crystal system ("trigonal": hexagonal axes), centring, free parameters.
LATTICE_ROWS = (
    *(("cubic", centring, 1) for centring in "PIF"),
    *(("trigonal", centring, 2) for centring in "PR"),
    *(("tetragonal", centring, 2) for centring in "PI"),
    *(("orthorhombic", centring, 3) for centring in "PCIF"),
    *(("monoclinic", centring, 4) for centring in "PC"),
    ("triclinic", "P", 6),
)

#: A cell as the kernel writes it: the row of its lattice type, Q = A h² + B k² + C l² + D kl + E hl + F hk in 1/Å² of
#: the conventional cell, shifts in degrees, nats saved, de Wolff's M, lines met and distinct lines calculated.
CELL = np.dtype(
    [
        ("lattice", np.int64),
        ("metric", np.float64, 6),
        ("zero", np.float64),
        ("displacement", np.float64),
        ("score", np.float64),
        ("merit", np.float64),
        ("found", np.int64),
        ("possible", np.int64),
    ]
)
#: Cells that a search may return.
CAPACITY = 300


@cache
def _module() -> ModuleType:
    return importlib.import_module("crystalnet._native")


class LinesOfPattern:
    """The lines as the kernel takes them.

    Parameters
    ----------
    two_theta, tolerance, spurious : ndarray, shape (n,)
        Degrees ascending; standard deviations in degrees; chances that a line belongs to no lattice.
    wavelength : float
        Å.
    two_theta_min : float
        Where the pattern begins, degrees.
    max_zero : float
        Largest zero shift searched, degrees.
    """

    def __init__(
        self,
        two_theta: np.ndarray,
        tolerance: np.ndarray,
        spurious: np.ndarray,
        wavelength: float,
        two_theta_min: float,
        max_zero: float,
    ) -> None:
        self._arrays = [np.ascontiguousarray(x, dtype=np.float64) for x in (two_theta, tolerance, spurious)]
        if len({x.shape for x in self._arrays}) != 1 or self._arrays[0].ndim != 1:
            raise ValueError("positions, tolerances and chances of the lines must be of one length")
        self._numbers = (float(wavelength), float(two_theta_min), float(max_zero))

    @property
    def arguments(self) -> tuple[float, ...]:
        """What the kernel is called with: sizes, addresses and numbers."""
        return (len(self._arrays[0]), *(x.ctypes.data for x in self._arrays), *self._numbers)


def search(lines: LinesOfPattern, chosen: np.ndarray, threads: int = 1) -> np.ndarray:
    """Promising cells, refined and rated, best first: (m,) of `CELL`. chosen: bool, which lattice types."""
    module = _module()
    rows = np.ascontiguousarray(chosen, dtype=np.uint8)
    if rows.shape != (module.index_lattice_count(),):
        raise ValueError(f"{module.index_lattice_count()} lattice types, chosen {rows.shape}")
    out = np.zeros(CAPACITY, CELL)
    count = module.index_search(*lines.arguments, rows.ctypes.data, threads, CAPACITY, out.ctypes.data)
    return out[:count]


def rated(
    lines: LinesOfPattern, cells: np.ndarray, slack: float = 0.0, rounds: int = 5, threads: int = 1
) -> np.ndarray:
    """The cells (m,) of `CELL` refined by so many rounds of least squares and rated; a cell that fails scores −∞.

    slack: by which their zeros may be wrong, degrees.
    """
    out = np.ascontiguousarray(cells, dtype=CELL).copy()
    _module().index_rate(*lines.arguments, len(out), slack, rounds, threads, out.ctypes.data)
    return out


# --- the rating in plain numpy: what the kernel's constants and rules mean is said in cpp/src/cpu/index_rate.cpp

_PARAMETER_COST, _CLASS_COST = 7.6, 3.0
_ZERO_ESD, _DISPLACEMENT_ESD = 0.12, 0.1
_LARGEST_VOLUME = 3000.0
_POINTS = {"P": 1, "C": 2, "I": 2, "F": 4, "R": 3}
#: (zone or row, its conditions): a reflection for which all of the zone's combinations are 0 is extinct where the
#: condition's combination is no multiple.
_ZONES = (
    ((1, 0, 0),), ((0, 1, 0),), ((0, 0, 1),), ((1, -1, 0),),
    ((1, 0, 0), (0, 1, 0)), ((0, 1, 0), (0, 0, 1)), ((1, 0, 0), (0, 0, 1)),
)  # fmt: skip
_CONDITIONS = (
    (((0, 1, 0), 2), ((0, 0, 1), 2), ((0, 1, 1), 2)),
    (((1, 0, 0), 2), ((0, 0, 1), 2), ((1, 0, 1), 2)),
    (((1, 0, 0), 2), ((0, 1, 0), 2), ((1, 1, 0), 2)),
    (((0, 0, 1), 2),),
    (((0, 0, 1), 2), ((0, 0, 1), 3), ((0, 0, 1), 4), ((0, 0, 1), 6)),
    (((1, 0, 0), 2), ((1, 0, 0), 4)),
    (((0, 1, 0), 2),),
)
_SUBLATTICES = tuple(
    (number, index)
    for index, numbers in (
        (2, ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1))),
        (3, ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, -1, 0), (1, 0, 1), (1, 0, -1), (0, 1, 1), (0, 1, -1),
             (1, 1, 1), (1, 1, -1), (1, -1, 1), (-1, 1, 1))),
    )
    for number in numbers
)  # fmt: skip


def reference_rating(
    two_theta: np.ndarray,
    tolerance: np.ndarray,
    spurious: np.ndarray,
    wavelength: float,
    two_theta_min: float,
    cell: np.void,
) -> tuple[float, float, int, int]:
    """(score, merit, found, possible) of a cell as it is; arguments as in `LinesOfPattern`."""
    n = len(two_theta)
    system, centring, free = LATTICE_ROWS[int(cell["lattice"])]
    cosine = np.cos(np.radians(two_theta / 2))
    observed = two_theta - cell["zero"] - cell["displacement"] * (cosine - cosine.mean())
    slope, usual = inverse_d_squared_slope(two_theta, wavelength), float(np.median(tolerance))
    first, last = two_theta_min - cell["zero"], observed[-1] + tolerance[-1]
    volume = _volume(cell["metric"]) / _POINTS[centring]
    if volume > _LARGEST_VOLUME:
        return -math.inf, 0.0, 0, 0
    hkl, q = _calculated(system, centring, cell["metric"], inverse_d_squared(last, wavelength))
    within = q > (inverse_d_squared(first, wavelength) if first > 0 else 0.0)
    hkl, q = hkl[within], q[within]
    if not len(q):
        return -math.inf, 0.0, 0, 0
    position = two_theta_of_inverse_d(np.sqrt(q), wavelength)
    group = np.concatenate([[0], np.cumsum(np.diff(position) > 2 * usual)])
    miss = np.array([(x - position)[np.abs(x - position).argmin()] for x in observed])
    seen: dict[int, int] = {}
    for i in range(n - 1, -1, -1):
        if abs(miss[i]) <= 2 * tolerance[i]:
            at = int(group[np.abs(observed[i] - position).argmin()])
            if at not in seen or spurious[i] < spurious[seen[at]]:
                seen[at] = i
    hit = np.isin(np.arange(n), list(seen.values()))
    found = len(seen)
    breadth = tolerance / usual
    square = float(np.sum((miss / breadth)[hit] ** 2))
    variance = (square + 3 * (usual / 2) ** 2) / (found + 3)
    resolution = math.sqrt(2 * math.pi * variance)
    places = 0.0
    for at in seen:
        members = position[group == at]
        places += math.log(min(len(members), 1 + (members[-1] - members[0]) / resolution))
    choice, possible = _choice(hkl, group, seen, free < len(cell["metric"]))
    span = last - min(two_theta_min + 5, observed[0])
    score = (
        found * math.log(span / resolution)
        - square / (2 * variance)
        - np.log(breadth[hit]).sum()
        - places
        + np.log(np.where(hit, 1 - spurious, spurious)).sum()
        - choice
        - math.lgamma(n + 1)
        + math.lgamma(n - found + 1)
        - free * _PARAMETER_COST
        - max(0.0, math.log(volume / 200))
        - cell["zero"] ** 2 / (2 * _ZERO_ESD**2)
        - cell["displacement"] ** 2 / (2 * _DISPLACEMENT_ESD**2)
    )
    merit = 0.0
    if found:
        merit = q[-1] / (2 * (np.abs(miss * slope)[hit].mean() + 1e-6 * q[-1]) * possible)
    return float(score), float(merit), found, possible


def _volume(metric: np.ndarray) -> float:
    a, b, c, d, e, f = metric
    return float(np.linalg.det([[a, f / 2, e / 2], [f / 2, b, d / 2], [e / 2, d / 2, c]]) ** -0.5)


def _calculated(system: str, centring: str, metric: np.ndarray, q_max: float) -> tuple[np.ndarray, np.ndarray]:
    """hkl (m, 3), one of each set of equivalents, and Q (m,), ascending."""
    a, b, c, d, e, f = metric
    tensor = np.linalg.inv([[a, f / 2, e / 2], [f / 2, b, d / 2], [e / 2, d / 2, c]])
    reach = np.sqrt(np.diag(tensor) * q_max).astype(int)
    h, k, m = (x.ravel() for x in np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"))
    some = (h != 0) | (k != 0) | (m != 0)
    half = {
        "cubic": (h >= k) & (k >= m) & (m >= 0),
        "trigonal": (h >= k) & (k >= 0) & (m >= 0),
        "tetragonal": (h >= k) & (k >= 0) & (m >= 0),
        "orthorhombic": (h >= 0) & (k >= 0) & (m >= 0),
        "monoclinic": (k >= 0) & ((h > 0) | ((h == 0) & (m >= 0))),
        "triclinic": (h > 0) | ((h == 0) & ((k > 0) | ((k == 0) & (m > 0)))),
    }[system]
    allowed = {
        "P": some,
        "C": (h + k) % 2 == 0,
        "I": (h + k + m) % 2 == 0,
        "F": ((h + k) % 2 == 0) & ((k + m) % 2 == 0),
        "R": ((h - k) % 3 == 0) == (m % 3 == 0),
    }[centring]
    q = a * h * h + b * k * k + c * m * m + d * k * m + e * h * m + f * h * k
    keep = np.flatnonzero(some & half & allowed & (q <= q_max))
    keep = keep[np.argsort(q[keep], kind="stable")]
    return np.column_stack([h, k, m])[keep], q[keep]


def _choice(hkl: np.ndarray, group: np.ndarray, seen: dict[int, int], may_vanish: bool) -> tuple[float, int]:
    """Nats of which calculated lines are seen, and how many could be, with extinctions and a superlattice's lines."""
    found = len(seen)
    is_seen = np.isin(group, list(seen))
    alone = np.bincount(group)[group] == 1
    present = np.ones(len(hkl), bool)
    possible, classes = int(group[-1]) + 1, 0.0
    for zone, conditions in zip(_ZONES, _CONDITIONS, strict=True):
        best, fewest = None, possible
        for number, multiple in conditions if may_vanish else ():
            gone = np.all([hkl @ np.array(z) == 0 for z in zone], axis=0) & (hkl @ np.array(number) % multiple != 0)
            if not (present & gone).any() or (present & gone & is_seen & alone).any():
                continue
            left = len(np.unique(group[present & ~gone]))
            if found <= left < fewest:
                best, fewest = gone, left
        cost = math.log(1 + len(conditions))
        if best is not None and _log_choose(possible, found) - _log_choose(fewest, found) > cost:
            present &= ~best
            possible, classes = fewest, classes + cost
    possible = max(possible, found)
    choice = _log_choose(possible, found) + classes
    counted = np.unique(np.concatenate([group[present], np.array(list(seen), int)]))
    for number, index in _SUBLATTICES:
        main = np.isin(counted, group[present & (hkl @ np.array(number) % index == 0)])
        met = np.isin(counted, list(seen))
        mains, extras = int(main.sum()), int((~main).sum())
        main_met, extra_met = int((main & met).sum()), int((~main & met).sum())
        if extra_met == 0 or main_met * extras <= extra_met * mains:
            continue
        split = _log_choose(mains, main_met) + _log_choose(extras, extra_met) + math.log(extras + 1)
        choice = min(choice, split + _CLASS_COST + classes)
    return choice, possible


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)

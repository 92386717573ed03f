"""The scans of a pattern file: what each one is, which one is taken, and which belong together.

A file may hold a survey and a slow rescan of a few lines, a series of repeats, or one scan in parts. Repeats are
summed, other scans are never mixed: the longest is taken, and the user is told what else there is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from crystalnet.records import InputError, Radiation

MIN_POINTS = 50  # fewer is a peak list, not a profile
EXPORT = "export the 2θ scan as two columns of text (.xy)"
MOST_LISTED = 20  # scans named one by one; a longer series is counted
MOST_SUMMED = 200  # repeats; some formats are parsed anew for each
LIKE = 0.15  # relative difference of the total counts, above which two scans were not counted equally long
NEARLY_AS_LONG = 0.98  # of the longest range: of such scans the one with the most counts is the most complete
BACKWARDS = 10  # steps that the axis must run back for a new scan; less is an overlap of parts or play of an encoder


@dataclass(frozen=True)
class Axis:
    """A quantity ("2theta", "q", "d", "radius") and the factor that brings it to degrees, 1/Å, Å or mm."""

    quantity: str
    factor: float = 1.0


TWO_THETA = Axis("2theta")


@dataclass(frozen=True)
class Scan:
    """What a file says of one measurement.

    Attributes
    ----------
    x, intensity : ndarray, shape (n,)
        x in the unit of the axis.
    sigma : ndarray, shape (n,), optional
        Esds, where the file has them.
    radiation : Radiation, optional
        Where the file says it.
    axis : Axis
    axis_named : bool
        The file says what x is.
    seconds : float, optional
        Counting time a step, where the file says it.
    """

    x: np.ndarray
    intensity: np.ndarray
    sigma: np.ndarray | None = None
    radiation: Radiation | None = None
    axis: Axis = TWO_THETA
    axis_named: bool = True
    seconds: float | None = None


@dataclass(frozen=True)
class Listed:
    """A scan as the list of a file's scans shows it.

    Attributes
    ----------
    number : int
        1 for the first of the file.
    low, high : float
        Range of the axis.
    points : int
    load : callable
        Reads the scan.
    label : str
        Its name or block.
    condition : str
        What repeats must agree in beside their range (sample, temperature, angles that stood still).
    """

    number: int
    low: float
    high: float
    points: int
    load: Callable[[], Scan]
    label: str = ""
    condition: str = ""

    @property
    def step(self) -> float:
        return (self.high - self.low) / max(self.points - 1, 1)

    def __str__(self) -> str:
        what = f" ({self.label})" if self.label else ""
        return f"{self.number}: {self.low:.5g} to {self.high:.5g}, step {self.step:.3g}, {self.points} points{what}"


def listed(number: int, scan: Scan, label: str = "", condition: str = "") -> Listed:
    """A scan that is already read."""
    finite = scan.x[np.isfinite(scan.x)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    return Listed(number, low, high, len(scan.x), lambda: scan, label, condition)


def chosen(name: str, scans: Sequence[Listed], number: int | None) -> tuple[Scan, tuple[str, ...]]:
    """The scan to solve: the one asked for, else the longest with its repeats added.

    Parameters
    ----------
    name : str
        Of the file, for messages.
    scans : sequence of Listed
    number : int or None
        Which scan, 1 the first.

    Returns
    -------
    scan : Scan
    remarks : tuple of str
        What else there is, for the user.

    Raises
    ------
    InputError
        For a number that the file does not have, or where no scan can be read.
    """
    if number is not None:
        if not 1 <= number <= len(scans):
            has = "one scan" if len(scans) == 1 else f"{len(scans)} scans"
            raise InputError(f"{name}: has {has}, so there is no scan {number}; give --scan 1 to {len(scans)}")
        return scans[number - 1].load(), ()
    if len(scans) == 1:
        return scans[0].load(), ()
    groups: dict[tuple[object, ...], list[Listed]] = {}
    for one in scans:
        key: tuple[object, ...] = (
            one.points,
            round(one.low / max(one.step, 1e-9)),
            round(one.high / max(one.step, 1e-9)),
            one.condition,
        )
        groups.setdefault(key, []).append(one)
    longest = max(one.high - one.low for one in scans)
    long = [g for g in groups.values() if g[0].high - g[0].low >= NEARLY_AS_LONG * longest]
    rest = [g for g in groups.values() if g not in long]
    refusal: InputError | None = None
    found: list[tuple[float, list[Listed], Scan]] = []
    for group in (*long, *sorted(rest, key=lambda g: g[0].low - g[0].high)):
        if found and group in rest:
            break
        try:
            found += [(float(np.nansum(scan.intensity)), taken, scan) for taken, scan in _repeats(group)]
        except InputError as error:  # not a 2θ scan, say: the next one may be
            refusal = refusal or error
    if not found:
        raise refusal or InputError(f"{name}: none of its {len(scans)} scans can be read")
    _, taken, scan = max(found, key=lambda entry: entry[0])
    return scan, (_remark(scans, taken),)


def _repeats(group: Sequence[Listed]) -> list[tuple[list[Listed], Scan]]:
    """The scans of one range, those counted equally long as one: counts added, esds in quadrature."""
    sums: list[tuple[list[Listed], Scan, Scan]] = []  # (which, their sum, the first)
    for one in group[:MOST_SUMMED]:
        scan = one.load()
        for i, (which, total, first) in enumerate(sums):
            if _repeated(first, scan):
                sums[i] = ([*which, one], _sum(total, scan), first)
                break
        else:
            sums.append(([one], scan, scan))
    return [(which, total) for which, total, _ in sums]


def _repeated(first: Scan, second: Scan) -> bool:
    """The same measurement again: the same points, counted as long, as many counts."""
    if len(first.x) != len(second.x) or first.axis != second.axis or (first.sigma is None) != (second.sigma is None):
        return False
    step = np.ptp(first.x) / max(len(first.x) - 1, 1)
    if not np.allclose(first.x, second.x, rtol=0, atol=0.2 * step):
        return False
    if first.seconds and second.seconds and abs(first.seconds / second.seconds - 1) > 0.01:
        return False
    one, other = float(np.nansum(first.intensity)), float(np.nansum(second.intensity))
    return bool(abs(one - other) <= LIKE * max(abs(one), abs(other)) + 5 * np.sqrt(abs(one) + abs(other)))


def _sum(total: Scan, scan: Scan) -> Scan:
    sigma = None if total.sigma is None or scan.sigma is None else np.hypot(total.sigma, scan.sigma)
    seconds = None if total.seconds is None or scan.seconds is None else total.seconds + scan.seconds
    return replace(total, intensity=total.intensity + scan.intensity, sigma=sigma, seconds=seconds)


def _remark(scans: Sequence[Listed], taken: Sequence[Listed]) -> str:
    lines = [str(one) for one in scans[:MOST_LISTED]]
    if len(scans) > MOST_LISTED:
        lines.append(f"and {len(scans) - MOST_LISTED} more")
    numbers = [one.number for one in taken]
    if len(numbers) == 1:
        what = f"Scan {numbers[0]} was taken"
    else:
        shown = ", ".join(map(str, numbers[:MOST_LISTED])) + (", ..." if len(numbers) > MOST_LISTED else "")
        what = f"Scans {shown} are repeats of one another and were added"
    return f"The file holds {len(scans)} scans ({'; '.join(lines)}). {what}; give --scan N for another."


def parted(scan: Scan) -> list[Scan]:
    """The scans that stand one under another in columns: where the axis runs back, a new one begins.

    Rows in no order at all are one scan: they are sorted later.
    """
    keep = np.isfinite(scan.x)
    scan = _rows(scan, keep)
    if len(scan.x) < 3:
        return [scan]
    change = np.diff(scan.x)
    if np.sum(change < 0) > np.sum(change > 0):  # measured from high to low
        scan = _rows(scan, slice(None, None, -1))
        change = np.diff(scan.x)
    forward = change[change > 0]
    if not len(forward):
        return [scan]
    starts = np.flatnonzero(change < -BACKWARDS * float(np.median(forward))) + 1
    parts = np.split(np.arange(len(scan.x)), starts)
    if len(starts) > 0.02 * len(scan.x):
        return [scan]
    return [_rows(scan, part) for part in parts]


def _rows(scan: Scan, rows: np.ndarray | slice) -> Scan:
    sigma = None if scan.sigma is None else scan.sigma[rows]
    return replace(scan, x=scan.x[rows], intensity=scan.intensity[rows], sigma=sigma)

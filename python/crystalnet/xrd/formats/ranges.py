"""The axis of a range whose file gives its limits, not its angles."""

from __future__ import annotations

import numpy as np

from crystalnet.records import InputError
from crystalnet.xrd.scans import EXPORT

ROUNDED_STEP = 0.01  # relative: "0.02" for 0.0198 is rounded, not wrong


def check_drive(name: str, drive: str) -> None:
    """InputError where the axis that moved is not 2θ."""
    plain = "".join(c for c in drive.lower() if c.isalnum())
    if plain in ("theta", "omega", "phi", "chi", "khi", "psi", "x", "y", "z", "rockingcurve", "alpha", "beta"):
        raise InputError(f"{name}: scans {drive}, not 2θ; give the θ-2θ scan")


def range_positions(
    name: str,
    start: float | None,
    step: float | None,
    count: int,
    stop: float | None = None,
    may_be_aborted: bool = True,
) -> np.ndarray:
    """The angles of a range from its start, its step and, where the file has it, its stop.

    The limits and the count are believed before the step, which is often rounded. A stop that is one step off means
    the end, not the last point.

    Parameters
    ----------
    name : str
        Of the file, for messages.
    start, step, stop : float or None
        As the file has them.
    count : int
        Number of intensities.
    may_be_aborted : bool
        The scan may have ended before its stop.

    Returns
    -------
    ndarray, shape (count,)

    Raises
    ------
    InputError
        Where they contradict one another.
    """
    if start is not None and stop is not None and stop > start and count > 1:
        points = (stop - start) / step + 1 if step and step > 0 else count
        more = points - count
        one_off = abs(abs(more) - 1) < 0.02
        if abs(more) < 0.5 or (not one_off and abs(more) < ROUNDED_STEP * count):
            return np.linspace(start, stop, count)
        if not one_off and not (may_be_aborted and more > 0):
            raise InputError(
                f"{name}: its range {start:g} to {stop:g} in steps of {step:g} has {points:.0f} points, and {count}"
                f" intensities follow; {EXPORT}"
            )
    if start is None or not step or step < 0:
        raise InputError(f"{name}: a range gives counts without its start or step; {EXPORT}")
    return np.asarray(start + step * np.arange(count))

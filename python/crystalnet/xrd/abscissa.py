"""The axis of a scan: 2θ, or Q or d, which need no wavelength."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from crystalnet.bragg import d_of_q, q_of_d, two_theta_of_d, wavelength_of_q
from crystalnet.records import InputError, Radiation
from crystalnet.xrd.emission_lines import WAVELENGTH_RANGE
from crystalnet.xrd.radiation import assumed_cu
from crystalnet.xrd.scans import MIN_POINTS, Axis, Scan

Q_END = 32.0  # 1/Å or Å: an unnamed axis that ends below may be Q or d; a laboratory 2θ scan does not
Q_ANGLE = 40.0  # degrees 2θ for the end of a q axis without wavelength: as at the beamlines that measure on q
Q_START = 1.5  # and begins here at the latest: a 2θ scan begins behind the beam stop


def on_axis(scan: Scan, axis: str) -> Scan:
    """The scan with the axis that the user names, in the unit that the file names."""
    quantity = {"two-theta": "2theta", "q": "q", "d": "d"}[axis]
    return scan if scan.axis.quantity == quantity else replace(scan, axis=Axis(quantity))


def doubt_about_axis(name: str, scan: Scan, assumed: bool) -> tuple[str, ...]:
    """A remark where an unnamed first column may be Q or d.

    Parameters
    ----------
    name : str
        Of the file, for messages.
    scan : Scan
    assumed : bool
        No wavelength is known, which would speak for 2θ.

    Raises
    ------
    InputError
        Where the column may be Q or d and the wavelength is assumed.
    """
    x = scan.x[np.isfinite(scan.x)]
    if len(x) < MIN_POINTS or x.max() > Q_END or x.max() <= 0:
        return ()
    change = np.abs(np.diff(np.sort(x)))
    change = change[change > 0]
    uneven = len(change) > 2 and np.quantile(change, 0.95) > 2 * np.quantile(change, 0.05)
    if not uneven and not (0 <= x.min() < Q_START):
        return ()
    kind, unit = ("d", "Å") if uneven and _widens(np.sort(x)) else ("Q", "1/Å")
    what = (
        f"the first column runs from {x.min():.3g} to {x.max():.3g} and has no name: it may be {kind} in {unit};"
        f" give --axis {kind.lower()}"
    )
    if assumed:
        raise InputError(f"{name}: {what}, or --axis two-theta with --wavelength")
    return (f"{what[0].upper()}{what[1:]} if it is. It was read as 2θ.",)


def radiation_for_spacings(scan: Scan) -> Radiation:
    """One line that brings the whole of a q or d axis to below Q_ANGLE: lattice and atoms do not depend on it."""
    x = scan.x[np.isfinite(scan.x) & (scan.x > 0)] * scan.axis.factor
    if not len(x):
        return assumed_cu()
    largest = x.max() if scan.axis.quantity == "q" else q_of_d(x.min())
    if largest > Q_END:  # no beamline measures it: the axis is something else
        return assumed_cu()
    wavelength = wavelength_of_q(largest, Q_ANGLE)
    low, high = WAVELENGTH_RANGE
    return Radiation(((float(np.clip(wavelength, low, high)), 1.0),), polarisation=0.0)


def _widens(x: np.ndarray) -> bool:
    """Do the steps grow along the axis, as those of d do?"""
    half = len(x) // 2
    return bool(np.median(np.diff(x[half:])) > 1.5 * np.median(np.diff(x[: half + 1])))


def two_theta_of(name: str, x: np.ndarray, axis: Axis, wavelength: float) -> np.ndarray:
    """2θ of the points of an axis.

    Parameters
    ----------
    name : str
        Of the file, for messages.
    x : ndarray, shape (n,)
        In the unit of the axis.
    axis : Axis
        2θ, d or q.
    wavelength : float
        Å.

    Returns
    -------
    ndarray, shape (n,)
        Degrees, NaN for d or q out of reach of the wavelength.

    Raises
    ------
    InputError
        For any other quantity, and for 2θ beyond 180°.
    """
    x = x * axis.factor
    if axis.quantity == "2theta":
        if x.size and x.max() <= 0:
            raise InputError(f"{name}: 2θ runs from {x.min():g} to {x.max():g}; it must be positive degrees")
        if x.size and x.max() > 180:
            raise InputError(
                f"{name}: 2θ reaches {x.max():g}, beyond 180°; give degrees in the first column, or name it d or q"
            )
        return x
    if axis.quantity not in ("q", "d"):
        raise InputError(f"{name}: its abscissa is {axis.quantity}; give an X-ray pattern on a 2θ, d or q axis")
    with np.errstate(divide="ignore", invalid="ignore"):
        d = x if axis.quantity == "d" else d_of_q(x)
        return np.where(d > 0, two_theta_of_d(d, wavelength), np.nan)

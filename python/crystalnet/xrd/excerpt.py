"""What a user leaves of a measurement: a range of a pattern, lines without those that are not the sample's."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np

from crystalnet.records import InputError, Pattern, Peaks
from crystalnet.xrd.reader import MIN_SPAN
from crystalnet.xrd.scans import MIN_POINTS


def within(pattern: Pattern, low: float | None, high: float | None) -> Pattern:
    """The pattern between two angles.

    Parameters
    ----------
    pattern : Pattern
    low, high : float, optional
        Degrees 2θ; None leaves that end as it was measured.

    Raises
    ------
    InputError
        Where too little is left to be solved.

    Examples
    --------
    >>> from crystalnet.xrd.reader import read_pattern
    >>> within(read_pattern("examples/Zr3Sb4Pt3.xy"), 20, None)
    Pattern of 3501 points, 20.00 to 90.00° 2θ, λ 1.540593 Å
    """
    if low is None and high is None:
        return pattern
    inside = np.ones(len(pattern), bool)
    if low is not None:
        inside &= pattern.two_theta >= low
    if high is not None:
        inside &= pattern.two_theta <= high
    left = pattern.two_theta[inside]
    name = f"{Path(pattern.file).name}: " if pattern.file else ""
    if len(left) < MIN_POINTS or left[-1] - left[0] < MIN_SPAN:
        measured = f"{pattern.two_theta[0]:.4g} to {pattern.two_theta[-1]:.4g}°"
        raise InputError(
            f"{name}the range chosen holds {len(left)} of the points measured ({measured}); choose at least "
            f"{MIN_SPAN:g}° and {MIN_POINTS} points"
        )
    return pattern.part(inside)


def parse_range(text: str) -> tuple[float | None, float | None]:
    """The ends that `15,90`, `15,` (from 15) or `,90` (up to 90) means, degrees 2θ.

    Raises
    ------
    InputError
        For anything else.

    Examples
    --------
    >>> parse_range("15,90"), parse_range("15,")
    ((15.0, 90.0), (15.0, None))
    """
    try:
        low, high = (float(end) if end.strip() else None for end in text.split(","))
    except ValueError:
        raise InputError(f"--range {text!r}: give two angles in degrees 2θ, as 15,90; one may be left out") from None
    if low is not None and high is not None and not low < high:
        raise InputError(f"--range {text!r}: the first angle must be smaller than the second")
    return low, high


def without(peaks: Peaks, rejected: Collection[int]) -> Peaks:
    """The lines without those of the given numbers, 0 the first."""
    kept = np.setdiff1d(np.arange(len(peaks)), list(rejected))
    return replace(
        peaks,
        two_theta=peaks.two_theta[kept],
        d_spacing=peaks.d_spacing[kept],
        area=peaks.area[kept],
        fwhm=peaks.fwhm[kept],
    )

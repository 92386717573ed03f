"""Lines of a pattern that are none of a crystal's reflections, and what else they may be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crystalnet.bragg import at_other_wavelength
from crystalnet.records import Peaks
from crystalnet.xrd.emission_lines import SINGLE_LINES, tube_of
from crystalnet.xrd.nearest import nearest

LEAST_SHARE = 0.01  # of the strongest line: fainter ones are noise as often as a phase
WITHIN = 0.7  # line widths between a line and the reflection that it is
# Of the line whose Kβ or W Lα one may be: a good filter leaves a hundredth of Kβ, none at all a fifth; an old tube has
# some hundredths of tungsten.
LARGEST_GHOST = 0.25


@dataclass(frozen=True)
class ForeignLine:
    """A line that is no reflection of the crystal.

    two_theta : degrees. share : area over that of the strongest line. ghost_of : "Cu Kβ of the line at 28.44°", say,
    where one of the strong lines is seen there with another wavelength of the tube; "" where none is.
    """

    two_theta: float
    share: float
    ghost_of: str


def foreign_lines(peaks: Peaks, reflections: np.ndarray) -> list[ForeignLine]:
    """Lines of a pattern that are no reflection, the strongest first.

    Parameters
    ----------
    peaks : Peaks
    reflections : ndarray, shape (n,)
        2θ of the crystal's allowed reflections in the pattern, degrees.

    Returns
    -------
    list of ForeignLine
        None where there is no reflection.
    """
    if not len(reflections):
        return []
    positions = np.sort(reflections)
    width = np.maximum(peaks.fwhm, np.median(peaks.fwhm))
    apart = np.abs(peaks.two_theta - positions[nearest(positions, peaks.two_theta)])
    share = peaks.area / peaks.area.max()
    own = apart < WITHIN * width
    found = np.flatnonzero(~own & (share > LEAST_SHARE))
    return [
        ForeignLine(float(peaks.two_theta[i]), float(share[i]), _ghost_of(peaks, i, own))
        for i in found[np.argsort(-share[found], kind="stable")]
    ]


def _ghost_of(peaks: Peaks, line: int, own: np.ndarray) -> str:
    """Which of the crystal's lines is seen at a line with the tube's Kβ, or with W Lα of an old tube."""
    tube = tube_of(peaks.radiation.wavelength)
    names = {"WLa": "W Lα", f"{tube}Kb": f"{tube} Kβ"} if tube else {}
    strong = own & (peaks.area * LARGEST_GHOST > peaks.area[line])
    for name, said in names.items():
        if name in SINGLE_LINES:
            ratio = SINGLE_LINES[name] / peaks.radiation.wavelength
            apart = np.abs(at_other_wavelength(peaks.two_theta, ratio) - peaks.two_theta[line])
            near = np.flatnonzero(strong & (apart < WITHIN * peaks.fwhm[line]))
            if len(near):
                return f"{said} of the line at {peaks.two_theta[near[peaks.area[near].argmax()]]:.2f}°"
    return ""

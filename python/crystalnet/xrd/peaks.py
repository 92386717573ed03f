"""Bragg lines of a measured pattern: background, detection, profile fit of Kα1 + Kα2, significance.

Own fit on scipy rather than `rietx.pick_peaks`, measured on 61 laboratory and synchrotron patterns: that one took up
to 65 s a pattern and reported the flanks of strong lines as lines, because every group has widths of its own there.
Here one smooth width law, learned from the strong lines, serves detection and fit.
"""

from __future__ import annotations

from pathlib import Path

from crystalnet.bragg import d_of_two_theta
from crystalnet.records import InputError, Pattern, Peaks
from crystalnet.xrd.background import background_under
from crystalnet.xrd.kalpha2 import decided_kalpha2
from crystalnet.xrd.line_search import POINTS_NEEDED, LineSearch

MIN_PEAKS = 3  # fluorite shows no more between 5° and 65°; fewer lines determine no cell


def find_peaks(pattern: Pattern) -> Peaks:
    """The Bragg lines of a pattern, at their Kα1 positions, with integrated areas (Kα1 + Kα2) and widths.

    The high-angle lines decide whether Kα2 is there: where the radiation leaves it open (`kalpha2_known=False`), and
    where they clearly contradict what was said of a tube (Kα2 stripped, a monochromator nobody mentioned). The Peaks
    carry the decided Radiation; `kalpha2_remark` puts a contradiction into words.

    Raises
    ------
    InputError
        Where fewer than 3 lines stand out of the noise.

    Examples
    --------
    >>> from crystalnet.xrd.reader import read_pattern
    >>> peaks = find_peaks(read_pattern("examples/Zr3Sb4Pt3.xy"))
    >>> peaks.d_spacing[:3].round(2).tolist()
    [3.94, 3.41, 3.05]
    """
    background = background_under(pattern.two_theta, pattern.intensity)
    search = LineSearch(pattern, background)
    if len(search.two_theta) < POINTS_NEEDED:
        raise _too_few(pattern, 0)
    radiation = decided_kalpha2(search, pattern.radiation)
    lines = search.run(radiation)
    # Without the lines just found the background shows itself, under them and where it rises steeply.
    without_lines = pattern.intensity - search.model(lines, radiation, pattern.two_theta)
    background = background_under(pattern.two_theta, without_lines)
    search = LineSearch(pattern, background)
    lines = search.run(radiation)
    if len(lines) < MIN_PEAKS:
        raise _too_few(pattern, len(lines))
    return Peaks(
        two_theta=lines.position,
        d_spacing=d_of_two_theta(lines.position, radiation.wavelength),
        area=lines.area,
        fwhm=lines.fwhm,
        background=background,
        two_theta_min=float(pattern.two_theta[0]),
        two_theta_max=float(pattern.two_theta[-1]),
        radiation=radiation,
    )


def _too_few(pattern: Pattern, n: int) -> InputError:
    name = f"{Path(pattern.file).name}: " if pattern.file else ""
    return InputError(
        f"{name}{n} Bragg peaks above the noise, fewer than {MIN_PEAKS}; count longer, widen the 2θ range, "
        "or check that the sample is crystalline"
    )

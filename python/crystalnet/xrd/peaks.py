"""Bragg lines of a measured pattern: background, detection, profile fit of Kα1 + Kα2, significance.

Own fit on scipy rather than `rietx.pick_peaks`, measured on 61 laboratory and synchrotron patterns: that one took up
to 65 s a pattern and reported the flanks of strong lines as lines, because every group has widths of its own there.
Here one smooth width law, learned from the strong lines, serves detection and fit.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np

from crystalnet.bragg import d_of_two_theta, two_theta_of_d
from crystalnet.records import InputError, Pattern, Peaks, Radiation
from crystalnet.xrd.line_fit import _FIELDS, _LN2, _blocks, _fit_block, _Lines, _split, _sum_of
from crystalnet.xrd.radiation import with_kalpha2

MIN_PEAKS = 3  # fluorite shows no more between 5° and 65°; fewer lines determine no cell
DETECTION = 4.5  # sigma in a matched filter: a pattern offers some 10³ independent places for a 3σ accident
SIGNIFICANCE = 3.0  # area / esd of a fitted line, which passed the filter and whose esd holds all correlations
MIN_AREA = 0.004  # of the strongest line: below, impurities and ghosts outnumber lines
MAX_D_SPACING = 40.0  # Å: below the angle of such a line is the direct beam, not a small-molecule or mineral cell
MIN_POINTS = 30  # above the direct beam
BACKGROUND_POINTS = 3000  # enough for a smooth curve; arPLS on 48,000 points would take seconds
STIFFNESS = 30.0  # of that curve: a third and three times as much serve alike
PER_FWHM = 8  # points per FWHM of the detection grid
SHAPE_ERROR = 0.05  # of a line's height: what a pseudo-Voigt may miss of a real profile, so not a line of its own
RESOLUTION = 0.5  # FWHM: closer lines are one
# |ln| of the misfits without and with Kα2: twice the misfit. Of 127 measured doublets whose lines can tell none lies
# below −0.7, of 136 with Kα2 taken off by Rachinger's method none above 0.1; overlaps and odd profiles do less.
CLEAR = 0.7
TELLING = 2  # lines that must agree before what was said is overruled
WIDTH_RANGE = (0.3, 2.5)  # of the width law: narrower is a spike, broader a hump


def find_peaks(pattern: Pattern) -> Peaks:
    """The Bragg lines of a pattern, at their Kα1 positions, with integrated areas (Kα1 + Kα2) and widths.

    The high-angle lines decide whether Kα2 is there: where the radiation leaves it open (`kalpha2_known=False`), and
    where they clearly contradict what was said of a tube (Kα2 stripped, a monochromator nobody mentioned). The Peaks
    carry the decided Radiation; `kalpha2_remark` puts a contradiction into words. Raises InputError where fewer than 3
    lines stand out of the noise.

    >>> from crystalnet.xrd.reader import read_pattern
    >>> peaks = find_peaks(read_pattern("examples/Zr3Sb4Pt3.xy"))
    >>> peaks.d_spacing[:3].round(2).tolist()
    [3.94, 3.41, 3.05]
    """
    background = _background(pattern.two_theta, pattern.intensity)
    search = _Search(pattern, background)
    if len(search.two_theta) < MIN_POINTS:
        raise _too_few(pattern, 0)
    radiation = _decided(search, pattern.radiation)
    lines = search.run(radiation)
    # Without the lines just found the background shows itself, under them and where it rises steeply.
    background = _background(pattern.two_theta, pattern.intensity - search.model(lines, radiation, pattern.two_theta))
    search = _Search(pattern, background)
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


def _background(two_theta: np.ndarray, intensity: np.ndarray) -> np.ndarray:
    """(n,) smooth curve under the lines: pybaselines' pspline_arpls (Baek et al., Analyst 140, 250, 2015).

    On the logarithm of the intensity: where the direct beam or air scatter falls off exponentially the curve is a
    straight line there, and what the method takes for a line is measured by the level it stands on.
    """
    from pybaselines import Baseline

    n = len(two_theta)
    bins = min(n, BACKGROUND_POINTS)
    # Bins of equal range, not of equal number of points: steps may vary and ranges be left out.
    index = np.minimum(((two_theta - two_theta[0]) / np.ptp(two_theta) * bins).astype(int), bins - 1)
    count = np.bincount(index, minlength=bins)
    used = count > 0
    x = np.bincount(index, two_theta, bins)[used] / count[used]
    y = np.bincount(index, intensity, bins)[used] / count[used]
    # The logarithm needs positive numbers: from 0, or from the lowest value less the scatter between neighbours.
    least = min(0.0, float(y.min()) - max(float(np.median(np.abs(np.diff(y)))), 1e-9 * float(np.ptp(y)), 1e-300))
    knots = int(np.clip(np.ptp(two_theta), 30, 150))  # 1° apart: bends with air scatter and glass humps
    curve, _ = Baseline(x).pspline_arpls(np.log(y - least), lam=STIFFNESS, num_knots=knots, max_iter=60, tol=1e-3)
    return np.asarray(np.interp(two_theta, x, np.exp(curve) + least))


class _Search:
    """Detection and fit on the net intensity of one pattern."""

    def __init__(self, pattern: Pattern, background: np.ndarray):
        keep = pattern.two_theta > two_theta_of_d(MAX_D_SPACING, pattern.radiation.wavelength, largest_sine=1.0)
        self.two_theta = pattern.two_theta[keep]
        self.net = (pattern.intensity - background)[keep]
        self.sigma = pattern.sigma[keep]
        self.step = np.gradient(self.two_theta) if keep.sum() > 1 else np.ones(keep.sum())
        self.width_law = np.zeros(1)  # polynomial of log FWHM in 2θ / 100, held constant outside width_range
        self.width_range = (0.0, 180.0)
        if keep.sum() >= MIN_POINTS:
            self.width_law = np.array([np.log(self._typical_fwhm())])

    def fwhm(self, two_theta: np.ndarray) -> np.ndarray:
        """The width law, degrees."""
        law = np.polyval(self.width_law, np.clip(two_theta, *self.width_range) / 100)
        return np.asarray(np.exp(law))

    def _typical_fwhm(self) -> float:
        """Median width at half height of the dozen most prominent maxima."""
        from scipy.signal import find_peaks, peak_widths

        floor = 8 * float(np.median(self.sigma))
        at, found = find_peaks(self.net, prominence=max(floor, 0.02 * float(self.net.max())))
        if not len(at):
            return 5 * float(np.median(self.step))
        at = at[np.argsort(found["prominences"])[::-1][:12]]
        points = peak_widths(self.net, at, rel_height=0.5)[0]
        return float(max(np.median(points * self.step[at]), 2 * np.median(self.step)))

    # --- the walk ---

    def run(self, radiation: Radiation) -> _Lines:
        lines = self.fit(self.candidates(self.net, None, radiation), radiation)
        self.learn_widths(lines)
        lines = self.fit(self.candidates(self.net, None, radiation), radiation)
        for _ in range(2):
            model = self.model(lines, radiation)
            extra = self.candidates(self.net - model, model, radiation)
            distance = np.abs(extra[:, None] - lines.position[None]).min(1, initial=np.inf)
            extra = extra[distance > RESOLUTION * self.fwhm(extra)]  # what a line leaves within itself is its shape
            if not len(extra):
                break
            lines = self.fit(np.sort(np.concatenate([lines.position, extra])), radiation, lines)
        return self._accepted(lines)

    def learn_widths(self, lines: _Lines) -> None:
        """log FWHM as a low polynomial in 2θ through the significant lines, outliers weighted down."""
        typical = np.abs(np.log(lines.fwhm / self.fwhm(lines.position))) < np.log(WIDTH_RANGE[1])
        good = typical & (lines.significance > 15) & (lines.area > 0.01 * lines.area.max(initial=0))
        if good.sum() < 3:
            return
        x, y = lines.position[good] / 100, np.log(lines.fwhm[good])
        degree = 0 if len(x) < 6 or np.ptp(x) < 0.15 else 1 if len(x) < 14 else 2
        weight = np.ones(len(x))
        for _ in range(5):
            law = np.polyfit(x, y, degree, w=weight)
            off = np.abs(y - np.polyval(law, x))
            weight = 1 / np.sqrt(1 + (off / (2 * np.median(off) + 1e-3)) ** 2)
        self.width_law, self.width_range = law, (100 * x.min(), 100 * x.max())

    def candidates(self, net: np.ndarray, model: np.ndarray | None, radiation: Radiation) -> np.ndarray:
        """(k,) positions where a second-derivative matched filter, as wide as the lines, exceeds the noise.

        The filter runs on a grid with a constant number of points per FWHM, so that one kernel serves all angles.
        Its output is put on the scale of its own scatter where no line stands: smoothed files have correlated noise.
        """
        from scipy.ndimage import convolve1d, maximum_filter1d
        from scipy.signal import find_peaks

        coarse = np.linspace(self.two_theta[0], self.two_theta[-1], 2000)
        widths = np.diff(coarse) / self.fwhm((coarse[1:] + coarse[:-1]) / 2)
        phase = np.concatenate([[0], np.cumsum(widths)]) * PER_FWHM  # grid points from the start
        n = int(phase[-1]) + 1
        position = np.interp(np.arange(n), phase, coarse)
        step = np.interp(position, self.two_theta, self.step)
        density = self.fwhm(position) / PER_FWHM / step  # measured points per grid point
        gap = step > 2 * self.fwhm(position)  # between stitched scans lie no data

        index = np.minimum(np.round(np.interp(self.two_theta, coarse, phase)).astype(int), n - 1)
        count = np.bincount(index, minlength=n)
        filled = np.flatnonzero(count)

        def resampled(values: np.ndarray) -> np.ndarray:
            means = np.bincount(index, values, n)[filled] / count[filled]
            return np.asarray(np.interp(np.arange(n), filled, means))

        grid, variance = resampled(net), resampled(self.sigma**2)
        t = np.arange(-4 * PER_FWHM, 4 * PER_FWHM + 1) / PER_FWHM * 2.3548  # in Gaussian sigmas
        narrow, wide = np.exp(-(t**2) / 2), np.exp(-(t**2) / 18) / 3
        found: list[np.ndarray] = []
        heights: list[np.ndarray] = []
        for kernel in ((1 - t**2) * narrow, narrow - wide):  # the first resolves neighbours, the second sees the weak
            kernel -= kernel.mean()
            signal = convolve1d(grid, kernel, mode="nearest")
            noise = np.sqrt(convolve1d(variance / density, kernel**2, mode="nearest"))
            quiet = np.abs(grid) < 3 * np.sqrt(variance)
            if quiet.sum() > 50:
                noise *= max(1.0, float(np.median(np.abs(signal[quiet] / noise[quiet]))) / 0.6745)
            if model is not None:
                shape = maximum_filter1d(np.interp(position, self.two_theta, model), 3 * PER_FWHM + 1)
                noise = np.hypot(noise, SHAPE_ERROR * shape * np.abs(kernel).sum() / 2)
            at, _ = find_peaks(np.where(gap, 0, signal / noise), height=DETECTION)
            if found and len(found[0]):
                at = at[np.abs(at[:, None] - found[0][None]).min(1) > 0.6 * PER_FWHM]
            found.append(at)
            heights.append(signal[at] / float(kernel @ narrow))
        at, height = np.concatenate(found), np.concatenate(heights)
        return np.sort(_without_kalpha2(position[at], height, self.fwhm(position[at]), radiation))

    def _accepted(self, lines: _Lines) -> _Lines:
        """Lines of significance and plausible width, those merged that the widths cannot resolve, none too small."""
        ratio = lines.fwhm / self.fwhm(lines.position)
        keep = (lines.significance > SIGNIFICANCE) & (ratio > WIDTH_RANGE[0]) & (ratio < WIDTH_RANGE[1])
        lines = lines.take(keep)
        if not len(lines):
            return lines
        cuts = np.flatnonzero(np.diff(lines.position) > RESOLUTION * lines.fwhm[1:]) + 1
        merged = [self._merged(lines.take(part)) for part in np.split(np.arange(len(lines)), cuts)]
        lines = _Lines(*np.array(merged).T)
        return lines.take(lines.area > MIN_AREA * lines.area.max())

    @staticmethod
    def _merged(part: _Lines) -> tuple[float, ...]:
        """Unresolved lines as one: centroid, sum of areas, mean shape, best significance."""
        weight = part.area / part.area.sum()
        shape = (float(weight @ part.position), float(part.area.sum()), float(weight @ part.fwhm))
        return (*shape, float(weight @ part.eta), float(part.significance.max()))

    # --- profiles ---

    def model(self, lines: _Lines, radiation: Radiation, axis: np.ndarray | None = None) -> np.ndarray:
        """(n,) sum of the lines' profiles on an axis, by default the net intensity's."""
        axis = self.two_theta if axis is None else axis
        total = np.zeros(len(axis))
        reach = 20 * lines.fwhm
        first = np.searchsorted(axis, lines.position - reach)
        last = np.searchsorted(axis, lines.position + reach + _split(lines.position, radiation))
        for i, (a, b) in enumerate(zip(first, last, strict=True)):
            total[a:b] += _sum_of(lines.take(np.array([i])), axis[a:b], radiation)
        return total

    def fit(self, positions: np.ndarray, radiation: Radiation, start: _Lines | None = None) -> _Lines:
        """Fit all lines block by block, each block on what the others leave.

        start: lines already fitted; of these, only blocks that a new line has joined or come near are fitted again.
        """
        empty = _Lines(*(np.empty(0) for _ in range(5)))
        if not len(positions):
            return empty
        widths = self.fwhm(positions)
        area = np.maximum(np.interp(positions, self.two_theta, self.net), 0) * widths
        guess = _Lines(positions, area, widths, np.full(len(positions), 0.5), np.zeros(len(positions)))
        lines, new = guess, np.ones(len(positions), bool)
        if start is not None:
            nearest = np.abs(positions[:, None] - start.position[None]).argmin(1)
            new = np.abs(positions - start.position[nearest]) > 1e-9
            fitted = start.take(nearest)
            lines = _Lines(*(np.where(new, getattr(guess, f), getattr(fitted, f)) for f in _FIELDS))
        total = self.model(lines, radiation)
        first = np.searchsorted(self.two_theta, positions - 3.5 * widths)
        last = np.searchsorted(self.two_theta, positions + 3.5 * widths + _split(positions, radiation))
        parts = []
        for block in _blocks(positions, widths, radiation):
            own = lines.take(block)
            a, b = first[block[0]], last[block[-1]]
            if b - a < len(block) + 2:
                continue  # a gap in the scan
            if not np.any(new & (last > a) & (first < b)):
                parts.append(own)
                continue
            window = slice(a, b)
            x = self.two_theta[window]
            before = _sum_of(own, x, radiation)
            rest = self.net[window] - (total[window] - before)
            fitted, _ = _fit_block(x, rest, self.sigma[window], replace(own, fwhm=widths[block]), radiation)
            total[window] += _sum_of(fitted, x, radiation) - before
            parts.append(fitted)
        if not parts:
            return empty
        out = _Lines(*(np.concatenate([getattr(p, f) for p in parts]) for f in _FIELDS))
        return out.take(np.argsort(out.position))


def _without_kalpha2(position: np.ndarray, height: np.ndarray, fwhm: np.ndarray, radiation: Radiation) -> np.ndarray:
    """Drop maxima that a stronger line's Kα2 explains."""
    if len(radiation.lines) < 2 or not len(position):
        return position
    weight = radiation.lines[1][1] / radiation.lines[0][1]
    second = position + _split(position, radiation)
    t = (position[:, None] - second) / fwhm[:, None]
    expected = weight * height * np.exp(-4 * _LN2 * t**2)  # at the place of each maximum from each other one
    kept: list[int] = []
    for i in np.argsort(height)[::-1]:
        if height[i] > 1.6 * expected[i, kept].sum():
            kept.append(int(i))
    return position[kept]


def kalpha2_remark(said: Radiation, decided: Radiation) -> str | None:
    """What the user must know where the lines contradict the radiation said; None where they do not.

    said: of the Pattern before `find_peaks`; decided: of its Peaks.
    """
    if not said.kalpha2_known or len(said.lines) == len(decided.lines):
        return None
    if len(decided.lines) == 1:
        return (
            f"Kα2 ({said.lines[1][0]:.4f} Å) was said to be in the beam, but the lines show none: it was stripped from"
            f" the data or kept off by a monochromator. Kα1 alone ({decided.wavelength:.4f} Å) was used."
        )
    return (
        f"Kα1 alone ({said.wavelength:.4f} Å) was said, but the lines show Kα2 beside it: both were used"
        f" ({decided.lines[1][0]:.4f} Å at {decided.lines[1][1] / decided.lines[0][1]:g} of Kα1)."
    )


def _decided(search: _Search, said: Radiation) -> Radiation:
    """With Kα2 or without it, as the lines say; as was said, else with it (tubes have it), where none can tell."""
    doublet = said if len(said.lines) > 1 else with_kalpha2(said)
    if doublet is None:  # no tube's
        return replace(said, kalpha2_known=True)
    doublet = replace(doublet, kalpha2_known=True)
    single = replace(doublet, lines=doublet.lines[:1])
    gains = _kalpha2_gains(copy(search), single, doublet)  # a copy: the widths it learns are its own
    gain = float(np.median(gains)) if len(gains) >= (TELLING if said.kalpha2_known else 1) else 0.0
    if len(said.lines) > 1:
        return single if gain < -CLEAR else doublet
    return doublet if gain > CLEAR else single


def _kalpha2_gains(search: _Search, single: Radiation, doublet: Radiation) -> list[float]:
    """ln of the misfits without and with Kα2, of up to ten lines whose Kα2 would stand clear of their Kα1."""
    lines = search.fit(search.candidates(search.net, None, doublet), doublet)
    search.learn_widths(lines)
    split = _split(lines.position, doublet)
    width = search.fwhm(lines.position)
    contrast = np.interp(lines.position, search.two_theta, search.net / search.sigma)
    telling = np.where((contrast > 10) & (split > 0.4 * width), np.minimum(contrast, 50) * split / width, 0)
    gains: list[float] = []
    for i in np.argsort(telling)[::-1][:10]:
        if telling[i] == 0:
            break
        near = np.abs(search.two_theta - lines.position[i]) < split[i] + width[i] / 2
        top = float(search.two_theta[near][np.argmax(search.net[near])])
        window = slice(*np.searchsorted(search.two_theta, [top - 1.5 * width[i], top + split[i] + 1.5 * width[i]]))
        x, y, sigma = search.two_theta[window], search.net[window], search.sigma[window]
        if len(x) < 8:
            continue
        area = np.atleast_1d(y.max() * width[i])
        start = _Lines(np.array([top]), area, width[[i]], np.array([0.5]), np.zeros(1))
        without, with_it = (_fit_block(x, y, sigma, start, model)[1] for model in (single, doublet))
        gains.append(float(np.log(without / with_it)))
    return gains

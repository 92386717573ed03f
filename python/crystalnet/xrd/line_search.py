"""Detection and fit of the lines in the net intensity of a pattern."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from crystalnet.bragg import two_theta_of_d
from crystalnet.records import Pattern, Radiation
from crystalnet.xrd.binning import Bins
from crystalnet.xrd.line_fit import LN2, FittedLines, fit_block, kalpha2_split, overlapping_blocks, sum_of_profiles

DETECTION = 4.5  # sigma in a matched filter: a pattern offers some 10³ independent places for a 3σ accident
SIGNIFICANCE = 3.0  # area / esd of a fitted line, which passed the filter and whose esd holds all correlations
MIN_AREA = 0.004  # of the strongest line: below, impurities and ghosts outnumber lines
MAX_D_SPACING = 40.0  # Å: below the angle of such a line is the direct beam, not a small-molecule or mineral cell
POINTS_NEEDED = 30  # above the direct beam
PER_FWHM = 8  # points per FWHM of the detection grid
SHAPE_ERROR = 0.05  # of a line's height: what a pseudo-Voigt may miss of a real profile, so not a line of its own
RESOLUTION = 0.5  # FWHM: closer lines are one
WIDTH_RANGE = (0.3, 2.5)  # of the width law: narrower is a spike, broader a hump


class LineSearch:
    """Detection and fit of lines on the net intensity of one pattern.

    One smooth law of the width, learned from the strong lines, serves both.

    Parameters
    ----------
    pattern : Pattern
    background : ndarray, shape (n,)
        On the points of the pattern.
    """

    def __init__(self, pattern: Pattern, background: np.ndarray):
        keep = pattern.two_theta > two_theta_of_d(MAX_D_SPACING, pattern.radiation.wavelength, largest_sine=1.0)
        self.two_theta = pattern.two_theta[keep]
        self.net = (pattern.intensity - background)[keep]
        self.sigma = pattern.sigma[keep]
        self.step = np.gradient(self.two_theta) if keep.sum() > 1 else np.ones(keep.sum())
        self.width_law = np.zeros(1)  # polynomial of log FWHM in 2θ / 100, held constant outside width_range
        self.width_range = (0.0, 180.0)
        if keep.sum() >= POINTS_NEEDED:
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

    def run(self, radiation: Radiation) -> FittedLines:
        """All lines: those that stand out, then twice those that only show once these are taken away."""
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

    def learn_widths(self, lines: FittedLines) -> None:
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
        """Where a second-derivative matched filter, as wide as the lines, exceeds the noise.

        Its output is put on the scale of its own scatter where no line stands: smoothed files have correlated noise.

        Parameters
        ----------
        net : ndarray, shape (n,)
            Intensity without background, and without the lines already known.
        model : ndarray, shape (n,), or None
            Those lines; what a pseudo-Voigt may miss of them is no line.
        radiation : Radiation

        Returns
        -------
        ndarray, shape (k,)
            Degrees, ascending.
        """
        from scipy.ndimage import convolve1d, maximum_filter1d
        from scipy.signal import find_peaks

        grid = _Grid(self)
        values, variance = grid.resampled(net), grid.resampled(self.sigma**2)
        t = np.arange(-4 * PER_FWHM, 4 * PER_FWHM + 1) / PER_FWHM * 2.3548  # in Gaussian sigmas
        narrow, wide = np.exp(-(t**2) / 2), np.exp(-(t**2) / 18) / 3
        found: list[np.ndarray] = []
        heights: list[np.ndarray] = []
        for kernel in ((1 - t**2) * narrow, narrow - wide):  # the first resolves neighbours, the second sees the weak
            kernel -= kernel.mean()
            signal = convolve1d(values, kernel, mode="nearest")
            noise = np.sqrt(convolve1d(variance / grid.density, kernel**2, mode="nearest"))
            quiet = np.abs(values) < 3 * np.sqrt(variance)
            if quiet.sum() > 50:
                noise *= max(1.0, float(np.median(np.abs(signal[quiet] / noise[quiet]))) / 0.6745)
            if model is not None:
                shape = maximum_filter1d(np.interp(grid.position, self.two_theta, model), 3 * PER_FWHM + 1)
                noise = np.hypot(noise, SHAPE_ERROR * shape * np.abs(kernel).sum() / 2)
            at, _ = find_peaks(np.where(grid.gap, 0, signal / noise), height=DETECTION)
            if found and len(found[0]):
                at = at[np.abs(at[:, None] - found[0][None]).min(1) > 0.6 * PER_FWHM]
            found.append(at)
            heights.append(signal[at] / float(kernel @ narrow))
        at, height = np.concatenate(found), np.concatenate(heights)
        position = grid.position[at]
        return np.sort(_without_kalpha2(position, height, self.fwhm(position), radiation))

    def _accepted(self, lines: FittedLines) -> FittedLines:
        """Lines of significance and plausible width, those merged that the widths cannot resolve, none too small."""
        ratio = lines.fwhm / self.fwhm(lines.position)
        keep = (lines.significance > SIGNIFICANCE) & (ratio > WIDTH_RANGE[0]) & (ratio < WIDTH_RANGE[1])
        lines = lines.take(keep)
        if not len(lines):
            return lines
        cuts = np.flatnonzero(np.diff(lines.position) > RESOLUTION * lines.fwhm[1:]) + 1
        merged = [self._merged(lines.take(part)) for part in np.split(np.arange(len(lines)), cuts)]
        lines = FittedLines(*np.array(merged).T)
        return lines.take(lines.area > MIN_AREA * lines.area.max())

    @staticmethod
    def _merged(part: FittedLines) -> tuple[float, ...]:
        """Unresolved lines as one: centroid, sum of areas, mean shape, best significance."""
        weight = part.area / part.area.sum()
        shape = (float(weight @ part.position), float(part.area.sum()), float(weight @ part.fwhm))
        return (*shape, float(weight @ part.eta), float(part.significance.max()))

    def model(self, lines: FittedLines, radiation: Radiation, axis: np.ndarray | None = None) -> np.ndarray:
        """(n,) sum of the lines' profiles on an axis, by default the net intensity's."""
        axis = self.two_theta if axis is None else axis
        total = np.zeros(len(axis))
        reach = 20 * lines.fwhm
        first = np.searchsorted(axis, lines.position - reach)
        last = np.searchsorted(axis, lines.position + reach + kalpha2_split(lines.position, radiation))
        for i, (a, b) in enumerate(zip(first, last, strict=True)):
            total[a:b] += sum_of_profiles(lines.take(np.array([i])), axis[a:b], radiation)
        return total

    def fit(self, positions: np.ndarray, radiation: Radiation, start: FittedLines | None = None) -> FittedLines:
        """Fit all lines block by block, each block on what the others leave.

        start: lines already fitted; of these, only blocks that a new line has joined or come near are fitted again.
        """
        if not len(positions):
            return FittedLines.none()
        widths = self.fwhm(positions)
        area = np.maximum(np.interp(positions, self.two_theta, self.net), 0) * widths
        guess = FittedLines(positions, area, widths, np.full(len(positions), 0.5), np.zeros(len(positions)))
        lines, new = guess, np.ones(len(positions), bool)
        if start is not None:
            nearest = np.abs(positions[:, None] - start.position[None]).argmin(1)
            new = np.abs(positions - start.position[nearest]) > 1e-9
            lines = guess.where(new, start.take(nearest))
        total = self.model(lines, radiation)
        first = np.searchsorted(self.two_theta, positions - 3.5 * widths)
        last = np.searchsorted(self.two_theta, positions + 3.5 * widths + kalpha2_split(positions, radiation))
        parts = []
        for block in overlapping_blocks(positions, widths, radiation):
            own = lines.take(block)
            a, b = first[block[0]], last[block[-1]]
            if b - a < len(block) + 2:
                continue  # a gap in the scan
            if not np.any(new & (last > a) & (first < b)):
                parts.append(own)
                continue
            window = slice(a, b)
            x = self.two_theta[window]
            before = sum_of_profiles(own, x, radiation)
            rest = self.net[window] - (total[window] - before)
            fitted, _ = fit_block(x, rest, self.sigma[window], replace(own, fwhm=widths[block]), radiation)
            total[window] += sum_of_profiles(fitted, x, radiation) - before
            parts.append(fitted)
        if not parts:
            return FittedLines.none()
        return FittedLines.joined(parts)


class _Grid:
    """2θ in steps of FWHM / PER_FWHM, so that one kernel serves all angles."""

    def __init__(self, search: LineSearch) -> None:
        coarse = np.linspace(search.two_theta[0], search.two_theta[-1], 2000)
        widths = np.diff(coarse) / search.fwhm((coarse[1:] + coarse[:-1]) / 2)
        phase = np.concatenate([[0], np.cumsum(widths)]) * PER_FWHM  # grid points from the start
        self.size = int(phase[-1]) + 1
        self.position = np.interp(np.arange(self.size), phase, coarse)
        step = np.interp(self.position, search.two_theta, search.step)
        self.density = search.fwhm(self.position) / PER_FWHM / step  # measured points per grid point
        self.gap = step > 2 * search.fwhm(self.position)  # between stitched scans lie no data

        nearest = np.round(np.interp(search.two_theta, coarse, phase)).astype(int)
        self._bins = Bins(np.minimum(nearest, self.size - 1))

    def resampled(self, values: np.ndarray) -> np.ndarray:
        """Values at the measured points as means at those of the grid, interpolated where it has none."""
        return np.asarray(np.interp(np.arange(self.size), self._bins.filled, self._bins.mean(values)))


def _without_kalpha2(position: np.ndarray, height: np.ndarray, fwhm: np.ndarray, radiation: Radiation) -> np.ndarray:
    """Drop maxima that a stronger line's Kα2 explains."""
    if len(radiation.lines) < 2 or not len(position):
        return position
    weight = radiation.lines[1][1] / radiation.lines[0][1]
    second = position + kalpha2_split(position, radiation)
    t = (position[:, None] - second) / fwhm[:, None]
    expected = weight * height * np.exp(-4 * LN2 * t**2)  # at the place of each maximum from each other one
    kept: list[int] = []
    for i in np.argsort(height)[::-1]:
        if height[i] > 1.6 * expected[i, kept].sum():
            kept.append(int(i))
    return position[kept]

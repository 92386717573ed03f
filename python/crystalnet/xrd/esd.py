"""Esds of counts where a file has none."""

from __future__ import annotations

import numpy as np


def counting_esd(intensity: np.ndarray) -> np.ndarray:
    """Esds of intensities that came without: √max(I, 1) for counts, else √(gain·I) at the level of the scatter.

    Parameters
    ----------
    intensity : ndarray, shape (n,)
        Along the scan.

    Returns
    -------
    ndarray, shape (n,)

    Notes
    -----
    Counts multiplied by a factor g (counts per second, normalised patterns) have the variance g·I. A point's variance
    is estimated from its distance to the mean of two neighbours, and the gain is the median of variance / I over the
    less intense points. The neighbours are three steps away, because many files are smoothed and adjacent points then
    agree too well. Where the background was subtracted, I says nothing about the noise, which is then taken from the
    scatter itself.
    """
    whole = bool(np.all(intensity == np.round(intensity)))
    few = np.median(intensity) < 5  # too few counts for a scatter
    if whole and (few or 0.5 < _scatter(intensity, 1)[1] < 2):
        return np.asarray(np.sqrt(np.maximum(intensity, 1.0)))
    floor, gain = _scatter(intensity, 3)
    # No detector beats this; simulated patterns would. A maximum of one point is a fault of the detector, not a line.
    from scipy.ndimage import median_filter

    least = (1e-5 * float(np.max(np.abs(median_filter(intensity, 3))))) ** 2
    if np.median(intensity) > 5 * np.sqrt(floor):
        variance = gain * np.maximum(intensity, np.quantile(intensity, 0.01))
    else:  # the scale of the counts went with the background: let the strong points be known to 1%, or as the gain says
        strong = intensity[intensity > 20 * np.sqrt(floor)]
        gain = min(gain, 1e-4 * float(strong.max())) if len(strong) else 0.0
        variance = floor + gain * np.maximum(intensity, 0)
    return np.asarray(np.sqrt(np.maximum(variance, least)))


def _scatter(intensity: np.ndarray, lag: int) -> tuple[float, float]:
    """(variance, variance / intensity) of the noise, medians over the 40% least intense points."""
    chi2_median = 0.4549  # median of χ² with one degree of freedom
    level = (intensity[: -2 * lag] + intensity[2 * lag :]) / 2
    squared = (intensity[lag:-lag] - level) ** 2 / 1.5  # var(y_i − (y_{i−k} + y_{i+k})/2) = 1.5 σ²
    quiet = level <= np.quantile(level, 0.4)
    bright = quiet & (level > 0)
    gain = float(np.median(squared[bright] / level[bright])) / chi2_median if bright.any() else 1.0
    return float(np.median(squared[quiet])) / chi2_median, gain

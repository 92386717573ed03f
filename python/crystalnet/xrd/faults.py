"""Faults of a measurement that would set the scale of a pattern: the direct beam, and single points."""

from __future__ import annotations

import numpy as np

from crystalnet.xrd.scans import MIN_POINTS

BEAM = 10.0  # times the strongest line: more, falling from the first angles, is the direct beam
BEAM_START, BEAM_END = 5.0, 15.0  # degrees: where its maximum and its foot may lie at the latest
SPIKE = 10.0  # times its neighbours: a line has flanks
MOST_SPIKES = 5  # more are lines, measured in coarse steps


def without_faults(
    two_theta: np.ndarray, y: np.ndarray, sigma: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
    """The pattern without the direct beam and without single points that outshine every line.

    Both would set the scale by which lines are found and the smallest esd.

    Parameters
    ----------
    two_theta, y, sigma : ndarray, shape (n,)
        Degrees ascending, intensity, esds.

    Returns
    -------
    two_theta, y, sigma : ndarray, shape (m,)
    remarks : tuple of str
        What was left out, for the user.
    """
    remarks: tuple[str, ...] = ()
    foot = _foot_of_beam(two_theta, y)
    if foot and len(y) - foot >= MIN_POINTS:
        remarks = (f"The points below {two_theta[foot]:.2f}° hold the direct beam and were left out.",)
        two_theta, y, sigma = two_theta[foot:], y[foot:], sigma[foot:]
    spikes = _spikes(y)
    if 0 < len(spikes) <= MOST_SPIKES:
        places = ", ".join(f"{two_theta[i]:.2f}°" for i in spikes)
        remarks += (f"Single points without flanks that outshine every line were left out, at {places}.",)
        keep = np.ones(len(y), bool)
        keep[spikes] = False
        two_theta, y, sigma = two_theta[keep], y[keep], sigma[keep]
    return two_theta, y, sigma, remarks


def _foot_of_beam(two_theta: np.ndarray, y: np.ndarray) -> int:
    """Index of the first point behind the direct beam, 0 where there is none."""
    top = int(np.argmax(y))
    if two_theta[top] > BEAM_START:
        return 0
    low = np.flatnonzero(y[top:] < 0.05 * y[top])
    if not len(low):
        return 0
    foot = top + int(low[0])
    rising = np.flatnonzero(np.diff(y[foot:]) >= 0)
    foot += int(rising[0]) if len(rising) else len(y) - foot - 1
    if two_theta[foot] > BEAM_END or len(y) - foot < MIN_POINTS or y[top] < BEAM * np.max(y[foot:]):
        return 0
    return foot


def _spikes(y: np.ndarray) -> np.ndarray:
    """Indices of points SPIKE times higher than their neighbours and than everything that has flanks."""
    from scipy.ndimage import median_filter

    flanked = float(np.max(median_filter(y, 3)))
    neighbours = np.maximum.reduce([np.roll(y, k) for k in (-2, -1, 1, 2)])
    return np.flatnonzero((y > SPIKE * np.maximum(neighbours, 0)) & (y > SPIKE * max(flanked, 0)) & (y > 0))

"""The smooth curve under the lines of a pattern."""

from __future__ import annotations

import numpy as np

from crystalnet.xrd.binning import Bins

BACKGROUND_POINTS = 3000  # enough for a smooth curve; arPLS on 48,000 points would take seconds
STIFFNESS = 30.0  # of that curve: a third and three times as much serve alike


def background_under(two_theta: np.ndarray, intensity: np.ndarray) -> np.ndarray:
    """The smooth curve under the lines, by pybaselines' pspline_arpls on the logarithm of the intensity.

    Where the direct beam or air scatter falls off exponentially the logarithm is straight, and what the method takes
    for a line is measured by the level it stands on.

    Parameters
    ----------
    two_theta : ndarray, shape (n,)
        Degrees, ascending.
    intensity : ndarray, shape (n,)

    Returns
    -------
    ndarray, shape (n,)

    References
    ----------
    Baek et al., Analyst 140, 250 (2015).
    """
    from pybaselines import Baseline

    n = len(two_theta)
    bins = min(n, BACKGROUND_POINTS)
    # Bins of equal range, not of equal number of points: steps may vary and ranges be left out.
    index = np.minimum(((two_theta - two_theta[0]) / np.ptp(two_theta) * bins).astype(int), bins - 1)
    binned = Bins(index)
    x, y = binned.mean(two_theta), binned.mean(intensity)
    # The logarithm needs positive numbers: from 0, or from the lowest value less the scatter between neighbours.
    least = min(0.0, float(y.min()) - max(float(np.median(np.abs(np.diff(y)))), 1e-9 * float(np.ptp(y)), 1e-300))
    knots = int(np.clip(np.ptp(two_theta), 30, 150))  # 1° apart: bends with air scatter and glass humps
    curve, _ = Baseline(x).pspline_arpls(np.log(y - least), lam=STIFFNESS, num_knots=knots, max_iter=60, tol=1e-3)
    return np.asarray(np.interp(two_theta, x, np.exp(curve) + least))

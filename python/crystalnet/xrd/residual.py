"""The residual of line intensities: how well calculated ones match the measured."""

from __future__ import annotations

import numpy as np

from crystalnet.bragg import polarisation_ratio, two_theta_of_d
from crystalnet.ops.reflections import Reflections
from crystalnet.records import Peaks, Radiation
from crystalnet.xrd.decay import tried_b
from crystalnet.xrd.nearest import around, nearest

D_MIN = 0.7  # Å; shorter spacings multiply the reflections (as 1/d³) and hardly tell candidates apart
NEIGHBOURS = 5  # observed lines around a missing one that tell what would have been seen there


def intensity_residual(peaks: Peaks, lines: Reflections, *, zero_shift: float = 0.0) -> float:
    """The residual of calculated line intensities against the observed peak areas: 0 is perfect, 1 is unrelated.

    R = √(Σ(√I_o − s√I_c)² / ΣI_o) over groups of lines that the pattern does not resolve; the scale s and an overall B
    are free. A calculated line without a peak counts by what it exceeds the weakest peaks around it, a peak without a
    calculated line in full. Lines outside the observed range, or of d < D_MIN, are left out.

    Parameters
    ----------
    peaks : Peaks
    lines : Reflections
        From `crystalnet.ops`, with B = 0, at the pattern's first wavelength.
    zero_shift : float
        Degrees, added to 2θ of the calculated lines.

    Notes
    -----
    The square roots keep one line that texture has doubled from outvoting all others. Texture still raises R: a
    difference of a few hundredths between two candidates means nothing.
    """
    return float(LineMatch(peaks, lines.two_theta, lines.d_spacing, zero_shift).residuals(lines.intensity[None])[0])


class LineMatch:
    """Which observed lines the lines of a lattice fall on: what `intensity_residual` needs of the cell alone.

    Parameters
    ----------
    peaks : Peaks
    two_theta : ndarray, shape (n,)
        Of the lines of the lattice, degrees.
    d_spacing : ndarray, shape (n,)
        Å.
    zero_shift : float
        Degrees, added to 2θ.
    """

    def __init__(self, peaks: Peaks, two_theta: np.ndarray, d_spacing: np.ndarray, zero_shift: float) -> None:
        n_lines = len(two_theta)
        two_theta = two_theta + zero_shift
        end = min(peaks.two_theta_max, end_of_lines(D_MIN, peaks.radiation))
        inside = np.flatnonzero((two_theta >= peaks.two_theta_min) & (two_theta <= end))
        used = peaks.two_theta <= end
        self.comparable = bool(used.any() and len(inside))
        if not self.comparable:
            return
        two_theta, d_spacing = two_theta[inside], d_spacing[inside]
        position, fwhm, area = peaks.two_theta[used], peaks.fwhm[used], peaks.area[used]
        polarisation = polarisation_ratio(two_theta, peaks.radiation)
        b_iso = tried_b(peaks.radiation.wavelength)[:, None]
        visible = polarisation * np.exp(-b_iso / (2 * d_spacing**2))  # 2B(sinθ/λ)² = B/2d²

        width = np.maximum(fwhm, np.median(fwhm))
        group = np.cumsum(np.diff(position, prepend=-np.inf) > width) - 1
        closest = nearest(position, two_theta)
        hit = np.abs(two_theta - position[closest]) <= width[closest]
        neighbours = around(position, two_theta[~hit], NEIGHBOURS)

        self.observed = np.sqrt(np.bincount(group, area))
        self.limit = np.sqrt(np.append(area, np.inf)[neighbours].min(axis=1, initial=np.inf))
        self.hit, self.missed = inside[hit], inside[~hit]
        self.polarisation = np.zeros(n_lines)
        self.polarisation[inside] = polarisation
        self.group = group[closest[hit]]
        self.present, self.starts = np.unique(self.group, return_index=True)  # groups ascend with the lines
        self.visible_hit, self.visible_missed = visible[:, hit], np.sqrt(visible[:, ~hit])

    def residuals(self, intensity: np.ndarray) -> np.ndarray:
        """The residuals of many crystals in the cell, see `intensity_residual`.

        Parameters
        ----------
        intensity : ndarray, shape (K, n)
            Of the lines of each crystal, on any scale.

        Returns
        -------
        ndarray, shape (K,)
        """
        if not self.comparable:
            return np.ones(len(intensity))
        calculated = np.zeros((len(intensity), len(self.visible_hit), len(self.observed)))
        if len(self.present):
            seen = self.visible_hit * intensity[:, None, self.hit]
            calculated[..., self.present] = np.sqrt(np.add.reduceat(seen, self.starts, axis=-1))
        absent = self.visible_missed * np.sqrt(intensity[:, None, self.missed])

        signal, power = calculated @ self.observed, (calculated**2).sum(axis=-1)
        scale = _ratio(signal, power)
        for _ in range(3):  # which absent lines exceed their limit depends on the scale; three rounds settle it
            over = absent * (scale[..., None] * absent > self.limit)
            scale = _ratio(signal + over @ self.limit, power + (over**2).sum(axis=-1))
        excess = np.maximum(scale[..., None] * absent - self.limit, 0.0)
        squares = ((self.observed - scale[..., None] * calculated) ** 2).sum(axis=-1) + (excess**2).sum(axis=-1)
        return np.asarray(np.sqrt(squares.min(axis=-1) / (self.observed @ self.observed)))


def judged(two_theta: np.ndarray, radiation: Radiation) -> np.ndarray:
    """Which points (n,) of a pattern every candidate is fitted to and judged by: spacings from D_MIN."""
    return np.asarray(two_theta <= end_of_lines(D_MIN, radiation))


def end_of_lines(d_spacing: float, radiation: Radiation) -> float:
    """2θ of a spacing, degrees; 180 where it is out of reach."""
    return float(two_theta_of_d(d_spacing, radiation.wavelength, largest_sine=1.0))


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(np.divide(a, b, out=np.zeros_like(a), where=b > 0))

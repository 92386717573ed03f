"""Line profiles, pseudo-Voigts of all lines of the radiation, and their fit to a piece of a pattern."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from crystalnet.bragg import at_other_wavelength
from crystalnet.records import Radiation

PROFILE_ERROR = 0.02  # of the intensity, added to the esd in fits: strong lines must not outvote the weak
MAX_BLOCK = 10  # lines fitted together
FIT_STEPS = 50  # of a block; the slowest of the measured patterns' ends after 32
LN2 = np.log(2.0)


@dataclass(frozen=True)
class FittedLines:
    """Fitted lines, ascending in 2θ; arrays of shape (m,).

    Attributes
    ----------
    position : ndarray
        2θ of Kα1, degrees.
    area : ndarray
        Of all emission lines together, counts · degrees.
    fwhm : ndarray
        Degrees.
    eta : ndarray
        Lorentzian share of the pseudo-Voigt.
    significance : ndarray
        Area over its esd.
    """

    position: np.ndarray
    area: np.ndarray
    fwhm: np.ndarray
    eta: np.ndarray
    significance: np.ndarray

    def __len__(self) -> int:
        return len(self.position)

    def take(self, keep: np.ndarray) -> FittedLines:
        """Those lines that are indexed, or true in a mask."""
        return FittedLines(*(column[keep] for column in self._columns()))

    def where(self, condition: np.ndarray, other: FittedLines) -> FittedLines:
        """(m,) lines of this list where the condition holds, else of the other."""
        pairs = zip(self._columns(), other._columns(), strict=True)
        return FittedLines(*(np.where(condition, own, its) for own, its in pairs))

    @classmethod
    def joined(cls, parts: Sequence[FittedLines]) -> FittedLines:
        """The lines of all parts, ascending."""
        columns = zip(*(part._columns() for part in parts), strict=True)
        lines = cls(*(np.concatenate(column) for column in columns))
        return lines.take(np.argsort(lines.position))

    @classmethod
    def none(cls) -> FittedLines:
        return cls(*np.empty((5, 0)))

    def _columns(self) -> tuple[np.ndarray, ...]:
        return self.position, self.area, self.fwhm, self.eta, self.significance


def kalpha2_split(position: np.ndarray, radiation: Radiation) -> np.ndarray:
    """Kα2 − Kα1 in degrees 2θ, 0 for a single line."""
    if len(radiation.lines) < 2:
        return np.zeros_like(position)
    return np.asarray(at_other_wavelength(position, radiation.lines[1][0] / radiation.wavelength) - position)


def _profiles(
    x: np.ndarray, position: np.ndarray, fwhm: np.ndarray, eta: np.ndarray, radiation: Radiation
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(m, n) pseudo-Voigts, each of unit area over all emission lines, and their derivatives by position, by log FWHM
    and by Lorentzian share. position, fwhm, eta: (m,).
    """
    weights = sum(w for _, w in radiation.lines)
    profile, by_position, by_width, by_eta = np.zeros((4, len(position), len(x)))
    tangent = np.tan(np.radians(position / 2))
    for wavelength, weight in radiation.lines:
        centre = at_other_wavelength(position, wavelength / radiation.wavelength)
        moves = np.tan(np.radians(centre / 2)) / tangent  # Bragg's law: dθ ∝ tan θ for all lines of the same planes
        scale = (weight / weights * 2 / fwhm)[:, None]
        u = (x - centre[:, None]) / (fwhm / 2)[:, None]
        t = u * u
        lorentz = 1 / (np.pi * (1 + t))
        gauss = np.sqrt(LN2 / np.pi) * np.exp(-LN2 * t)
        line = scale * (eta[:, None] * lorentz + (1 - eta[:, None]) * gauss)
        by_t = -scale * (eta[:, None] * np.pi * lorentz**2 + (1 - eta[:, None]) * LN2 * gauss)
        profile += line
        by_position -= by_t * u * (4 * moves / fwhm)[:, None]
        by_width -= line + 2 * t * by_t
        by_eta += scale * (lorentz - gauss)
    return profile, by_position, by_width, by_eta


def sum_of_profiles(lines: FittedLines, x: np.ndarray, radiation: Radiation) -> np.ndarray:
    """(n,) sum of the lines' profiles."""
    return np.asarray(lines.area @ _profiles(x, lines.position, lines.fwhm, lines.eta, radiation)[0])


def overlapping_blocks(positions: np.ndarray, widths: np.ndarray, radiation: Radiation) -> list[np.ndarray]:
    """Indices of the lines of each run that overlaps, a run cut at its widest gap where longer than MAX_BLOCK."""
    split = kalpha2_split(positions, radiation)
    gap = (np.diff(positions) - split[:-1]) / widths[:-1]
    runs = np.split(np.arange(len(positions)), np.flatnonzero(gap > 4) + 1)
    out: list[np.ndarray] = []
    while runs:
        run = runs.pop(0)
        if len(run) <= MAX_BLOCK:
            out.append(run)
            continue
        inner = gap[run[:-1]].copy()
        inner[: len(run) // 4] = inner[len(run) - len(run) // 4 - 1 :] = -1  # no slivers
        cut = int(np.argmax(inner)) + 1
        runs[:0] = [run[:cut], run[cut:]]
    return out


def fit_block(
    x: np.ndarray, y: np.ndarray, sigma: np.ndarray, start: FittedLines, radiation: Radiation
) -> tuple[FittedLines, float]:
    """Least squares of positions, areas, one factor on the widths and one Lorentzian share.

    Parameters
    ----------
    x, y, sigma : ndarray, shape (n,)
        2θ in degrees, net intensity, esds: the piece of the pattern that holds the lines.
    start : FittedLines
    radiation : Radiation

    Returns
    -------
    lines : FittedLines
    chi_squared : float
        Of the profile alone, without what holds the parameters to their start.

    Notes
    -----
    The areas are linear and solved inside: variable projection (Golub & Pereyra, SIAM J. Numer. Anal. 10, 413 (1973)),
    with Kaufman's Jacobian (BIT 15, 49 (1975)), whose gradient is exact.
    """
    from scipy.optimize import leastsq, nnls

    m = len(start)
    # Far below zero lies what a background too high has left: no line, and no word against one.
    too_high = np.maximum(-y - 3 * sigma, 0)
    esd = np.sqrt(sigma**2 + (PROFILE_ERROR * np.maximum(y, 0)) ** 2 + too_high**2)
    target = y / esd
    reach = 0.7 * start.fwhm
    # Widths follow the law within 20%, the Lorentzian share is anything: what weak lines cannot say themselves.
    prior = np.concatenate([np.ones(m), [1 / 0.2, 1 / 1.5]])
    # Under crowded lines the background is too low: two ramps, down and up, make up for it.
    up = (x - x[0]) / max(x[-1] - x[0], 1e-12) / start.fwhm[0]
    ramps = np.stack([1 / start.fwhm[0] - up, up])

    def unpack(p: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        width, mixing = np.clip(p[m:], -5, 5)
        eta = np.full(m, 1 / (1 + np.exp(-mixing)))
        return start.position + reach * np.tanh(p[:m]), start.fwhm * np.exp(width), eta

    @lru_cache(maxsize=1)  # the residual and its Jacobian are asked for at the same place
    def solve(p: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, ...]]:
        profile, *slopes = _profiles(x, *unpack(np.array(p)), radiation)
        basis = (np.concatenate([profile, ramps]) / esd).T
        return basis, nnls(basis, target)[0], tuple(slopes)

    def residual(p: np.ndarray) -> np.ndarray:
        basis, area, _ = solve(tuple(p))
        return np.concatenate([basis @ area - target, prior * p])

    def jacobian(p: np.ndarray) -> np.ndarray:
        basis, area, (by_position, by_width, by_eta) = solve(tuple(p))
        free = np.abs(p[m:]) < 5
        eta = 1 / (1 + np.exp(-np.clip(p[m + 1], -5, 5)))
        moved = (reach / np.cosh(p[:m]) ** 2 * area[:m])[:, None] * by_position
        shaped = [free[0] * (area[:m] @ by_width), free[1] * eta * (1 - eta) * (area[:m] @ by_eta)]
        columns = (np.concatenate([moved, shaped]) / esd).T
        active, _ = np.linalg.qr(basis[:, area > 0])
        return np.concatenate([columns - active @ (active.T @ columns), np.diag(prior)])

    # MINPACK itself: the checks of `least_squares` around it take as long as a fit of one line.
    p = leastsq(residual, np.zeros(m + 2), Dfun=jacobian, full_output=True, maxfev=FIT_STEPS, xtol=1e-4, ftol=1e-4)[0]
    position, fwhm, eta = unpack(p)
    basis, area, _ = solve(tuple(p))
    left = basis @ area - target
    chi2 = float(left @ left)
    covariance = np.linalg.pinv(basis.T @ basis) * max(1.0, chi2 / max(len(x) - 2 * m - 4, 1))
    significance = area / np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    return FittedLines(position, area[:m], fwhm, eta, significance[:m]), chi2

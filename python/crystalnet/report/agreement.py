"""How well a refined candidate agrees with the pattern, in the figures that Rietveld programs give."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crystalnet.records import Fit, Pattern
from crystalnet.xrd.residual import judged

WHAT_THEY_MEAN = (
    "Rwp with the background excluded, by which CrystalNet ranks, divides by the measured intensity above the"
    " background; Rietveld programs divide by all of it, so that theirs is smaller the higher the background, and only"
    " that one is to be compared with Rexp."
)


@dataclass(frozen=True)
class Agreement:
    """The figures of a fit as Rietveld programs define them, fractions of 1, over the points of d ≥ 0.7 Å.

    Attributes
    ----------
    rwp : float
        Rwp with the background included, √(Σw(y_o−y_c)² / Σw y_o²), w = 1/σ².
    rp : float
        Σ|y_o−y_c| / Σ y_o.
    expected : float
        Rexp = √((n−p) / Σw y_o²) for n points and p parameters.
    bragg : float or None
        R_B = Σ|I_o−I_c| / ΣI_o over the reflections, I = multiplicity × |F|².

    References
    ----------
    Toby, Powder Diffr. 21, 67 (2006).
    """

    rwp: float
    rp: float
    expected: float
    bragg: float | None

    @property
    def chi_squared(self) -> float:
        """Reduced χ² = (Rwp / Rexp)²; the goodness of fit is its root."""
        return (self.rwp / self.expected) ** 2

    def as_json(self, parameters: int) -> dict[str, float | int | None]:
        """As solution.json has it, with the number of refined parameters."""
        return {
            "rwp_background_included": self.rwp,
            "rp": self.rp,
            "r_expected": self.expected,
            "chi_squared": self.chi_squared,
            "r_bragg": self.bragg,
            "parameters": parameters,
        }


def agreement(fit: Fit, pattern: Pattern) -> Agreement | None:
    """The figures of a fit over the points that it was judged by; None where nothing was refined."""
    points = judged(pattern.two_theta, pattern.radiation)
    y, sigma, residual = (a[points] for a in (pattern.intensity, pattern.sigma, pattern.intensity - fit.calculated))
    n = len(y)
    if fit.lines is None or n <= fit.parameters:
        return None
    whole = float(((y / sigma) ** 2).sum())
    return Agreement(
        rwp=float(np.sqrt(((residual / sigma) ** 2).sum() / whole)),
        rp=float(np.abs(residual).sum() / np.abs(y).sum()),
        expected=float(np.sqrt((n - fit.parameters) / whole)),
        bragg=_r_bragg(fit),
    )


def _r_bragg(fit: Fit) -> float | None:
    if fit.lines is None:
        return None
    there = np.isfinite(fit.lines.observed) & (fit.lines.calculated > 0)
    calculated = (fit.lines.multiplicity * fit.lines.f_squared)[there]
    observed = calculated * fit.lines.observed[there] / fit.lines.calculated[there]
    whole = observed.sum()
    return float(np.abs(observed - calculated).sum() / whole) if whole > 0 else None

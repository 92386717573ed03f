"""The lines as indexing sees them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from crystalnet.bragg import inverse_d_squared, inverse_d_squared_slope
from crystalnet.records import Peaks

#: Most lines used, lowest angles first: further up, lines overlap and every large cell fits them.
MAX_LINES = 30
#: In a long list, lines weaker than this fraction of the strongest are left out (in a short one, those of noise size).
LEAST_STRENGTH = 0.02
#: Zero shift searched, degrees, and the number of trial values on each side of 0.
MAX_ZERO, ZERO_STEPS = 0.3, 5
#: Standard deviations expected of the shift: its mean (zero), and its slope in cosθ (specimen displacement).
ZERO_ESD, LEAN_ESD = 0.12, 0.1


# --------------------------------------------------------------------------------------------------
# the measured lines


@dataclass(frozen=True)
class _Lines:
    """The lines that take part, ascending: two_theta, strength (strongest = 1), tolerance (degrees), (n,)."""

    two_theta: np.ndarray
    strength: np.ndarray
    tolerance: np.ndarray
    wavelength: float
    two_theta_min: float
    max_zero: float

    noise: float

    @classmethod
    def of(cls, peaks: Peaks, most: int = MAX_LINES, faint: bool = False) -> _Lines:
        """The first lines that are strong enough; faint: noise-sized ones left out only."""
        strength = peaks.area / peaks.area.max()
        # In a long list the faint lines are mostly noise and the strong ones are enough.
        least = peaks.noise if faint else np.clip(np.sort(strength)[-most:][0], peaks.noise, LEAST_STRENGTH)
        keep = np.flatnonzero(strength >= least)[:most]
        width = float(np.median(peaks.fwhm[keep]))
        # A position is good to a small part of the width, so long as the width is that of one line.
        tolerance = np.clip(peaks.precision * np.clip(peaks.fwhm[keep], 0.5 * width, 2 * width), 0.002, 0.08)
        # Narrow lines and short wavelengths mean a calibrated synchrotron: there 0.3° would be a tenth of d.
        max_zero = MAX_ZERO * min(1.0, width / 0.06, peaks.radiation.wavelength / 0.7)
        return cls(
            peaks.two_theta[keep],
            strength[keep],
            tolerance,
            peaks.radiation.wavelength,
            peaks.two_theta_min,
            max_zero,
            peaks.noise,
        )

    def __len__(self) -> int:
        return len(self.two_theta)

    @cached_property
    def slope(self) -> np.ndarray:
        """dQ/d2θ, per degree."""
        slope: np.ndarray = inverse_d_squared_slope(self.two_theta, self.wavelength)
        return slope

    @cached_property
    def lean(self) -> np.ndarray:
        """What a specimen displacement does to 2θ beyond a mean shift: cosθ less its mean."""
        cosine = np.cos(np.radians(self.two_theta / 2))
        lean: np.ndarray = cosine - cosine.mean()
        return lean

    @cached_property
    def strange(self) -> np.ndarray:
        """Chance that a line belongs to no lattice: usual for noise-sized ones, rare for strong ones."""
        return 0.02 + 0.4 * np.exp(-self.strength / (5 * self.noise + 1e-9))

    @cached_property
    def usual_tolerance(self) -> float:
        """Median tolerance, degrees."""
        return float(np.median(self.tolerance))

    def q(self, zero: float | np.ndarray = 0.0, lean: float | np.ndarray = 0.0) -> np.ndarray:
        """1/d² (..., n) after taking off the shift zero (...) + lean (...)·`self.lean`."""
        shift = np.asarray(zero)[..., None] + np.asarray(lean)[..., None] * self.lean
        q: np.ndarray = inverse_d_squared(self.two_theta - shift, self.wavelength)
        return q

    def window(self, times: float, slack: float) -> np.ndarray:
        """Degrees within which a line counts as met, where the zero may still be wrong by slack.

        At low angle the cell takes up an error of the zero; what is left at θ is slack·|1 − tanθ/tanθ_low|.
        """
        tan = np.tan(np.radians(self.two_theta / 2))
        window: np.ndarray = times * self.tolerance + slack * np.abs(1 - tan / np.median(tan[:12]))
        return window

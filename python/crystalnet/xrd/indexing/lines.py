"""The measured lines as indexing uses them: which take part, how well each is known, and what may shift them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from crystalnet.bragg import inverse_d_squared, inverse_d_squared_slope
from crystalnet.ops.index_cells import LinesOfPattern
from crystalnet.records import Peaks

#: Most lines used, lowest angles first: further up, lines overlap and every large cell fits them.
MAX_LINES = 30
#: Most lines that decide between a lattice and its superlattices.
MANY_LINES = 120
#: In a long list, lines weaker than this share of the strongest are left out (in a short one, those of noise size).
LEAST_STRENGTH = 0.02
#: Zero shift searched, degrees.
MAX_ZERO = 0.3


@dataclass(frozen=True)
class Lines:
    """The lines that take part in indexing, ascending in 2θ.

    Attributes
    ----------
    two_theta : ndarray, shape (n,)
        Measured positions of Kα1, degrees.
    strength : ndarray, shape (n,)
        Areas, the strongest 1.
    tolerance : ndarray, shape (n,)
        Standard deviation of each position, degrees.
    wavelength : float
        Å.
    two_theta_min : float
        Where the pattern begins, degrees.
    max_zero : float
        Largest zero shift to be searched, degrees.
    noise : float
        Strength of a line that noise may have made.
    """

    two_theta: np.ndarray
    strength: np.ndarray
    tolerance: np.ndarray
    wavelength: float
    two_theta_min: float
    max_zero: float
    noise: float

    @classmethod
    def of(cls, peaks: Peaks, most: int = MAX_LINES, faint: bool = False) -> Lines:
        """The lines of lowest angle that are strong enough.

        Parameters
        ----------
        peaks : Peaks
        most : int
            Number of lines kept.
        faint : bool
            Keep every line stronger than noise, however long the list.
        """
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
        """(n,) dQ/d2θ at each line, 1/Å² per degree."""
        slope: np.ndarray = inverse_d_squared_slope(self.two_theta, self.wavelength)
        return slope

    def displacement_at(self, two_theta: np.ndarray) -> np.ndarray:
        """(m,) shift at 2θ by a unit of specimen displacement beyond a mean shift (cosθ less the lines' mean)."""
        mean = np.cos(np.radians(self.two_theta / 2)).mean()
        shift: np.ndarray = np.cos(np.radians(two_theta / 2)) - mean
        return shift

    @cached_property
    def spurious(self) -> np.ndarray:
        """(n,) chance that a line belongs to no lattice: usual for lines as weak as noise, rare for strong ones."""
        return 0.02 + 0.4 * np.exp(-self.strength / (5 * self.noise + 1e-9))

    @cached_property
    def kernel(self) -> LinesOfPattern:
        """For the compiled search."""
        return LinesOfPattern(
            self.two_theta, self.tolerance, self.spurious, self.wavelength, self.two_theta_min, self.max_zero
        )

    def q(self, zero: float = 0.0, displacement: float = 0.0) -> np.ndarray:
        """(n,) Q = 1/d² of the lines, 1/Å², without zero shift and displacement (`displacement_at`) in degrees."""
        shift = zero + displacement * self.displacement_at(self.two_theta)
        q: np.ndarray = inverse_d_squared(self.two_theta - shift, self.wavelength)
        return q

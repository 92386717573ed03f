"""The overall B of a pattern: how far it may fall below zero, and the steps in which it is tried."""

from __future__ import annotations

import numpy as np

B_STEP, MOST_B = 0.25, 5.0  # Å²; a step changes no intensity by more than a quarter down to d = 0.7 Å
LEAST_B = -0.5  # Å², of a sample whose intensities fall as they should, with texture and rough surfaces
# Of ln(intensity) per sin²θ: automatic slits, a beam larger than the sample and absorption in a capillary let
# intensities rise with angle, by a factor of two between 2θ = 20° and 70° (a LaB₆ standard on a common instrument).
RISE = 2.5


def least_b(wavelength: float) -> float:
    """The lowest overall B in Å², a multiple of B_STEP, for a wavelength in Å: e^(−2B sin²θ/λ²) may rise by RISE."""
    return float(B_STEP * np.round((LEAST_B - RISE * wavelength**2 / 2) / B_STEP))


def tried_b(wavelength: float) -> np.ndarray:
    """The overall B's, Å², that are tried at a wavelength in Å."""
    return np.arange(least_b(wavelength), MOST_B + B_STEP / 2, B_STEP)

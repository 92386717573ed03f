"""The pattern vector's axis: 1024 bins of 180/1024° at Mo Kα, and what turns |F|² into the intensity of a line.

No torch and no numpy are loaded here: the stages that measure and those that learn share it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from crystalnet.records import Radiation

if TYPE_CHECKING:
    from torch import Tensor

    Array = TypeVar("Array", np.ndarray, Tensor)


MO_KA = 0.711  # Å (paper, Methods)
N_BINS = 1024


def lorentz_polarisation(sine: Array, cosine: Array) -> Array:
    """(1 + cos²2θ) / (sin²θ cosθ) of an unpolarised source, from sinθ and cosθ."""
    factor: Array = (1 + (cosine**2 - sine**2) ** 2) / (sine**2 * cosine)
    return factor


def polarisation_ratio(two_theta: np.ndarray, radiation: Radiation) -> np.ndarray:
    """Polarisation factor of the source over that of an unpolarised beam; 1 at 2θ = 0. two_theta: degrees."""
    cos2 = np.cos(np.radians(two_theta)) ** 2
    k = radiation.polarisation
    return np.asarray((1 + k * cos2) / (1 + k) * 2 / (1 + cos2))

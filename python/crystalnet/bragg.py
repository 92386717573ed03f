"""Bragg's law λ = 2 d sinθ, Lorentz-polarisation, and the pattern vector's axis: 1024 bins of 180/1024° at Mo Kα.

Angles 2θ are in degrees, λ and d in Å, Q = 2π/d = 4π sinθ/λ and 1/d in 1/Å. Functions of numpy arrays take numbers too.
Those that only multiply and divide take torch tensors as well. No torch is loaded here: the stages that measure and
those that learn share it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from crystalnet.records import Radiation

if TYPE_CHECKING:
    from torch import Tensor

    Array = TypeVar("Array", np.ndarray, Tensor)
    Quantity = TypeVar("Quantity", float, np.ndarray, Tensor)


MO_KA = 0.711  # Å (paper, Methods)
N_BINS = 1024
BIN = 180 / N_BINS  # degrees 2θ
BIN_TOLERANCE = 1e-9  # bins; 2θ = 90° is an edge, and cells of a = 7.11 Å have lines there
Q_OF_STOL = 4 * np.pi  # Q over sinθ/λ


def sine_theta(two_theta: float | np.ndarray) -> Any:
    """Sine of half of 2θ."""
    return np.sin(np.radians(two_theta) / 2)


def bragg_angle(sine: float | np.ndarray) -> Any:
    """θ in radians of sinθ; NaN beyond 1."""
    return np.arcsin(sine)


def two_theta_of_sine(sine: float | np.ndarray) -> Any:
    """2θ in degrees of sinθ; NaN beyond 1."""
    return np.degrees(2 * bragg_angle(sine))


def bin_of(two_theta: np.ndarray, n_bins: int = N_BINS) -> np.ndarray:
    """The bin of a pattern vector that lines at 2θ (n,), degrees, fall into: (n,) integers; 180° is in none of them."""
    bins: np.ndarray = (two_theta * n_bins / 180 + BIN_TOLERANCE).astype(np.int64)
    return bins


def sine_of_d(d_spacing: Quantity, wavelength: float) -> Quantity:
    """Sine of θ for a spacing: λ/(2d), above 1 where the wavelength does not reach it."""
    sine: Quantity = wavelength / (2 * d_spacing)
    return sine


def sine_of_inverse_d(inverse_d: Quantity, wavelength: float) -> Quantity:
    """Sine of θ for 1/d = |G|, the length of a reciprocal vector: λ/(2d)."""
    sine: Quantity = wavelength * inverse_d / 2
    return sine


def d_of_sine(sine: Quantity, wavelength: Any) -> Quantity:
    """Spacing d = λ/(2 sinθ)."""
    spacing: Quantity = wavelength / (2 * sine)
    return spacing


def two_theta_of_d(d_spacing: float | np.ndarray, wavelength: float, largest_sine: float | None = None) -> Any:
    """2θ in degrees of a spacing. Where sinθ exceeds `largest_sine` that is taken; without it, NaN out of reach."""
    sine = sine_of_d(d_spacing, wavelength)  # type: ignore[type-var]
    return two_theta_of_sine(sine if largest_sine is None else np.minimum(sine, largest_sine))


def reflection_angle(d_spacing: float, wavelength: float) -> float:
    """2θ in degrees of one spacing that the wavelength reaches, such as a monochromator's.

    The arcsine of `math` and that of numpy round differently; stored polarisations are of the first.
    """
    return 2 * math.degrees(math.asin(sine_of_d(d_spacing, wavelength)))


def two_theta_of_inverse_d(inverse_d: float | np.ndarray, wavelength: float) -> Any:
    """2θ in degrees of 1/d; NaN out of reach."""
    return two_theta_of_sine(sine_of_inverse_d(inverse_d, wavelength))  # type: ignore[type-var]


def d_of_two_theta(two_theta: float | np.ndarray, wavelength: float) -> Any:
    """Spacing of a line at 2θ."""
    return d_of_sine(sine_theta(two_theta), wavelength)


def inverse_d_of_two_theta(two_theta: float | np.ndarray, wavelength: float) -> Any:
    """1/d of a line at 2θ."""
    return 2 * sine_theta(two_theta) / wavelength


def inverse_d_squared(two_theta: float | np.ndarray, wavelength: float) -> Any:
    """1/d² of a line at 2θ: what is linear in the reciprocal metric, and so what indexing works with."""
    return (2 / wavelength * sine_theta(two_theta)) ** 2


def inverse_d_squared_slope(two_theta: float | np.ndarray, wavelength: float) -> Any:
    """Derivative of 1/d² by 2θ, per degree."""
    return 2 / wavelength**2 * np.sin(np.radians(two_theta)) * np.pi / 180


def at_other_wavelength(two_theta: float | np.ndarray, ratio: float) -> Any:
    """2θ of the same planes at `ratio` times the wavelength (180° where out of reach)."""
    return two_theta_of_sine(np.minimum(ratio * sine_theta(two_theta), 1.0))


def d_of_q(q: float | np.ndarray) -> Any:
    """Spacing of Q = 2π/d."""
    return 2 * np.pi / q


def q_of_d(d_spacing: float | np.ndarray) -> Any:
    """Q = 2π/d of a spacing."""
    return 2 * np.pi / d_spacing


def wavelength_of_q(q: float, two_theta: float) -> float:
    """The wavelength in Å that brings Q to 2θ."""
    return float(Q_OF_STOL * sine_theta(two_theta) / q)


def lorentz_polarisation(sine: Array, cosine: Array) -> Array:
    """(1 + cos²2θ) / (sin²θ cosθ) of an unpolarised source, from sinθ and cosθ."""
    factor: Array = (1 + (cosine**2 - sine**2) ** 2) / (sine**2 * cosine)
    return factor


def polarisation_ratio(two_theta: np.ndarray, radiation: Radiation) -> np.ndarray:
    """Polarisation factor of the source over that of an unpolarised beam; 1 at 2θ = 0. two_theta: degrees."""
    cos2 = np.cos(np.radians(two_theta)) ** 2
    k = radiation.polarisation
    return np.asarray((1 + k * cos2) / (1 + k) * 2 / (1 + cos2))

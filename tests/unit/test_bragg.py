"""Bragg's law, both ways."""

import numpy as np
import pytest

from crystalnet import bragg
from crystalnet.records import Radiation

TWO_THETA, WAVELENGTH = np.linspace(5, 175, 60), 1.5406


def test_there_and_back() -> None:
    d = bragg.d_of_two_theta(TWO_THETA, WAVELENGTH)
    assert bragg.two_theta_of_d(d, WAVELENGTH) == pytest.approx(TWO_THETA)
    inverse = bragg.inverse_d_of_two_theta(TWO_THETA, WAVELENGTH)
    assert inverse == pytest.approx(1 / d)
    assert bragg.two_theta_of_inverse_d(inverse, WAVELENGTH) == pytest.approx(TWO_THETA)
    assert bragg.inverse_d_squared(TWO_THETA, WAVELENGTH) == pytest.approx(1 / d**2)
    assert bragg.d_of_q(bragg.q_of_d(d)) == pytest.approx(d)
    assert bragg.reflection_angle(2.0, WAVELENGTH) == pytest.approx(bragg.two_theta_of_d(2.0, WAVELENGTH))


def test_silicon_111_with_copper() -> None:
    assert bragg.two_theta_of_d(5.43102 / 3**0.5, 1.540593) == pytest.approx(28.441, abs=2e-3)


def test_q_is_4_pi_sine_over_wavelength() -> None:
    q = bragg.Q_OF_STOL * bragg.sine_theta(40.0) / WAVELENGTH
    assert bragg.wavelength_of_q(q, 40.0) == pytest.approx(WAVELENGTH)
    assert bragg.d_of_q(q) == pytest.approx(bragg.d_of_two_theta(40.0, WAVELENGTH))


def test_slope_is_the_derivative() -> None:
    step = 1e-4
    ends = [bragg.inverse_d_squared(TWO_THETA + s, WAVELENGTH) for s in (-step, step)]
    slope = bragg.inverse_d_squared_slope(TWO_THETA, WAVELENGTH)
    assert slope == pytest.approx((ends[1] - ends[0]) / (2 * step), rel=1e-6)


def test_out_of_reach() -> None:
    with np.errstate(invalid="ignore"):
        assert np.isnan(bragg.two_theta_of_d(0.5, WAVELENGTH))
    assert bragg.two_theta_of_d(0.5, WAVELENGTH, largest_sine=1.0) == pytest.approx(180.0)
    assert bragg.at_other_wavelength(150.0, 2.0) == pytest.approx(180.0)


def test_same_planes_at_another_wavelength() -> None:
    d = bragg.d_of_two_theta(60.0, WAVELENGTH)
    assert bragg.at_other_wavelength(60.0, 0.5) == pytest.approx(bragg.two_theta_of_d(d, WAVELENGTH / 2))


def test_polarisation_of_tube_and_synchrotron() -> None:
    tube, synchrotron = (Radiation(((WAVELENGTH, 1.0),), polarisation=k) for k in (1.0, 0.0))
    assert bragg.polarisation_ratio(TWO_THETA, tube) == pytest.approx(1.0)
    cosine = np.cos(np.radians(TWO_THETA))
    assert bragg.polarisation_ratio(TWO_THETA, synchrotron) == pytest.approx(2 / (1 + cosine**2))
    theta = np.radians(TWO_THETA / 2)
    factor = bragg.lorentz_polarisation(np.sin(theta), np.cos(theta))
    assert factor == pytest.approx((1 + cosine**2) / (np.sin(theta) ** 2 * np.cos(theta)))

"""Calibration: what the numbers mean."""

import numpy as np
import pytest

from crystalnet.confidence import calibration_error


def test_calibration_error_is_zero_where_shares_equal_probabilities():
    p = np.repeat([0.25, 0.75], 8)
    right = np.array([True] * 2 + [False] * 6 + [True] * 6 + [False] * 2)
    error, bins = calibration_error(p, right)
    assert error == pytest.approx(0)
    assert bins == [(0.25, 0.25, 8), (0.75, 0.75, 8)]


def test_calibration_error_weighs_bins_by_their_answers():
    error, _ = calibration_error(np.array([0.9, 0.9, 0.9, 0.1]), np.array([True, True, False, False]))
    assert error == pytest.approx(0.75 * (0.9 - 2 / 3) + 0.25 * 0.1)


def test_no_answers_have_no_error():
    assert calibration_error(np.zeros(0), np.zeros(0, bool)) == (0.0, [])

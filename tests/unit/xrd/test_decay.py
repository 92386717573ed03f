"""How far intensities may rise with angle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crystalnet.crystal.lattice import Cell
from crystalnet.records import AtomSites
from crystalnet.solving.screen import residual
from crystalnet.xrd.decay import B_STEP, least_b, tried_b
from crystalnet.xrd.profile import calculated_peaks
from crystalnet.xrd.radiation import parse_wavelength
from crystals import SALT

CELL = Cell("cubic", "F", 5.64, 5.64)


def test_the_bound_is_one_of_angle() -> None:
    """The same rise between two angles at every wavelength: B goes with λ²."""
    assert (least_b(1.5406), least_b(0.7093)) == (-3.5, -1.25)
    for wavelength in (0.5, 1.54, 2.29):
        tried = tried_b(wavelength)
        assert tried[0] == least_b(wavelength) and 0.0 in tried and np.diff(tried) == pytest.approx(B_STEP)


@pytest.mark.parametrize(("rise", "explained"), [(0.0, True), (2.5, True), (10.0, False)])
def test_intensities_may_rise_with_angle_so_far(rise: float, explained: bool) -> None:
    """As automatic slits or a capillary let them; a rise four times as steep is no instrument's."""
    peaks = calculated_peaks(AtomSites.from_structure(SALT), parse_wavelength("CuKa1"), np.array([20.0, 110.0]))
    risen = replace(peaks, area=peaks.area * np.exp(rise * np.sin(np.radians(peaks.two_theta / 2)) ** 2))
    primitive = AtomSites.from_structure(SALT.get_primitive_structure())
    assert (residual(primitive, risen, CELL) < 0.05) is explained

"""Lines that are not the crystal's: which they are, and when another wavelength of the tube explains them."""

from __future__ import annotations

import numpy as np
import pytest

from crystalnet.bragg import at_other_wavelength
from crystalnet.records import Peaks, Radiation
from crystalnet.xrd.emission_lines import SINGLE_LINES
from crystalnet.xrd.foreign_lines import ForeignLine, foreign_lines
from crystalnet.xrd.radiation import parse_wavelength

REFLECTIONS = np.array([28.44, 47.30, 56.12, 69.13])
CU = parse_wavelength("CuKa")


def peaks(more: dict[float, float], radiation: Radiation = CU) -> Peaks:
    """The crystal's lines of area 100, and more: 2θ and area."""
    lines = dict.fromkeys(REFLECTIONS.tolist(), 100.0) | more
    two_theta = np.array(sorted(lines))
    area, fwhm = np.array([lines[x] for x in two_theta.tolist()]), np.full(len(lines), 0.1)
    return Peaks(two_theta, 1 / np.sin(np.radians(two_theta / 2)), area, fwhm, np.zeros(3), 10.0, 90.0, radiation)


def test_a_sound_crystal_has_none() -> None:
    assert foreign_lines(peaks({}), REFLECTIONS) == []
    assert foreign_lines(peaks({28.50: 20.0, 33.0: 0.5}), REFLECTIONS) == []  # within a line; too faint
    assert foreign_lines(peaks({33.0: 20.0}), np.zeros(0)) == []  # a candidate that was not refined


def test_the_strongest_comes_first() -> None:
    found = foreign_lines(peaks({33.0: 5.0, 40.0: 20.0}), REFLECTIONS)
    assert found == [ForeignLine(40.0, 0.2, ""), ForeignLine(33.0, 0.05, "")]


@pytest.mark.parametrize(("line", "said"), [("CuKb", "Cu Kβ"), ("WLa", "W Lα")])
def test_other_wavelengths_of_the_tube_are_named(line: str, said: str) -> None:
    ghost = float(at_other_wavelength(47.30, SINGLE_LINES[line] / CU.wavelength))
    (faint,) = foreign_lines(peaks({ghost: 5.0}), REFLECTIONS)
    assert faint.ghost_of == f"{said} of the line at 47.30°"
    (strong,) = foreign_lines(peaks({ghost: 60.0}), REFLECTIONS)  # no filter leaves as much
    assert strong.ghost_of == ""
    (synchrotron,) = foreign_lines(peaks({ghost: 5.0}, parse_wavelength("1.2")), REFLECTIONS)
    assert synchrotron.ghost_of == ""

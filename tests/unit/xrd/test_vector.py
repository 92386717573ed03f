"""The pattern vector, calculated and measured."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.analysis.diffraction.xrd import XRDCalculator
from pymatgen.core import Lattice, Structure

from crystalnet.bragg import MO_KA
from crystalnet.crystal.elements import ATOMIC_NUMBER
from crystalnet.ops.reflections import reflections
from crystalnet.records import Peaks, Radiation
from crystalnet.xrd import observed_vector, pattern_vector

FLUORITE = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.46), ["Ca", "F"], [[0, 0, 0], [0.25, 0.25, 0.25]])


def test_equals_pymatgen() -> None:
    lines = XRDCalculator(wavelength=0.711, symprec=0).get_pattern(FLUORITE, two_theta_range=(0, 180))
    expected = np.zeros(1024)
    np.maximum.at(expected, (lines.x / 180 * 1024).astype(int), lines.y)
    assert pattern_vector(FLUORITE) == pytest.approx(expected / expected.max(), abs=1e-6)


@pytest.mark.parametrize("shift", [0.0, 0.13])
def test_copper_lines_become_the_molybdenum_vector(shift: float) -> None:
    """Lines measured at Cu Kα are, in the observed range, the bins calculated at Mo Kα."""
    numbers = np.array([ATOMIC_NUMBER[site.specie.symbol] for site in FLUORITE])
    wavelength = 1.540593
    lines = reflections(FLUORITE.lattice.matrix, FLUORITE.frac_coords, numbers, wavelength, 140.0)
    peaks = Peaks(
        two_theta=lines.two_theta + shift,
        d_spacing=lines.d_spacing,
        area=lines.intensity,
        fwhm=np.full(len(lines), 0.1),
        background=np.zeros(0),
        two_theta_min=10.0,
        two_theta_max=140.0,
        radiation=Radiation(((wavelength, 1.0),)),
    )
    vector, mask = observed_vector(peaks, shift)
    expected = pattern_vector(FLUORITE) * mask
    assert vector.shape == mask.shape == (1024,)
    assert vector == pytest.approx(expected / expected.max(), abs=2e-3)
    assert 0.2 < mask.mean() < 0.4  # copper to 140° is 51° at molybdenum
    assert mask[vector > 0].all()


def test_the_polarisation_of_the_source_is_taken_off() -> None:
    """Equal crystals give equal vectors whatever polarised the beam that measured them."""
    numbers = np.array([ATOMIC_NUMBER[site.specie.symbol] for site in FLUORITE])
    lines = reflections(FLUORITE.lattice.matrix, FLUORITE.frac_coords, numbers, 1.540593, 140.0)
    vectors = []
    for polarisation in (1.0, 0.0, 0.8):
        source = Radiation(((1.540593, 1.0),), polarisation=polarisation)
        cosine = np.cos(np.radians(lines.two_theta)) ** 2
        area = lines.intensity / (1 + cosine) * (1 + polarisation * cosine)
        nothing = np.zeros(0)
        peaks = Peaks(lines.two_theta, lines.d_spacing, area, np.full(len(area), 0.1), nothing, 10.0, 140.0, source)
        vectors.append(observed_vector(peaks)[0])
    assert vectors[1] == pytest.approx(vectors[0], abs=1e-5) and vectors[2] == pytest.approx(vectors[0], abs=1e-5)
    assert vectors[0] == pytest.approx(pattern_vector(FLUORITE) * (vectors[0] > 0), abs=2e-3)


MOLYBDENUM = Radiation(((MO_KA, 1.0),))


def measured(
    two_theta: list[float], area: list[float], low: float = 10.0, high: float = 140.0, source: Radiation = MOLYBDENUM
) -> Peaks:
    position = np.array(two_theta, float)
    d = source.wavelength / 2 / np.sin(np.radians(position / 2))
    width, nothing = np.full(len(position), 0.1), np.zeros(0)
    return Peaks(position, d, np.array(area, float), width, nothing, low, high, source)


def bins(two_theta: list[float]) -> list[int]:
    return [int(x / 180 * 1024) for x in two_theta]


def test_each_bin_holds_its_strongest_line() -> None:
    vector, _ = observed_vector(measured([19.9, 19.95, 30.0, 50.0], [3.0, 2.0, 4.0, -1.0]))
    assert vector[bins([19.9, 30.0])] == pytest.approx([0.75, 1.0], abs=1e-6)
    assert np.count_nonzero(vector) == 2  # an area below zero is none
    nothing, mask = observed_vector(measured([], []))
    assert not nothing.any() and mask.any()


def test_a_zero_shift_is_taken_off() -> None:
    plain, mask = observed_vector(measured([20.0, 30.0], [1.0, 0.5]))
    shifted, seen = observed_vector(measured([20.4, 30.4], [1.0, 0.5]), 0.4)
    assert shifted == pytest.approx(plain, abs=1e-6) and np.array_equal(seen, mask)
    assert np.flatnonzero(observed_vector(measured([0.2, 20.4], [9.0, 1.0]), 0.4)[0]).tolist() == bins([20.0])


@pytest.mark.parametrize(("low", "high"), [(10.0, 140.0), (25.3, 61.7), (0.0, 179.9), (0.0, 200.0)])
def test_the_mask_is_the_range_that_was_measured(low: float, high: float) -> None:
    _, mask = observed_vector(measured([], [], low, high))
    centre = (np.arange(1024) + 0.5) * 180 / 1024
    assert np.array_equal(mask, (centre >= low) & (centre <= min(high, 179.9)))
    line = 5.0  # outside of the first two ranges: what was seen was observed
    assert observed_vector(measured([line], [1.0], low, high))[1][bins([line])] == 1


def test_lines_out_of_molybdenums_reach_are_left_out() -> None:
    """At 0.4 Å, 2θ of 68° is d = 0.358 Å; of 69°, 0.353 Å, beyond 0.711/2."""
    silver = Radiation(((0.4, 1.0),))
    vector, mask = observed_vector(measured([30.0, 68.0, 69.0, 90.0], [1.0, 2.0, 9.0, 9.0], source=silver))
    assert np.count_nonzero(vector) == 2 and vector.max() == 1 and np.isfinite(vector).all()
    assert mask[-1] == 1  # the measured range goes to the end of the vector

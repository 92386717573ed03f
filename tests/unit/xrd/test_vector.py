"""The pattern vector, calculated and measured."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.analysis.diffraction.xrd import XRDCalculator
from pymatgen.core import Lattice, Structure

from crystalnet.elements import ATOMIC_NUMBER
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

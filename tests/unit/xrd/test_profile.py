"""Simulated profiles: positions, areas, the source's lines, and what `measured_like` adds."""

from __future__ import annotations

import numpy as np
import pytest

from crystalnet.bragg import polarisation_ratio
from crystalnet.crystal.elements import atomic_numbers
from crystalnet.ops.reflections import reflections
from crystalnet.records import AtomSites, Radiation
from crystalnet.xrd.profile import default_range, simulate_profile

CU = Radiation(((1.540593, 1.0), (1.544427, 0.5)))
CU1 = Radiation(((1.540593, 1.0),))
MO = Radiation(((0.709317, 1.0), (0.713607, 0.5)))
SYNCHROTRON = Radiation(((0.41, 1.0),), polarisation=0.0)
FACE_CENTRED = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
NACL = AtomSites(5.6402 * np.eye(3), ("Na",) * 4 + ("Cl",) * 4, np.vstack([FACE_CENTRED, FACE_CENTRED + [0.5, 0, 0]]))


def test_default_range_covers_the_same_spacings_for_every_tube() -> None:
    cu, mo = default_range(CU), default_range(MO)
    assert cu[0] == pytest.approx(10) and cu[-1] == pytest.approx(90) and np.allclose(np.diff(cu), 0.02)
    spacing = [0.709317 / 2 / np.sin(np.radians(mo[i] / 2)) for i in (0, -1)]
    assert spacing == pytest.approx([8.84, 1.089], rel=0.01)
    assert default_range(Radiation(((2.29, 1.0),)))[-1] <= 150


def test_areas_are_the_reflections_intensities() -> None:
    """(200) and (220) of NaCl stand alone: their areas have the ratio of the kinematic intensities."""
    x = np.arange(25, 60, 0.005)
    pattern = simulate_profile(NACL, CU1, x, fwhm=0.08, mixing=0.0)
    lines = reflections(NACL.lattice, NACL.frac_coords, atomic_numbers(NACL.species), 1.540593, 60.0, 0.5)
    strongest = np.argsort(lines.intensity)[-2:]
    areas = [pattern.intensity[np.abs(x - lines.two_theta[i]) < 0.5].sum() for i in strongest]
    assert areas[0] / areas[1] == pytest.approx(lines.intensity[strongest[0]] / lines.intensity[strongest[1]], rel=1e-3)


def test_zero_shift_and_kalpha2() -> None:
    x = np.arange(74, 77, 0.002)  # (420) at 75.29°
    alone, shifted, doublet = (
        simulate_profile(NACL, source, x, fwhm=0.05, zero_shift=zero)
        for source, zero in ((CU1, 0.0), (CU1, 0.03), (CU, 0.0))
    )
    peak = x[alone.intensity.argmax()]
    assert x[shifted.intensity.argmax()] - peak == pytest.approx(0.03, abs=0.003)
    second = peak + 2 * np.degrees(np.tan(np.radians(peak / 2))) * (1.544427 / 1.540593 - 1)
    there = np.abs(x - second) < 0.02
    assert doublet.intensity[there].max() > 0.45 * doublet.intensity.max() > 3 * alone.intensity[there].max()


def test_polarisation_of_the_source() -> None:
    two_theta = np.array([0.0, 90.0])
    assert polarisation_ratio(two_theta, CU) == pytest.approx([1.0, 1.0])
    assert polarisation_ratio(two_theta, SYNCHROTRON) == pytest.approx([1.0, 2.0])


def test_measured_like_is_a_seeded_measurement() -> None:
    first, again, other = (simulate_profile(NACL, CU, measured_like=True, seed=s) for s in (3, 3, 4))
    assert np.array_equal(first.intensity, again.intensity)
    assert not np.array_equal(first.intensity, other.intensity)
    assert np.array_equal(first.intensity, np.round(first.intensity)) and first.intensity.min() >= 0
    assert np.allclose(first.sigma, np.sqrt(np.maximum(first.intensity, 1)))
    assert 2000 < first.intensity.max() < 150_000
    ideal = simulate_profile(NACL, CU)
    assert np.median(first.intensity) / first.intensity.max() > np.median(ideal.intensity) / ideal.intensity.max()
    assert abs(first.two_theta[first.intensity.argmax()] - ideal.two_theta[ideal.intensity.argmax()]) <= 0.08


def test_unexplained_sites_do_not_scatter() -> None:
    with_x = AtomSites(NACL.lattice, (*NACL.species, "X"), np.vstack([NACL.frac_coords, [0.25, 0.25, 0.25]]))
    assert np.allclose(simulate_profile(with_x, CU).intensity, simulate_profile(NACL, CU).intensity)


def test_a_range_without_lines_is_refused() -> None:
    with pytest.raises(ValueError, match="no Bragg line between"):
        simulate_profile(NACL, CU1, np.arange(0.5, 4, 0.02), fwhm=0.01)

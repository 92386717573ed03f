"""Space groups by the lines that are absent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crystalnet.crystal.lattice import Cell
from crystalnet.crystal.setting_symbol import setting_symbol
from crystalnet.records import AtomSites, Peaks
from crystalnet.solving.extinction import ExtinctionClass, extinction_classes
from crystalnet.xrd.profile import calculated_peaks
from crystalnet.xrd.radiation import parse_wavelength
from crystals import BADDELEYITE

CELL = Cell("monoclinic", "P", 5.15, 5.31, b=5.21, beta=99.2)


@pytest.fixture(scope="module")
def lines() -> Peaks:
    sites = AtomSites.from_structure(BADDELEYITE)
    return calculated_peaks(sites, parse_wavelength("CuKa1"), np.arange(10, 90, 0.02))


def test_the_true_class_is_the_likeliest(lines: Peaks) -> None:
    classes = extinction_classes(CELL, lines)
    assert symbols(classes[0]) == ["P2_1/c"] and classes[0].probability > 0.95
    assert sum(one.probability for one in classes) == pytest.approx(1.0)
    assert [one.probability for one in classes] == sorted((one.probability for one in classes), reverse=True)


def test_groups_that_forbid_the_same_reflections_are_one_class(lines: Peaks) -> None:
    classes = extinction_classes(CELL, lines)
    (nothing,) = [one for one in classes if 10 in {g.number for g in one.groups}]
    assert {g.number for g in nothing.groups} == {3, 6, 10}
    assert {g.number for one in classes for g in one.groups} == {3, 4, 6, 7, 10, 11, 13, 14}


def test_a_line_that_a_group_forbids_speaks_against_it(lines: Peaks) -> None:
    """(0 0 1) of P2₁/c is put in, as strong as the strongest line."""
    d = float(CELL.d_spacing(np.array([[0, 0, 1]]))[0])
    two_theta = 2 * np.degrees(np.arcsin(lines.radiation.wavelength / 2 / d))
    order = np.argsort(np.append(lines.two_theta, two_theta))
    columns = {
        "two_theta": np.append(lines.two_theta, two_theta)[order],
        "d_spacing": np.append(lines.d_spacing, d)[order],
        "area": np.append(lines.area, lines.area.max())[order],
        "fwhm": np.append(lines.fwhm, lines.fwhm[0])[order],
    }
    forbidden = replace(lines, **columns)
    assert odds(forbidden) < 0.001 * odds(lines)


def odds(peaks: Peaks) -> float:
    """For the class of P2₁/c."""
    (p,) = [one.probability for one in extinction_classes(CELL, peaks) if "P2_1/c" in symbols(one)]
    return p / (1 - p)


def symbols(one: ExtinctionClass) -> list[str]:
    return [setting_symbol(group, "P") for group in one.groups]


def test_a_cell_without_a_line_in_range_has_no_class(lines: Peaks) -> None:
    assert extinction_classes(Cell("cubic", "P", 0.5), lines) == []

"""What people write for a wavelength or a monochromator, and what it means."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalnet.records import InputError
from crystalnet.xrd.emission_lines import RARE_TUBES, SINGLE_LINES, TUBES
from crystalnet.xrd.monochromator import MONOCHROMATORS, behind_monochromator, monochromated
from crystalnet.xrd.radiation import assumed_cu, parse_wavelength, with_kalpha2

CU = ((1.540593, 1.0), (1.544427, 0.5))


@pytest.mark.parametrize("text", ["CuKa", "cuka", "Cu", "Cu Ka", "Cu Kα", "Cu-Ka", "CuKalpha", "CuKa12", "Cu Kα1,2"])
def test_copper_doublet(text):
    radiation = parse_wavelength(text)
    assert radiation.lines == CU
    assert radiation.kalpha2_known and not radiation.assumed


@pytest.mark.parametrize("text", ["CuKa1", "Cu Kα1", "Cu Kα₁", "cu-kalpha1", "CUKA1"])
def test_copper_kalpha1(text):
    assert parse_wavelength(text).lines == CU[:1]


@pytest.mark.parametrize("tube", [*TUBES, *RARE_TUBES])
def test_other_tubes(tube):
    kalpha1, kalpha2 = (TUBES | RARE_TUBES)[tube]
    assert 1.0017 < kalpha2 / kalpha1 < 1.008  # the spin-orbit splitting of the 2p level
    assert parse_wavelength(tube + "Ka").lines == ((kalpha1, 1.0), (kalpha2, 0.5))
    assert parse_wavelength(tube + "Ka1").lines == ((kalpha1, 1.0),)
    beta = parse_wavelength(f"{tube} Kβ").lines
    assert beta == ((SINGLE_LINES[tube + "Kb"], 1.0),)
    assert 0.88 < beta[0][0] / kalpha1 < 0.92


def test_tungsten_from_the_filament():
    assert parse_wavelength("W La1").lines == parse_wavelength("WLα").lines == ((1.476311, 1.0),)


@pytest.mark.parametrize("number", ["1.5406", 1.54056, "1.5406 Å", "1.5406A", "1,5406", 0.7093, 1.78897, 1.3401])
def test_a_number_at_kalpha1_leaves_kalpha2_to_the_data(number):
    radiation = parse_wavelength(number)
    assert not radiation.kalpha2_known
    assert len(radiation.lines) == 2
    assert radiation.polarisation == 1.0
    digits = str(number).replace(",", ".").rstrip(" ÅA")
    assert radiation.wavelength == float(digits)


@pytest.mark.parametrize(
    ("number", "tube"),
    [
        *(("1.54", "Cu"), (1.54, "Cu"), ("1.540", "Cu"), ("1.5400", "Cu"), ("1.541", "Cu"), ("1.542", "Cu")),
        *(("1.5418", "Cu"), (1.5419, "Cu"), ("1.54184", "Cu"), ("0.71", "Mo"), ("0.711", "Mo"), ("0.7107", "Mo")),
        *(("1.79", "Co"), ("1.7903", "Co"), ("1.94", "Fe"), ("1.937", "Fe"), ("2.29", "Cr"), ("2.291", "Cr")),
        *(
            ("0.56", "Ag"),
            ("0.561", "Ag"),
            ("0.15406 nm", "Cu"),
            ("154 pm", "Cu"),
            ("8.05 keV", "Cu"),
            ("8048 eV", "Cu"),
        ),
    ],
)
def test_a_rounded_number_or_a_mean_is_the_tube(number, tube):
    radiation = parse_wavelength(number)
    assert radiation.wavelength == pytest.approx(TUBES[tube][0], abs=1e-5)
    assert radiation.lines[1][0] == pytest.approx(TUBES[tube][1], abs=1e-5)
    assert not radiation.kalpha2_known and radiation.polarisation == 1.0


@given(st.sampled_from(sorted(TUBES)), st.integers(2, 5))
def test_rounding_a_tube_never_makes_a_synchrotron(tube, digits):
    for value in (TUBES[tube][0], (2 * TUBES[tube][0] + TUBES[tube][1]) / 3):
        radiation = parse_wavelength(f"{value:.{digits}f}")
        assert radiation.polarisation == 1.0
        assert radiation.wavelength == pytest.approx(TUBES[tube][0], abs=5e-5)


@pytest.mark.parametrize("number", ["1.5385", "1.543", "1.5399", "0.7121", "1.7925"])
def test_the_third_decimal_alone_makes_no_synchrotron(number):
    radiation = parse_wavelength(number)
    assert radiation.wavelength == float(number) and len(radiation.lines) == 2
    assert not radiation.kalpha2_known and radiation.polarisation == 1.0


@pytest.mark.parametrize("number", ["0.4127", 1.3, "1.2", "1.5", "0.7", "0.8", "0.20664", "1.34", "0.172", "30 keV"])
def test_other_numbers_are_a_synchrotrons(number):
    radiation = parse_wavelength(number)
    assert len(radiation.lines) == 1
    assert radiation.kalpha2_known and radiation.polarisation == 0.0


@pytest.mark.parametrize("number", ["1.5444", "1.3922"])
def test_another_line_of_a_tube_is_single_and_unpolarised(number):
    radiation = parse_wavelength(number)
    assert radiation.lines == ((float(number), 1.0),)
    assert radiation.kalpha2_known and radiation.polarisation == 1.0


def test_exact_numbers_stay_what_they_are():
    assert parse_wavelength("0.711", exact=True).lines == ((0.711, 1.0),)
    mean = parse_wavelength(1.5418, exact=True)
    assert mean.lines == ((1.5418, 1.0),) and mean.polarisation > 0  # a tube's still
    assert parse_wavelength("1.5406", exact=True).lines[0] == (1.5406, 1.0)
    assert len(parse_wavelength("1.5406", exact=True).lines) == 2


@pytest.mark.parametrize(
    "text", ["", "Xx", "W", "SiKa", "0", "-1.54", "1e9", "nan", "inf", float("nan"), "1.54 mm", "1.5.4", "1" * 5000]
)
def test_nonsense_is_refused_and_the_accepted_forms_named(text):
    with pytest.raises(InputError, match="CuKa") as refusal:
        parse_wavelength(text)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        *(("0.15406", "1.5406 Å (0.15406 nm)"), ("0.1541", "1.541 Å"), ("0.154", "1.54 Å"), ("0.0709", "0.709 Å")),
        *(("0.04127", "0.4127 Å (0.04127 nm)"), ("154.06", "1.5406 Å (154.06 pm)"), ("70.93", "0.7093 Å (70.93 pm)")),
        *(("8.048", "1.5406 Å (8.048 keV)"), ("17.48", "0.70929 Å (17.48 keV)"), ("30", "0.41328 Å (30 keV)")),
        *(("17480", "0.70929 Å (17480 eV)"), ("1.5406e-10", "1.5406 Å (1.5406e-10 m)")),
    ],
)
def test_another_unit_is_recognised(text, meant):
    with pytest.raises(InputError, match=re.escape(f"did you mean {meant}")):
        parse_wavelength(text)
    number, unit = meant.rstrip(")").split("(")[-1].split(" ") if "(" in meant else (text, "nm")
    assert parse_wavelength(f"{number} {unit}").wavelength == pytest.approx(float(meant.split()[0]), abs=1e-3)


def test_a_short_wavelength_may_be_meant_when_its_unit_stands_there():
    assert parse_wavelength("0.15406 Å").lines == ((0.15406, 1.0),)


def test_assumed_copper():
    assert assumed_cu().assumed
    assert assumed_cu().lines == CU


def test_kalpha2_beside_a_tubes_line_only():
    beside = with_kalpha2(parse_wavelength("MoKa1"))
    assert beside is not None and beside.lines == parse_wavelength("MoKa").lines
    assert with_kalpha2(parse_wavelength("CuKb")) is None
    assert with_kalpha2(parse_wavelength(0.4127)) is None


# --- monochromators ---


@pytest.mark.parametrize(
    ("monochromator", "two_theta", "power"),
    [
        *(("graphite", 26.56, 2), ("HOPG", 26.56, 2), ("graphite (002)", 26.56, 2), ("26.6", 26.6, 2), (26.6, 26.6, 2)),
        *(("Ge", 27.28, 1), ("Ge(111)", 27.28, 1), ("germanium", 27.28, 1), ("Ge 220", 45.30, 1), ("Si", 28.44, 1)),
        *(("LiF", 44.98, 2), ("quartz", 26.64, 1), ("26,6°", 26.6, 2)),
    ],
)
def test_polarisation_behind_a_crystal(monochromator, two_theta, power):
    k = behind_monochromator(parse_wavelength("CuKa"), monochromator).polarisation
    assert k == pytest.approx(math.cos(math.radians(two_theta)) ** power, abs=5e-4)


def test_the_crystal_reflects_each_tube_at_its_own_angle():
    k = {tube: behind_monochromator(parse_wavelength(tube + "Ka"), "graphite").polarisation for tube in TUBES}
    assert k["Mo"] == pytest.approx(math.cos(math.radians(12.14)) ** 2, abs=5e-4)
    assert k["Ag"] > k["Mo"] > k["Cu"] > k["Co"] > k["Fe"] > k["Cr"]


def test_a_perfect_crystal_leaves_kalpha2_to_the_data():
    cu = parse_wavelength("CuKa")
    assert not behind_monochromator(cu, "Ge").kalpha2_known
    assert behind_monochromator(cu, "graphite").kalpha2_known
    assert behind_monochromator(parse_wavelength("CuKa1"), "Ge").kalpha2_known


@pytest.mark.parametrize("text", ["", "glass", "0", "180", "-26", "Ge 333", "26.6 nm", "nan"])
def test_unknown_monochromators_are_refused(text):
    with pytest.raises(InputError, match="monochromator") as refusal:
        behind_monochromator(parse_wavelength("CuKa"), text)
    assert "\n" not in str(refusal.value)


def test_given_over_file_over_own_monochromator():
    tube = parse_wavelength("CuKa")
    file = behind_monochromator(tube, "Si220")
    graphite = behind_monochromator(tube, "graphite")
    assert monochromated(tube, None, None) == tube
    assert monochromated(tube, None, "graphite") == graphite
    assert monochromated(file, None, "graphite") == file
    assert monochromated(file, "graphite", None).polarisation == graphite.polarisation
    assert monochromated(file, "none", "graphite").polarisation == 1.0
    synchrotron = parse_wavelength(0.4127)
    assert monochromated(synchrotron, None, "graphite") == synchrotron
    with pytest.raises(InputError, match="synchrotron"):
        monochromated(synchrotron, "graphite", None)


@pytest.mark.parametrize("crystal", MONOCHROMATORS)
def test_spacings_are_those_of_the_crystals(crystal):
    edges = {"Ge": 5.6579, "Si": 5.4310, "LiF": 4.0270, "diamond": 3.5671}  # Å, at room temperature
    element = crystal.rstrip("0123456789")
    expected = {"graphite": 6.708 / 2, "quartz": 1 / math.sqrt(4 / 3 / 4.9134**2 + 1 / 5.4052**2)}
    planes = {"Ge220": 8, "Si220": 8, "LiF": 4}
    spacing = expected.get(crystal) or edges[element] / math.sqrt(planes.get(crystal, 3))
    assert MONOCHROMATORS[crystal][0] == pytest.approx(spacing, abs=4e-4)

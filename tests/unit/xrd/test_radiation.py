"""What people write for a wavelength, and what it means."""

from __future__ import annotations

import pytest

from crystalnet.records import InputError
from crystalnet.xrd.radiation import assumed_cu, parse_wavelength

CU = ((1.540593, 1.0), (1.544427, 0.5))


@pytest.mark.parametrize(
    "text", ["CuKa", "cuka", "Cu", "Cu Ka", "Cu Kα", "Cu-Ka", "CuKalpha", "CuKa12", "1.5418", 1.5419]
)
def test_copper_doublet(text):
    radiation = parse_wavelength(text)
    assert radiation.lines == CU
    assert radiation.kalpha2_known and not radiation.assumed


@pytest.mark.parametrize("text", ["CuKa1", "Cu Kα1", "cu-kalpha1", "CUKA1"])
def test_copper_kalpha1(text):
    assert parse_wavelength(text).lines == CU[:1]


@pytest.mark.parametrize(
    ("tube", "kalpha1"), [("Mo", 0.709317), ("Co", 1.788996), ("Fe", 1.936041), ("Cr", 2.289726), ("Ag", 0.559422)]
)
def test_other_tubes(tube, kalpha1):
    doublet = parse_wavelength(tube + "Ka")
    assert doublet.wavelength == kalpha1
    assert doublet.lines[1][0] > kalpha1 and doublet.lines[1][1] == 0.5
    assert parse_wavelength(tube + "Ka1").lines == ((kalpha1, 1.0),)


@pytest.mark.parametrize("number", ["1.5406", 1.54056, "1.5406 Å", "1.5406A", "1,5406", 0.7093])
def test_a_number_at_kalpha1_leaves_kalpha2_to_the_data(number):
    radiation = parse_wavelength(number)
    assert not radiation.kalpha2_known
    assert len(radiation.lines) == 2
    assert radiation.polarisation == 1.0


@pytest.mark.parametrize(("number", "polarisation"), [("0.4127", 0.0), (1.3, 0.0), (0.711, 1.0), ("1.5444", 1.0)])
def test_other_numbers_are_single_lines(number, polarisation):
    radiation = parse_wavelength(number)
    assert radiation.lines == ((float(number), 1.0),)
    assert radiation.kalpha2_known and radiation.polarisation == polarisation


@pytest.mark.parametrize("text", ["", "Xx", "CuKb", "0", "-1.54", "0.05", "15.4", "nan", "inf", float("nan"), "154 pm"])
def test_nonsense_is_refused_and_the_accepted_forms_named(text):
    with pytest.raises(InputError, match="CuKa") as refusal:
        parse_wavelength(text)
    assert "\n" not in str(refusal.value)


def test_assumed_copper():
    assert assumed_cu().assumed
    assert assumed_cu().lines == CU

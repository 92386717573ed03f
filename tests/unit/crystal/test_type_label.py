"""Which labels name one structure type."""

from __future__ import annotations

import pytest

from crystalnet.crystal.library import library
from crystalnet.crystal.type_label import same_type


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("AB6_cP7_221_a_f", "A6B_cP7_221_f_a"),  # elements in another order
        ("AB6_cP7_221_a_f", "AB6_cP7_221_b_e"),  # another origin
        ("ABC_cF12_216_a_b_c", "ABC_cF12_216_c_a_d"),  # both
        ("AB2_hP9_154_a_c", "A2B_hP9_152_c_a"),  # the other hand
        ("ABC2D6_mC40_15_e_e_f_3f", "ABC6D2_mC40_15_e_e_3f_f"),
        ("mp-1", "mp-1"),
    ],
)
def test_one_type(one: str, other: str) -> None:
    assert same_type(one, other) and same_type(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("AB_cF8_225_a_b", "AB_cF8_216_a_c"),
        ("AB2_cF24_227_a_d", "A2B_cF24_227_a_d"),  # who sits where
        ("AB3_cP4_221_a_c", "AB3_cP8_223_a_c"),
        ("A_hP2_194_c", "A_hP4_194_ac"),
        ("mp-1", "mp-2"),
        ("AB_cF8_225_a_b", ""),
    ],
)
def test_two_types(one: str, other: str) -> None:
    assert not same_type(one, other)


def test_every_label_of_the_library_is_understood() -> None:
    assert all(same_type(entry.type, entry.type) for entry in library().entries)
    hexaborides = {entry.type for entry in library().entries if same_type(entry.type, "AB6_cP7_221_a_f")}
    assert len(hexaborides) > 1  # AFLOW writes A6B

"""What the user gave, as the solver takes it."""

from __future__ import annotations

from typing import Any

import pytest

from crystalnet.records import InputError
from crystalnet.solving.given import symbols_of


@pytest.mark.parametrize(
    ("elements", "amounts", "symbols"),
    [
        (None, None, ()),
        ("Na,Cl", None, ("Na", "Cl")),
        (["Cl", "Na"], None, ("Cl", "Na")),
        ("Cl,Na", {"Na": 1.0, "Cl": 1.0}, ("Na", "Cl")),
        (None, {"Na": 1.0, "Cl": 1.0}, ("Na", "Cl")),
    ],
)
def test_elements_in_play(elements: Any, amounts: Any, symbols: tuple[str, ...]) -> None:
    assert symbols_of(elements, amounts) == symbols


def test_elements_that_cannot_be_used_are_named() -> None:
    with pytest.raises(InputError, match="different elements"):
        symbols_of("Na,Br", {"Na": 1.0, "Cl": 1.0})
    with pytest.raises(InputError, match="Og"):
        symbols_of("Og", None)

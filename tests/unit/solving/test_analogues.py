"""What compounds of similar elements say of amounts and room."""

from __future__ import annotations

import pytest

from crystalnet.crystal.chemistry import expected_volume
from crystalnet.crystal.elements import visible
from crystalnet.solving.analogues import Analogues
from crystalnet.solving.from_catalogue import Catalogue


def without(**composition: int) -> Analogues:
    """Of the elements of a composition, whose own crystals are not known."""
    return Analogues(list(composition), Catalogue(own=False, without_formula=composition).crystals())


@pytest.mark.parametrize(
    "composition",
    [
        {"Cs": 1, "Sb": 1, "Cl": 6},
        {"Sr": 1, "Ti": 1, "O": 3},
        {"Mg": 2, "Ge": 1, "O": 4},
        {"Na": 2, "Zn": 1, "Si": 1, "O": 4},
    ],
    ids=lambda one: "".join(f"{s}{n}" for s, n in one.items()),
)
def test_similar_compounds_say_the_proportions(composition: dict[str, int]) -> None:
    named = [amounts for _, amounts in without(**composition).compositions()]
    assert composition in named[:2]


def test_proportions_that_balance_charges_come_first() -> None:
    found = without(Si=1, O=2).compositions()
    assert found == sorted(found, key=lambda item: item[0])
    assert all(amounts["O"] <= 2 * amounts["Si"] for _, amounts in found[:5])
    assert found[0][1] == {"Si": 1.0, "O": 2.0}
    assert {"Cd": 1.0, "O": 2.0} in [amounts for _, amounts in without(Cd=1, O=2).compositions()]  # a peroxide


def test_the_order_of_the_elements_does_not_matter() -> None:
    known = Catalogue(own=False)
    one, other = (Analogues(order, known.crystals()) for order in (("Ca", "Ti", "O"), ("O", "Ca", "Ti")))
    assert one.compositions()[0][0] == pytest.approx(other.compositions()[0][0])
    assert one.compositions()[0][1] == other.compositions()[0][1]
    unit = {"Ca": 1, "Ti": 1, "O": 3}
    assert one.volume(unit) == pytest.approx(other.volume(unit))


def test_alike_compounds_say_the_room() -> None:
    """Boron nitride takes more room than its atoms as a rule, as graphite does."""
    nitride = without(B=1, N=1)
    usual = expected_volume({"B": 1, "N": 1})
    assert nitride.volume({"B": 1, "N": 1}) > 1.08 * usual
    unknown = nitride.volume({"B": 7, "N": 5}) / expected_volume({"B": 7, "N": 5})  # proportions that nothing has
    assert 1.0 < unknown < nitride.volume({"B": 1, "N": 1}) / usual


def test_elements_that_no_crystal_of_the_library_holds() -> None:
    assert Analogues(["Og", "Cu"], Catalogue(own=False).crystals()).compositions()
    many = ["Li", "Na", "K", "Rb", "Cs", "F", "Cl", "Br", "I"]
    none = Analogues(many, Catalogue(own=False).crystals())
    assert none.compositions() == []
    assert none.volume(dict.fromkeys(many, 1)) == pytest.approx(expected_volume(dict.fromkeys(many, 1)))


def test_hydrogen_takes_room_and_balances_charges_but_is_no_element() -> None:
    assert visible(("Ca", "H", "O")) == ("Ca", "O") and visible(("H",)) == ()
    portlandite = without(Ca=1, O=2, H=2)
    assert portlandite.elements == ("Ca", "O") and portlandite.hydrogen
    amounts = [named for _, named in portlandite.compositions()]
    assert {"Ca": 1.0, "O": 2.0} in amounts[:4]  # a peroxide, if it were not for hydrogen
    known, unknown = portlandite.volume({"Ca": 1, "O": 2, "H": 2}), portlandite.volume({"Ca": 1, "O": 2})
    assert known == pytest.approx(54.8, rel=0.15) and unknown == pytest.approx(54.8, rel=0.15)
    assert without(Ca=1, O=2).volume({"Ca": 1, "O": 2}) < unknown - 5

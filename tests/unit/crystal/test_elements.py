"""The table of the elements against pymatgen's."""

from __future__ import annotations

from pymatgen.core import Element

from crystalnet.crystal.elements import SYMBOLS, atomic_numbers, mendeleev_number


def test_atomic_numbers_are_those_of_pymatgen() -> None:
    assert atomic_numbers(SYMBOLS).tolist() == [0, *(Element(symbol).Z for symbol in SYMBOLS[1:])]


def test_the_unexplained_atom_has_no_number() -> None:
    assert atomic_numbers(("Na", "X", "Cl")).tolist() == [11, 0, 17]
    assert atomic_numbers(()).dtype == "int64"


def test_neighbours_on_pettifors_scale_are_alike() -> None:
    assert mendeleev_number("Nb") - mendeleev_number("Ta") in (-1, 1)
    assert mendeleev_number("Li") < mendeleev_number("Si") < mendeleev_number("F")

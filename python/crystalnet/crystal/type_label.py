"""Labels of structure types: which of them name one type.

A label is stoichiometry, Pearson symbol, space group and Wyckoff letters ("AB6_cP7_221_a_f"). One type has several: the
elements may be named in another order, and another origin of the space group permutes the letters.
"""

from __future__ import annotations

import re
from functools import lru_cache

from crystalnet.crystal.symmetry import one_hand
from crystalnet.crystal.wyckoff import letters_by_origin

Sites = tuple[tuple[int, tuple[str, ...]], ...]  # of each element: its amount, and a letter for each of its orbits
_LABEL = re.compile(r"(?P<formula>(?:[A-Z]\d*)+)_(?P<pearson>[a-z][A-Z]\d+)_(?P<group>\d+)(?P<letters>(?:_\w+)+)")


def same_type(one: str, other: str) -> bool:
    """Whether two labels name one structure type.

    >>> same_type("AB6_cP7_221_a_f", "A6B_cP7_221_e_b")
    True
    >>> same_type("AB_cF8_225_a_b", "AB_cF8_216_a_c")
    False
    """
    return one == other or _outline(one) == _outline(other)


@lru_cache(maxsize=20_000)
def _outline(label: str) -> tuple[str, int, Sites] | str:
    """What all labels of a type have in common; a label of another form stands for itself."""
    found = _LABEL.fullmatch(label)
    if found is None:
        return label
    group, named = _occupied(found)
    amounts = [int(n or 1) for n in re.findall(r"[A-Z](\d*)", found["formula"])]
    if len(amounts) != len(named):
        return label
    elements = list(zip(amounts, named, strict=True))
    by_origin = [
        tuple(sorted((n, tuple(sorted(letter_of.get(x, x) for x in letters))) for n, letters in elements))
        for letter_of in letters_by_origin(group)
    ]
    return found["pearson"], group, min(by_origin)


def occupied(label: str) -> tuple[int, list[list[str]]] | None:
    """The space group and the Wyckoff letters of each element, one for each orbit; None for a label of another form.

    Of a pair of groups that mirrors exchange it is the lower one.

    >>> occupied("A2B3_hR10_167_c_e")
    (167, [['c'], ['e']])
    """
    found = _LABEL.fullmatch(label)
    return None if found is None else _occupied(found)


def _occupied(found: re.Match[str]) -> tuple[int, list[list[str]]]:
    return one_hand(int(found["group"])), [_letters(part) for part in found["letters"][1:].split("_")]


def _letters(part: str) -> list[str]:
    """A letter for each orbit: "c2d" is c, c, d."""
    return [letter for n, letter in re.findall(r"(\d*)([A-Za-z])", part) for _ in range(int(n or 1))]

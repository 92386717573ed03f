"""What the network is given: the composition vector and its level. (The pattern vector is `crystalnet.xrd`'s.)

Levels tell the network how much the user knows: "formula" (ratios), "elements" (which, not how much), "none".
Drop-one (paper, Data Ablation) looks like "elements" from inside: the user does not know that one is missing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from crystalnet.elements import ATOMIC_NUMBER
from crystalnet.records import InputError

N_ELEMENTS = 119  # index = Z, 0 unused
LEVELS = ("none", "elements", "formula")


def composition_vector(composition: Mapping[str, float], level: str) -> np.ndarray:
    """(119,) float32: atom fractions for "formula", 1/n for each of n elements, zeros for "none".

    >>> composition_vector({"O": 3, "Al": 1}, "formula")[[8, 13]].tolist()  # by atomic number
    [0.75, 0.25]
    >>> composition_vector({"O": 3, "Al": 1}, "elements")[[8, 13]].tolist()
    [0.5, 0.5]
    """
    vector = np.zeros(N_ELEMENTS, dtype=np.float32)
    if level != "none" and composition:
        for element, amount in composition.items():
            vector[ATOMIC_NUMBER[element]] = amount if level == "formula" else 1.0
        vector /= vector.sum()
    return vector


def parse_elements(text: str) -> tuple[str, ...]:
    """Symbols, in order, from a list with commas or spaces. InputError names what is no element.

    >>> parse_elements("Zr,Sb Pt")
    ('Zr', 'Sb', 'Pt')
    """
    symbols = tuple(dict.fromkeys(part for part in re.split(r"[,;\s]+", text.strip()) if part))
    if not symbols:
        raise InputError("--elements is empty; give symbols such as Zr,Sb,Pt")
    for symbol in symbols:
        if symbol not in ATOMIC_NUMBER or symbol == "X":
            raise InputError(f"--elements: {symbol!r} is no chemical element; give symbols such as Zr,Sb,Pt")
    return symbols


def parse_formula(text: str) -> dict[str, float]:
    """The amount of each element in a formula. InputError where it is none.

    >>> parse_formula("Ca3Al2(SiO4)3")
    {'Ca': 3.0, 'Al': 2.0, 'Si': 3.0, 'O': 12.0}
    """
    from pymatgen.core import Composition

    try:
        amounts = {str(k): float(v) for k, v in Composition(text, strict=True).get_el_amt_dict().items()}
    except Exception:
        amounts = {}
    if not amounts or any(symbol not in ATOMIC_NUMBER for symbol in amounts):
        raise InputError(f"--formula: {text!r} cannot be read as a chemical formula such as Zr3Sb4Pt3")
    return amounts

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
    """(119,) float32: atom fractions for "formula", 1/n for each of n elements, zeros for "none"."""
    vector = np.zeros(N_ELEMENTS, dtype=np.float32)
    if level != "none" and composition:
        for element, amount in composition.items():
            vector[ATOMIC_NUMBER[element]] = amount if level == "formula" else 1.0
        vector /= vector.sum()
    return vector


def parse_elements(text: str) -> tuple[str, ...]:
    """ "Zr,Sb,Pt" (commas or spaces) as symbols, in order. InputError names what is no element."""
    symbols = tuple(dict.fromkeys(part for part in re.split(r"[,;\s]+", text.strip()) if part))
    if not symbols:
        raise InputError("--elements is empty; give symbols such as Zr,Sb,Pt")
    for symbol in symbols:
        if symbol not in ATOMIC_NUMBER or symbol == "X":
            raise InputError(f"--elements: {symbol!r} is no chemical element; give symbols such as Zr,Sb,Pt")
    return symbols


def parse_formula(text: str) -> dict[str, float]:
    """ "Ca3Al2(SiO4)3" as {element: amount}. InputError where it is no formula."""
    from pymatgen.core import Composition

    try:
        amounts = {str(k): float(v) for k, v in Composition(text, strict=True).get_el_amt_dict().items()}
    except Exception:
        amounts = {}
    if not amounts or any(symbol not in ATOMIC_NUMBER for symbol in amounts):
        raise InputError(f"--formula: {text!r} cannot be read as a chemical formula such as Zr3Sb4Pt3")
    return amounts

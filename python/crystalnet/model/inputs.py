"""What the network is given: the composition vector and its level. (The pattern vector is `crystalnet.xrd`'s.)

Levels tell the network how much the user knows: "formula" (ratios), "elements" (which, not how much), "none".
Drop-one (paper, Data Ablation) looks like "elements" from inside: the user does not know that one is missing.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from crystalnet.crystal.elements import ATOMIC_NUMBER

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

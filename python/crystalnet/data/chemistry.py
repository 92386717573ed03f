"""What chemistry allows of a composition."""

from __future__ import annotations

from collections.abc import Mapping

ANIONS = {"F": -1, "Cl": -1, "Br": -1, "I": -1, "O": -2}  # elements that hardly ever leave a charge unbalanced


def charge_balances(counts: Mapping[str, float]) -> bool:
    """Whether known oxidation states can add up to zero; compounds without halogens or oxygen always pass.

    Every other element may lie anywhere between its lowest and highest known state, so that mixed valence passes;
    but hydrogen beside oxygen is +1 (hydroxides, hydrates, acids: oxide hydrides are curiosities).
    """
    from pymatgen.core import Element

    if not any(symbol in ANIONS for symbol in counts) or len(counts) < 2:
        return True
    low = high = 0.0
    for symbol, amount in counts.items():
        if symbol in ANIONS:
            low, high = low + ANIONS[symbol] * amount, high + ANIONS[symbol] * amount
        elif symbol != "X":
            element = Element(symbol)
            states = (*element.common_oxidation_states, *element.icsd_oxidation_states) or (0,)
            if symbol == "H" and "O" in counts:
                states = (1,)
            low, high = low + min(states) * amount, high + max(states) * amount
    return low <= 1e-9 and high >= -1e-9

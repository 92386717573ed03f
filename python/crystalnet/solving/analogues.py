"""What compounds of similar elements are like: in which proportions they hold them, and what room they take."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import permutations

import numpy as np

from crystalnet.crystal.chemistry import charge_balances, expected_volume, usual_charges
from crystalnet.crystal.elements import ATOMIC_NUMBER, mendeleev_number, visible
from crystalnet.crystal.library import Library

#: How alike two elements are: e^(−difference of their Mendeleev numbers / ALIKE), UNLIKE where they are not.
ALIKE, UNLIKE = 2.5, 0.001
#: Nats of charges that add up to zero in no common oxidation states, and in none that is known (peroxides).
UNUSUAL, UNBALANCED = 2.0, 4.0
LEAST_LIKELY = 1e-5  # of proportions that are worth a trial
OTHER_PROPORTIONS = 0.1  # what the room of other proportions than those asked for counts
TABLE_WORTH = 0.3  # compounds of the very elements: what the table of atomic volumes counts
LAST_NUMBERED = 103  # element with a Mendeleev number
MOST_ELEMENTS = 7  # of which all orders are looked at; the library holds six crystals of six, none of more


class Analogues:
    """The known compounds of as many elements as are given, their elements in the place of these in every order.

    Where hydrogen is given, those that hold some: it takes room, but is no element of them, for no pattern shows it.

    Parameters
    ----------
    elements : sequence of str
        Of the sample.
    crystals : iterable of (Library, int)
        The known ones, `Catalogue.crystals()`.

    Attributes
    ----------
    elements : tuple of str
        Without hydrogen.
    hydrogen : bool
        Whether it was given.

    References
    ----------
    Elements are alike as on the chemical scale of D. G. Pettifor, Solid State Commun. 51 (1984) 31. Of 400 compounds
    of the library without hydrogen, triclinic to orthorhombic, each left out, the right contents of the cell are first
    in 40 % (27 % where proportions count as often as all known crystals have them), among the first ten in 79 % (65 %).
    """

    def __init__(self, elements: Sequence[str], crystals: Iterable[tuple[Library, int]]) -> None:
        self.elements, self.hydrogen = visible(elements), "H" in elements
        rooms: dict[tuple[tuple[str, int], ...], list[tuple[float, float]]] = defaultdict(list)
        for known, i in crystals:
            counts = known.counts[i]
            seen = visible(counts)
            if len(seen) == len(self.elements) <= MOST_ELEMENTS and ("H" in counts) == self.hydrogen:
                unit = math.gcd(*(counts[s] for s in seen))
                compound = tuple(sorted((s, counts[s] // unit) for s in seen))
                of_all, of_seen = expected_volume(counts), expected_volume({s: counts[s] for s in seen})
                rooms[compound].append((math.log(known.volumes[i] / of_all), math.log(known.volumes[i] / of_seen)))
        n = len(self.elements)
        others = sorted({symbol for compound in rooms for symbol, _ in compound})
        which = np.array([[others.index(s) for s, _ in compound] for compound in rooms], dtype=int).reshape(-1, n)
        amounts = np.array([[count for _, count in compound] for compound in rooms], dtype=int).reshape(-1, n)
        orders = np.array(list(permutations(range(n))) if rooms else [], dtype=int).reshape(-1, n)
        alike = np.array([[_likeness(s, other) for other in others] for s in self.elements]).reshape(n, -1)
        # A row is a compound in one order of its elements; compounds of the same proportions count together.
        weight = alike[np.arange(n), which[:, orders]].prod(axis=-1).ravel()
        room = np.repeat(np.array([np.mean(own, axis=0) for own in rooms.values()]).reshape(-1, 2), len(orders), axis=0)
        proportions, row = np.unique(amounts[:, orders].reshape(-1, n), axis=0, return_inverse=True)
        each = np.stack([np.bincount(row.ravel(), w, len(proportions)) for w in (weight, *(weight * room.T))], axis=1)
        #: Of all proportions: the weight of their compounds, and by it ln(volume / what their atoms take as a rule), of
        #: all atoms and of those that are seen.
        self._known = dict(zip(map(tuple, proportions.tolist()), each, strict=True))
        self._all = each.sum(axis=0)

    def compositions(self) -> list[tuple[float, dict[str, float]]]:
        """(nats, amounts) of known proportions, the likeliest first; hydrogen may balance any charge."""
        total = self._all[0]
        found = []
        for proportions, (weight, *_) in self._known.items():
            if weight > LEAST_LIKELY * total:
                named = dict(zip(self.elements, map(float, proportions), strict=True))
                likely = self.hydrogen or usual_charges(named)
                unlikely = 0.0 if likely else UNUSUAL if charge_balances(named) else UNBALANCED
                found.append((unlikely - math.log(weight / total), named))
        return sorted(found, key=lambda item: item[0])

    def volume(self, unit: Mapping[str, float]) -> float:
        """Å³ of a formula unit: what its atoms take as a rule, times what is usual in compounds like it.

        unit: whole numbers of the elements, and of hydrogen where its amount is known.
        """
        same = tuple(round(unit[s]) for s in self.elements)
        counted = 1 if "H" in unit or not self.hydrogen else 2
        known = self._known.get(same, np.zeros(3)) + OTHER_PROPORTIONS * self._all
        return expected_volume(unit) * math.exp(known[counted] / (known[0] + TABLE_WORTH))


def _likeness(one: str, other: str) -> float:
    if one == other:
        return 1.0
    if max(ATOMIC_NUMBER[one], ATOMIC_NUMBER[other]) > LAST_NUMBERED:
        return UNLIKE
    return math.exp(-abs(mendeleev_number(one) - mendeleev_number(other)) / ALIKE) + UNLIKE

"""What may be in a cell: compositions by the proportions that known crystals have, and formula units by the volume."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from itertools import permutations

from crystalnet.crystal.chemistry import charge_balances, expected_volume, usual_charges
from crystalnet.crystal.library import library

VOLUME_ESD, MOST_OFF = 0.18, 4.0  # of ln(volume / sum over the atoms), and how many of them it may be off
MOST_CONTENTS = 40  # of a cell
MOST_ATOMS = 60  # of a primitive cell: a round of starts is to take less than a second
MOST_PROPORTIONS = 60  # of elements whose amounts are not known
UNUSUAL = 2.0  # nats: without, the right proportions are the 8th in the median, with it the 3rd (900 known crystals)


def contents_of(
    compositions: Sequence[tuple[float, Mapping[str, float]]], volume: float
) -> list[tuple[float, dict[str, int]]]:
    """(nats, atoms of each element in the primitive cell), likeliest first; hydrogen is left out."""
    found = []
    for cost, amounts in compositions:
        unit = formula_unit({s: n for s, n in amounts.items() if s != "H"} or amounts)
        if unit is None:
            continue
        per_unit = expected_volume(unit)
        for z in range(1, int(volume / per_unit * 2) + 2):
            off = math.log(volume / (z * per_unit)) / VOLUME_ESD
            if abs(off) < MOST_OFF and z * sum(unit.values()) <= MOST_ATOMS:
                found.append((cost + off**2 / 2, {s: z * n for s, n in unit.items()}))
    return sorted(found, key=lambda item: item[0])[:MOST_CONTENTS]


@lru_cache(maxsize=64)
def compositions_of(elements: tuple[str, ...]) -> list[tuple[float, Mapping[str, float]]]:
    """(nats, amounts) of the proportions that known crystals have, given to the elements in every way that balances
    charges.
    """
    total = sum(_proportions()[len(elements)].values())
    found: list[tuple[float, Mapping[str, float]]] = []
    for proportions, count in _proportions()[len(elements)].most_common(MOST_PROPORTIONS):
        for amounts in sorted(set(permutations(proportions))):
            named = dict(zip(elements, map(float, amounts), strict=True))
            if charge_balances(named):
                found.append((-math.log(count / total) + (0.0 if usual_charges(named) else UNUSUAL), named))
    return sorted(found, key=lambda item: item[0])


@cache
def _proportions() -> dict[int, Counter[tuple[int, ...]]]:
    """How often the crystals of the library have which whole-number proportions, by the number of elements."""
    found: dict[int, Counter[tuple[int, ...]]] = defaultdict(Counter)
    for counts in library().counts:
        unit = math.gcd(*counts.values())
        found[len(counts)][tuple(sorted(n // unit for n in counts.values()))] += 1
    return found


def formula_unit(amounts: Mapping[str, float]) -> dict[str, int] | None:
    """The smallest whole numbers in these proportions; None where there are none up to 12 times the smallest."""
    least = min(amounts.values())
    for factor in range(1, 13):
        scaled = [n / least * factor for n in amounts.values()]
        if all(abs(n - round(n)) < 0.01 for n in scaled):
            return dict(zip(amounts, map(round, scaled), strict=True))
    return None

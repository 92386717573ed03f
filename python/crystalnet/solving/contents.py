"""What may be in a cell: so many formula units, by the volume, of the formula or of what alike compounds have."""

from __future__ import annotations

import math
from collections.abc import Mapping

from crystalnet.crystal.elements import visible
from crystalnet.solving.analogues import Analogues

#: Of ln(volume / analogues' volume) as Student's t of so many degrees of freedom has it, and how far off it may be.
VOLUME_SCALE, VOLUME_FREEDOM, MOST_OFF = 0.08, 3.0, 0.72
MOST_CONTENTS = 40  # of a cell
MOST_ATOMS = 60  # of a primitive cell: a round of starts is to take less than a second


def contents_of(
    analogues: Analogues, volume: float, amounts: Mapping[str, float] | None = None
) -> list[tuple[float, dict[str, int]]]:
    """(nats, atoms of each element in the primitive cell), likeliest first; hydrogen is left out.

    volume: Å³ of the primitive cell; amounts: those of the formula, where it is known.
    """
    found = []
    for cost, own in analogues.compositions() if amounts is None else [(0.0, amounts)]:
        unit = formula_unit({s: own[s] for s in visible(own)})
        if unit is None:
            continue
        scale = sum(unit.values()) / sum(own[s] for s in unit)
        per_unit = analogues.volume({s: n * scale for s, n in own.items()})
        for z in range(1, int(volume / per_unit * 2) + 2):
            off = math.log(volume / (z * per_unit))
            if abs(off) < MOST_OFF and z * sum(unit.values()) <= MOST_ATOMS:
                nats = (VOLUME_FREEDOM + 1) / 2 * math.log1p((off / VOLUME_SCALE) ** 2 / VOLUME_FREEDOM)
                found.append((cost + nats, {s: z * n for s, n in unit.items()}))
    return sorted(found, key=lambda item: item[0])[:MOST_CONTENTS]


def formula_unit(amounts: Mapping[str, float]) -> dict[str, int] | None:
    """The smallest whole numbers in these proportions; None where there are none up to 12 times the smallest."""
    if not amounts:
        return None
    least = min(amounts.values())
    for factor in range(1, 13):
        scaled = [n / least * factor for n in amounts.values()]
        if all(abs(n - round(n)) < 0.01 for n in scaled):
            return dict(zip(amounts, map(round, scaled), strict=True))
    return None

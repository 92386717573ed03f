"""A cell that the user gives."""

from __future__ import annotations

import math
from dataclasses import replace

from crystalnet.crystal.lattice import Cell
from crystalnet.crystal.systems import SYSTEMS, system_named
from crystalnet.records import InputError, Peaks
from crystalnet.xrd.indexing.lattices import CENTRINGS
from crystalnet.xrd.indexing.least_squares import refine_near
from crystalnet.xrd.indexing.lines import Lines


def cell_from_option(text: str, system: str = "auto") -> Cell:
    """Read `--cell`: "a" (cubic), "a,c" (hexagonal axes) or "a,alpha=55" (rhombohedral axes).

    Å and degrees; system: "auto", "cubic" or "trigonal". The result is on hexagonal axes, its centring P (R
    for the rhombohedral form) until the lines decide, see `centrings`. Raises InputError on anything else.
    """
    form = 'write --cell as "a" (cubic), "a,c" (hexagonal axes) or "a,alpha=55" (rhombohedral)'
    names = ["a", "c"]
    values: dict[str, float] = {}
    for place, part in enumerate(text.split(",")):
        name, equals, number = part.rpartition("=")
        name = name.strip().lower() if equals else names[place] if place < 2 else ""
        try:
            value = float(number)
        except ValueError:
            raise InputError(f'cannot read "{part.strip()}" in --cell "{text}": {form}') from None
        if name not in ("a", "c", "alpha") or name in values or not math.isfinite(value):
            raise InputError(f'--cell "{text}" is not understood: {form}')
        values[name] = value
    if set(values) not in ({"a"}, {"a", "c"}, {"a", "alpha"}):
        raise InputError(f'--cell "{text}" is not understood: {form}')
    if any(not 1 <= values[edge] <= 200 for edge in ("a", "c") if edge in values):
        raise InputError(f'--cell "{text}": edges are in Å, between 1 and 200')
    free = {"a", "c"} if "alpha" in values else set(values)
    found = next(name for name in SYSTEMS if set(system_named(name).free) == free)
    if system not in ("auto", found):
        raise InputError(f'--cell "{text}" is {found} but --system is {system}: {form}')
    if "alpha" not in values:
        return Cell(found, "P", values["a"], values.get("c", values["a"]))
    if not 0 < values["alpha"] < 120:
        raise InputError(f'--cell "{text}": alpha lies between 0 and 120 degrees')
    alpha = math.radians(values["alpha"])
    edge = values["a"]
    return Cell(found, "R", 2 * edge * math.sin(alpha / 2), edge * math.sqrt(3 + 6 * math.cos(alpha)))


def centrings(peaks: Peaks, cell: Cell) -> list[Cell]:
    """The cell refined with each centring that its system allows, the one that the lines prefer first."""
    lines = Lines.of(peaks)
    rated = [refine_near(lines, replace(cell, centring=centring)) for centring in CENTRINGS[cell.system]]
    return [found.cell for found in sorted(rated, key=lambda rated: -rated.score)]

"""A cell that the user knows."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from crystalnet.crystal.lattice import Cell
from crystalnet.crystal.systems import SYSTEMS, system_named
from crystalnet.records import InputError, Peaks
from crystalnet.xrd.indexing.lattices import LATTICES, _state
from crystalnet.xrd.indexing.lines import ZERO_STEPS, _Lines
from crystalnet.xrd.indexing.rating import _rated
from crystalnet.xrd.indexing.search import _refine

# --------------------------------------------------------------------------------------------------
# a cell the user gives


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


def refine_cell(peaks: Peaks, cell: Cell) -> Cell:
    """The cell with a (, c) and zero shift by least squares on the lines; edges may be off by about 1%."""
    return _refined(_Lines.of(peaks), cell)[1]


def centrings(peaks: Peaks, cell: Cell) -> list[Cell]:
    """The cell refined with each centring its system allows, the one the lines prefer first."""
    lines = _Lines.of(peaks)
    rated = [_refined(lines, replace(cell, centring=centring)) for centring in LATTICES[cell.system]]
    return [found for _, found in sorted(rated, key=lambda item: -item[0])]


def _refined(lines: _Lines, cell: Cell) -> tuple[float, Cell]:
    """Best of refinements from the cell as given and somewhat scaled, over the trial zero shifts."""
    step = lines.max_zero / ZERO_STEPS
    zeros = step * np.arange(-ZERO_STEPS, ZERO_STEPS + 1)
    scale, zero = (x.ravel() for x in np.meshgrid(np.linspace(0.98, 1.02, 9), zeros))
    starts = np.repeat(_state(cell), len(zero), axis=0)
    starts[:, :2] *= scale[:, None]
    starts[:, 2] = zero
    states = _refine(lines, cell.system, cell.centring, starts, step / 2)
    rated = [_rated(lines, cell.system, cell.centring, state) for state in states]
    return max(rated, key=lambda item: item[0])

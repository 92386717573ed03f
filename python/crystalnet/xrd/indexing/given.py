"""A cell that the user gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from crystalnet.crystal.lattice import Cell
from crystalnet.crystal.systems import CRYSTAL_SYSTEMS, indexed_as, system_named
from crystalnet.ops.index_cells import rated
from crystalnet.records import InputError, Peaks
from crystalnet.xrd.indexing.lattices import LATTICES, cell_of, state_of
from crystalnet.xrd.indexing.lines import Lines

FORM = (
    'write --cell as "a" (cubic), "a,c" (hexagonal axes, with --system tetragonal those), "a,alpha=55" (rhombohedral) '
    'or "a,b,c,alpha,beta,gamma"'
)
EDGES, LENGTHS, ANGLES = ("a", "b", "c"), (1.0, 200.0), (20.0, 160.0)
SAME = 1e-6  # relative, of edges and angles that are one: what the user wrote twice
#: Starts of the refinement about a cell that is good to 2%: of another source the zero shift is not known, and where
#: lines are dense each start ends elsewhere.
SCALES, ZEROS = np.linspace(0.98, 1.02, 9), 5


def cell_from_option(text: str, system: str = "auto") -> Cell:
    """Read `--cell`: see `FORM`; Å and degrees.

    Parameters
    ----------
    text : str
    system : str
        "auto" or one of the seven.

    Returns
    -------
    Cell
        Its centring P (R for the rhombohedral form) until the lines decide, see `centrings`.

    Raises
    ------
    InputError
        On anything else.
    """
    values = _numbers(text)
    names = set(values)
    for name in names:
        low, high = LENGTHS if name in EDGES else ANGLES
        if not low <= values[name] <= high:
            what = "edges are in Å" if name in EDGES else "angles are in degrees"
            raise InputError(f'--cell "{text}": {what}, between {low:g} and {high:g}')
    if names == {"a", "alpha"}:
        return _agreed(_rhombohedral(text, values["a"], values["alpha"]), text, system)
    if names == {"a"}:
        return _agreed(Cell("cubic", "P", values["a"]), text, system)
    if names == {"a", "c"}:
        with_two = [row for row in CRYSTAL_SYSTEMS if set(row.free) == names]
        usual = next(row.name for row in with_two if indexed_as(row.name) == row.name)
        found = next((indexed_as(row.name) for row in with_two if row.name == system), usual)
        return _agreed(Cell(found, "P", values["a"], values["c"]), text, system)
    if len(names) != 6:
        raise InputError(f'--cell "{text}" is not understood: {FORM}')
    return _agreed(_with_six(text, values, system), text, system)


def _numbers(text: str) -> dict[str, float]:
    """The numbers by the names of the parameters."""
    parts = text.split(",")
    names = ("a", "b", "c", "alpha", "beta", "gamma") if len(parts) == 6 else ("a", "c")
    values: dict[str, float] = {}
    for place, part in enumerate(parts):
        name, equals, number = part.rpartition("=")
        name = name.strip().lower() if equals else names[place] if place < len(names) else ""
        try:
            value = float(number)
        except ValueError:
            raise InputError(f'cannot read "{part.strip()}" in --cell "{text}": {FORM}') from None
        if name not in ("a", "b", "c", "alpha", "beta", "gamma") or name in values or not math.isfinite(value):
            raise InputError(f'--cell "{text}" is not understood: {FORM}')
        values[name] = value
    return values


def _rhombohedral(text: str, edge: float, alpha: float) -> Cell:
    if alpha >= 120:
        raise InputError(f'--cell "{text}": alpha lies below 120 degrees')
    half = math.radians(alpha)
    return Cell("trigonal", "R", 2 * edge * math.sin(half / 2), edge * math.sqrt(3 + 6 * math.cos(half)))


def _with_six(text: str, values: dict[str, float], system: str) -> Cell:
    """The cell in the system named, else in the highest whose metric it has."""
    try:
        whole = Cell("triclinic", "P", **values)  # type: ignore[arg-type]
        if not np.isfinite(whole.primitive_volume) or whole.primitive_volume <= 0:
            raise ValueError
    except ValueError:
        raise InputError(f'--cell "{text}": no cell has these angles') from None
    for row in CRYSTAL_SYSTEMS:
        if indexed_as(row.name) != row.name or ("auto" != system and indexed_as(system) != row.name):
            continue
        free = {name: values[name] for name in row.free}
        if all(abs(value / values[name] - 1) < SAME for name, value in row.parameters(dict(free)).items()):
            return Cell(row.name, "P", **free)  # type: ignore[arg-type]
    raise InputError(f'--cell "{text}" is not {system}')


def _agreed(cell: Cell, text: str, system: str) -> Cell:
    """The cell, where it is of the system that the user names."""
    if system not in {
        "auto",
        cell.system,
        *(system_named(cell.system).with_lattices_of if cell.centring == "P" else ()),
    }:
        raise InputError(f'--cell "{text}" is {cell.system} but --system is {system}: {FORM}')
    return cell


def centrings(peaks: Peaks, cell: Cell) -> list[Cell]:
    """The cell refined with each centring that its system allows, the one that the lines prefer first."""
    rows = [row.centring for row in LATTICES if row.system == cell.system]
    return refined_cells(peaks, [state_of(replace(cell, centring=centring)) for centring in rows])


def refined_cells(peaks: Peaks, starts: Sequence[np.ndarray], scales: np.ndarray = SCALES) -> list[Cell]:
    """Cells that are good to some per cent, refined on the lines, the one that these prefer first.

    starts: each (1,) of `ops.index_cells.CELL`. scales: of the metric, tried with every zero shift.
    """
    lines = Lines.of(peaks)
    step = lines.max_zero / ZEROS
    tried = []
    for start in starts:
        for scale in scales:
            for zero in step * np.arange(-ZEROS, ZEROS + 1):
                one = start.copy()
                one["metric"] *= scale
                one["zero"] = zero
                tried.append(one)
    states = rated(lines.kernel, np.concatenate(tried), slack=step / 2)
    each = states.reshape(len(starts), -1)
    best = each[np.arange(len(starts)), each["score"].argmax(axis=1)]
    return [cell_of(state, len(lines)) for state in best[np.argsort(-best["score"], kind="stable")]]

"""Indexing: lines to cells, best first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from crystalnet.crystal.lattice import Cell
from crystalnet.crystal.metric import cubic_lattice, same_metric
from crystalnet.crystal.systems import SYSTEMS
from crystalnet.records import Peaks
from crystalnet.runtime.pool import Map
from crystalnet.xrd.indexing.given import _refined
from crystalnet.xrd.indexing.lattices import LATTICES, _state
from crystalnet.xrd.indexing.lines import _Lines
from crystalnet.xrd.indexing.rating import HOLOHEDRIES, _rated, _searched, _without_repeats
from crystalnet.xrd.indexing.search import _refine
from crystalnet.xrd.indexing.superlattices import MANY_LINES, _behind_simple_cubic, _with_superlattice, hidden_lattices

#: A cell scoring less (nats, `_rated`), or of lower de Wolff's M, is not returned: "neither fits". Three lines of a
#: body-centred metal that fit to the last digit are worth 7.5.
MIN_SCORE, MIN_MERIT = 5.0, 5.0


def index_peaks(peaks: Peaks, systems: tuple[str, ...] = SYSTEMS, limit: int = 10, mapped: Map = map) -> list[Cell]:
    """Cells that explain the lines, best first; empty where no lattice of these systems does.

    systems: of "cubic" and "trigonal" (any lattice on hexagonal axes). limit: most cells returned.
    Larger lattices whose extra lines may be too weak to be seen (see `hidden_lattices`) follow in the list.
    mapped: the built-in map, or one over several processes.

    >>> from crystalnet.xrd.peaks import find_peaks
    >>> from crystalnet.xrd.reader import read_pattern
    >>> cell = index_peaks(find_peaks(read_pattern("examples/Zr3Sb4Pt3.xy")), systems=("cubic",))[0]
    >>> cell.centring, round(cell.a, 2)
    ('I', 9.63)
    """
    return [cell for _, cell in _ranked(peaks, systems, limit, mapped)]


def _ranked(peaks: Peaks, systems: Sequence[str], limit: int, mapped: Map = map) -> list[tuple[float, Cell]]:
    if len(peaks) < 2:
        return []
    lines = _Lines.of(peaks)
    lattices = [(system, centring) for system in systems for centring in LATTICES[system]]
    found = mapped(_searched, [lines] * len(lattices), *zip(*lattices, strict=True))
    rated = [rate for rates in found for rate in rates]
    rated = _without_repeats(rated, 2 * limit)
    cubic = [larger for _, cell in rated[:HOLOHEDRIES] if (larger := cubic_lattice(cell)) and larger.system in systems]
    rated += [_refined(lines, cell) for cell in cubic]
    rated.sort(key=lambda item: -item[0])
    # Where lines are dense, index assignments have several optima close by, and the search of the right centring may
    # have missed its own: look around the best cells once more, with every centring.
    best = [cell for _, cell in rated[:2]]
    rated += [_refined(lines, replace(cell, centring=other)) for cell in best for other in LATTICES[cell.system]]
    rated.sort(key=lambda item: -item[0])
    for _, cell in rated[:3]:
        for larger in hidden_lattices(cell):
            state = _refine(lines, larger.system, larger.centring, _state(larger))[0]
            rated.append(_rated(lines, larger.system, larger.centring, state))
    kept = _behind_simple_cubic(lines, _without_repeats(rated, limit))
    kept = _cubic_first(_with_superlattice(_Lines.of(peaks, MANY_LINES, faint=True), kept))
    return [x for x in kept if x[0] >= MIN_SCORE and x[1].figure_of_merit >= MIN_MERIT]


def _cubic_first(ranked: list[tuple[float, Cell]]) -> list[tuple[float, Cell]]:
    """Put a cubic lattice before those on hexagonal axes that have its metric, where it indexes as many lines.

    The lines then speak for the lower symmetry only by what is not seen, which weak superstructure lines are apt to be.
    """
    order = list(ranked)
    for item in ranked:
        cell = item[1]
        higher = (other for other in order if len(other[1].free) < len(cell.free))
        cubic = next((other for other in higher if same_metric(cell, other[1])), None)
        if cubic and cubic[1].n_indexed >= cell.n_indexed and order.index(cubic) > order.index(item):
            order.remove(cubic)
            order.insert(order.index(item), (max(item[0], cubic[0]), cubic[1]))
    return order

"""Indexing: lines to cells, best first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from crystalnet.crystal.lattice import Cell
from crystalnet.crystal.metric import cubic_lattice, same_metric
from crystalnet.crystal.systems import SYSTEMS
from crystalnet.records import Peaks
from crystalnet.runtime.pool import Map
from crystalnet.xrd.indexing.lattices import CENTRINGS, Lattice, lattice_of, state_of
from crystalnet.xrd.indexing.least_squares import refine, refine_near
from crystalnet.xrd.indexing.lines import Lines
from crystalnet.xrd.indexing.rating import Rated, rate, without_repeats
from crystalnet.xrd.indexing.search import search
from crystalnet.xrd.indexing.superlattices import MANY_LINES, behind_simple_cubic, hidden_lattices, with_superlattice

#: A cell scoring less (`Rated`), or of lower de Wolff's M, is not returned. Three lines of a
#: body-centred metal that fit to the last digit are worth 7.5.
MIN_SCORE, MIN_MERIT = 5.0, 5.0
#: Best cells on hexagonal axes that are tried as cubic ones, where their metric is a cubic lattice's.
TRIED_AS_CUBIC = 6


def index_peaks(peaks: Peaks, systems: tuple[str, ...] = SYSTEMS, limit: int = 10, mapped: Map = map) -> list[Cell]:
    """Cells that explain the lines, best first; none where no lattice of these systems does.

    Larger lattices whose extra lines may be too weak to be seen (see `hidden_lattices`) follow in the list.

    Parameters
    ----------
    peaks : Peaks
    systems : tuple of str
        Of "cubic" and "trigonal" (any lattice on hexagonal axes).
    limit : int
        Most cells returned.
    mapped : callable
        The built-in map, or one over several processes: the lattices are searched side by side.

    >>> from crystalnet.xrd.peaks import find_peaks
    >>> from crystalnet.xrd.reader import read_pattern
    >>> cell = index_peaks(find_peaks(read_pattern("examples/Zr3Sb4Pt3.xy")), systems=("cubic",))[0]
    >>> cell.centring, round(cell.a, 2)
    ('I', 9.63)
    """
    return [one.cell for one in _rated_cells(peaks, systems, limit, mapped)]


def _rated_cells(peaks: Peaks, systems: Sequence[str], limit: int, mapped: Map) -> list[Rated]:
    if len(peaks) < 2:
        return []
    lines = Lines.of(peaks)
    lattices = [Lattice(system, centring) for system in systems for centring in CENTRINGS[system]]
    rated = [one for found in mapped(rated_search, [lines] * len(lattices), lattices) for one in found]
    rated = without_repeats(rated, 2 * limit)
    cubic = [larger for one in rated[:TRIED_AS_CUBIC] if (larger := cubic_lattice(one.cell))]
    rated += [refine_near(lines, cell) for cell in cubic if cell.system in systems]
    rated.sort(key=lambda one: -one.score)
    # Where lines are dense, index assignments have several optima close by, and the search of the right centring may
    # have missed its own: look around the best cells once more, with every centring.
    best = [one.cell for one in rated[:2]]
    rated += [refine_near(lines, replace(cell, centring=other)) for cell in best for other in CENTRINGS[cell.system]]
    rated.sort(key=lambda one: -one.score)
    for one in rated[:3]:
        for larger in hidden_lattices(one.cell):
            lattice = lattice_of(larger)
            rated.append(rate(lines, lattice, refine(lines, lattice, state_of(larger))[0]))
    kept = behind_simple_cubic(lines, without_repeats(rated, limit))
    kept = _cubic_first(with_superlattice(Lines.of(peaks, MANY_LINES, faint=True), kept))
    return [one for one in kept if one.score >= MIN_SCORE and one.cell.figure_of_merit >= MIN_MERIT]


def rated_search(lines: Lines, lattice: Lattice) -> list[Rated]:
    """Promising cells of one Bravais lattice with their scores."""
    return [rate(lines, lattice, state) for state in search(lines, lattice)]


def _cubic_first(ranked: list[Rated]) -> list[Rated]:
    """Put a cubic lattice before those on hexagonal axes that have its metric, where it indexes as many lines.

    The lines then speak for the lower symmetry only by what is not seen, and weak superstructure lines often are not.
    """
    order = list(ranked)
    for item in ranked:
        cell = item.cell
        higher = (other for other in order if len(other.cell.free) < len(cell.free))
        cubic = next((other for other in higher if same_metric(cell, other.cell)), None)
        if cubic and cubic.cell.n_indexed >= cell.n_indexed and order.index(cubic) > order.index(item):
            order.remove(cubic)
            order.insert(order.index(item), Rated(max(item.score, cubic.score), cubic.cell))
    return order

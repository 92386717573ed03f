"""Indexing: lines to cells, best first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from crystalnet.crystal.chemistry import smallest_volume
from crystalnet.crystal.lattice import Cell
from crystalnet.crystal.metric import cubic_lattice
from crystalnet.crystal.systems import SYSTEMS
from crystalnet.ops.index_cells import rated, search
from crystalnet.records import Peaks
from crystalnet.xrd.indexing.equal_scatterers import behind_simple_cubic
from crystalnet.xrd.indexing.lattices import LATTICES, cell_of, chosen, state_of
from crystalnet.xrd.indexing.lines import MANY_LINES, Lines
from crystalnet.xrd.indexing.related import (
    METRIC_TOLERANCES,
    contains,
    primitive_axes,
    reduced,
    related_axes,
    same_lattice,
    states_of,
)

#: A cell scoring less, in nats, or of lower de Wolff's M, is not returned: the best cells of lists of 20 random lines
#: score between −30 and −5, none of 130 more than −2 (docs/indexing.md).
MIN_SCORE, MIN_MERIT = -2.0, 5.0
#: Nats for each e-fold of de Wolff's M, up to an M that leaves no doubt: the score asks how many lines a cell meets and
#: hardly how near, so that a cell twice or thrice as large, which meets a foreign line or two by chance, would win.
#: Of 156 measured patterns (development, by which this was chosen) 136 have the right cell first with it and 133
#: without; of 641 laboratory-like ones 602 with and without. 3 to 8 nats and an M of 20 to 80 do alike.
NATS_OF_MERIT, MERIT_ENOUGH = 5.0, 50.0
#: Best lattices of which sub- and superlattices are rated too, and of those on hexagonal axes that are tried as cubic.
WITH_RELATIVES, TRIED_AS_CUBIC = 6, 6
#: A superlattice of the best goes first where all lines, the faint ones too, speak for it by so many nats, though the
#: strong ones speak against it by no more than so many: its own lines are few and weak as a rule. Where the strong
#: ones are undecided, within the third number, all lines decide.
SUPERLATTICE_GAIN, SUPERLATTICE_LOSS, UNDECIDED = 18.0, 30.0, 1.0
#: Relative standard deviation of a crystal's volume from the sum over its atoms (`smallest_volume`).
VOLUME_ESD = 0.18


@dataclass(frozen=True)
class Indexed:
    """A lattice and how well the lines speak for it.

    Attributes
    ----------
    score : float
        Nats saved where the lines are described by the cell.
    state : void
        The likeliest description of the lattice, as the kernel has it (`ops.index_cells.CELL`).
    reduced : ndarray, shape (7,)
        Its Niggli cell and volume: edges in Å, angles in degrees, Å³.
    others : tuple of Indexed
        Descriptions in other crystal systems, which the metric allows too.
    """

    score: float
    state: np.void
    reduced: np.ndarray
    others: tuple[Indexed, ...] = ()

    @property
    def worth(self) -> float:
        """The score with what de Wolff's M says for the cell; lattices are listed by it, higher is better."""
        return self.score + NATS_OF_MERIT * math.log(np.clip(self.state["merit"], 1.0, MERIT_ENOUGH))

    @property
    def free(self) -> int:
        """Metric parameters that the description leaves free."""
        return LATTICES[int(self.state["lattice"])].free


def index_peaks(
    peaks: Peaks,
    systems: Sequence[str] = SYSTEMS,
    limit: int = 10,
    elements: Sequence[str] | None = None,
    threads: int = 1,
) -> list[Cell]:
    """Cells that explain the lines, best first; none where no lattice of these systems does.

    A lattice whose metric allows several crystal systems is described in each, the likelier first.

    Parameters
    ----------
    peaks : Peaks
    systems : tuple of str
        Of the seven; "trigonal" is any lattice on hexagonal axes.
    limit : int
        Most cells returned.
    elements : sequence of str, optional
        Those in the sample: a cell must have room for them.
    threads : int
        They share the lattice types.

    >>> from crystalnet.xrd.peaks import find_peaks
    >>> from crystalnet.xrd.reader import read_pattern
    >>> cell = index_peaks(find_peaks(read_pattern("examples/Zr3Sb4Pt3.xy")), systems=("cubic",))[0]
    >>> cell.centring, round(cell.a, 2)
    ('I', 9.63)
    """
    n = len(Lines.of(peaks)) if len(peaks) else 0
    lattices = indexed(peaks, systems, limit, elements, threads)
    return [cell_of(each.state, n) for one in lattices for each in (one, *one.others)][:limit]


def nearest_cell(
    peaks: Peaks, systems: Sequence[str] = SYSTEMS, elements: Sequence[str] | None = None, threads: int = 1
) -> Cell | None:
    """The cell that comes nearest to explaining the lines, whether its score convinces or not; None where de Wolff's M
    convinces for none. Arguments as those of `index_peaks`.
    """
    found = indexed(peaks, systems, elements=elements, threads=threads, convincing=False)
    return cell_of(found[0].state, len(Lines.of(peaks))) if found else None


def indexed(
    peaks: Peaks,
    systems: Sequence[str],
    limit: int = 10,
    elements: Sequence[str] | None = None,
    threads: int = 1,
    convincing: bool = True,
) -> list[Indexed]:
    """The walk of `index_peaks`, a lattice once; those too that do not convince where they are asked for."""
    if len(peaks) < 2:
        return []
    lines = Lines.of(peaks)
    allowed = chosen(systems)
    states = search(lines.kernel, allowed, threads)
    best = _distinct(_rooms(states, elements), 3 * limit)
    further = [*_related(best[:WITH_RELATIVES], allowed), *_as_cubic(best[:TRIED_AS_CUBIC], allowed)]
    if further:
        states = np.concatenate([states, rated(lines.kernel, np.concatenate(further), threads=threads)])
    every = sorted(_distinct(_rooms(states, elements), limit), key=lambda one: -one.worth)
    every = _cubic_first(every)
    least = MIN_SCORE if convincing else -math.inf
    every = [one for one in every if one.score >= least and one.state["merit"] >= MIN_MERIT]
    if not every:
        return []
    kept = _superlattice_first(Lines.of(peaks, MANY_LINES, faint=True), every, threads)
    return [_in_standard_setting(one) for one in behind_simple_cubic(lines, kept)]


def _rooms(states: np.ndarray, elements: Sequence[str] | None) -> list[Indexed]:
    """The states with their reduced cells, a cell too small for an atom of each element scored down."""
    least = smallest_volume(elements) if elements else 0.0
    found = []
    for state in states[np.isfinite(states["score"])]:
        cell = reduced(primitive_axes(state))
        lacking = min(0.0, math.log(cell[6] / least)) / VOLUME_ESD if least else 0.0
        found.append(Indexed(float(state["score"]) - lacking**2 / 2, state, cell))
    return found


def _related(best: Sequence[Indexed], allowed: np.ndarray) -> list[np.ndarray]:
    """States of the best lattices in every system that their metrics allow, and of their sub- and superlattices."""
    return [
        state
        for one in best
        for k, axes in enumerate(related_axes(primitive_axes(one.state)))
        for state in states_of(axes, one.state, allowed, METRIC_TOLERANCES[: 1 + (k == 0)])
    ]


def _as_cubic(best: Sequence[Indexed], allowed: np.ndarray) -> list[np.ndarray]:
    """States of the cubic lattices that have every line of a lattice on hexagonal axes of cubic metric."""
    cubic = [state_of(larger) for one in best if (larger := cubic_lattice(cell_of(one.state))) is not None]
    return [state for state in cubic if allowed[int(state[0]["lattice"])]]


def _distinct(found: Sequence[Indexed], limit: int) -> list[Indexed]:
    """Each lattice once, best first; of its descriptions the higher symmetry where that meets as many lines."""
    groups: list[list[Indexed]] = []
    for one in sorted(found, key=lambda one: -one.score):
        group = next((group for group in groups if same_lattice(group[0].reduced, one.reduced)), None)
        if group is None:
            if len(groups) < limit:
                groups.append([one])
        elif all(one.state["lattice"] != other.state["lattice"] for other in group):
            group.append(one)
    lattices = []
    for group in groups:
        score = group[0].score
        # The lines speak for the lower symmetry only by what is not seen, and weak lines often are not.
        first = min(group, key=lambda one: (one.state["found"] < group[0].state["found"], one.free))
        others = tuple(one for one in group if one is not first and one.score >= MIN_SCORE)
        lattices.append(Indexed(score, first.state, first.reduced, others))
    return lattices


def _cubic_first(lattices: list[Indexed]) -> list[Indexed]:
    """Put a cubic lattice before one on hexagonal axes whose metric asks for it, where it meets as many lines."""
    order = list(lattices)
    for one in lattices:
        asked = cubic_lattice(cell_of(one.state))
        if asked is None:
            continue
        wanted = reduced(asked.primitive_lattice)
        cubic = next((other for other in order if other.free == 1 and same_lattice(other.reduced, wanted)), None)
        if cubic is None or cubic.state["found"] < one.state["found"] or order.index(cubic) < order.index(one):
            continue
        order.remove(cubic)
        order.insert(order.index(one), replace(cubic, score=max(one.score, cubic.score)))
    return order


def _superlattice_first(lines: Lines, lattices: list[Indexed], threads: int) -> list[Indexed]:
    """Put a superlattice of the best first where all lines together ask for it."""
    family = [
        one
        for one in lattices[1:]
        if one.worth > lattices[0].worth - SUPERLATTICE_LOSS
        and contains(lattices[0].reduced, lattices[0].state, one.reduced)
    ]
    if not family:
        return lattices
    scores = rated(lines.kernel, np.array([one.state for one in (lattices[0], *family)]), threads=threads)["score"]
    at = int(np.argmax(scores[1:]))
    first = family[at]
    needed = 0.0 if first.worth > lattices[0].worth - UNDECIDED else SUPERLATTICE_GAIN
    if scores[1 + at] < scores[0] + needed:
        return lattices
    rest = [one for one in lattices if one is not first]
    return [replace(first, score=max(lattices[0].score, first.score)), *rest]


def _in_standard_setting(one: Indexed) -> Indexed:
    """With the axes that International Tables would choose: the search takes them as the lines come."""
    allowed = np.arange(len(LATTICES)) == one.state["lattice"]
    state = one.state.copy()
    for standard in states_of(primitive_axes(state), state, allowed, METRIC_TOLERANCES[:1]):
        state["metric"] = standard[0]["metric"]
    return replace(one, state=state, others=tuple(_in_standard_setting(other) for other in one.others))

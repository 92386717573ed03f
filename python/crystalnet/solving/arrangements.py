"""Where the atoms of a cell may stand: combinations of Wyckoff positions of the likely space groups (`extinction`), by
how often known crystals have them, in one queue, the likeliest for their cost first.
"""

from __future__ import annotations

import heapq
import math
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from crystalnet.crystal.library import library
from crystalnet.crystal.type_label import occupied
from crystalnet.crystal.wyckoff import Group

MOST_FREE = 30  # coordinates; more are not found by random starts
MOST_COMBINATIONS, MOST_ORBITS = 60, 10  # of one element's positions in one group; of one element
MOST_LOOKED_AT = 5000  # combinations of all elements; in some groups hardly any is possible
PRIOR_WORTH = 3.0  # observations of positions in a group that what is usual elsewhere counts for
FREEDOM = 0.35  # nats of a free coordinate: it takes so many more starts


Letters = list[tuple[str, int]]  # elements with the numbers of their positions


@dataclass(frozen=True)
class _Choice:
    """Positions of one element, by number, with its cost in nats and its free coordinates."""

    cost: float
    letters: tuple[int, ...]
    free: int


def arrangements(
    groups: Sequence[tuple[float, Group]], contents: Sequence[tuple[float, dict[str, int]]], end: float = math.inf
) -> Iterator[tuple[float, Group, Letters]]:
    """(nats, group, [(element, position)]), the likeliest for their cost first, till the monotonic clock says `end`."""
    heap: list[tuple[float, int, Iterator[tuple[float, Letters]]]] = []
    for group_cost, group in groups:
        for content_cost, counts in contents:
            # A stream is not begun before its turn: its first cost is at least that of group and contents.
            heap.append((group_cost + content_cost, len(heap), _combinations(group, counts)))
    heapq.heapify(heap)
    started: set[int] = set()
    waiting: dict[int, Letters] = {}
    bases = {number: base for base, number, _ in heap}
    owners = [g for _, g in groups for _ in contents]
    while heap and time.monotonic() < end:
        cost, number, stream = heapq.heappop(heap)
        if number in started:
            yield cost, owners[number], waiting.pop(number)
        started.add(number)
        following = next(stream, None)
        if following is not None:
            waiting[number] = following[1]
            heapq.heappush(heap, (bases[number] + following[0], number, stream))


def _combinations(group: Group, counts: Mapping[str, int]) -> Iterator[tuple[float, Letters]]:
    """(nats, [(element, position)]) of one group, cheapest first, each once but for the choice of the origin."""
    elements = list(counts)
    costs = _position_costs(group)
    choices = [_choices(group, counts[s], costs) for s in elements]
    if not all(choices):
        return
    heap = [(sum(c[0].cost for c in choices), (0,) * len(elements))]
    pushed = {heap[0][1]}
    seen = set()
    fixed = {i for i, p in enumerate(group.positions) if p.free == 0}
    for _ in range(MOST_LOOKED_AT):
        if not heap:
            return
        cost, at = heapq.heappop(heap)
        for i in range(len(at)):
            further = (*at[:i], at[i] + 1, *at[i + 1 :])
            if further[i] < len(choices[i]) and further not in pushed:
                pushed.add(further)
                heapq.heappush(heap, (sum(c[k].cost for c, k in zip(choices, further, strict=True)), further))
        own = [c[k] for c, k in zip(choices, at, strict=True)]
        taken = Counter(i for c in own for i in c.letters if i in fixed)
        if any(n > 1 for n in taken.values()) or sum(c.free for c in own) > MOST_FREE:
            continue
        forms = [tuple(tuple(sorted(p[i] for i in c.letters)) for c in own) for p in group.permutations]
        if min(forms) in seen:
            continue
        seen.add(min(forms))
        yield cost, [(s, i) for s, c in zip(elements, own, strict=True) for i in c.letters]


def _choices(group: Group, count: int, costs: Sequence[float]) -> list[_Choice]:
    """Multisets of positions that hold so many atoms of one element, the likeliest ones first.

    costs: nats of an atom on each position. Position after position, the cheapest of each number of atoms are kept.
    """
    held: dict[int, list[tuple[float, tuple[int, ...], int]]] = {0: [(0.0, (), 0)]}
    for i, position in enumerate(group.positions):
        size, free = len(position), position.free
        further: dict[int, list[tuple[float, tuple[int, ...], int]]] = {n: list(c) for n, c in held.items()}
        for atoms, choices in held.items():
            for times in range(1, min((count - atoms) // size, MOST_ORBITS if free else 1) + 1):
                step, moved, letters = times * costs[i], times * free, (i,) * times
                further.setdefault(atoms + times * size, []).extend(
                    (cost + step, own + letters, at + moved)
                    for cost, own, at in choices
                    if at + moved <= MOST_FREE and len(own) + times <= MOST_ORBITS
                )
        held = {n: sorted(c)[:MOST_COMBINATIONS] for n, c in further.items()}
    return [_Choice(*choice) for choice in held.get(count, [])]


def _position_costs(group: Group) -> list[float]:
    """Nats of an atom on each position: how often known crystals of the group have it, and what its freedom costs."""
    usage: Mapping[str, int] = _usage().get(group.number, {})
    counts = [0.0] * len(group.positions)
    for permutation in group.permutations:
        for i, image in enumerate(permutation):
            counts[image] += usage.get(group.positions[i].letter, 0) / len(group.permutations)
    prior = np.array([1.0 + p.free for p in group.positions])  # general positions are the more usual ones
    shares = (np.array(counts) + PRIOR_WORTH * prior / prior.sum()) / (sum(counts) + PRIOR_WORTH)
    return [-math.log(s) + FREEDOM * p.free for s, p in zip(shares.tolist(), group.positions, strict=True)]


@cache
def _usage() -> dict[int, Counter[str]]:
    """How often the crystals of the library have an atom on each position, by space group: from the types' labels."""
    found: dict[int, Counter[str]] = defaultdict(Counter)
    for entry in library().entries:
        positions = occupied(entry.type)
        if positions is not None:
            group, named = positions
            for letters in named:
                found[group].update(letters)
    return dict(found)

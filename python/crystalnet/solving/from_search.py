"""Proposals of a search where no known type explains the lines: atoms on Wyckoff positions, from random starts.

Space groups come by the lines that are absent, contents of the cell by its volume, and combinations of Wyckoff
positions by how often known crystals have them; all stand in one queue, the likeliest for their cost first. Each is
tried with random free coordinates, refined on the lines of long spacings first.
"""

from __future__ import annotations

import heapq
import math
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import permutations

import numpy as np

from crystalnet.crystal.chemistry import atomic_volume, charge_balances, usual_charges
from crystalnet.crystal.elements import ATOMIC_NUMBER
from crystalnet.crystal.expected_bonds import NOTHING_SAID, ExpectedBonds
from crystalnet.crystal.free_sites import FreeSites
from crystalnet.crystal.lattice import PRIMITIVE_AXES, Cell
from crystalnet.crystal.library import library
from crystalnet.crystal.wyckoff import Group, groups_on
from crystalnet.ops.fit_sites import Fitted, LatticeTargets, fit_sites
from crystalnet.records import AtomSites, Peaks
from crystalnet.solving.proposals import Proposal, distinct
from crystalnet.solving.screen import MIN_CONTACT, Screen

SEARCH_SECONDS = 30.0  # by default
SOLVED = 0.008  # residual at which a search ends: of 110 such on perfect lines 108 were right, two lacked hydrogen
SAME_MINIMUM = 1e-4  # difference of residuals
START_B = 0.8  # Å²
VOLUME_ESD, MOST_OFF = 0.18, 4.0  # of ln(volume / sum over the atoms), and how many of them it may be off
MOST_CONTENTS = 40  # of a cell
MOST_ATOMS = 60  # of a primitive cell: a round of starts is to take less than a second
MOST_PROPORTIONS = 60  # of elements whose amounts are not known
UNUSUAL = 2.0  # nats: without, the right proportions are the 8th in the median, with it the 3rd (900 known crystals)
MOST_FREE = 30  # coordinates; more are not found by random starts
MOST_COMBINATIONS, MOST_ORBITS = 60, 10  # of one element's positions in one group; of one element
MOST_LOOKED_AT = 5000  # combinations of all elements; in some groups hardly any is possible
PRIOR_WORTH = 3.0  # observations of positions in a group that what is usual elsewhere counts for
FREEDOM = 0.35  # nats of a free coordinate: it takes so many more starts
CONTRADICTION = 8.0  # nats that a line seen where a group forbids it costs at most
STARTS = 40, 8, 200  # of one round: so many, and so many more for each free coordinate, up to so many
RETRY = 0.5  # nats that a further round of one combination must wait: what failed so often is less likely the right one
#: Lines that count at first: so many reflections a parameter, of spacings within these limits (Å). Fewer do not tell
#: atoms apart, and the more there are, the more false minima stand in the way of random starts.
REFLECTIONS_A_PARAMETER, COARSE = 4, (1.1, 2.4)
ROUNDS, FINISHING_ROUNDS = 12, 20  # of least squares
PARENTS = 8  # best minima of a combination, of which the next round moves an atom or exchanges two
FINISHED = 3  # best minima of a round that are refined on all lines
SEED = 7


def search_proposals(
    cell: Cell,
    peaks: Peaks,
    elements: Sequence[str],
    amounts: Mapping[str, float] | None = None,
    *,
    bonds: ExpectedBonds = NOTHING_SAID,
    seconds: float = SEARCH_SECONDS,
    threads: int = 1,
) -> list[Proposal]:
    """Crystals in the cell, best first, found within so many seconds; of the likeliest compositions without amounts.

    bonds: what the user expects of them; minima that differ wait behind others.
    """
    lattice = np.asarray(PRIMITIVE_AXES[cell.centring] @ cell.conventional_lattice)
    screen = Screen(lattice, cell.zero_shift, peaks)
    targets = screen.targets()
    compositions = [(0.0, amounts)] if amounts is not None else _compositions(tuple(e for e in elements if e != "H"))
    contents = _contents(compositions, cell.primitive_volume)
    if targets is None or not contents:
        return []
    end = time.monotonic() + seconds
    rng = np.random.default_rng(SEED)
    found: list[Proposal] = []
    independent: dict[int, LatticeTargets] = {}
    queue = _queue(_likely_groups(groups_on(cell), targets, peaks), contents, end)
    following = next(queue, None)
    trials: list[tuple[float, int, _Trial]] = []
    number = 0
    while time.monotonic() < end and (following or trials):
        if following and (not trials or following[0] <= trials[0][0]):
            cost, group, letters = following
            if id(group) not in independent:
                independent[id(group)] = _independent(targets, group.laue)
            trial = _Trial(group.crystal(lattice, *zip(*letters, strict=True)), independent[id(group)], threads, bonds)
            following = next(queue, None)
        else:
            cost, _, trial = heapq.heappop(trials)
        for sites, value in trial.advance(rng, screen):
            found.append(Proposal(sites, "search", value, cell, f"{group.number}"))
        if found and found[-1].residual < SOLVED:
            break
        if trial.crystal.free:
            number += 1
            heapq.heappush(trials, (cost + RETRY, number, trial))
    return distinct(found)


# --- what may be in the cell -----------------------------------------------------------------------------------------


def _contents(
    compositions: Sequence[tuple[float, Mapping[str, float]]], volume: float
) -> list[tuple[float, dict[str, int]]]:
    """(nats, atoms of each element in the primitive cell), likeliest first; hydrogen is left out."""
    found = []
    for cost, amounts in compositions:
        heavy = {s: n for s, n in amounts.items() if s != "H"} or dict(amounts)
        unit = _whole(list(heavy.values()))
        if unit is None:
            continue
        per_unit = sum(n * atomic_volume(s) for s, n in zip(heavy, unit, strict=True))
        for z in range(1, int(volume / per_unit * 2) + 2):
            off = math.log(volume / (z * per_unit)) / VOLUME_ESD
            if abs(off) < MOST_OFF and z * sum(unit) <= MOST_ATOMS:
                found.append((cost + off**2 / 2, {s: z * n for s, n in zip(heavy, unit, strict=True)}))
    return sorted(found, key=lambda item: item[0])[:MOST_CONTENTS]


@lru_cache(maxsize=64)
def _compositions(elements: tuple[str, ...]) -> list[tuple[float, Mapping[str, float]]]:
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


def _whole(amounts: Sequence[float]) -> list[int] | None:
    """The smallest whole numbers in these proportions; None where there are none up to 12 times the smallest."""
    for factor in range(1, 13):
        scaled = [n / min(amounts) * factor for n in amounts]
        if all(abs(n - round(n)) < 0.01 for n in scaled):
            return [round(n) for n in scaled]
    return None


# --- which group -----------------------------------------------------------------------------------------------------


def _likely_groups(groups: Sequence[Group], targets: LatticeTargets, peaks: Peaks) -> list[tuple[float, Group]]:
    """(nats, group): how unlikely the lines that are seen and not seen, and the group itself, make each."""
    seen, count = len(targets.amplitude), len(targets.amplitude) + len(targets.limit)
    used = targets.target >= 0
    hkl, target = targets.hkl[used], targets.target[used]
    allowed = np.zeros((len(groups), count), bool)
    for row, group in zip(allowed, groups, strict=True):
        row[target[~group.absent(hkl)]] = True
    met = np.zeros(count, bool)
    met[target] = True
    always = met & allowed.all(axis=0)
    missing = float(np.clip((always[seen:].sum() + 0.5) / (always.sum() + 1.0), 0.02, 0.8))
    strength = (targets.amplitude / targets.amplitude.max()) ** 2 / max(peaks.noise, 1e-4)
    costs = []
    for row, group in zip(allowed, groups, strict=True):
        silent = (met & ~row)[seen:].sum()
        against = np.minimum(strength[(met & ~row)[:seen]], CONTRADICTION).sum()
        prior = -math.log((_group_counts()[group.number] + 0.3) / len(library()))
        costs.append(against + silent * math.log(missing) + prior)
    least = min(costs)
    return sorted(((c - least, g) for c, g in zip(costs, groups, strict=True)), key=lambda item: item[0])


@cache
def _group_counts() -> Counter[int]:
    return Counter(entry.space_group for entry in library().entries)


# --- which positions -------------------------------------------------------------------------------------------------


_Letters = list[tuple[str, int]]  # elements with the numbers of their positions


@dataclass(frozen=True)
class _Choice:
    """Positions of one element, by number, with its cost in nats and its free coordinates."""

    cost: float
    letters: tuple[int, ...]
    free: int


def _queue(
    groups: Sequence[tuple[float, Group]], contents: Sequence[tuple[float, dict[str, int]]], end: float = math.inf
) -> Iterator[tuple[float, Group, _Letters]]:
    """(nats, group, [(element, position)]), the likeliest for their cost first, till the monotonic clock says `end`."""
    heap: list[tuple[float, int, Iterator[tuple[float, _Letters]]]] = []
    for group_cost, group in groups:
        for content_cost, counts in contents:
            # A stream is not begun before its turn: its first cost is at least that of group and contents.
            heap.append((group_cost + content_cost, len(heap), _combinations(group, counts)))
    heapq.heapify(heap)
    started: set[int] = set()
    waiting: dict[int, _Letters] = {}
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


def _combinations(group: Group, counts: Mapping[str, int]) -> Iterator[tuple[float, _Letters]]:
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
        parts = entry.type.split("_")
        if len(parts) > 3 and parts[2].isdigit():
            for block in parts[3:]:
                for times, letter in re.findall(r"(\d*)([a-zA-Z])", block):
                    found[int(parts[2])][letter] += int(times or 1)
    return dict(found)


# --- trying ----------------------------------------------------------------------------------------------------------


def _independent(targets: LatticeTargets, laue: np.ndarray) -> LatticeTargets:
    """The targets with one reflection for each set that the Laue group makes equal, its weight that of all."""
    images = targets.hkl.astype(np.int64) @ laue  # (m, R, 3)
    keys = ((images[..., 0] + 512) * 1024 + images[..., 1] + 512) * 1024 + images[..., 2] + 512
    _, first, members = np.unique(keys.max(axis=0), return_index=True, return_inverse=True)
    weight = np.bincount(members, targets.weight)
    order = np.argsort(first)
    first, weight = first[order], weight[order]
    return LatticeTargets(
        targets.lattice, targets.hkl[first], targets.s_squared[first], weight, targets.target[first],
        targets.amplitude, targets.limit,
    )  # fmt: skip


class _Trial:
    """One combination of positions: the minima that random starts, and changes of the best of them, end in."""

    def __init__(self, crystal: FreeSites, targets: LatticeTargets, threads: int, bonds: ExpectedBonds) -> None:
        self.crystal, self.targets, self.threads, self.bonds = crystal, targets, threads, bonds
        self.numbers = np.array([ATOMIC_NUMBER[s] for s in crystal.species])
        wanted = REFLECTIONS_A_PARAMETER * (crystal.free + 2)
        spacings = 1 / (2 * np.sqrt(targets.s_squared))
        self.d_min = float(np.clip(spacings[min(wanted, len(spacings)) - 1], *COARSE))
        self.parents: list[tuple[float, np.ndarray]] = []  # residual on the coarse lines, free coordinates
        own = crystal.columns.max(axis=1, initial=-1, where=crystal.columns >= 0)
        self.orbits = [np.unique(row[row >= 0]) for row in np.unique(crystal.columns[own >= 0], axis=0)]

    def advance(self, rng: np.random.Generator, screen: Screen) -> Iterator[tuple[AtomSites, float]]:
        """One more round of starts; what the best of them are on all lines, the best last."""
        free = self.crystal.free
        count = min(STARTS[0] + STARTS[1] * free, STARTS[2]) if free else 1
        starts = [self._changed(rng) if self.parents and k % 2 else rng.random(free) for k in range(count)]
        fitted = self._fit(starts, self.d_min, ROUNDS)
        new: list[tuple[float, np.ndarray]] = []
        values = fitted.residual * (1 + self._unexpected(fitted.u))
        for i in np.argsort(values, kind="stable").tolist():
            value = float(values[i])
            if all(abs(value - other) > SAME_MINIMUM for other, _ in (*self.parents, *new)):
                new.append((value, fitted.u[i]))
            if len(new) == PARENTS:
                break
        self.parents = sorted((*self.parents, *new), key=lambda item: item[0])[:PARENTS]
        hopeful = [u for value, u in new[:FINISHED] if value <= self.parents[-1][0]]
        if not hopeful:
            return
        finished = self._fit(self._fit(hopeful, COARSE[0], ROUNDS).u, 0.0, FINISHING_ROUNDS)
        for i in np.argsort(-finished.residual, kind="stable").tolist():
            yield from screen.crystal(self.crystal.species, self.crystal.moved(finished.u[i]), MIN_CONTACT)

    def _fit(self, starts: Sequence[np.ndarray], d_min: float, rounds: int) -> Fitted:
        n = len(starts)
        begun = Fitted(list(starts), np.full(n, START_B), np.ones(n))
        crystals, numbers = [self.crystal] * n, [self.numbers] * n
        return fit_sites(self.targets, crystals, numbers, begun, d_min=d_min, rounds=rounds, threads=self.threads)

    def _unexpected(self, coordinates: Sequence[np.ndarray]) -> np.ndarray:
        """(n,) how far each is from the bonds that the user expects, 0 to 1."""
        if not self.bonds:
            return np.zeros(len(coordinates))
        crystal = self.crystal
        sites = (AtomSites(crystal.lattice, crystal.species, crystal.moved(u)) for u in coordinates)
        return np.array([self.bonds.misfit(one) for one in sites])

    def _changed(self, rng: np.random.Generator) -> np.ndarray:
        """One of the best minima with an orbit put elsewhere, or two orbits of equal freedom exchanged."""
        # The better a minimum, the likelier it is chosen.
        u = self.parents[int(len(self.parents) * rng.random() ** 2)][1].copy()
        one = self.orbits[rng.integers(len(self.orbits))]
        other = self.orbits[rng.integers(len(self.orbits))]
        if one is not other and len(one) == len(other) and rng.random() < 0.5:
            u[one], u[other] = u[other].copy(), u[one].copy()
        else:
            u[one] = rng.random(len(one))
        return u

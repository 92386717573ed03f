"""Proposals of a search where no known type convinces: atoms on Wyckoff positions, from random starts.

Space groups come by the lines that are absent, contents of the cell by its volume, and combinations of Wyckoff
positions by how often known crystals have them; all stand in one queue, the likeliest for their cost first. Each is
tried with random free coordinates, relaxed to usual distances, then refined on the lines of long spacings first.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from crystalnet.crystal.elements import ATOMIC_NUMBER
from crystalnet.crystal.expected_bonds import NOTHING_SAID, ExpectedBonds
from crystalnet.crystal.free_sites import FreeSites
from crystalnet.crystal.lattice import Cell
from crystalnet.crystal.wyckoff import groups_on
from crystalnet.defaults import EFFORT
from crystalnet.ops.fit_sites import Fitted, LatticeTargets, fit_sites
from crystalnet.records import AtomSites, Peaks
from crystalnet.solving.analogues import Analogues
from crystalnet.solving.arrangements import arrangements
from crystalnet.solving.contents import contents_of
from crystalnet.solving.extinction import likely_groups
from crystalnet.solving.proposals import Proposal, distinct
from crystalnet.solving.screen import MIN_CONTACT, Screen
from crystalnet.solving.usual_bonds import UsualBonds, strained

SOLVED = 0.008  # residual at which a search ends: of 110 such on perfect lines 108 were right, two lacked hydrogen
SAME_MINIMUM = 1e-4  # difference of residuals
START_B = 0.8  # Å²
STARTS = 40, 8, 200  # of one round: so many, and so many more for each free coordinate, up to so many
#: Nats that a further round of one combination waits: what failed is less likely right. Of 93 right combinations
#: of at most 7 free coordinates (perfect lines) each was found in its first round, of 17 of up to 11 one in its second,
#: of 22 of more half in the first; RETRY_FEW less RETRY_FREE for each free coordinate, within the bounds.
RETRY_FEW, RETRY_FREE, RETRY = 6.0, 0.5, (0.5, 4.0)
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
    analogues: Analogues,
    amounts: Mapping[str, float] | None = None,
    *,
    bonds: ExpectedBonds = NOTHING_SAID,
    seconds: float = EFFORT,
    threads: int = 1,
) -> list[Proposal]:
    """Crystals in the cell, best first, found within so many seconds; of the likeliest compositions without amounts.

    analogues: the known compounds of elements like those in the sample; amounts: of the formula, where it is known;
    bonds: what the user expects of them; minima that differ wait behind others.
    """
    lattice = cell.primitive_lattice
    screen = Screen(lattice, cell.zero_shift, peaks)
    targets = screen.targets()
    contents = contents_of(analogues, cell.primitive_volume, amounts)
    if targets is None or not contents:
        return []
    end = time.monotonic() + seconds
    rng = np.random.default_rng(SEED)
    found: list[Proposal] = []
    independent: dict[int, LatticeTargets] = {}
    queue = arrangements(likely_groups(groups_on(cell), targets, peaks), contents, end)
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
        for sites, value, strain in trial.advance(rng, screen):
            found.append(Proposal(sites, "search", value, cell, f"{group.number}", strain=strain))
        if found and found[-1].worth < SOLVED:
            break
        if trial.crystal.free:
            number += 1
            heapq.heappush(trials, (cost + _wait(trial.crystal.free), number, trial))
    return distinct(found)


def _wait(free: int) -> float:
    """Nats that a combination of so many free coordinates waits for its next round."""
    return float(np.clip(RETRY_FEW - RETRY_FREE * free, *RETRY))


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
        targets.amplitude, targets.limit, targets.least_b,
    )  # fmt: skip


class _Trial:
    """One combination of positions: the minima that random starts, and changes of the best of them, end in."""

    def __init__(self, crystal: FreeSites, targets: LatticeTargets, threads: int, bonds: ExpectedBonds) -> None:
        self.crystal, self.targets, self.threads, self.bonds = crystal, targets, threads, bonds
        self.numbers = np.array([ATOMIC_NUMBER[s] for s in crystal.species])
        wanted = REFLECTIONS_A_PARAMETER * (crystal.free + 2)
        spacings = 1 / (2 * np.sqrt(targets.s_squared))
        self.d_min = float(np.clip(spacings[min(wanted, len(spacings)) - 1], *COARSE))
        self.usual = UsualBonds(crystal, threads)
        self.parents: list[tuple[float, np.ndarray]] = []  # residual on the coarse lines, strained; free coordinates
        own = crystal.columns.max(axis=1, initial=-1, where=crystal.columns >= 0)
        self.orbits = [np.unique(row[row >= 0]) for row in np.unique(crystal.columns[own >= 0], axis=0)]

    def advance(self, rng: np.random.Generator, screen: Screen) -> Iterator[tuple[AtomSites, float, float]]:
        """One more round of starts; what the best of them are on all lines, with residual and strain, the best last."""
        free = self.crystal.free
        count = min(STARTS[0] + STARTS[1] * free, STARTS[2]) if free else 1
        starts = [self._changed(rng) if self.parents and k % 2 else rng.random(free) for k in range(count)]
        fitted = self._fit(list(self.usual.relaxed(np.array(starts))), self.d_min, ROUNDS)
        new: list[tuple[float, np.ndarray]] = []
        values = strained(fitted.residual, self.usual.strain(np.array(fitted.u))) * (1 + self._unexpected(fitted.u))
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
        strains = self.usual.strain(np.array(finished.u))
        for i in np.argsort(-strained(finished.residual, strains), kind="stable").tolist():
            for sites, value in screen.crystal(self.crystal.species, self.crystal.moved(finished.u[i]), MIN_CONTACT):
                yield sites, value, float(strains[i])

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

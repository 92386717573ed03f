"""Proposals of the network: atoms read off its densities, named by the pattern."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np

from crystalnet.crystal.chemistry import VOLUME_PER_ATOM
from crystalnet.crystal.elements import ATOMIC_NUMBER
from crystalnet.crystal.lattice import Cell
from crystalnet.crystal.symmetry import orbits_of
from crystalnet.crystal.systems import system_named
from crystalnet.density.atoms import MAX_ATOMS, Decomposition, decompose
from crystalnet.density.grid import resample
from crystalnet.density.orbits import decompose_orbits, symmetries_of
from crystalnet.density.promolecule import element_table
from crystalnet.density.setting import in_canonical_setting
from crystalnet.records import DensityGrid, Peaks
from crystalnet.runtime.clock import Stage, unclocked
from crystalnet.runtime.pool import HELPERS, Map
from crystalnet.solving.given import Given
from crystalnet.solving.proposals import WELL_EXPLAINED, Proposal, distinct
from crystalnet.solving.screen import Screen
from crystalnet.xrd.vector import observed_vector

HEAVIEST = 94  # atomic number; where nothing is known of the elements, those beyond plutonium are not tried
TOLERANCES = (0.5, 0.35, 0.2, 0.1)  # Å, of the symmetry search on decoded atoms; the network is good to about 0.1 Å
MAX_ASSIGNMENTS = 400  # ways to name the atoms of one decoded geometry that are held against the pattern
LIKELY_ELEMENTS = 6  # tried in place of an orbit's own where all combinations are too many
# Å: valence shells are 1 Å wide. Of 40 cubic crystals 31 are read right with 0.2 to 0.35, 30 with all 50 points, which
# take twice as long.
SPACING, LEAST_POINTS = 0.25, 24
MIN_CONTACT_DECODED = 0.50  # decoded positions are rough; refinement moves them


def drawing(
    given: Given,
    peaks: Peaks,
    cell: Cell,
    guesses: int,
    seed: int | None = None,
    *,
    mean: bool = True,
    mapped: Map = map,
) -> Callable[[], np.ndarray]:
    """Begin to draw what the network makes of a pattern in a cell; what is returned waits for it and gives the
    densities (guesses, 50, 50, 50) e/Å³, once. With processes in `mapped` they draw, and this one does something else.

    seed: other than that given. mean: guess 1 is the latent mean.
    """
    draw = partial(_drawn, given, peaks, cell, guesses, given.seed if seed is None else seed, mean)
    drawn = mapped(draw, np.array_split(np.arange(guesses), min(guesses, HELPERS)))
    return lambda: np.concatenate(list(drawn))


def _drawn(
    given: Given, peaks: Peaks, cell: Cell, guesses: int, seed: int, mean: bool, wanted: np.ndarray
) -> np.ndarray:
    """Those of the guesses that are wanted, by their numbers."""
    # Here, since the process that only hands this on needs no torch, which takes a second to import.
    from crystalnet.model.choice import model_for
    from crystalnet.model.guesses import guess_densities

    model = model_for(cell.system, given.models)
    seen = observed_vector(peaks, cell.zero_shift)
    lattice = cell.primitive_lattice
    return guess_densities(model, *seen, lattice, given.composition, given.level, guesses, seed, mean, wanted)


def ask_network(
    given: Given,
    peaks: Peaks,
    cell: Cell,
    drawn: Callable[[], np.ndarray],
    *,
    explained: bool = False,
    clock: Stage = unclocked,
    mapped: Map = map,
) -> tuple[np.ndarray, list[Proposal]]:
    """The densities that `drawing` has begun, and the crystals read off them.

    explained: a crystal is known that explains the lines, so that atoms need be read off in the plain way only. A
    density whose atoms explain the lines well is put into the canonical setting of these atoms.
    """
    with clock("network"):
        maps = drawn()
    with clock("atoms"):
        proposals = network_proposals(maps, cell, peaks, given.symbols, given.amounts, mapped, explained)
        for number in range(len(maps)):
            own = min((p for p in proposals if p.origin == number), key=lambda p: p.residual, default=None)
            if own is not None and own.residual < WELL_EXPLAINED:
                maps[number] = in_canonical_setting(maps[number], own.sites)
    return maps, proposals


def network_proposals(
    densities: np.ndarray,
    cell: Cell,
    peaks: Peaks,
    elements: Sequence[str],
    formula: Mapping[str, float] | None,
    mapped: Map = map,
    explained: bool = False,
) -> list[Proposal]:
    """Proposals from densities (N, n, n, n) e/Å³ in the cell's primitive axes, best first; distinct for each density.

    elements: those given, each of which must occur; () where nothing is known, and any element may. explained: as in
    `ask_network`.
    """
    if not elements:  # where any element may be anything, one density is as much as a few seconds allow
        densities = densities[:1]
    task = partial(_read_off, cell=cell, peaks=peaks, elements=tuple(elements), formula=formula, explained=explained)
    found = [p for own in mapped(task, densities, range(len(densities))) for p in own]
    return sorted(found, key=lambda p: p.residual)


def _read_off(
    values: np.ndarray,
    number: int,
    *,
    cell: Cell,
    peaks: Peaks,
    elements: tuple[str, ...],
    formula: Mapping[str, float] | None,
    explained: bool,
) -> list[Proposal]:
    """Proposals from one density, which is guess `number`."""
    named = bool(elements)
    elements = elements or tuple(e for e in element_table() if ATOMIC_NUMBER[e] <= HEAVIEST)
    density = DensityGrid(values, cell.primitive_lattice)
    screen = Screen(cell.primitive_lattice, cell.zero_shift, peaks)
    most = min(max(4, int(cell.primitive_volume / VOLUME_PER_ATOM[0] / 1.5)), MAX_ATOMS)

    def crystals_of(ways: Iterable[Decomposition]) -> list[Proposal]:
        return [
            Proposal(sites, "network", value, cell, number)
            for taken in ways
            if len(taken.sites)
            for x, orbits, decorations in _geometries(taken, cell, elements, formula, named)
            for sites, value in screen.crystals(x, orbits, decorations, MIN_CONTACT_DECODED)
        ]

    own = crystals_of([decompose(_no_finer_than_needed(density), elements, most)])
    # Orbits take longer, where any element may be there much longer.
    if named and not explained and min((p.residual for p in own), default=1.0) > WELL_EXPLAINED:
        symmetries = symmetries_of(density)
        own += crystals_of([w for s in symmetries for w in decompose_orbits(density, elements, s, most)])
    return distinct(own)


def _no_finer_than_needed(density: DensityGrid) -> DensityGrid:
    """The density on points SPACING apart, where its own are closer."""
    points = max(LEAST_POINTS, 2 * math.ceil(np.linalg.norm(density.lattice, axis=1).max() / SPACING / 2))
    if points >= density.values.shape[0]:
        return density
    return DensityGrid(resample(density.values, (points, points, points)), density.lattice)


def _geometries(
    taken: Decomposition, cell: Cell, elements: Sequence[str], formula: Mapping[str, float] | None, named: bool
) -> Iterator[tuple[np.ndarray, np.ndarray, list[list[str]]]]:
    """Symmetric coordinates (N, 3) of a decomposition, orbits (N,), and the decorations that its density allows."""
    seen: set[tuple[int, ...]] = set()
    ratios = None if formula is None else np.array([formula[e] for e in elements])
    # One misnamed atom hides a symmetry that the positions have: try them without names too.
    nameless = replace(taken.sites, species=(taken.sites.species[0],) * len(taken.sites))
    for sites, tolerance in product((taken.sites, nameless), TOLERANCES):
        crystal = orbits_of(sites, tolerance)
        if crystal is None or not _fits_system(crystal.space_group, cell):
            continue
        key = tuple(crystal.orbits)
        if key in seen:
            continue
        seen.add(key)
        decorations = _decorations(crystal.orbits, taken.cost, named, ratios)
        yield crystal.frac_coords, crystal.orbits, [[elements[i] for i in decoration] for decoration in decorations]


def _fits_system(space_group: int, cell: Cell) -> bool:
    return system_named(cell.system).may_have(space_group)


def _decorations(
    orbits: np.ndarray, cost: np.ndarray, all_used: bool, ratios: np.ndarray | None = None
) -> list[tuple[int, ...]]:
    """Element index of each orbit, the assignments that the density likes best first.

    all_used: no element left out. ratios: of the elements, where the formula is known.
    """
    n_orbits, n_elements = int(orbits.max()) + 1, cost.shape[1]
    price = np.array([cost[orbits == orbit].sum(0) for orbit in range(n_orbits)])  # (orbits, elements)
    if n_elements**n_orbits <= 50_000:
        names = np.array(list(product(range(n_elements), repeat=n_orbits)))
    else:  # too many: the density's own decoration and every change of one or two orbits to their likeliest elements
        own = price.argmin(1)
        likely = np.argsort(price, axis=1)[:, :LIKELY_ELEMENTS]
        changed = [own]
        for i, j in product(range(n_orbits), repeat=2):
            for a, b in product(likely[i], likely[j]):
                other = own.copy()
                other[i], other[j] = a, b
                changed.append(other)
        names = np.unique(changed, axis=0)
    if all_used:
        names = names[(names[:, :, None] == np.arange(n_elements)).any(1).all(1)]
    if ratios is not None:
        counts = (names[:, :, None] == np.arange(n_elements)).transpose(0, 2, 1) @ np.bincount(orbits)
        names = names[np.ptp(counts / ratios, axis=1) < 1e-6]
    total = price[np.arange(n_orbits), names].sum(1)
    best = np.argsort(total, kind="stable")[:MAX_ASSIGNMENTS]
    return [tuple(row) for row in names[best].tolist()]

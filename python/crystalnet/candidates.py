"""What could the crystal be? Atoms proposed by the network's densities and by the catalogue of structure types.

Every proposal is put in the indexed cell and held against the measured line intensities at once, so that thousands can
be tried and a dozen go on to refinement. What crystals in one cell share (their lines, and which peaks those meet), and
what the namings of one geometry share (structure factors, distances), is worked out once.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from itertools import permutations, product
from pathlib import Path

import numpy as np

from crystalnet.data.fetch import default_directory
from crystalnet.data.prototypes import VOLUME_PER_ATOM, closest_contacts, types_table
from crystalnet.data.records_file import Record
from crystalnet.data.store import read_types
from crystalnet.density.atoms import MAX_ATOMS, Decomposition, decompose, orbits_of
from crystalnet.density.orbits import decompose_orbits, symmetries_of
from crystalnet.density.promolecule import element_table
from crystalnet.elements import ATOMIC_NUMBER
from crystalnet.ops.reflections import LatticeLines
from crystalnet.pool import Map
from crystalnet.records import AtomSites, Cell, DensityGrid, Peaks
from crystalnet.xrd.refine import D_MIN, LineMatch

HEAVIEST = 94  # atomic number; where nothing is known of the elements, those beyond plutonium are not tried
TOLERANCES = (0.5, 0.35, 0.2, 0.1)  # Å, of the symmetry search on decoded atoms; the network is good to about 0.1 Å
MAX_ASSIGNMENTS = 400  # ways to name the atoms of one decoded geometry that are held against the pattern
PROBE_NUMBERS = (8, 22, 46, 78)  # atomic numbers tried for an element that was not given
EXCHANGE_NUMBERS = (1, 3, 5, 8, 11, 14, 18, 22, 27, 32, 38, 45, 52, 60, 70, 80, 90)  # a step is 15 to 20% of the power
LIKELY_ELEMENTS = 6  # tried in place of an orbit's own where all combinations are too many
MIN_CONTACT = 0.60  # of the covalent radii: below, the proposal is no crystal
MIN_CONTACT_DECODED = 0.50  # decoded positions are rough; refinement moves them
WELL_EXPLAINED = 0.15  # intensity misfit up to which nobody asks for another way of reading atoms, or another cell
BATCH = 16  # namings compared at a time: enough to hide Python, few enough for the cache

_SYMBOLS = {number: symbol for symbol, number in ATOMIC_NUMBER.items()}

# Where nothing is known of the elements a noble gas may be named, and pymatgen remarks on each of them.
warnings.filterwarnings("ignore", message="No Pauling electronegativity")


@dataclass(frozen=True)
class Proposal:
    """A crystal in the indexed cell (primitive axes) and its disagreement with the line intensities, 0 is perfect.

    origin: the number of the guess it was decoded from, or the catalogue's type.
    """

    sites: AtomSites
    source: str
    misfit: float
    cell: Cell
    origin: int | str


def misfit(sites: AtomSites, peaks: Peaks, cell: Cell) -> float:
    """Line intensities of atoms in the indexed cell against the measured ones; "X" scatters as what suits it best."""
    names, groups = np.unique(sites.species, return_inverse=True)
    screen = _Screen(sites.lattice, cell.zero_shift, peaks)
    return float(screen.misfits(sites.frac_coords, groups, [names.tolist()])[0])


def exchanged_misfit(sites: AtomSites, peaks: Peaks, cell: Cell) -> float:
    """The least misfit with one of the elements exchanged for another, its atoms staying where they are.

    Far below the crystal's own where the user gave a wrong element, or the formula of another compound of the type.
    """
    names, groups = np.unique(sites.species, return_inverse=True)
    screen = _Screen(sites.lattice, cell.zero_shift, peaks)
    namings = []
    for place, probe in product(range(len(names)), EXCHANGE_NUMBERS):
        naming = names.tolist()
        naming[place] = _SYMBOLS[probe]
        namings.append(naming)
    return float(screen.misfits(sites.frac_coords, groups, namings).min())


def faintest_misfit(sites: AtomSites, orbits: np.ndarray, peaks: Peaks, cell: Cell) -> float:
    """The least misfit without the atoms of one orbit; inf where there is but one.

    orbits (N,): atoms that share a label are equivalent by symmetry. Hardly above the crystal's own where the pattern
    hardly shows an orbit, light atoms beside heavy ones, and could as well have another number of such atoms.
    """
    screen = _Screen(sites.lattice, cell.zero_shift, peaks)
    found = [math.inf]
    for orbit in np.unique(orbits):
        left = orbits != orbit
        if left.any():
            names, groups = np.unique(np.asarray(sites.species)[left], return_inverse=True)
            found.append(float(screen.misfits(sites.frac_coords[left], groups, [names.tolist()])[0]))
    return min(found)


def lines_screen(cell: Cell, lattice: np.ndarray, peaks: Peaks) -> _Screen:
    """The pattern as atoms in a lattice (3, 3) Å of the indexed cell are held against it."""
    return _Screen(lattice, cell.zero_shift, peaks)


class _Screen:
    """A lattice (3, 3) Å held against a pattern, ready for any atoms in it.

    groups (N,) of 0 to G − 1: atoms that share a name; a naming is an element for each group.
    """

    def __init__(self, lattice: np.ndarray, zero_shift: float, peaks: Peaks) -> None:
        wavelength = peaks.radiation.wavelength  # lines below D_MIN tell nothing that the others have not told
        end = min(peaks.two_theta_max + 0.5, 2 * np.rad2deg(np.arcsin(min(wavelength / (2 * D_MIN), 0.999))))
        self.lattice = lattice
        self.lines = LatticeLines(lattice, wavelength, end)
        self.match = LineMatch(peaks, self.lines.two_theta, self.lines.d_spacing, zero_shift)

    def crystals(
        self, frac_coords: np.ndarray, groups: np.ndarray, namings: Sequence[Sequence[str]], min_contact: float
    ) -> Iterator[tuple[AtomSites, float]]:
        """Atoms at frac_coords (N, 3) under every naming that leaves them room, and their misfits."""
        contacts = closest_contacts(self.lattice, frac_coords, groups, namings)
        namings = [naming for naming, contact in zip(namings, contacts, strict=True) if contact > min_contact]
        if namings:
            for naming, value in zip(namings, self.misfits(frac_coords, groups, namings).tolist(), strict=True):
                yield AtomSites(self.lattice, tuple(naming[group] for group in groups), frac_coords), value

    def misfits(self, frac_coords: np.ndarray, groups: np.ndarray, namings: Sequence[Sequence[str]]) -> np.ndarray:
        """(K,) of K namings."""
        products = self.lines.products(frac_coords, groups)
        batches = (namings[i : i + BATCH] for i in range(0, len(namings), BATCH))
        return np.concatenate([self._misfits(products, batch) for batch in batches])

    def _misfits(self, products: np.ndarray, namings: Sequence[Sequence[str]]) -> np.ndarray:
        values = []
        for probe in PROBE_NUMBERS if any("X" in naming for naming in namings) else (0,):
            numbers = np.array([[probe if s == "X" else ATOMIC_NUMBER[s] for s in naming] for naming in namings])
            values.append(self.match.misfits(self.lines.intensities(products, numbers)))
        return np.asarray(np.min(values, axis=0))


# --- network ------------------------------------------------------------------------------------------------------


def network_proposals(
    densities: np.ndarray,
    cell: Cell,
    peaks: Peaks,
    elements: Sequence[str],
    formula: Mapping[str, float] | None,
    mapped: Map = map,
) -> list[Proposal]:
    """Proposals from densities (N, n, n, n) e/Å³ in the cell's primitive axes, best first; distinct for each density.

    elements: those given, each of which must occur; () where nothing is known, and any element may.
    """
    if not elements:  # where any element may be anything, one density is as much as a few seconds allow
        densities = densities[:1]
    task = partial(_read_off, cell=cell, peaks=peaks, elements=tuple(elements), formula=formula)
    found = [p for own in mapped(task, densities, range(len(densities))) for p in own]
    return sorted(found, key=lambda p: p.misfit)


def _read_off(
    values: np.ndarray,
    number: int,
    *,
    cell: Cell,
    peaks: Peaks,
    elements: tuple[str, ...],
    formula: Mapping[str, float] | None,
) -> list[Proposal]:
    """Proposals from one density, which is guess `number`."""
    named = bool(elements)
    elements = elements or tuple(e for e in element_table() if ATOMIC_NUMBER[e] <= HEAVIEST)
    density = DensityGrid(values, cell.primitive_lattice)
    screen = _Screen(cell.primitive_lattice, cell.zero_shift, peaks)
    most = min(max(4, int(cell.primitive_volume / VOLUME_PER_ATOM[0] / 1.5)), MAX_ATOMS)

    def crystals_of(ways: Iterable[Decomposition]) -> list[Proposal]:
        return [
            Proposal(sites, "network", value, cell, number)
            for taken in ways
            if len(taken.sites)
            for x, orbits, namings in _geometries(taken, cell, elements, formula, named)
            for sites, value in screen.crystals(x, orbits, namings, MIN_CONTACT_DECODED)
        ]

    own = crystals_of([decompose(density, elements, most)])
    # Orbits take longer, where any element may be there much longer.
    if named and min((p.misfit for p in own), default=1.0) > WELL_EXPLAINED:
        symmetries = symmetries_of(density)
        own += crystals_of([w for s in symmetries for w in decompose_orbits(density, elements, s, most)])
    return distinct(own)


def _geometries(
    taken: Decomposition, cell: Cell, elements: Sequence[str], formula: Mapping[str, float] | None, named: bool
) -> Iterator[tuple[np.ndarray, np.ndarray, list[list[str]]]]:
    """Symmetric coordinates (N, 3) of a decomposition, orbits (N,), and the namings of them that its density allows."""
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
        namings = _namings(crystal.orbits, taken.cost, named, ratios)
        yield crystal.frac_coords, crystal.orbits, [[elements[i] for i in naming] for naming in namings]


def _fits_system(space_group: int, cell: Cell) -> bool:
    return space_group >= 195 if cell.system == "cubic" else 143 <= space_group <= 194


def _namings(
    orbits: np.ndarray, cost: np.ndarray, all_used: bool, ratios: np.ndarray | None = None
) -> list[tuple[int, ...]]:
    """Element index of each orbit, the assignments that the density likes best first.

    all_used: no element left out. ratios: of the elements, where the formula is known.
    """
    n_orbits, n_elements = int(orbits.max()) + 1, cost.shape[1]
    price = np.array([cost[orbits == orbit].sum(0) for orbit in range(n_orbits)])  # (orbits, elements)
    if n_elements**n_orbits <= 50_000:
        names = np.array(list(product(range(n_elements), repeat=n_orbits)))
    else:  # too many: the density's own naming and every change of one or two orbits to their likeliest elements
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


def _has_formula(species: Iterable[str], formula: Mapping[str, float]) -> bool:
    counts = Counter(species)
    if set(counts) != set(formula):
        return False
    ratios = [counts[e] / formula[e] for e in formula]
    return max(ratios) - min(ratios) < 1e-6 * max(ratios)


# --- catalogue ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CatalogueType:
    """A structure type of the catalogue: its primitive cell, the centring letter of its space group, and its
    protostructure (AFLOW's label; of the user's data sets the label of the type).
    """

    label: str
    protostructure: str
    centring: str
    sites: AtomSites


@cache
def catalogue(system: str) -> tuple[CatalogueType, ...]:
    """The package's structure types of one system."""
    return _catalogue_types(types_table(system))


def own_catalogue(system: str) -> tuple[CatalogueType, ...]:
    """Further types of the user's data set of one system, where there is one. InputError where it is damaged."""
    directory = default_directory(system)
    manifest = directory / "manifest.json"
    return _own_types(directory, manifest.stat().st_mtime_ns) if manifest.is_file() else ()


@lru_cache(maxsize=4)  # a batch meets three systems
def _own_types(directory: Path, changed: int) -> tuple[CatalogueType, ...]:
    return _catalogue_types(read_types(directory))


def _catalogue_types(records: Iterable[Record]) -> tuple[CatalogueType, ...]:
    from spglib import get_spacegroup_type

    symbols = {  # one Hall number a space group is enough for its centring letter
        t.number: t.international_short for t in (get_spacegroup_type(hall) for hall in range(530, 0, -1)) if t
    }
    kinds = []
    for record in records:
        sites = AtomSites(
            np.array(record["lattice"], float), tuple(record["species"]), np.array(record["frac_coords"], float)
        )
        centring = symbols[record["space_group"]][0]
        kinds.append(CatalogueType(record["id"], record.get("protostructure") or record["id"], centring, sites))
    return tuple(kinds)


def catalogue_proposals(
    cell: Cell,
    peaks: Peaks,
    elements: Sequence[str],
    formula: Mapping[str, float] | None = None,
    hexagonal: bool = True,
    own_types: bool = True,
    without_type: str | None = None,
) -> list[Proposal]:
    """Every known type with the right centring and number of elements, decorated in every way, best first.

    "X" among the elements stands for one that was not given. hexagonal: in a primitive cell on hexagonal axes, whose
    metric does not tell the two systems apart, hexagonal types are tried beside the trigonal ones. own_types: those of
    the user's data sets beside the package's. without_type: the protostructure that the catalogue shall not know.
    """
    found: list[Proposal] = []
    screen = _Screen(cell.primitive_lattice, cell.zero_shift, peaks)
    systems = [cell.system, "hexagonal"] if hexagonal and cell.system == "trigonal" else [cell.system]
    kinds = [kind for system in systems for kind in catalogue(system)]
    if own_types:  # after the package's: of equal proposals the first stays
        kinds += [kind for system in systems for kind in own_catalogue(system)]
    for kind in kinds:
        per_atom = cell.primitive_volume / len(kind.sites)
        if kind.protostructure == without_type or kind.centring != cell.centring:
            continue
        if len(set(kind.sites.species)) != len(elements):
            continue
        if not VOLUME_PER_ATOM[0] < per_atom < VOLUME_PER_ATOM[1]:
            continue
        _, groups = np.unique(kind.sites.species, return_inverse=True)
        namings = list(permutations(elements))
        if formula is not None:
            namings = [n for n in namings if _has_formula((n[group] for group in groups), formula)]
        crystals = screen.crystals(kind.sites.frac_coords, groups, namings, MIN_CONTACT)
        found += [Proposal(sites, "catalogue", value, cell, kind.label) for sites, value in crystals]
    return distinct(found)


# --- both ---------------------------------------------------------------------------------------------------------


def distinct(proposals: Iterable[Proposal], keep: int = 40) -> list[Proposal]:
    """Best first, without those that are the same crystal as a better one; of equals the first stays."""
    best: list[Proposal] = []
    for proposal in sorted(proposals, key=lambda p: round(p.misfit, 4)):
        if not any(same_crystal(proposal, other) for other in best):
            best.append(proposal)
            if len(best) == keep:
                break
    return best


def same_crystal(one: Proposal, other: Proposal) -> bool:
    """Equal composition and misfit: two different crystals hardly ever agree with all lines to four digits alike."""
    return abs(one.misfit - other.misfit) < 1e-4 and Counter(one.sites.species) == Counter(other.sites.species)

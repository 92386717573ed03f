"""Proposals of the catalogue: known structure types, decorated with the elements, in the indexed lattice.

A type is put into the lattice in every way that its symmetry and the metric allow, named in every way that the formula
allows, compared with the strong lines, and the best are refined within their space group.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import permutations
from pathlib import Path

import numpy as np

from crystalnet.crystal.chemistry import expected_volume
from crystalnet.crystal.elements import ATOMIC_NUMBER, visible
from crystalnet.crystal.free_sites import FreeSites
from crystalnet.crystal.lattice import Cell
from crystalnet.crystal.lattice_maps import LatticeMaps
from crystalnet.crystal.library import Entry, Library, library, library_of, packed
from crystalnet.crystal.record_file import Record
from crystalnet.crystal.symmetry import SYMPREC, SymmetryError
from crystalnet.crystal.systems import SYSTEMS
from crystalnet.crystal.type_label import same_type
from crystalnet.data.store import read_manifest, read_store, read_types
from crystalnet.ops.fit_sites import Fitted, LatticeTargets, fit_sites
from crystalnet.records import AtomSites, Peaks
from crystalnet.runtime.settings import default_directory
from crystalnet.solving.proposals import Proposal, distinct, proportional, same_composition
from crystalnet.solving.screen import MIN_CONTACT, Screen

MIN_CONTACT_TYPE = 0.45  # before refinement: another cell and other elements bring atoms of a type together
#: Volume of a type over what its elements take as a rule: 98% of 10,000 crystals have 0.7 to 2.4.
VOLUME_OF_ELEMENTS = (0.6, 2.5)
SCREEN_D = 1.3  # Å; the lines down to there tell most types apart, in a tenth of the time that all take
#: Types that are refined, and the stages: spacings in Å down to which lines count, and so many of the best that go on.
REFINED = 60
STAGES = ((1.6, 20), (1.1, 12), (0.0, 12))
ROUNDS = 12
#: 1/Å², as `fit_sites` takes it: light atoms beside heavy ones, which the lines hardly show, stay where the type has
#: them. Of 156 measured patterns (development; formula given) the catalogue's first crystal, before the profile is
#: refined, was right for 106 with it, 97 without, and 106 and 107 with 3 and 9.
HOLD = 1.0
FREED = 0.5  # of the residual: where fitting without HOLD leaves less, what it gives is proposed too


@dataclass(frozen=True)
class Catalogue:
    """Which structure types are known.

    Attributes
    ----------
    own : bool
        The crystals of the user's files and the types of other data sets beside the package's. Without them an answer
        does not depend on what was fetched.
    without_type : str, optional
        A protostructure that is not known, to see what an answer of an unknown type is worth.
    without_formula : mapping of str to int, optional
        A composition whose crystals are not known, to see what an answer is worth that nobody published.
    """

    own: bool = True
    without_type: str | None = None
    without_formula: Mapping[str, int] | None = field(default=None, hash=False)

    def proposals(
        self,
        cell: Cell,
        peaks: Peaks,
        elements: Sequence[str],
        formula: Mapping[str, float] | None = None,
        threads: int = 1,
    ) -> list[Proposal]:
        """Crystals of every known type that has room in the cell, refined on the line intensities, best first.

        "X" among the elements stands for one that was not given; such crystals are not refined. Hydrogen, which no
        pattern shows, is not asked of a type.
        """
        maps = LatticeMaps(cell.primitive_lattice)
        coarse = Screen(maps.lattice, cell.zero_shift, peaks, SCREEN_D)
        volume = cell.primitive_volume
        found: list[_Named] = []
        for symbols, amounts in _with_and_without_hydrogen(elements, formula):
            for known in self._libraries():
                rows = [i for i in range(len(known)) if self._may_be(known, i, symbols, amounts)]
                for i, numbers in zip(rows, maps.near(known.metrics[rows]), strict=True):
                    if len(numbers):
                        decorations = _decorations(known.counts[i], symbols, amounts, volume)
                        if decorations:
                            found += _screened(known, i, maps.images(known.sites(i), numbers), decorations, coarse)
        found.sort(key=lambda one: one.residual)
        return distinct(self._refined(found, cell, Screen(maps.lattice, cell.zero_shift, peaks), threads))

    def crystals(self) -> Iterator[tuple[Library, int]]:
        """Every crystal that is known, none that is left out."""
        for known in self._libraries():
            yield from ((known, i) for i in range(len(known)) if not self._left_out(known, i))

    def _left_out(self, known: Library, i: int) -> bool:
        if self.without_type is not None and same_type(known.entries[i].type, self.without_type):
            return True
        return self.without_formula is not None and same_composition(known.counts[i], self.without_formula)

    def _libraries(self) -> Iterator[Library]:
        yield library()
        if self.own:  # after the package's: of equal proposals the first stays
            yield from own_crystals()

    def _may_be(self, known: Library, i: int, symbols: Sequence[str], amounts: Mapping[str, float] | None) -> bool:
        """Whether a crystal of the library, with other elements, may fill the cell."""
        counts = known.counts[i]
        if len(counts) != len(symbols) or self._left_out(known, i):
            return False
        return amounts is None or proportional(sorted(counts.values()), sorted(amounts[s] for s in symbols))

    def _refined(self, found: list[_Named], cell: Cell, screen: Screen, threads: int) -> list[Proposal]:
        """The best, refined in stages; those with "X" as they are."""
        unknown = [one for one in found if "X" in one.species][: STAGES[-1][1]]
        placed = [(one, one.sites.frac_coords) for one in unknown]
        targets = screen.targets()
        if targets is not None:
            named = [one for one in found if "X" not in one.species][:REFINED]
            fitted = None
            for d_min, kept in STAGES:
                fitted = _fitted(targets, named, fitted, d_min, threads, HOLD)
                best = np.argsort(fitted.residual, kind="stable")[:kept]
                named, fitted = [named[i] for i in best], fitted.of(best)
            freed = _fitted(targets, named, fitted, 0.0, threads)
            farther = np.flatnonzero(freed.residual < FREED * fitted.residual) if fitted else ()
            placed += [(one, one.sites.moved(u)) for one, u in zip(named, fitted.u if fitted else (), strict=True)]
            placed += [(named[i], named[i].sites.moved(freed.u[i])) for i in farther]
        return [
            Proposal(sites, "catalogue", value, cell, one.label)
            for one, x in placed
            for sites, value in screen.crystal(one.species, x, MIN_CONTACT)
        ]


def _fitted(
    targets: LatticeTargets,
    named: Sequence[_Named],
    start: Fitted | None,
    d_min: float,
    threads: int,
    hold: float = 0.0,
) -> Fitted:
    numbers = [np.array([ATOMIC_NUMBER[s] for s in one.species]) for one in named]
    sites = [one.sites for one in named]
    return fit_sites(targets, sites, numbers, start, d_min=d_min, rounds=ROUNDS, hold=hold, threads=threads)


@dataclass(frozen=True)
class _Named:
    """A type in the lattice with the elements of the sample, and its residual on the strong lines."""

    sites: FreeSites
    species: tuple[str, ...]
    residual: float
    label: str


def _with_and_without_hydrogen(
    elements: Sequence[str], formula: Mapping[str, float] | None
) -> Iterator[tuple[tuple[str, ...], Mapping[str, float] | None]]:
    yield tuple(elements), formula
    heavy = visible(elements)
    if 0 < len(heavy) < len(elements):
        yield heavy, formula


def _decorations(
    counts: Mapping[str, int], symbols: Sequence[str], amounts: Mapping[str, float] | None, volume: float
) -> list[tuple[str, ...]]:
    """Elements in place of the type's own, in the order of `counts`, that fit the formula and the volume."""
    numbers = list(counts.values())
    found = []
    for names in permutations(symbols):
        if amounts is not None and not proportional(numbers, [amounts[s] for s in names]):
            continue
        expected = expected_volume(dict(zip(names, numbers, strict=True)))
        if VOLUME_OF_ELEMENTS[0] * expected < volume < VOLUME_OF_ELEMENTS[1] * expected:
            found.append(names)
    return found


def _screened(
    known: Library, i: int, images: Sequence[FreeSites], decorations: Sequence[tuple[str, ...]], coarse: Screen
) -> Iterator[_Named]:
    """A type in the lattice, named in every way that leaves the atoms room."""
    own = list(known.counts[i])
    for sites in images:
        groups = np.array([own.index(s) for s in sites.species])
        for crystal, value in coarse.crystals(sites.frac_coords, groups, decorations, MIN_CONTACT_TYPE):
            yield _Named(sites, crystal.species, value, known.entries[i].id)


def own_crystals() -> list[Library]:
    """What the user's data sets know beside the package. InputError where one is damaged."""
    directories = (default_directory(system) for system in SYSTEMS)
    manifests = (directory / "manifest.json" for directory in directories)
    return [_own_crystals(file.parent, file.stat().st_mtime_ns) for file in manifests if file.is_file()]


@lru_cache(maxsize=8)
def _own_crystals(directory: Path, changed: int) -> Library:
    """Of the user's own files every crystal, as a known one; of generated or calculated sets the further types."""
    if read_manifest(directory)["source"] == "files":
        stored = read_store(directory)
        rows = [(row["id"], row, stored.sites(i)) for i, row in enumerate(stored.records)]
    else:
        rows = [
            (record.get("protostructure") or record["id"], record, _sites(record)) for record in read_types(directory)
        ]
    crystals = []
    for label, row, sites in rows:
        mine = row.get("source") == "files"
        reference = "your own file" if mine else ""
        entry = Entry(row["id"], row["formula"], row["space_group"], label, row["id"] if mine else "", reference, mine)
        try:
            crystals.append((entry, packed(sites, SYMPREC)))
        except (SymmetryError, ValueError):
            continue
    return library_of(crystals)


def _sites(record: Record) -> AtomSites:
    arrays = np.array(record["lattice"], float), np.array(record["frac_coords"], float)
    return AtomSites(arrays[0], tuple(record["species"]), arrays[1])

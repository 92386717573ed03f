"""Proposals of the catalogue: known structure types decorated with the elements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import permutations
from pathlib import Path

import numpy as np

from crystalnet.crystal.chemistry import VOLUME_PER_ATOM
from crystalnet.crystal.lattice import Cell
from crystalnet.crystal.record_file import Record
from crystalnet.crystal.symmetry import centring_of
from crystalnet.crystal.systems import system_named
from crystalnet.crystal.types import types_table
from crystalnet.data.store import read_types
from crystalnet.records import AtomSites, Peaks
from crystalnet.runtime.settings import default_directory
from crystalnet.solving.proposals import Proposal, distinct, has_formula
from crystalnet.solving.screen import Screen

MIN_CONTACT = 0.60  # of the covalent radii: below, the proposal is no crystal


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
    kinds = []
    for record in records:
        sites = AtomSites(
            np.array(record["lattice"], float), tuple(record["species"]), np.array(record["frac_coords"], float)
        )
        centring = centring_of(record["space_group"])
        kinds.append(CatalogueType(record["id"], record.get("protostructure") or record["id"], centring, sites))
    return tuple(kinds)


@dataclass(frozen=True)
class Catalogue:
    """Which structure types are known.

    Attributes
    ----------
    own : bool
        The types of the user's data sets beside the package's. Without them an answer does not depend on what was
        fetched.
    without : str, optional
        A protostructure that is not known, to see what an answer of an unknown type is worth.
    """

    own: bool = True
    without: str | None = None

    def proposals(
        self,
        cell: Cell,
        peaks: Peaks,
        elements: Sequence[str],
        formula: Mapping[str, float] | None = None,
        hexagonal: bool = True,
    ) -> list[Proposal]:
        """Every known type with the right centring and number of elements, decorated in every way, best first.

        "X" among the elements stands for one that was not given. hexagonal: in a primitive cell on hexagonal axes,
        whose metric does not tell the two systems apart, hexagonal types are tried beside the trigonal ones.
        """
        found: list[Proposal] = []
        screen = Screen(cell.primitive_lattice, cell.zero_shift, peaks)
        for kind in self._types(cell, hexagonal):
            per_atom = cell.primitive_volume / len(kind.sites)
            if kind.protostructure == self.without or kind.centring != cell.centring:
                continue
            if len(set(kind.sites.species)) != len(elements):
                continue
            if not VOLUME_PER_ATOM[0] < per_atom < VOLUME_PER_ATOM[1]:
                continue
            _, groups = np.unique(kind.sites.species, return_inverse=True)
            decorations = list(permutations(elements))
            if formula is not None:
                decorations = [d for d in decorations if has_formula((d[group] for group in groups), formula)]
            crystals = screen.crystals(kind.sites.frac_coords, groups, decorations, MIN_CONTACT)
            found += [Proposal(sites, "catalogue", value, cell, kind.label) for sites, value in crystals]
        return distinct(found)

    def _types(self, cell: Cell, hexagonal: bool) -> list[CatalogueType]:
        systems = [cell.system, *(system_named(cell.system).with_lattices_of if hexagonal else ())]
        kinds = [kind for system in systems for kind in catalogue(system)]
        if self.own:  # after the package's: of equal proposals the first stays
            kinds += [kind for system in systems for kind in own_catalogue(system)]
        return kinds

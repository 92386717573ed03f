"""What a structure type is called: the library's AFLOW prototypes with their Strukturbericht symbols and minerals."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from crystalnet.crystal.library import library
from crystalnet.crystal.symmetry import one_hand
from crystalnet.records import AtomSites

# As pymatgen's AflowPrototypeMatcher asks whether a crystal is of a type: edges, sites, angles in degrees.
LENGTHS, SITES, ANGLES = 0.2, 0.3, 5.0


@dataclass(frozen=True)
class Prototype:
    """A structure type.

    Attributes
    ----------
    label : str
        Stoichiometry, Pearson symbol, space group and Wyckoff letters, as AFLOW writes them.
    formula : str
        Of the crystal that the type is named by.
    strukturbericht, name : str
        Such as "C1" and "Fluorite"; "" where there is none.
    """

    label: str
    formula: str
    strukturbericht: str
    name: str

    def __str__(self) -> str:
        symbol = f", {self.strukturbericht}" if self.strukturbericht else ""
        return f"{self.name or self.formula} type{symbol}"


def prototype_of(sites: AtomSites, space_group: int) -> Prototype | None:
    """The named structure type that a crystal has; None where it has none of the 237 that have a name.

    Parameters
    ----------
    sites : AtomSites
        All atoms of a cell.
    space_group : int
        Its number.

    Notes
    -----
    Of the types with the same space group and proportions the nearest one that pymatgen's StructureMatcher takes for
    the same, whatever the elements.
    """
    from pymatgen.analysis.structure_matcher import StructureMatcher

    alike = _by_symmetry_and_proportions().get((one_hand(space_group), _proportions(sites.species)), ())
    if not alike:
        return None
    matcher, crystal = StructureMatcher(LENGTHS, SITES, ANGLES), sites.structure()
    found = []
    for index, prototype in alike:
        distance, _ = matcher.get_rms_anonymous(crystal, _primitive(index).structure())
        if distance is not None:
            found.append((float(distance), prototype.label, prototype))
    return min(found)[2] if found else None


def _primitive(index: int) -> AtomSites:
    free = library().sites(index)
    return AtomSites(free.lattice, free.species, free.frac_coords)


def _proportions(species: Iterable[str]) -> tuple[float, ...]:
    counts = sorted(Counter(species).values())
    return tuple(round(n / sum(counts), 6) for n in counts)


@cache
def _by_symmetry_and_proportions() -> dict[tuple[int, tuple[float, ...]], list[tuple[int, Prototype]]]:
    text = files("crystalnet.crystal").joinpath("prototypes.json").read_text(encoding="utf-8")
    names: dict[str, list[str]] = json.loads(text)["names"]
    found: dict[tuple[int, tuple[float, ...]], list[tuple[int, Prototype]]] = {}
    for index, entry in enumerate(library().entries):
        if entry.id in names:
            key = one_hand(entry.space_group), _proportions(Counter(library().counts[index]).elements())
            prototype = Prototype(entry.type, entry.formula, *names[entry.id])
            found.setdefault(key, []).append((index, prototype))
    return found

"""What a chemist expects of the bonds: distances between two elements and numbers of neighbours of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crystalnet.crystal.chemistry import shortest_distances
from crystalnet.crystal.elements import ATOMIC_NUMBER
from crystalnet.records import AtomSites, InputError

AS_SAID = 0.05  # of ln(distance): bonds of one kind scatter by so much
WRONG = 4.0  # AS_SAID away is as wrong as any: the atom is no neighbour
DISTANCES = (0.3, 10.0)  # Å that a bond may have
MOST_NEIGHBOURS = 24
SHELL = 1.25  # neighbours are nearer than this, in the distance of the nearest


@dataclass(frozen=True)
class ExpectedBonds:
    """What the user said of bonds.

    Attributes
    ----------
    distances : tuple of (str, str, float)
        Two elements and the distance of nearest neighbours, Å.
    coordination : tuple of (str, int)
        An element and how many neighbours of other elements it has.
    """

    distances: tuple[tuple[str, str, float], ...] = ()
    coordination: tuple[tuple[str, int], ...] = ()

    @classmethod
    def of(cls, distances: Sequence[str], coordination: Sequence[str], elements: Sequence[str]) -> ExpectedBonds:
        """From "Si-O=1.62" and "Si=4". InputError for what cannot be read or names an element that was not given."""
        return cls(
            tuple(_distance(text, elements) for text in distances),
            tuple(_neighbours(text, elements) for text in coordination),
        )

    def __bool__(self) -> bool:
        return bool(self.distances or self.coordination)

    def misfit(self, sites: AtomSites) -> float:
        """How far the crystal is from what was said, 0 (as said) to 1; the mean over statements and their atoms.

        sites: all atoms of a cell.
        """
        if not self:
            return 0.0
        apart = shortest_distances(sites.lattice, sites.frac_coords)
        species = np.array(sites.species)
        parts = [_distance_misfit(apart, species, *said) for said in self.distances]
        parts += [_neighbour_misfit(sites, species, *said) for said in self.coordination]
        return float(np.mean(parts))


NOTHING_SAID = ExpectedBonds()


def _distance_misfit(apart: np.ndarray, species: np.ndarray, one: str, other: str, distance: float) -> float:
    """Of the atoms of the rarer of the two elements, each of which must have such a neighbour."""
    first, second = np.flatnonzero(species == one), np.flatnonzero(species == other)
    if not len(first) or not len(second):
        return 1.0
    nearest = apart[np.ix_(first, second)].min(axis=1 if len(first) <= len(second) else 0)
    off = np.abs(np.log(np.maximum(nearest, 1e-6) / distance)) / AS_SAID
    return float(np.clip((off - 1) / (WRONG - 1), 0, 1).mean())


def _neighbour_misfit(sites: AtomSites, species: np.ndarray, element: str, expected: int) -> float:
    own, others = np.flatnonzero(species == element), np.flatnonzero(species != element)
    if not len(own) or not len(others):
        return 1.0
    steps = np.stack(np.meshgrid(*[(-1, 0, 1)] * 3), -1).reshape(-1, 3)
    vectors = sites.frac_coords[others][None, :, None] + steps - sites.frac_coords[own][:, None, None]
    lengths = np.linalg.norm(vectors @ sites.lattice, axis=-1).reshape(len(own), -1)
    count = (lengths < SHELL * lengths.min(axis=1, keepdims=True)).sum(axis=1)
    return float(np.clip(np.abs(count - expected) / expected, 0, 1).mean())


def _distance(text: str, elements: Sequence[str]) -> tuple[str, str, float]:
    bond, _, value = text.partition("=")
    names = [name.strip() for name in bond.split("-")]
    try:
        distance = float(value)
    except ValueError:
        distance = float("nan")
    if len(names) != 2 or not DISTANCES[0] <= distance <= DISTANCES[1]:
        raise InputError(f"--distance {text!r}: two elements and Å are needed, as in Si-O=1.62")
    for name in names:
        _check(name, elements, f"--distance {text!r}")
    return names[0], names[1], distance


def _neighbours(text: str, elements: Sequence[str]) -> tuple[str, int]:
    name, _, value = (part.strip() for part in text.partition("="))
    if not value.isdigit() or not 1 <= int(value) <= MOST_NEIGHBOURS:
        raise InputError(f"--coordination {text!r}: an element and a number of neighbours are needed, as in Si=4")
    _check(name, elements, f"--coordination {text!r}")
    return name, int(value)


def _check(name: str, elements: Sequence[str], option: str) -> None:
    if name not in ATOMIC_NUMBER:
        raise InputError(f"{option}: {name!r} is no element")
    if name not in elements:
        given = ", ".join(elements) or "none"
        raise InputError(f"{option}: {name} is not among the elements given ({given})")

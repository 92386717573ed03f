"""Atoms in an indexed lattice held against the lines: the quick residual that proposals are judged by."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from crystalnet.bragg import two_theta_of_d
from crystalnet.crystal.chemistry import closest_contacts
from crystalnet.crystal.elements import ATOMIC_NUMBER
from crystalnet.crystal.lattice import Cell
from crystalnet.ops.reflections import LatticeLines
from crystalnet.records import AtomSites, Peaks
from crystalnet.xrd.residual import D_MIN, LineMatch

PROBE_NUMBERS = (8, 22, 46, 78)  # atomic numbers tried for an element that was not given
EXCHANGE_NUMBERS = (1, 3, 5, 8, 11, 14, 18, 22, 27, 32, 38, 45, 52, 60, 70, 80, 90)  # a step is 15 to 20% of the power
BATCH = 16  # namings compared at a time: enough to hide Python, few enough for the cache
_SYMBOLS = {number: symbol for symbol, number in ATOMIC_NUMBER.items()}


def misfit(sites: AtomSites, peaks: Peaks, cell: Cell) -> float:
    """Line intensities of atoms in the indexed cell against the measured ones; "X" scatters as what suits it best."""
    names, groups = np.unique(sites.species, return_inverse=True)
    screen = Screen(sites.lattice, cell.zero_shift, peaks)
    return float(screen.misfits(sites.frac_coords, groups, [names.tolist()])[0])


def exchanged_misfit(sites: AtomSites, peaks: Peaks, cell: Cell) -> float:
    """The least misfit with one of the elements exchanged for another, its atoms staying where they are.

    Far below the crystal's own where the user gave a wrong element, or the formula of another compound of the type.
    """
    names, groups = np.unique(sites.species, return_inverse=True)
    screen = Screen(sites.lattice, cell.zero_shift, peaks)
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
    screen = Screen(sites.lattice, cell.zero_shift, peaks)
    found = [math.inf]
    for orbit in np.unique(orbits):
        left = orbits != orbit
        if left.any():
            names, groups = np.unique(np.asarray(sites.species)[left], return_inverse=True)
            found.append(float(screen.misfits(sites.frac_coords[left], groups, [names.tolist()])[0]))
    return min(found)


def lines_screen(cell: Cell, lattice: np.ndarray, peaks: Peaks) -> Screen:
    """The pattern as atoms in a lattice (3, 3) Å of the indexed cell are held against it."""
    return Screen(lattice, cell.zero_shift, peaks)


class Screen:
    """A lattice (3, 3) Å held against a pattern, ready for any atoms in it.

    groups (N,) of 0 to G − 1: atoms that share a name; a naming is an element for each group.
    """

    def __init__(self, lattice: np.ndarray, zero_shift: float, peaks: Peaks) -> None:
        wavelength = peaks.radiation.wavelength  # lines below D_MIN tell nothing that the others have not told
        end = min(peaks.two_theta_max + 0.5, two_theta_of_d(D_MIN, wavelength, largest_sine=0.999))
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

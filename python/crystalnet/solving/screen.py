"""Atoms in an indexed lattice held against the lines: the quick residual that proposals are judged by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from crystalnet.bragg import two_theta_of_d
from crystalnet.crystal.chemistry import closest_contacts
from crystalnet.crystal.elements import ATOMIC_NUMBER, SYMBOLS
from crystalnet.crystal.lattice import Cell
from crystalnet.ops.fit_sites import LatticeTargets
from crystalnet.ops.reflections import LatticeLines
from crystalnet.records import AtomSites, Peaks
from crystalnet.xrd.decay import least_b
from crystalnet.xrd.residual import D_MIN, LineMatch

PROBE_NUMBERS = (8, 22, 46, 78)  # atomic numbers tried for an element that was not given
EXCHANGE_NUMBERS = (1, 3, 5, 8, 11, 14, 18, 22, 27, 32, 38, 45, 52, 60, 70, 80, 90)  # a step is 15 to 20% of the power
MIN_CONTACT = 0.60  # of the covalent radii: below, a proposal is no crystal
BATCH = 16  # decorations compared at a time: enough to hide Python, few enough for the cache


def residual(sites: AtomSites, peaks: Peaks, cell: Cell) -> float:
    """Line intensities of atoms in the indexed cell against the measured ones; "X" scatters as what suits it best."""
    names, groups = np.unique(sites.species, return_inverse=True)
    screen = Screen(sites.lattice, cell.zero_shift, peaks)
    return float(screen.residuals(sites.frac_coords, groups, [names.tolist()])[0])


def exchanged_residual(sites: AtomSites, peaks: Peaks, cell: Cell) -> float:
    """The least residual with one of the elements exchanged for another, its atoms staying where they are.

    Far below the crystal's own where the user gave a wrong element, or the formula of another compound of the type.
    """
    names, groups = np.unique(sites.species, return_inverse=True)
    screen = Screen(sites.lattice, cell.zero_shift, peaks)
    decorations = []
    for place, probe in product(range(len(names)), EXCHANGE_NUMBERS):
        decoration = names.tolist()
        decoration[place] = SYMBOLS[probe]
        decorations.append(decoration)
    return float(screen.residuals(sites.frac_coords, groups, decorations).min())


class Screen:
    """A lattice (3, 3) Å held against a pattern, ready for any atoms in it.

    groups (N,) of 0 to G − 1: atoms that share a name; a decoration is an element for each group.
    """

    def __init__(self, lattice: np.ndarray, zero_shift: float, peaks: Peaks, d_min: float = D_MIN) -> None:
        wavelength = peaks.radiation.wavelength  # lines below D_MIN tell nothing that the others have not told
        end = min(peaks.two_theta_max + 0.5, two_theta_of_d(d_min, wavelength, largest_sine=0.999))
        self.lattice, self.least_b = lattice, least_b(wavelength)
        self.lines = LatticeLines(lattice, wavelength, end)
        self.match = LineMatch(peaks, self.lines.two_theta, self.lines.d_spacing, zero_shift)

    def crystals(
        self, frac_coords: np.ndarray, groups: np.ndarray, decorations: Sequence[Sequence[str]], min_contact: float
    ) -> Iterator[tuple[AtomSites, float]]:
        """Atoms at frac_coords (N, 3) under every decoration that leaves them room, and their residuals."""
        contacts = closest_contacts(self.lattice, frac_coords, groups, decorations)
        decorations = [
            decoration for decoration, contact in zip(decorations, contacts, strict=True) if contact > min_contact
        ]
        if decorations:
            for decoration, value in zip(
                decorations, self.residuals(frac_coords, groups, decorations).tolist(), strict=True
            ):
                yield AtomSites(self.lattice, tuple(decoration[group] for group in groups), frac_coords), value

    def crystal(
        self, species: Sequence[str], frac_coords: np.ndarray, min_contact: float
    ) -> Iterator[tuple[AtomSites, float]]:
        """Atoms as they are named, moved into the cell, and their residual; nothing where they have no room."""
        names, groups = np.unique(species, return_inverse=True)
        return self.crystals(frac_coords % 1.0, groups, [names.tolist()], min_contact)

    def targets(self) -> LatticeTargets | None:
        """What the pattern says of each reflection, as atoms are refined against it; None where no line is in reach."""
        match, lines = self.match, self.lines
        if not match.comparable:
            return None
        target = np.full(len(lines.two_theta), -1, np.int32)
        target[match.hit] = match.group
        target[match.missed] = len(match.observed) + np.arange(len(match.missed))
        line = np.repeat(np.arange(len(lines.starts)), np.diff(lines.starts, append=len(lines.hkl)))
        return LatticeTargets(
            lattice=self.lattice,
            hkl=lines.hkl.astype(np.int32),
            s_squared=(1 / (2 * lines.d_spacing) ** 2)[line],
            weight=(lines.weight * match.polarisation)[line],
            target=target[line],
            amplitude=match.observed,
            limit=match.limit,
            least_b=self.least_b,
        )

    def residuals(
        self, frac_coords: np.ndarray, groups: np.ndarray, decorations: Sequence[Sequence[str]]
    ) -> np.ndarray:
        """(K,) of K decorations."""
        products = self.lines.products(frac_coords, groups)
        batches = (decorations[i : i + BATCH] for i in range(0, len(decorations), BATCH))
        return np.concatenate([self._residuals(products, batch) for batch in batches])

    def _residuals(self, products: np.ndarray, decorations: Sequence[Sequence[str]]) -> np.ndarray:
        values = []
        for probe in PROBE_NUMBERS if any("X" in names for names in decorations) else (0,):
            numbers = np.array([[probe if s == "X" else ATOMIC_NUMBER[s] for s in names] for names in decorations])
            values.append(self.match.residuals(self.lines.intensities(products, numbers)))
        return np.asarray(np.min(values, axis=0))

"""A crystal in the reference setting of its space group, which programs take a bare symbol for.

That is the setting of International Tables A with the second of two origins, unique axis b with the first cell choice,
hexagonal axes for R lattices. Candidates have spglib's: the first of two origins, or another that symmetry allows.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from crystalnet.crystal.lattice import axes_of, on_special_position, one_of_each, periodic_distances
from crystalnet.crystal.symmetry import (
    SYMPREC,
    SYMPREC_RELAXED,
    SYMPRECS,
    bare_symmetry,
    space_group_of,
    space_group_types,
)
from crystalnet.records import AtomSites, InputError

if TYPE_CHECKING:
    import gemmi

SAME_PLACE = 1e-3  # Å; atoms of a symmetrised crystal are on their positions within rounding


@dataclass(frozen=True)
class Site:
    """One atom of an orbit: label, element, fractional coordinates x, and the orbit's size in the conventional cell."""

    label: str
    element: str
    x: tuple[float, float, float]
    multiplicity: int


@dataclass(frozen=True)
class Described:
    """A crystal as programs want it: space group, cell (a, b, c in Å, α, β, γ in degrees) and one atom an orbit."""

    space_group: gemmi.SpaceGroup
    cell: tuple[float, ...]
    sites: tuple[Site, ...]


def described(crystal: AtomSites, space_group: int) -> Described:
    """A crystal in its reference setting.

    Parameters
    ----------
    crystal : AtomSites
        All atoms of a cell, in any setting.
    space_group : int
        Its space group. Where no tolerance finds that one, the symmetry that the atoms have within SYMPREC holds.
    """
    import gemmi

    found = ((t, space_group_of(crystal, t)) for t in SYMPRECS)
    tolerance = next((t for t, number in found if number == space_group), SYMPREC)
    number = space_group_of(crystal, tolerance) or 1
    group = gemmi.get_spacegroup_reference_setting(number)
    data = bare_symmetry(crystal, tolerance, _hall_numbers()[group.hall])
    if data is None:
        raise InputError("no symmetry is found in the candidate's atoms")
    cell = _parameters(np.asarray(data.std_lattice))
    names = sorted(set(crystal.species))  # as bare_symmetry numbers them
    species = [names[i - 1] for i in data.std_types]
    return Described(group, cell, _orbits(group, np.asarray(data.std_positions), species, axes_of(*cell)))


def expanded(crystal: Described) -> AtomSites:
    """Every atom of the cell."""
    axes = axes_of(*crystal.cell)
    images = [_images(crystal.space_group, np.array(site.x), axes) for site in crystal.sites]
    species = [site.element for site, orbit in zip(crystal.sites, images, strict=True) for _ in orbit]
    return AtomSites(axes, tuple(species), np.concatenate([np.zeros((0, 3)), *images]))


@cache
def _hall_numbers() -> dict[str, int]:
    """spglib's number of a setting by its Hall symbol."""
    numbers: dict[str, int] = {}
    for number, kind in enumerate(space_group_types(), start=1):
        numbers.setdefault(kind.hall_symbol, number)
    return numbers


def _parameters(lattice: np.ndarray) -> tuple[float, ...]:
    """Edges and angles, those that symmetry fixes without rounding noise."""
    from pymatgen.core import Lattice

    return tuple(round(value, 8) for value in Lattice(lattice).parameters)


def _orbits(group: gemmi.SpaceGroup, positions: np.ndarray, species: list[str], axes: np.ndarray) -> tuple[Site, ...]:
    """The first atom of each orbit, on the exact position that its site symmetry asks."""
    sites, numbers = [], Counter[str]()
    left = list(range(len(species)))
    while left:
        element, x = species[left[0]], positions[left[0]]
        orbit = _images(group, x, axes)
        apart = periodic_distances(positions[left], orbit, axes).min(1)
        left = [i for i, d in zip(left, apart, strict=True) if d > SYMPREC_RELAXED or species[i] != element]
        numbers[element] += 1
        x = _on_position(group, x, axes)
        sites.append(Site(f"{element}{numbers[element]}", element, (x[0], x[1], x[2]), len(orbit)))
    return tuple(sites)


def _moved(group: gemmi.SpaceGroup, x: np.ndarray) -> np.ndarray:
    """(operations, 3) images of a point under every operation, centring translations included."""
    return np.array([operation.apply_to_xyz(x.tolist()) for operation in group.operations()])


def _on_position(group: gemmi.SpaceGroup, x: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """The point of the special position that x stands on: the mean of the images that fall together with x."""
    return np.asarray(np.round(on_special_position(x, _moved(group, x), axes, SAME_PLACE), 10) % 1.0)


def _images(group: gemmi.SpaceGroup, x: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """(multiplicity, 3) the different images of a point in the cell."""
    moved = _moved(group, _on_position(group, x, axes))
    return np.asarray(np.round(moved[one_of_each(moved, axes, SAME_PLACE)], 10) % 1.0)

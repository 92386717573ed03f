"""Random crystals of a space group: geometry that no known structure type has.

Atoms are thrown at random and drawn onto the special positions near them (the mean of a point's near images lies on
their common symmetry element), so that every Wyckoff position of the group occurs without a table of them.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from crystalnet.crystal.symmetry import ENANTIOMORPHS, space_group_of
from crystalnet.crystal.systems import system_named

if TYPE_CHECKING:
    from pymatgen.core import Structure


ORBITS = (0.15, 0.35, 0.3, 0.15, 0.05)  # probability of 1 to 5 orbits, as in the structure types of the package
REACH = (0.0, 0.15, 0.3, 0.5)  # of the cell edge: how far an atom is drawn onto a special position
EDGE, CLOSEST = 8.0, 1.0  # Å: a of the cell in which atoms are thrown, and the distance that they keep there
MAX_ATOMS = 160  # in the conventional cell
# Elements to be replaced; every region of the periodic table, so that similar ones are any.
PLACEHOLDERS = ("K", "Ca", "Ti", "Fe", "Ni", "Cu", "Zn", "Ga", "Pd", "Sb", "La", "Pt", "O", "S", "Cl", "P", "Si", "B")
AXIAL_RATIO = 1.6, 0.4  # median and sd of ln(c/a) on hexagonal axes


@cache
def _operations(space_group: int) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (m, 3, 3) and translations (m, 3) of the conventional cell, centring included."""
    import gemmi

    group = gemmi.find_spacegroup_by_number(space_group).operations()
    operations = [np.array(op.float_seitz()) for op in group]
    return np.array([op[:3, :3] for op in operations]), np.array([op[:3, 3] for op in operations])


def random_structure(system: str, rng: np.random.Generator) -> tuple[Structure, int] | None:
    """A structure in a random space group of the system, each orbit its own element, and the group.

    None where there are too many atoms, where two lie on each other, or where chance made the group a higher one. The
    volume is arbitrary: what decorates it sets it.
    """
    from pymatgen.core import Lattice, Structure

    row = system_named(system)
    space_group = int(rng.choice([g for g in row.space_groups if g not in ENANTIOMORPHS]))
    rotations, translations = _operations(space_group)
    median, spread = AXIAL_RATIO
    if "c" in row.free:
        c = 8.0 * median * rng.lognormal(0, spread)
        lattice = Lattice.from_parameters(8.0, 8.0, c, 90.0, 90.0, row.gamma)
    else:
        lattice = Lattice.cubic(8.0)
    count = 1 + int(rng.choice(len(ORBITS), p=ORBITS))
    species: list[str] = []
    points: list[np.ndarray] = []
    for element in rng.choice(PLACEHOLDERS, count, replace=False).tolist():
        orbit = _orbit(rng.random(3), float(rng.choice(REACH)), rotations, translations, lattice.matrix)
        species += [element] * len(orbit)
        points.append(orbit)
        if len(species) > MAX_ATOMS:
            return None
    structure = Structure(lattice, species, np.concatenate(points))
    if len(structure.get_neighbor_list(CLOSEST)[3]):
        return None
    return (structure, space_group) if space_group_of(structure) == space_group else None


def _orbit(
    x: np.ndarray, reach: float, rotations: np.ndarray, translations: np.ndarray, lattice: np.ndarray
) -> np.ndarray:
    """Distinct images (M, 3) of a point that is first drawn onto the symmetry elements within reach (of the edge a)."""
    edge = np.linalg.norm(lattice[0])
    for _ in range(6):  # each round lands on a more special position or stays
        images = rotations @ x + translations
        images -= np.round(images - x)
        near = np.linalg.norm((images - x) @ lattice, axis=1) <= reach * edge + 1e-6
        x = images[near].mean(0)
    images = (rotations @ x + translations) % 1.0
    difference = images[:, None] - images
    same = np.abs(difference - np.round(difference)).max(-1) < 1e-4
    return np.asarray(images[same.argmax(1) == np.arange(len(images))])  # the first of each

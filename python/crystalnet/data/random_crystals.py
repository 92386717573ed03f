"""Random crystals of a space group: geometry that no known structure type has.

Atoms are placed at random and moved onto special positions near them: the mean of a point's near images lies on their
common symmetry element. Every Wyckoff position of the group can occur, and no table of them is needed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from crystalnet.crystal.lattice import image_beside, nearest_image
from crystalnet.crystal.record_file import Record, structure_of
from crystalnet.crystal.symmetry import ENANTIOMORPHS, space_group_of
from crystalnet.crystal.systems import system_named
from crystalnet.data.decoration import ATTEMPTS, decorate
from crystalnet.data.structure_types import MAX_SITES, make_type
from crystalnet.records import InputError

if TYPE_CHECKING:
    from pymatgen.core import Structure


ORBITS = (0.15, 0.35, 0.3, 0.15, 0.05)  # probability of 1 to 5 orbits, as in the structure types of the package
REACH = (0.0, 0.15, 0.3, 0.5)  # of the cell edge: how far an atom is drawn onto a special position
EDGE, CLOSEST = 8.0, 1.0  # Å: a of the cell in which atoms are thrown, and the distance that they keep there
MAX_ATOMS = 160  # in the conventional cell
# Elements to be replaced; every region of the periodic table, so that similar ones are any.
PLACEHOLDERS = ("K", "Ca", "Ti", "Fe", "Ni", "Cu", "Zn", "Ga", "Pd", "Sb", "La", "Pt", "O", "S", "Cl", "P", "Si", "B")
AXIAL_RATIO = 1.6, 0.4  # median of c/a and sd of ln(c/a) on hexagonal axes
# Covalent spheres' share of the volume where positions are random: quartz 0.2, salts 0.5, metals 0.8, perovskites 0.9.
PACKING = (0.25, 1.1)


def random_crystal(system: str, number: int, seed: int = 0) -> Record | None:
    """Crystal number `number` of a seed with random Wyckoff positions; the same in every run.

    Parameters
    ----------
    system : str
        Its crystal system.
    number, seed : int
        What determines the random choices.

    Returns
    -------
    Record or None
        The crystal in its canonical cell; None if no attempt gives a credible one.
    """
    rng = np.random.default_rng((seed, number, 1))
    for _ in range(ATTEMPTS):
        found = random_structure(system, rng)
        if found is None:
            continue
        structure, space_group = found
        try:
            kind = make_type(
                {
                    "id": f"random-{space_group}",
                    "formula": "",
                    "space_group": space_group,
                    "lattice": structure.lattice.matrix,
                    "species": [site.specie.symbol for site in structure],
                    "frac_coords": structure.frac_coords,
                }
            )
        except InputError:
            continue
        if len(kind.sites) > MAX_SITES:
            continue
        orbits = sorted(Counter(kind.sites.species).values())
        kind = replace(kind, label=f"random-{space_group}-{'-'.join(map(str, orbits))}")
        record = decorate(kind, number, seed, scaling=(0.0, np.inf), packing=PACKING)
        if record is not None and space_group_of(structure_of(record)) == space_group:  # jitter may raise it
            return record
    return None


@cache
def _operations(space_group: int) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (m, 3, 3) and translations (m, 3) of the conventional cell, centring included."""
    import gemmi

    group = gemmi.find_spacegroup_by_number(space_group).operations()
    operations = [np.array(op.float_seitz()) for op in group]
    return np.array([op[:3, :3] for op in operations]), np.array([op[:3, 3] for op in operations])


def random_structure(system: str, rng: np.random.Generator) -> tuple[Structure, int] | None:
    """A structure in a random space group of the system, and the group; each orbit has its own element.

    None if it has too many atoms, if two atoms lie on each other, or if its group is a higher one by chance. The volume
    is arbitrary: decoration sets it.
    """
    from pymatgen.core import Lattice, Structure

    row = system_named(system)
    space_group = int(rng.choice([g for g in row.space_groups if g not in ENANTIOMORPHS]))
    rotations, translations = _operations(space_group)
    median, spread = AXIAL_RATIO
    if "c" in row.free:
        c = EDGE * median * rng.lognormal(0, spread)
        lattice = Lattice.from_parameters(EDGE, EDGE, c, 90.0, 90.0, row.gamma)
    else:
        lattice = Lattice.cubic(EDGE)
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
        images = image_beside(rotations @ x + translations, x)
        near = np.linalg.norm((images - x) @ lattice, axis=1) <= reach * edge + 1e-6
        x = images[near].mean(0)
    images = (rotations @ x + translations) % 1.0
    same = np.abs(nearest_image(images[:, None] - images)).max(-1) < 1e-4
    return np.asarray(images[same.argmax(1) == np.arange(len(images))])  # the first of each

"""Decoration of structure types: other elements in the places of a real crystal's atoms.

A decorated crystal keeps the type's space group and Wyckoff positions. Its elements are chosen by chemical similarity
(distance on Pettifor's Mendeleev scale). Its volume is what pymatgen's DLSVolumePredictor expects, with a spread. Its
free coordinates and its axial ratio are jittered within the symmetry. Oxides and halides balance their charges if
their type does.
"""

from __future__ import annotations

from collections import Counter
from functools import cache

import numpy as np

from crystalnet.crystal.chemistry import (
    SCALING,
    VOLUME_PER_ATOM,
    charge_balances,
    covalent_radius,
    predicted_volume,
    shortest_distances,
    smallest_ratio,
)
from crystalnet.crystal.elements import ATOMIC_NUMBER, mendeleev_number
from crystalnet.crystal.record_file import Record
from crystalnet.crystal.setting import canonical_coordinates
from crystalnet.crystal.systems import system_of
from crystalnet.data.splits import may_train
from crystalnet.data.structure_types import StructureType
from crystalnet.density.promolecule import element_table
from crystalnet.records import AtomSites

SIMILARITY = (2.0, 6.0, 20.0)  # e-folding Mendeleev distance: neighbours, the same chemistry, anything
VOLUME_SPREAD = 0.06  # sd of ln V: DLSVolumePredictor's own error on oxides and intermetallics
AXIAL_SPREAD = 0.03  # sd of ln(c/a) within one structure type
COORDINATE_JITTER = 0.08  # Å, sd of a free coordinate within one structure type
MIN_DISTANCE = 0.62  # of the sum of covalent radii: shorter contacts are no crystal
ATTEMPTS = 8  # decorations tried for one crystal before its number is left out
# Noble gases make no such crystals; of the others few crystals or none are known, as they are radioactive.
EXCLUDED = {"He", "Ne", "Ar", "Kr", "Xe", "Rn", "Po", "At", "Fr", "Ra", "Ac", "Pa", "Np", "Pu", "Am", "Cm", "Tc", "Pm"}


@cache
def _elements() -> tuple[np.ndarray, np.ndarray]:
    """The elements that decorate (E,), and their Mendeleev numbers (E,)."""
    symbols = [e for e in element_table() if e not in EXCLUDED and ATOMIC_NUMBER[e] <= ATOMIC_NUMBER["U"]]
    return np.array(symbols), np.array([mendeleev_number(e) for e in symbols])


def similar_elements(original: list[str], rng: np.random.Generator) -> dict[str, str]:
    """A random element for each of the original ones, similar to it; all are different."""
    symbols, numbers = _elements()
    scale = rng.choice(SIMILARITY)
    chosen: dict[str, str] = {}
    for element in original:
        distance = np.abs(numbers - mendeleev_number(element))
        weight = np.exp(-distance / scale) * ~np.isin(symbols, list(chosen.values()))
        chosen[element] = str(rng.choice(symbols, p=weight / weight.sum()))
    return chosen


def jitter(kind: StructureType, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The type's crystal, moved at random within its symmetry.

    Returns
    -------
    lattice : (3, 3) array
        Rows in Å, with another axial ratio; cubic ones are as they were.
    x : (N, 3) array
        Fractional coordinates.
    """
    lattice, x = kind.sites.lattice, kind.sites.frac_coords
    metric = lattice @ lattice.T
    if not np.allclose(np.diag(metric), metric[0, 0], rtol=1e-3) or kind.space_group < 195:
        axis = lattice[2] if abs(lattice[0] @ lattice[2]) < 1e-6 else lattice.sum(0)
        axis = axis / np.linalg.norm(axis)
        stretch = np.exp(rng.normal(0, AXIAL_SPREAD))
        lattice = lattice + np.outer(lattice @ axis, axis) * (stretch - 1)
    step = rng.normal(0, COORDINATE_JITTER, x.shape) @ np.linalg.inv(lattice)
    moved = np.zeros_like(x)
    for rotation, image in zip(kind.rotations, kind.images, strict=True):
        np.add.at(moved, image, step @ rotation.T)
    # The symmetric part of a random displacement is the mean over the group; an orbit's M displacements average out
    # by √M, which is put back.
    stabiliser = (kind.images == np.arange(len(x))).sum(0)
    return lattice, x + moved / np.sqrt(len(kind.rotations) * stabiliser)[:, None]


def decorate(
    kind: StructureType,
    number: int,
    seed: int = 0,
    scaling: tuple[float, float] = SCALING,
    packing: tuple[float, float] = (0.0, np.inf),
) -> Record | None:
    """Decorated crystal number `number` of a seed; the same in every run.

    Parameters
    ----------
    kind : StructureType
        The type to decorate.
    number, seed : int
        What determines the random choices.
    scaling : (float, float)
        Least and largest expected volume, relative to the type's.
    packing : (float, float)
        Least and largest share of the volume that covalent spheres may fill.

    Returns
    -------
    Record or None
        The crystal in its canonical cell; None if no attempt gives a credible one.
    """
    from pymatgen.core import Composition

    rng = np.random.default_rng((seed, number))
    original = sorted(set(kind.sites.species))
    ionic = charge_balances(Counter(kind.sites.species))
    for _ in range(ATTEMPTS):
        swap = similar_elements(list(rng.permutation(original)), rng)
        lattice, x = jitter(kind, rng)
        sites = AtomSites(lattice, tuple(swap[s] for s in kind.sites.species), x)
        formula = Composition(Counter(sites.species)).reduced_formula
        spread = np.exp(rng.normal(0, VOLUME_SPREAD))
        if not may_train(formula) or (ionic and not charge_balances(Counter(sites.species))):
            continue
        distance = shortest_distances(lattice, x)
        factor = np.clip(predicted_volume(sites, distance) / sites.volume, *scaling) * spread
        sites = AtomSites(lattice * np.cbrt(factor), sites.species, x)
        radii = np.array([covalent_radius(s) for s in sites.species])
        if not smallest_ratio(distance * np.cbrt(factor), radii) > MIN_DISTANCE:
            continue
        filled = float((radii**3).sum() * 4 / 3 * np.pi / sites.volume)
        sound = VOLUME_PER_ATOM[0] < sites.volume / len(sites) < VOLUME_PER_ATOM[1]
        if not (sound and packing[0] < filled < packing[1]):
            continue
        x = canonical_coordinates(sites.lattice, np.array(sites.species), x, kind.rotations, kind.translations)
        return {
            "id": f"{kind.label}-{seed}-{number}",
            "formula": formula,
            "space_group": kind.space_group,
            "system": system_of(kind.space_group).name,
            "type": kind.label,
            "source": "prototypes",
            "lattice": sites.lattice,
            "species": list(sites.species),
            "frac_coords": x,
        }
    return None


def original_crystal(kind: StructureType) -> Record:
    """The real crystal a type was taken from."""
    return {
        "id": kind.label,
        "formula": kind.formula,
        "space_group": kind.space_group,
        "system": system_of(kind.space_group).name,
        "type": kind.label,
        "source": "types",
        "lattice": kind.sites.lattice,
        "species": list(kind.sites.species),
        "frac_coords": kind.sites.frac_coords,
    }

"""The canonical setting: one cell, axes and origin for a crystal, however it was given.

1. pymatgen's standard primitive cell (cubic P/I/F and rhombohedral primitive axes, hexagonal axes for P-trigonal).
2. Of an enantiomorphic pair of space groups the one with the lower number: a powder pattern cannot tell them apart.
3. Of the settings that keep the space group's symmetry operations as International Tables print them, the one with
   the largest key. These settings are what the affine normaliser, restricted to the holohedry, makes of one another:
   origin shifts, axis changes, inversion; along a polar axis the shift is continuous. The key goes through the
   elements, the rarest in the cell first (ties: the most electropositive by Mendeleev number, Pettifor 1984). For each
   it compares Re, then Im, of the geometric structure factor Σ e^{2πi h·x} at a fixed list of low h; differences
   below KEY_TOLERANCE do not count. So the rarest element comes to lie on the origin where it can. Where the low h do
   not decide (one in fifty cubic crystals, all in large cells), higher h do, and the smallest key is taken there.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from crystalnet.crystal.elements import mendeleev_number
from crystalnet.crystal.lattice import TRANSLATION_STEPS, holohedry
from crystalnet.crystal.symmetry import ENANTIOMORPHS, SYMPREC, Symmetry
from crystalnet.records import AtomSites, InputError

if TYPE_CHECKING:
    from pymatgen.core import Structure


KEY_TOLERANCE = 1e-3  # per atom: well above coordinate rounding, well below what separates two settings


def _key_hkl(largest: int, order: int) -> np.ndarray:
    """h with indices up to `largest` and Σ|h| ≤ order, one of each pair ±h, shortest first."""
    indices = range(-largest, largest + 1)
    half = [h for h in product(indices, repeat=3) if h > (0, 0, 0) and sum(map(abs, h)) <= order]
    return np.array(sorted(half, key=lambda h: (sum(map(abs, h)), [-v for v in h])), dtype=float)


KEY_HKL = _key_hkl(2, 4)
FINE_HKL = _key_hkl(5, 8)


def standard_primitive(structure: Structure, symprec: float = SYMPREC) -> Structure:
    """The primitive cell of a crystal in the canonical setting.

    Parameters
    ----------
    structure
        The crystal in any cell.
    symprec
        Å, by which atoms may miss the positions of a symmetry.

    Returns
    -------
    Structure
        Elements alone, sorted, without oxidation states and site properties.

    Raises
    ------
    InputError
        The structure is disordered, or the symmetry search fails on it.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> len(salt), len(standard_primitive(salt))
    (8, 2)
    """
    from pymatgen.core import Lattice, Structure

    if not structure.is_ordered:
        raise InputError("the structure has partially occupied sites; give an ordered one")
    bare = Structure(
        structure.lattice, [site.specie.symbol for site in structure], structure.frac_coords
    )  # oxidation states and site properties would split symmetry-equivalent atoms
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = Symmetry(bare, symprec)
            if found.number in ENANTIOMORPHS:
                found = Symmetry(Structure(bare.lattice, bare.species, -bare.frac_coords), symprec)
            primitive = found.primitive
            rotations, translations = Symmetry(primitive, symprec).one_a_rotation()
    except Exception as error:
        raise InputError(f"the symmetry search failed on {bare.formula} (symprec {symprec} Å): {error}") from error
    lattice = primitive.lattice.matrix
    species = np.array([site.specie.symbol for site in primitive])
    x = canonical_coordinates(lattice, species, primitive.frac_coords, rotations, translations)
    order = np.lexsort((*np.round(x, 6).T[::-1], species))
    return Structure(Lattice(lattice), species[order].tolist(), x[order])


def canonical_sites(structure: Structure, symprec: float = SYMPREC) -> AtomSites:
    """`standard_primitive` as a plain record."""
    return AtomSites.from_structure(standard_primitive(structure, symprec))


def _rank(species: np.ndarray, element: str) -> tuple[int, float]:
    """Order of the elements in the key: fewest atoms in the cell, then lowest Mendeleev number."""
    return int((species == element).sum()), mendeleev_number(element)


def canonical_coordinates(
    lattice: np.ndarray, species: np.ndarray, x: np.ndarray, rotations: np.ndarray, translations: np.ndarray
) -> np.ndarray:
    """Coordinates in the setting with the largest key (rule 3 of this module).

    Parameters
    ----------
    lattice
        (3, 3) Å of a standard primitive cell.
    species, x
        Symbols (N,) and fractional coordinates (N, 3) of its atoms.
    rotations, translations
        (m, 3, 3) and (m, 3) of its symmetry operations, x' = R x + w.

    Returns
    -------
    ndarray
        (N, 3) in [0, 1), in the order of `species`.
    """
    operations = _Operations.of(rotations, translations)
    elements = sorted(set(species.tolist()), key=lambda s: _rank(species, s))
    settings = [x @ p.T + t for p, t in _normaliser(operations, *_metric_key(lattice))]
    axis = _polar_axis(rotations)
    if axis is not None:
        settings = [z for y in settings for z in _polar_origins(y, species, elements, axis)]
    alive = np.array(settings)  # (settings, N, 3)
    for (hkl, sign), element in product(((KEY_HKL, 1), (FINE_HKL, -1)), elements):
        if len(alive) == 1:
            break
        phases = np.exp(2j * np.pi * np.einsum("hi,dai->dha", hkl, alive[:, species == element])).mean(-1)
        rows = np.arange(len(alive))
        for column in sign * np.concatenate([phases.real, phases.imag], axis=1).T:
            rows = rows[column[rows] > column[rows].max() - KEY_TOLERANCE]
        alive = alive[rows]
    best: np.ndarray = np.round(alive[0], 9) % 1.0
    best[best > 1 - 1e-6] = 0.0
    return best


def _polar_axis(rotations: np.ndarray) -> np.ndarray | None:
    """Integer direction that every rotation leaves alone, where there is exactly one (3, 3m, 6, ...); else None."""
    average = rotations.sum(0)  # len(G) times the projector on the invariant directions
    if np.linalg.matrix_rank(average) != 1:
        return None
    column = average[:, np.abs(average).sum(0).argmax()]
    axis: np.ndarray = column // np.gcd.reduce(column)
    return axis


def _polar_origins(x: np.ndarray, species: np.ndarray, elements: list[str], axis: np.ndarray) -> list[np.ndarray]:
    """Shifts along the polar axis that give a low-order structure factor of the first element that has one phase 0."""
    h = np.eye(3)[axis != 0]  # one for [001], the three equivalent ones for the rhombohedral [111]
    for order in (1, 2, 3, 4, 6):
        for element in elements:
            wave = np.exp(2j * np.pi * order * (x[species == element] @ h.T)).mean()
            if abs(wave) > 0.05:  # a weaker wave would make the origin hostage to rounding
                start = -np.angle(wave) / (2 * np.pi * order)
                return [x + (start + k / order) * axis for k in range(order)]
    return [x]


@dataclass(frozen=True)
class _Operations:
    """A space group's operations in a primitive cell, hashable so that its normaliser is worked out once."""

    rows: tuple[tuple[int, ...], ...]  # 9 of the rotation, 3 of the translation in units of 1/TRANSLATION_STEPS

    @classmethod
    def of(cls, rotations: np.ndarray, translations: np.ndarray) -> _Operations:
        steps = np.round(translations * TRANSLATION_STEPS).astype(np.int64) % TRANSLATION_STEPS
        return cls(tuple(sorted(map(tuple, np.concatenate([rotations.reshape(-1, 9), steps], axis=1).tolist()))))


def _metric_key(lattice: np.ndarray) -> tuple[bytes, int]:
    """The lattice's holohedry as (bytes of an int64 array, its length), hashable."""
    found = holohedry(lattice).astype(np.int64)
    return found.tobytes(), len(found)


@lru_cache(maxsize=1024)
def _normaliser(operations: _Operations, point_bytes: bytes, n_point: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs (P, t), x' = P x + t, that map the set of operations onto itself; one of each coset of the group.

    P runs over the holohedry, t over multiples of 1/TRANSLATION_STEPS (0 along a polar axis).
    """
    rows = np.array(operations.rows)
    rotations, steps = rows[:, :9].reshape(-1, 3, 3), rows[:, 9:]
    translation_of = {r.tobytes(): w for r, w in zip(rotations, steps, strict=True)}
    axis = _polar_axis(rotations)
    shifts = np.array(list(product(range(TRANSLATION_STEPS), repeat=3)))
    if axis is not None:
        shifts = shifts[shifts[:, 2] == 0]  # both polar axes, [001] and [111], move the third coordinate
    elif np.linalg.matrix_rank(rotations.sum(0)) > 1:
        shifts = shifts[:1]  # a polar plane or P1: the origin stays as it is

    found: list[tuple[np.ndarray, np.ndarray]] = []
    seen: set[bytes] = set()
    for p in np.frombuffer(point_bytes, dtype=np.int64).reshape(n_point, 3, 3):
        inverse = np.round(np.linalg.inv(p)).astype(np.int64)
        t = shifts
        for r, w in zip(rotations, steps, strict=True):
            image = p @ r @ inverse
            target = translation_of.get(image.tobytes())
            if target is None:
                t = t[:0]
                break
            t = t[(((t - t @ image.T) - (target - p @ w)) % TRANSLATION_STEPS == 0).all(1)]
            if not len(t):
                break
        for shift in t:
            if np.concatenate([p.ravel(), shift]).tobytes() in seen:
                continue
            found.append((p, shift / TRANSLATION_STEPS))
            for r, w in zip(rotations, steps, strict=True):
                product_shift = (r @ shift + w) % TRANSLATION_STEPS
                seen.add(np.concatenate([(r @ p).ravel(), product_shift]).tobytes())
    return found

"""Space groups on a lattice: every setting that its metric allows, with the Wyckoff positions of each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from importlib.resources import files
from itertools import product
from typing import Any

import numpy as np

from crystalnet.crystal.free_sites import FreeSites
from crystalnet.crystal.lattice import PRIMITIVE_AXES, TRANSLATION_STEPS, Cell, holohedry, nearest_image
from crystalnet.crystal.lattice_maps import HOLOHEDRY_TOLERANCE, code_of, unimodular_matrices
from crystalnet.crystal.symmetry import ENANTIOMORPHS, laue_group
from crystalnet.crystal.systems import system_named

GENERIC = np.array([0.1234, 0.2718, 0.3141])  # free coordinates that put no atom on a more special position
#: Reflections whose absence tells the settings of one group apart.
TELLING = np.array([h for h in product(range(-4, 5), repeat=3) if h > (0, 0, 0)])


@dataclass(frozen=True)
class Position:
    """One Wyckoff position in a primitive cell: n atoms at x(u) = x₀ + D·u.

    Attributes
    ----------
    letter : str
    frac_coords : (n, 3) array
        x₀.
    directions : (n, 3, k) array
        D; k is what the position leaves free.
    """

    letter: str
    frac_coords: np.ndarray
    directions: np.ndarray

    def __len__(self) -> int:
        return len(self.frac_coords)

    @property
    def free(self) -> int:
        """Free coordinates."""
        return int(self.directions.shape[2])


@dataclass(frozen=True)
class Group:
    """A space group in one setting on a lattice, described on primitive axes.

    Attributes
    ----------
    number : int
    rotations, translations : (m, 3, 3) array of int, (m, 3) array
    positions : tuple of Position
        By letter.
    permutations : tuple of tuple of int
        How origin shifts of the normaliser permute the positions; the identity first.
    """

    number: int
    rotations: np.ndarray
    translations: np.ndarray
    positions: tuple[Position, ...]
    permutations: tuple[tuple[int, ...], ...]

    def absent(self, hkl: np.ndarray) -> np.ndarray:
        """(R,) bool: which reflections (R, 3) of the primitive axes are systematically absent."""
        return absent(hkl, self.rotations, self.translations)

    @cached_property
    def laue(self) -> np.ndarray:
        """(m, 3, 3) rotations acting on hkl as rows, the inversion among them, each once."""
        return laue_group(self.rotations)

    def crystal(self, lattice: np.ndarray, species: Sequence[str], letters: Sequence[int]) -> FreeSites:
        """Atoms on these positions (numbers into `positions`), an element each, in a lattice (3, 3) Å; u = 0."""
        x, directions, columns, names = [], [], [], []
        used = 0
        for symbol, number in zip(species, letters, strict=True):
            position = self.positions[number]
            padded = np.zeros((len(position), 3, 3))
            padded[:, :, : position.free] = position.directions
            own = np.full(3, -1)
            own[: position.free] = used + np.arange(position.free)
            used += position.free
            x.append(position.frac_coords)
            directions.append(padded)
            columns.append(np.tile(own, (len(position), 1)))
            names += [symbol] * len(position)
        return FreeSites(
            lattice,
            tuple(names),
            np.concatenate(x),
            np.concatenate(directions),
            np.concatenate(columns),
            self.rotations,
        )


def absent(hkl: np.ndarray, rotations: np.ndarray, translations: np.ndarray) -> np.ndarray:
    """Systematic absences: h R = h while h·t is no whole number (International Tables A, 1.6.4)."""
    found = np.zeros(len(hkl), bool)
    for rotation, translation in zip(rotations, translations, strict=True):
        found |= (hkl @ rotation == hkl).all(axis=1) & (np.abs(nearest_image(hkl @ translation)) > 1e-3)
    return found


def letters_by_origin(number: int) -> list[dict[str, str]]:
    """What each Wyckoff letter of a space group becomes by the origin shifts of its normaliser, the identity first."""
    reference = _reference(number)
    letters = [letter for letter, *_ in reference.positions]
    return [dict(zip(letters, (letters[k] for k in row), strict=True)) for row in reference.permutations]


def groups_on(cell: Cell) -> tuple[Group, ...]:
    """Space groups of the cell's crystal system, each in every setting that differs in its absences.

    Of an enantiomorphic pair, which no powder pattern tells apart, the lower one.
    """
    symmetry = holohedry(cell.conventional_lattice, HOLOHEDRY_TOLERANCE).astype(np.int64)
    return _groups(cell.system, cell.centring, symmetry.tobytes())


@lru_cache(maxsize=16)
def _groups(system: str, centring: str, holohedry_bytes: bytes) -> tuple[Group, ...]:
    row = system_named(system)
    symmetry = np.frombuffer(holohedry_bytes, np.int64).reshape(-1, 3, 3)
    allowed, of_rows = code_of(symmetry), symmetry.transpose(0, 2, 1)
    matrices = unimodular_matrices()
    inverses = np.rint(np.linalg.inv(matrices)).astype(np.int64)
    to_primitive = np.linalg.inv(PRIMITIVE_AXES[centring])
    found = []
    for number in (n for s in (row.name, *row.with_lattices_of) for n in system_named(s).space_groups):
        reference = _reference(number)
        if number in ENANTIOMORPHS or len(reference.centring) != round(np.linalg.det(to_primitive)):
            continue
        turned = inverses.transpose(0, 2, 1)[:, None] @ reference.rotations @ matrices.transpose(0, 2, 1)[:, None]
        fits = np.isin(code_of(turned), allowed).all(axis=1)
        # Centring vectors must be whole numbers of the cell's own primitive axes.
        outside = nearest_image(reference.centring @ inverses @ to_primitive)
        fits &= np.abs(outside).max(axis=(1, 2)) < 1e-6
        # Matrices that give one list of operations are one setting.
        steps = np.rint(TRANSLATION_STEPS * (reference.translations @ inverses[fits])) % TRANSLATION_STEPS
        operations = np.concatenate(
            [code_of(turned[fits]), steps.reshape(len(steps), 3 * len(reference.rotations))], axis=1
        )
        left, seen = matrices[fits][np.unique(operations, axis=0, return_index=True)[1]], set()
        while len(left):
            alike = code_of(of_rows @ left[0])
            inverse = np.rint(np.linalg.inv(left[0])).astype(np.int64)
            change = inverse @ to_primitive  # of row coordinates, from the reference setting to primitive axes
            back = np.linalg.inv(change)
            left = left[~(np.isin(code_of(left), alike) | np.isin(code_of(-left), alike))]
            rotations = np.rint(change.T @ reference.rotations @ back.T).astype(np.int64)
            translations = reference.translations @ change
            absences = absent(TELLING, rotations, translations)
            signature = np.sort(code_of(rotations)).tobytes() + np.packbits(absences).tobytes()
            if signature not in seen:
                seen.add(signature)
                positions = tuple(_placed(p, change, rotations, translations) for p in reference.positions)
                found.append(Group(number, rotations, translations, positions, reference.permutations))
    return tuple(found)


def _placed(
    position: tuple[str, int, np.ndarray, np.ndarray],
    change: np.ndarray,
    rotations: np.ndarray,
    translations: np.ndarray,
) -> Position:
    """A tabulated position on primitive axes, with all its atoms."""
    letter, _, shift, directions = position
    x, free = shift @ change, change.T @ directions.T  # (3,), (3, k)
    starts = rotations @ x + translations
    moves = rotations @ free
    points = starts + moves @ GENERIC[: free.shape[1]]
    same = np.abs(nearest_image(points[:, None] - points)).max(-1) < 1e-6
    first = same.argmax(axis=1) == np.arange(len(points))
    return Position(letter, starts[first], moves[first])


@dataclass(frozen=True)
class _Reference:
    """A space group in its reference setting on conventional axes."""

    rotations: np.ndarray
    translations: np.ndarray
    centring: np.ndarray
    positions: tuple[tuple[str, int, np.ndarray, np.ndarray], ...]
    permutations: tuple[tuple[int, ...], ...]


@cache
def _reference(number: int) -> _Reference:
    import gemmi

    operations = gemmi.get_spacegroup_reference_setting(number).operations()
    each = [np.array(op.float_seitz()) for op in operations.sym_ops]
    row = _table()[str(number)]
    positions = tuple(
        (letter, n, np.array(shift, float) / TRANSLATION_STEPS, np.array(free, float).reshape(-1, 3))
        for letter, n, shift, free in row["positions"]
    )
    return _Reference(
        np.rint([op[:3, :3] for op in each]).astype(np.int64),
        np.array([op[:3, 3] for op in each]),
        np.array(operations.cen_ops, float) / gemmi.Op.DEN,
        positions,
        (tuple(range(len(positions))), *map(tuple, row["shifts"])),
    )


@cache
def _table() -> dict[str, Any]:
    """wyckoff.json; `tools/build_wyckoff_table.py` says where it comes from."""
    text = files("crystalnet.crystal").joinpath("wyckoff.json").read_text(encoding="utf-8")
    groups: dict[str, Any] = json.loads(text)["groups"]
    return groups

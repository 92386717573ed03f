"""The package's library of known crystals: the catalogue of structure types, and what a pattern may simply be.

Each crystal stands in its Niggli cell with its exact operations, one atom of each orbit and what is free of it, so that
it can be put into any cell without a symmetry search. `tools/build_library.py` writes the file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np

from crystalnet.crystal.elements import SYMBOLS, atomic_numbers
from crystalnet.crystal.free_sites import FreeSites, Orbits, atoms_of_orbits, orbits_of_atoms
from crystalnet.crystal.lattice import TRANSLATION_STEPS, axes_of, edges_and_angles
from crystalnet.crystal.symmetry import SymmetryError, bare_symmetry, niggli_matrix
from crystalnet.records import AtomSites

FILE = "library.npz"
MAX_ATOMS = 100  # of a primitive cell: garnets have 80


@dataclass(frozen=True)
class Entry:
    """What is said of a crystal of the library.

    Attributes
    ----------
    id, formula : str
        Its name in its source, and its reduced formula as pymatgen writes it.
    space_group : int
    type : str
        Label of the structure type: stoichiometry, Pearson symbol, space group and Wyckoff letters (AFLOW).
    name : str
        Of the mineral, "" where it has none.
    reference : str
        Where it was published.
    measured : bool
        Determined by diffraction, not calculated.
    """

    id: str
    formula: str
    space_group: int
    type: str
    name: str
    reference: str
    measured: bool


class Library:
    """Crystals in packed arrays; `entries[i]` and `sites(i)` are about crystal i.

    Attributes
    ----------
    entries : tuple of Entry
    atoms : (T,) array of int
        In the primitive cell.
    counts : tuple of dict of str to int
        Atoms of each element in the primitive cell.
    metrics : (T, 6) array
        g11, g22, g33, g23, g13, g12 of the Niggli cell, scaled to volume 1.
    volumes : (T,) array
        Å³ of the primitive cell.
    """

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self._arrays = arrays
        rows = json.loads(arrays["entries"].tobytes().decode())
        self.entries = tuple(Entry(*row) for row in rows)
        self.atoms = np.diff(arrays["atom_start"])
        self.counts = self._counts()
        a, b, c = arrays["cell"][:, :3].T.astype(float)
        cosines = np.cos(np.radians(arrays["cell"][:, 3:].astype(float)))
        metric = np.stack([a * a, b * b, c * c, *(cosines * np.stack([b * c, a * c, a * b], axis=1)).T], axis=1)
        g = metric.T
        determinant = (
            g[0] * (g[1] * g[2] - g[3] ** 2) - g[5] * (g[5] * g[2] - g[3] * g[4]) + g[4] * (g[5] * g[3] - g[1] * g[4])
        )
        self.metrics = metric / np.cbrt(determinant)[:, None]
        self.volumes = np.sqrt(determinant)

    def __len__(self) -> int:
        return len(self.entries)

    def _counts(self) -> tuple[dict[str, int], ...]:
        a = self._arrays
        crystal = np.repeat(np.arange(len(self)), self.atoms)
        atom = a["number"][a["orbit_start"][crystal] + a["orbit"]].astype(np.int64)
        pairs, counts = np.unique(crystal * 256 + atom, return_counts=True)
        found: tuple[dict[str, int], ...] = tuple({} for _ in self.entries)
        for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
            found[pair >> 8][SYMBOLS[pair & 255]] = count
        return found

    def sites(self, i: int) -> FreeSites:
        """Crystal i in its Niggli cell."""
        a = self._arrays
        orbits = slice(*a["orbit_start"][i : i + 2])
        atoms = slice(*a["atom_start"][i : i + 2])
        operations = slice(*a["operation_start"][i : i + 2])
        rotations = a["rotation"][operations].reshape(-1, 3, 3).astype(np.int64)
        translations = a["translation"][operations].astype(float) / TRANSLATION_STEPS
        packed = Orbits(
            a["first"][orbits].astype(float),
            a["free"][orbits].reshape(-1, 3, 3).astype(np.int64),
            a["orbit"][atoms].astype(int),
            a["operation"][atoms].astype(int),
        )
        x, directions, columns = atoms_of_orbits(packed, rotations, translations)
        symbols = [SYMBOLS[z] for z in a["number"][orbits].tolist()]
        return FreeSites(
            axes_of(*a["cell"][i].astype(float).tolist()),
            tuple(symbols[o] for o in packed.orbit.tolist()),
            x,
            directions,
            columns,
            rotations,
        )


@dataclass(frozen=True)
class Packed:
    """A crystal as the library keeps it: its Niggli cell, orbits, and operations with translations in 24ths."""

    cell: tuple[float, ...]
    numbers: np.ndarray
    orbits: Orbits
    rotations: np.ndarray
    translations: np.ndarray


def packed(primitive: AtomSites, tolerance: float) -> Packed:
    """A crystal in a primitive cell with a standard origin, its atoms on their positions within the tolerance (Å).

    SymmetryError where its operations cannot be told.
    """
    matrix = niggli_matrix(primitive.lattice)
    sites = AtomSites(matrix @ primitive.lattice, primitive.species, primitive.frac_coords @ np.linalg.inv(matrix))
    found = bare_symmetry(sites, tolerance)
    if found is None:
        raise SymmetryError("no symmetry was found")
    _, one = np.unique(found.rotations.reshape(-1, 9), axis=0, return_index=True)
    rotations, translations = found.rotations[one].astype(np.int64), found.translations[one]
    steps = np.rint(translations * TRANSLATION_STEPS)
    if np.abs(steps / TRANSLATION_STEPS - translations).max() > 1e-3:
        raise SymmetryError("the origin is no standard one")
    orbits = orbits_of_atoms(sites, rotations, steps / TRANSLATION_STEPS)
    kinds = [sites.species[int(np.flatnonzero(orbits.orbit == o)[0])] for o in range(len(orbits.first))]
    return Packed(
        tuple(edges_and_angles(sites.lattice @ sites.lattice.T)),
        atomic_numbers(kinds),
        orbits,
        rotations,
        steps % TRANSLATION_STEPS,
    )


def library_of(crystals: Sequence[tuple[Entry, Packed]]) -> Library:
    """Crystals as a library."""
    return Library(arrays_of(crystals))


def arrays_of(crystals: Sequence[tuple[Entry, Packed]]) -> dict[str, np.ndarray]:
    """The arrays of a library file."""
    each = [one for _, one in crystals]
    joined = {
        "number": ([one.numbers for one in each], (), np.uint8),
        "first": ([one.orbits.first % 1.0 for one in each], (3,), np.float32),
        "free": ([one.orbits.free for one in each], (9,), np.int8),
        "orbit": ([one.orbits.orbit for one in each], (), np.uint16),  # users' crystals may be large
        "operation": ([one.orbits.operation for one in each], (), np.uint8),
        "rotation": ([one.rotations for one in each], (9,), np.int8),
        "translation": ([one.translations for one in each], (3,), np.int8),
    }
    arrays = {
        name: np.concatenate([np.zeros((0, *shape)), *(p.reshape(-1, *shape) for p in parts)]).astype(dtype)
        for name, (parts, shape, dtype) in joined.items()
    }
    for start, name in (("orbit_start", "number"), ("atom_start", "orbit"), ("operation_start", "rotation")):
        arrays[start] = np.cumsum([0, *(len(part) for part in joined[name][0])]).astype(np.int32)
    arrays["cell"] = np.array([one.cell for one in each], np.float32).reshape(-1, 6)
    arrays["entries"] = _text([list(astuple(entry)) for entry, _ in crystals])
    return arrays


def _text(value: Any) -> np.ndarray:
    return np.frombuffer(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode(), np.uint8)


def read_library(path: Path) -> Library:
    """A library file."""
    with np.load(path, allow_pickle=False) as stored:
        return Library({name: stored[name] for name in stored.files})


@cache
def library() -> Library:
    """The package's."""
    with as_file(files("crystalnet.crystal").joinpath(FILE)) as path:
        return read_library(path)

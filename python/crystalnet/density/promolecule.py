"""The density definition: the promolecule, a sum of spherical free-atom valence densities.

F(h) = Σ_a f_a(|G|) e^{-2πi h·x_a},  f(G) = Σ_k q_k e^{-G²/4a_k},  ρ = (n³/V) · ifft F   (e/Å³).
The element table (8 Gaussians each, PAW-like, Materials Project valence) and its provenance are in
valence_gaussians.json beside this file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from crystalnet.records import InputError

if TYPE_CHECKING:
    from pymatgen.core import Structure


GRID = 50  # points along each cell vector of a CMED (paper, Methods)
TABLE_STEP = 0.01  # Å⁻¹ between tabulated f(G); linear interpolation then errs by < 1e-5 of f(0)


@cache
def element_table() -> dict[str, dict[str, Any]]:
    """Valence density of each element: {"n_val", "valence", "label", "q" (8), "a" (8, Å⁻²)}."""
    text = files("crystalnet.density").joinpath("valence_gaussians.json").read_text()
    table: dict[str, dict[str, Any]] = json.loads(text)["elements"]
    return table


@cache
def _tabulated_form_factor(element: str) -> np.ndarray:
    """f(G) on the grid 0, TABLE_STEP, ... up to where every Gaussian has vanished."""
    try:
        row = element_table()[element]
    except KeyError:
        raise InputError(f"no valence density for element {element!r}; known: {', '.join(element_table())}") from None
    q, a = np.array(row["q"]), np.array(row["a"])
    g = np.arange(0.0, np.sqrt(4 * a.max() * 40) + TABLE_STEP, TABLE_STEP)
    table: np.ndarray = np.exp(-np.square(g)[:, None] / (4 * a)) @ q
    return table


def valence_form_factor(element: str, g: np.ndarray) -> np.ndarray:
    """Fourier transform of one atom's valence density at |G| = g (1/Å, with the 2π), electrons; f(0) = n_val."""
    table = _tabulated_form_factor(element)
    position = np.minimum(g / TABLE_STEP, len(table) - 1.001)
    low = position.astype(np.int64)
    weight = position - low
    return table[low] * (1 - weight) + table[low + 1] * weight


def promolecule_density(
    lattice: np.ndarray, species: tuple[str, ...], frac_coords: np.ndarray, grid: int = GRID
) -> np.ndarray:
    """Promolecule of atoms in a periodic cell, needing numpy alone.

    Parameters
    ----------
    lattice
        (3, 3) Å, rows.
    species, frac_coords
        Symbols (N,) and fractional coordinates (N, 3) of the atoms.
    grid
        Points along each cell vector.

    Returns
    -------
    ndarray
        (grid, grid, grid) float64 e/Å³ at fractional coordinates i/grid. ρ.sum() · V / grid³ is the number of valence
        electrons.

    Raises
    ------
    InputError
        No valence density is known for an element.
    """
    h = np.fft.fftfreq(grid, 1 / grid)
    half = np.arange(grid // 2 + 1.0)
    g = _half_spectrum(lattice, grid)
    total = np.zeros((grid, grid, len(half)), dtype=np.complex128)
    elements = np.array(species)
    for element in sorted(set(species)):
        x = frac_coords[elements == element]
        ex, ey, ez = (np.exp(-2j * np.pi * np.outer(x[:, i], k)) for i, k in enumerate((h, h, half)))
        plane = (ex[:, :, None] * ey[:, None, :]).reshape(len(x), -1)  # (atoms, grid²)
        total += (plane.T @ ez).reshape(total.shape) * valence_form_factor(element, g)
    volume = abs(np.linalg.det(lattice))
    density: np.ndarray = np.fft.irfftn(total, s=(grid,) * 3, axes=(0, 1, 2)) * (grid**3 / volume)
    return density


def atom_factors(lattice: np.ndarray, elements: Sequence[str], grid: int = GRID) -> np.ndarray:
    """(E, grid, grid, grid//2 + 1): rfftn of the density of one atom at the origin, by element; real, as it is even."""
    g = _half_spectrum(lattice, grid)
    scale = grid**3 / abs(np.linalg.det(lattice))
    return np.array([scale * valence_form_factor(element, g) for element in elements])


def _half_spectrum(lattice: np.ndarray, grid: int) -> np.ndarray:
    """|G| (1/Å, with the 2π) of the terms of rfftn on grid³ points."""
    h = np.fft.fftfreq(grid, 1 / grid)
    reciprocal = 2 * np.pi * np.linalg.inv(lattice)  # columns are the reciprocal vectors
    gx, gy = h[:, None] * reciprocal[:, 0], h[:, None] * reciprocal[:, 1]
    gz = np.arange(grid // 2 + 1.0)[:, None] * reciprocal[:, 2]
    length: np.ndarray = np.linalg.norm(gx[:, None, None, :] + gy[None, :, None, :] + gz[None, None, :, :], axis=-1)
    return length


def promolecule(structure: Structure, grid: int = GRID) -> np.ndarray:
    """Ground-truth density of a crystal in the cell and origin given.

    Parameters
    ----------
    structure
        An ordered pymatgen Structure.
    grid
        Points along each cell vector.

    Returns
    -------
    ndarray
        (grid, grid, grid) e/Å³ at fractional coordinates i/grid.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> density = promolecule(salt)
    >>> density.shape, round(float(density.mean()) * salt.volume, 3)  # electrons: 4 of (7 of Na, 7 of Cl)
    ((50, 50, 50), 56.0)
    """
    species = tuple(site.specie.symbol for site in structure)
    return promolecule_density(structure.lattice.matrix, species, structure.frac_coords, grid)

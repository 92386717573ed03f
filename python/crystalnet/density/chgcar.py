"""Densities of VASP's CHGCAR files in our cell and on our grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from crystalnet.crystal.lattice import nearest_image
from crystalnet.crystal.setting import standard_primitive
from crystalnet.crystal.symmetry import SYMPREC_RELAXED, Symmetry, one_hand, primitive_lattice
from crystalnet.density.grid import correlation, in_cell
from crystalnet.density.promolecule import element_table, promolecule
from crystalnet.records import InputError, Transformation

if TYPE_CHECKING:
    from pymatgen.core import Structure


LENGTH_TOLERANCE, ANGLE_TOLERANCE = 0.03, 3.0  # relative, degrees: what symmetrising a DFT-relaxed cell moves
MAX_SHIFT = 0.5  # Å: an atom farther from its place in the canonical cell is another atom
ELECTRON_TOLERANCE = 0.01  # of one electron a cell, before and after resampling
LEAST_LIKENESS = 0.5  # correlation with the promolecule, 0.9 and more for a density of these atoms


def alignment(given: Structure, canonical: Structure, symprec: float) -> Transformation:
    """From the given cell of a crystal to its canonical one, by the mapping that carries atoms closest onto atoms.

    Parameters
    ----------
    given
        The crystal in any cell, its atoms as a DFT relaxation left them.
    canonical
        `standard_primitive` of it, possibly mirrored.
    symprec
        Å, as for `standard_primitive`.

    Raises
    ------
    InputError
        No mapping carries atoms onto atoms of their element.
    """
    from pymatgen.core import Lattice

    primitive = primitive_lattice(given, symprec)
    if primitive is None:
        raise InputError(f"the symmetry search failed on {given.formula}")
    to_given = primitive @ np.linalg.inv(given.lattice.matrix)
    species = np.array([site.specie.symbol for site in canonical])
    given_species = np.array([site.specie.symbol for site in given])
    rarest = min(set(species.tolist()), key=lambda s: ((species == s).sum(), s))
    u, x = canonical.frac_coords, given.frac_coords
    start = int(np.flatnonzero(species == rarest)[0])
    best: tuple[float, np.ndarray, np.ndarray] = (MAX_SHIFT, np.eye(3), np.zeros(3))
    mappings = Lattice(primitive).find_all_mappings(
        canonical.lattice, ltol=LENGTH_TOLERANCE, atol=ANGLE_TOLERANCE, skip_rotation_matrix=True
    )
    for _, _, scale in mappings:
        if round(abs(np.linalg.det(scale))) != 1:
            continue
        turn = scale @ to_given
        for goal in x[given_species == rarest]:
            t = goal - u[start] @ turn
            offsets = _offsets(u @ turn + t, species, x, given_species) @ given.lattice.matrix
            farthest = np.linalg.norm(offsets - offsets.mean(0), axis=1).max()
            if farthest < best[0] - 1e-3:  # equivalent mappings differ by rounding: the first of them is taken
                best = (float(farthest), turn, t + offsets.mean(0) @ np.linalg.inv(given.lattice.matrix))
    if best[0] == MAX_SHIFT:
        raise InputError("its charge density's cell cannot be carried over to the canonical one")
    return Transformation(best[1], best[2])


def _offsets(points: np.ndarray, species: np.ndarray, x: np.ndarray, given_species: np.ndarray) -> np.ndarray:
    """Fractional vector from each point to the nearest atom of its element."""
    difference = nearest_image(x[None] - points[:, None])
    distance = (difference**2).sum(-1) + np.where(species[:, None] == given_species[None], 0, np.inf)
    return np.asarray(difference[np.arange(len(points)), distance.argmin(1)])


def canonical_density(document: dict[str, Any], system: str) -> dict[str, Any]:
    """A charge density of VASP in the canonical cell.

    Parameters
    ----------
    document
        A CHGCAR as pymatgen's dictionary.
    system
        Crystal system that it must be of.

    Returns
    -------
    dict
        lattice (3, 3) Å, species (N,), frac_coords (N, 3), density (50, 50, 50) float16 e/Å³, space_group, formula.

    Raises
    ------
    InputError
        The crystal or its density cannot be used.
    """
    from monty.json import MontyDecoder

    chgcar = MontyDecoder().process_decoded(document)
    given: Structure = chgcar.structure
    density = np.asarray(chgcar.data["total"], dtype=float) / given.volume  # VASP writes ρ times the cell's volume
    unknown = sorted({site.specie.symbol for site in given} - set(element_table()))
    if unknown:
        raise InputError(f"no valence density is known for {', '.join(unknown)}")
    canonical = standard_primitive(given, SYMPREC_RELAXED)
    symmetry = Symmetry(canonical, SYMPREC_RELAXED)
    if symmetry.system != system:
        raise InputError(f"its charge density is of a {symmetry.system} crystal")
    resampled = in_cell(density, alignment(given, canonical, SYMPREC_RELAXED))
    per_cell = float(density.mean() * given.volume * len(canonical) / len(given))
    if abs(per_cell - round(per_cell)) > ELECTRON_TOLERANCE:
        raise InputError(f"its charge density holds {per_cell:.3f} electrons a cell, no whole number")
    # Symmetrising changes a relaxed cell's volume a little; the map keeps the electrons, not the density.
    resampled *= per_cell / (resampled.mean() * canonical.volume)
    likeness = correlation(resampled, promolecule(canonical))
    if likeness < LEAST_LIKENESS:
        raise InputError(f"its charge density is not one of its atoms (correlation {likeness:.2f})")
    rounded = resampled.astype(np.float16)
    held = float(rounded.mean(dtype=float) * canonical.volume)
    if not abs(held - per_cell) < ELECTRON_TOLERANCE * max(1.0, per_cell / 100):
        raise InputError(f"resampling turned {per_cell:.3f} electrons into {held:.3f}")
    return {
        "lattice": canonical.lattice.matrix,
        "species": np.array([site.specie.symbol for site in canonical]),
        "frac_coords": canonical.frac_coords,
        "density": rounded,
        "space_group": one_hand(symmetry.number),
        "formula": canonical.composition.reduced_formula,
    }

"""Cube, CHGCAR and npz files of a density and its atoms."""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np

from crystalnet.crystal.elements import ATOMIC_NUMBER
from crystalnet.records import AtomSites, DensityGrid, InputError
from crystalnet.runtime.whole_file import begins_with, refuse_foreign, replacing

BOHR = 0.529177210903  # Å, CODATA 2018
CUBE_TITLE = "CrystalNet valence electron density, e/Angstrom^3"
CHGCAR_TITLE = "CrystalNet"  # and the formula: by it a later run tells its own CHGCAR from VASP's
DENSITY_ARRAYS = ("density", "lattice", "species", "frac_coords")


def write_cube(grid: DensityGrid, sites: AtomSites, path: Path) -> None:
    """Write a density and its atoms as Gaussian cube.

    Parameters
    ----------
    grid
        Values in e/Å³, which the first line says; axes are written in bohr, the format's unit.
    sites
        Atoms in the same cell. Sites X are no atoms of the format and are left out.
    path
        The file, written over.

    Notes
    -----
    pymatgen's `VolumetricData.to_cube` cannot say the unit in the first line, knows no sites X, leaves the nuclear
    charges 0, and does not end a line with each row along z as the format asks.
    """
    n1, n2, n3 = grid.values.shape
    atoms = [
        (ATOMIC_NUMBER[s], x) for s, x in zip(sites.species, sites.frac_coords @ sites.lattice, strict=True) if s != "X"
    ]
    unexplained = len(sites) - len(atoms)
    note = f"; {unexplained} sites of unexplained density not listed" if unexplained else ""
    lines = [
        CUBE_TITLE,
        f"axes and atoms in bohr; loop x outer, y middle, z inner{note}",
        f"{len(atoms):5d} {0:12.6f} {0:12.6f} {0:12.6f}",
    ]
    for n, vector in zip((n1, n2, n3), grid.lattice, strict=True):
        lines.append(f"{n:5d} " + " ".join(f"{v:12.6f}" for v in vector / (n * BOHR)))
    for number, xyz in atoms:
        lines.append(f"{number:5d} {number:12.6f} " + " ".join(f"{v:12.6f}" for v in xyz / BOHR))
    # One format string for the whole map: the fastest way Python has to print a million numbers.
    full, rest = divmod(n3, 6)
    column = "%13.5E" * 6 + "\n"
    column = column * full + ("%13.5E" * rest + "\n" if rest else "")
    body = column * (n1 * n2) % tuple(np.asarray(grid.values, dtype=float).ravel().tolist())
    path.write_text("\n".join(lines) + "\n" + body, encoding="ascii")


def refuse_foreign_density(path: Path, structure: Path) -> None:
    """Refuse what `write_density` must not write over.

    A .npz is ours by the arrays in it, the others by their first line.

    Parameters
    ----------
    path
        Where the density is to be written.
    structure
        The file that the crystal was read from.

    Raises
    ------
    InputError
        `path` is that file, or one that `write_density` did not write.
    """

    def is_ours(path: Path) -> bool:
        if path.suffix.lower() != ".npz":
            return begins_with(CUBE_TITLE, CHGCAR_TITLE)(path)
        try:
            with ZipFile(path) as archive:
                return {f"{name}.npy" for name in DENSITY_ARRAYS} == set(archive.namelist())
        except BadZipFile:
            return False

    refuse_foreign(path, is_ours, reads=structure)


def write_density(grid: DensityGrid, sites: AtomSites, path: Path) -> None:
    """Write a density with its atoms as .npz, .cube, or VASP's CHGCAR, told by the name.

    Parameters
    ----------
    grid
        Values (n, n, n) e/Å³.
    sites
        Atoms in the same cell.
    path
        *.npz, *.cube, *.chgcar, *.vasp or CHGCAR*. An npz holds `density` (n, n, n) e/Å³, `lattice` (3, 3) Å,
        `species` and `frac_coords`. A CHGCAR holds density × volume as VASP does, so that its mean is the number of
        electrons.

    Raises
    ------
    InputError
        The name says no format, or the folder is absent or cannot be written in.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    chgcar = suffix in (".chgcar", ".vasp") or path.name.upper().startswith("CHGCAR")
    if not chgcar and suffix not in (".npz", ".cube"):
        raise InputError(f"cannot write a density as {path.name}: name it *.npz, *.cube or CHGCAR")
    if not path.parent.is_dir():
        raise InputError(f"no folder {path.parent}: make it first or choose another file with --out")
    try:
        with replacing(path) as partial:
            if chgcar:
                _write_chgcar(grid, sites, partial)
            elif suffix == ".cube":
                write_cube(grid, sites, partial)
            else:
                _write_npz(grid, sites, partial)
    except OSError as error:
        raise InputError(f"cannot write {path} ({error.strerror}): choose another file with --out") from error


def _write_npz(grid: DensityGrid, sites: AtomSites, path: Path) -> None:
    with path.open("wb") as file:  # to a name numpy would add .npz where it reads .NPZ
        np.savez_compressed(
            file,
            density=np.asarray(grid.values, dtype=np.float32),
            lattice=np.asarray(grid.lattice, dtype=float),
            species=np.array(sites.species, dtype=str),
            frac_coords=np.asarray(sites.frac_coords, dtype=float),
        )


def _write_chgcar(grid: DensityGrid, sites: AtomSites, path: Path) -> None:
    from pymatgen.io.vasp.inputs import Poscar
    from pymatgen.io.vasp.outputs import Chgcar

    structure = sites.structure().get_sorted_structure()
    volume = float(abs(np.linalg.det(grid.lattice)))
    chgcar = Chgcar(Poscar(structure), {"total": np.asarray(grid.values, dtype=float) * volume})
    chgcar.name = f"{CHGCAR_TITLE} {structure.formula}"  # the first line
    chgcar.write_file(str(path))

"""CIF, cube, CHGCAR and npz files of a candidate."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np

from crystalnet.crystal.symmetry import SYMPREC, SYMPREC_REFINED, SYMPREC_RELAXED, space_group_of
from crystalnet.records import AtomSites, Candidate, DensityGrid, InputError
from crystalnet.runtime.whole_file import begins_with, refuse_foreign, replacing

BOHR = 0.529177210903  # Å, CODATA 2018
CUBE_TITLE = "CrystalNet valence electron density, e/Angstrom^3"
CHGCAR_TITLE = "CrystalNet"  # and the formula: by it a later run tells its own CHGCAR from VASP's
DENSITY_ARRAYS = ("density", "lattice", "species", "frac_coords")


def lattice_parameters(lattice: np.ndarray) -> dict[str, float]:
    """a, b, c in Å and alpha, beta, gamma in degrees of (3, 3) rows."""
    lengths = np.linalg.norm(lattice, axis=1)
    cosines = [lattice[i] @ lattice[j] / (lengths[i] * lengths[j]) for i, j in ((1, 2), (0, 2), (0, 1))]
    angles = np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0)))
    values = np.round([*lengths, *angles], 6)
    return {name: float(v) for name, v in zip(("a", "b", "c", "alpha", "beta", "gamma"), values, strict=True)}


def package_version() -> str:
    """Version of the installed package ("unknown" when run from a bare source tree)."""
    try:
        return version("crystalnet")
    except PackageNotFoundError:
        return "unknown"


def write_cif(candidate: Candidate, path: Path, title: str = "candidate") -> None:
    """The conventional cell with its symmetry, in the axes and origin of `candidate.conventional`.

    Where no tolerance reproduces the candidate's space group the file lists every atom in P 1. A site of
    unexplained density has the type symbol X and `_atom_site_calc_flag dum` (a dummy site in the CIF core
    dictionary).
    """
    from pymatgen.io.cif import CifWriter

    structure = candidate.conventional.structure()
    symprec = None
    for tolerance in (SYMPREC, SYMPREC_REFINED, SYMPREC_RELAXED):  # exact sites first
        if space_group_of(structure, tolerance) == candidate.space_group_number:
            symprec = tolerance
            break
    blocks = CifWriter(structure, symprec=symprec, refine_struct=False).cif_file.data
    (block,) = blocks.values()
    if "X" in candidate.conventional.species:
        for key in {"_atom_type_symbol", "_atom_site_type_symbol"} & block.data.keys():
            block.data[key] = ["X" if str(symbol).startswith("X0") else symbol for symbol in block.data[key]]
        kinds = block.data["_atom_site_type_symbol"]
        block.data["_atom_site_calc_flag"] = ["dum" if kind == "X" else "d" for kind in kinds]
        next(loop for loop in block.loops if "_atom_site_label" in loop).append("_atom_site_calc_flag")
    rwp = f"{100 * candidate.fit.rwp:.2f} %" if np.isfinite(candidate.fit.rwp) else "unknown"
    lines = [f"# CrystalNet {package_version()}, {title} ({candidate.source}), Rwp {rwp}, background excluded"]
    if "X" in candidate.conventional.species:
        lines.append("# Sites X: density that none of the given elements explains")
    path.write_text("\n".join([*lines, str(block)]) + "\n", encoding="utf-8")


def write_cube(grid: DensityGrid, sites: AtomSites, path: Path) -> None:
    """Gaussian cube: axes and atoms in bohr (the format's unit), values in e/Å³ (said in the comment).

    `sites` share the cell of `grid`. Sites X are no atoms of the format and are left out.
    """
    from pymatgen.core.periodic_table import Element

    n1, n2, n3 = grid.values.shape
    atoms = [
        (Element(s).Z, x) for s, x in zip(sites.species, sites.frac_coords @ sites.lattice, strict=True) if s != "X"
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
    """InputError where `write_density` would write over the structure read, or over a file that it did not write.

    A .npz is ours by the arrays in it, the others by their first line.
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
    """Write a density with its atoms (same cell) as .npz, .cube, or VASP's CHGCAR, told by the name.

    npz holds `density` (n, n, n) e/Å³, `lattice` (3, 3) Å, `species`, `frac_coords`; CHGCAR holds density ×
    volume as VASP does, so that its mean is the number of electrons. Raises InputError for another name or an
    absent folder.
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

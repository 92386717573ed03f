"""The files of a solution, written whole or not at all, and the density files of other programs."""

from __future__ import annotations

import csv
import json
import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np

from ..pool import Map
from ..records import AtomSites, Candidate, DensityGrid, InputError, Solution
from ..whole_file import begins_with, file_sha256, refuse_foreign, replacing
from ..whole_folder import heal, is_inside, refilling, refuse_names
from .view import View, view

BOHR = 0.529177210903  # Å, CODATA 2018
GIVEN = ("elements", "formula", "wavelength_angstrom", "wavelength_assumed", "system")
CUBE_TITLE = "CrystalNet valence electron density, e/Angstrom^3"
CHGCAR_TITLE = "CrystalNet"  # and the formula: by it a later run tells its own CHGCAR from VASP's
DENSITY_ARRAYS = ("density", "lattice", "species", "frac_coords")
DOCUMENT = "solution.json"
OTHERS = ("report.html", "figure.png", "density.npz")  # beside the candidates' files
SUMMARY = (
    *("pattern", "folder", "formula", "space_group", "a", "b", "c", "alpha", "beta", "gamma"),
    *("rwp", "score", "confidence", "source", "candidates", "error"),
)


def write_solution(solution: Solution, out: Path, mapped: Map = map) -> dict[str, Any]:
    """Write everything `solve` found into the folder `out`; returns the content of solution.json.

    The files replace those of an earlier solution when all are complete, solution.json last, so a failure leaves the
    earlier files as they were. Its `files` names them with their SHA-256: a later run replaces these alone.
    mapped: the built-in map, or one over several processes (`pool.helped`). Raises InputError where `out` cannot be
    written, or holds a file of the user's by one of the names.
    """
    from .figure import write_figure

    content = solution_json(solution)
    views = [view(candidate, solution) for candidate in solution.candidates]
    out = Path(out)
    earlier = earlier_solution(out, len(views))
    with refilling(out, earlier.files if earlier else (), DOCUMENT) as scratch:
        figure = partial(write_figure, solution, views, scratch / "figure.png")
        others = partial(_write_answers, solution, content, views, scratch)
        list(mapped(operator.call, [figure, others]))
        content["files"] = {path.name: file_sha256(path) for path in sorted(scratch.iterdir())}
        (scratch / DOCUMENT).write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return content


@dataclass(frozen=True)
class Earlier:
    """A solution that a new one replaces: its pattern's name and the files that are as it left them."""

    pattern: str
    files: frozenset[str]


def earlier_solution(out: Path, candidates: int) -> Earlier | None:
    """The solution in a folder that one of so many candidates at most would replace; None where there is none.

    InputError where a file there bears a name of ours and is not listed in solution.json, or was changed since.
    """
    heal(out)
    earlier = _listed(out)
    numbers = range(1, candidates + 1)
    names = {DOCUMENT, *OTHERS, *(f"candidate-{n}.{suffix}" for n in numbers for suffix in ("cif", "cube"))}
    refuse_names(out, names, earlier.files if earlier else ())
    return earlier


def _listed(out: Path) -> Earlier | None:
    """What solution.json lists; a run before there were hashes listed the candidates' files alone."""
    try:
        content = json.loads((out / DOCUMENT).read_text(encoding="utf-8"))
        if not isinstance(content["crystalnet"], str):
            return None
        listed = content.get("files")
        if listed is None:
            listed = dict.fromkeys(entry[key] for entry in content["candidates"] for key in ("cif", "density"))
        files = {DOCUMENT}
        for name, sha256 in listed.items():
            path = out / name
            if is_inside(name) and "/" not in name and path.is_file() and sha256 in (None, file_sha256(path)):
                files.add(name)
        return Earlier(str(content["pattern"]["file"]), frozenset(files))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # no solution.json, or another program's
        return None


def _write_answers(solution: Solution, content: Mapping[str, Any], views: Sequence[View], folder: Path) -> None:
    from .page import write_page

    for shown, entry in zip(views, content["candidates"], strict=True):
        write_cif(shown.candidate, folder / entry["cif"], title=f"candidate {entry['rank']}")
        write_cube(shown.grid, shown.atoms, folder / entry["density"])
    if len(solution.guesses):
        _write_guesses(solution, folder / "density.npz")
    write_page(solution, content, views, folder / "report.html")


def solution_json(solution: Solution) -> dict[str, Any]:
    """The content of solution.json: JSON types only, null for what was not given or is not known."""
    pattern = solution.pattern
    content = {
        "crystalnet": package_version(),
        "model": {"file": solution.model.get("file"), "sha256": solution.model.get("sha256")},
        "given": {key: solution.given.get(key) for key in GIVEN},
        "pattern": {
            "file": pattern.file,
            "points": len(pattern.two_theta),
            "two_theta_min": float(pattern.two_theta[0]) if len(pattern.two_theta) else None,
            "two_theta_max": float(pattern.two_theta[-1]) if len(pattern.two_theta) else None,
            "peaks": len(solution.peaks),
        },
        "candidates": [_candidate_json(rank, c) for rank, c in enumerate(solution.candidates, start=1)],
        "seconds": dict(solution.seconds),
        "warnings": list(solution.warnings),
    }
    plain: dict[str, Any] = _plain(content)
    return plain


def _candidate_json(rank: int, candidate: Candidate) -> dict[str, Any]:
    sites = [
        {key: site[key] for key in ("element", "x", "y", "z", "wyckoff", "multiplicity")}
        | ({"unexplained": True} if site["element"] == "X" else {})
        for site in candidate.wyckoff
    ]
    return {
        "rank": rank,
        "source": candidate.source,
        "formula": candidate.formula,
        "space_group": {"number": candidate.space_group_number, "symbol": candidate.space_group_symbol},
        "lattice": lattice_parameters(candidate.conventional.lattice),
        "sites": sites,
        "rwp": candidate.fit.rwp,
        "refinement_failed": candidate.fit.failure,
        "score": candidate.score,
        "confidence": candidate.confidence,
        "cif": f"candidate-{rank}.cif",
        "density": f"candidate-{rank}.cube",
    }


def lattice_parameters(lattice: np.ndarray) -> dict[str, float]:
    """a, b, c in Å and alpha, beta, gamma in degrees of (3, 3) rows."""
    lengths = np.linalg.norm(lattice, axis=1)
    cosines = [lattice[i] @ lattice[j] / (lengths[i] * lengths[j]) for i, j in ((1, 2), (0, 2), (0, 1))]
    angles = np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0)))
    values = np.round([*lengths, *angles], 6)
    return {name: float(v) for name, v in zip(("a", "b", "c", "alpha", "beta", "gamma"), values, strict=True)}


def _plain(value: Any) -> Any:
    """numpy and tuples to JSON's own types; NaN and infinity to null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, np.ndarray)):
        return [_plain(item) for item in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value


def package_version() -> str:
    """Version of the installed package ("unknown" when run from a bare source tree)."""
    try:
        return version("crystalnet")
    except PackageNotFoundError:
        return "unknown"


def _write_guesses(solution: Solution, path: Path) -> None:
    lattice = np.full((3, 3), np.nan) if solution.lattice is None else solution.lattice
    np.savez(
        path,
        density=np.asarray(solution.guesses, dtype=np.float32),
        spread=np.asarray(solution.spread, dtype=np.float32),
        lattice=np.asarray(lattice, dtype=float),
        rank=np.asarray(solution.guess_rank),
    )


def write_cif(candidate: Candidate, path: Path, title: str = "candidate") -> None:
    """The conventional cell with its symmetry, in the axes and origin of `candidate.conventional`.

    Where no tolerance reproduces the candidate's space group the file lists every atom in P 1. A site of
    unexplained density has the type symbol X and `_atom_site_calc_flag dum` (a dummy site in the CIF core
    dictionary).
    """
    from pymatgen.io.cif import CifWriter
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    structure = candidate.conventional.structure()
    symprec = None
    for tolerance in (0.01, 0.03, 0.1):  # Å: exact sites first, then sites as refinement leaves them
        if SpacegroupAnalyzer(structure, tolerance).get_space_group_number() == candidate.space_group_number:
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


def summary_row(
    pattern: str, folder: str = "", content: Mapping[str, Any] | None = None, error: str = ""
) -> dict[str, Any]:
    """A line of summary.csv: the best candidate in `content` (of solution.json), or why there is none."""
    row: dict[str, Any] = dict.fromkeys(SUMMARY, "") | {"pattern": pattern, "folder": folder, "error": error}
    if content is None:
        return row
    row["candidates"] = len(content["candidates"])
    if not content["candidates"]:
        return row | {"error": error or "no candidate found"}
    best = content["candidates"][0]
    for key in ("formula", "rwp", "score", "confidence", "source"):
        row[key] = "" if best[key] is None else best[key]
    row["space_group"] = best["space_group"]["symbol"]
    row.update(best["lattice"])
    return row


def refuse_foreign_summary(path: Path) -> bool:
    """Whether an earlier summary is there. InputError where the file is the user's own."""
    return refuse_foreign(path, begins_with(",".join(SUMMARY[:3])))


def write_summary(rows: Iterable[Mapping[str, Any]], path: Path) -> None:
    """summary.csv: a line for each pattern. Its folder is made where it is absent."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, SUMMARY)
        writer.writeheader()
        writer.writerows(rows)

"""solution.json and summary.csv."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from crystalnet import __version__
from crystalnet.crystal.coordination import neighbours_of
from crystalnet.crystal.lattice import nearest_image
from crystalnet.crystal.prototypes import prototype_of
from crystalnet.records import AtomSites, Candidate, Pattern, Solution
from crystalnet.report.agreement import agreement
from crystalnet.report.esds import CELL, cell_parameters, esd_of_atoms, esd_of_cell
from crystalnet.report.reflections_file import reflections
from crystalnet.runtime.whole_file import begins_with, refuse_foreign, replacing

GIVEN = ("elements", "formula", "wavelength_angstrom", "wavelength_assumed", "system")
DOCUMENT = "solution.json"
MEASURED = "measured.xye"  # 2θ, intensity, esd, as they were solved
SUMMARY = (
    *("pattern", "folder", "formula", "space_group", "a", "b", "c", "alpha", "beta", "gamma"),
    *("rwp", "score", "confidence", "source", "candidates", "error"),
)


def solution_json(solution: Solution) -> dict[str, Any]:
    """The content of solution.json: JSON types only, null for what was not given or is not known."""
    pattern, radiation = solution.pattern, solution.peaks.radiation
    content = {
        "crystalnet": __version__,
        "model": {"file": solution.model.get("file"), "sha256": solution.model.get("sha256")},
        "given": {key: solution.given.get(key) for key in GIVEN},
        "pattern": {
            "file": pattern.file,
            "points": len(pattern.two_theta),
            "two_theta_min": float(pattern.two_theta[0]) if len(pattern.two_theta) else None,
            "two_theta_max": float(pattern.two_theta[-1]) if len(pattern.two_theta) else None,
            "peaks": len(solution.peaks),
            "data": MEASURED,
            "radiation": {
                "lines": [{"wavelength_angstrom": length, "weight": weight} for length, weight in radiation.lines],
                "polarisation": radiation.polarisation,
            },
        },
        "candidates": [_candidate_json(rank, c, pattern) for rank, c in enumerate(solution.candidates, start=1)],
        "seconds": dict(solution.seconds),
        "warnings": list(solution.warnings),
    }
    plain: dict[str, Any] = _plain(content)
    return plain


def _candidate_json(rank: int, candidate: Candidate, pattern: Pattern) -> dict[str, Any]:
    fit, prototype = candidate.fit, prototype_of(candidate.conventional, candidate.space_group_number)
    return {
        "rank": rank,
        "source": candidate.source,
        **({"reference": candidate.reference} if candidate.reference else {}),
        "formula": candidate.formula,
        "space_group": {"number": candidate.space_group_number, "symbol": candidate.space_group_symbol},
        "lattice": {name: round(v, 6) for name, v in cell_parameters(candidate.conventional.lattice).items()},
        "sites": _sites_json(candidate),
        "structure_type": None if prototype is None else asdict(prototype) | {"text": str(prototype)},
        "rwp": fit.rwp,
        "agreement": None if (found := agreement(fit, pattern)) is None else found.as_json(fit.parameters),
        "esd": {**esd_of_cell(candidate), **{name: v for name, v in fit.esd.items() if name not in CELL}},
        "refinement_failed": candidate.fit.failure,
        "refined": {"zero_shift": candidate.fit.zero_shift, **candidate.fit.refined} if candidate.fit.refined else None,
        "score": candidate.score,
        "confidence": candidate.confidence,
        "cif": f"candidate-{rank}.cif",
        "density": f"candidate-{rank}.cube",
        "reflections": None if reflections(candidate) is None else f"candidate-{rank}.hkl.csv",
    }


def _sites_json(candidate: Candidate) -> list[dict[str, Any]]:
    """An orbit each: its first atom, the esds of its coordinates (null where fixed), and its neighbours."""
    sites, esd = candidate.conventional, esd_of_atoms(candidate)
    atoms = [_atom_at(sites, row) for row in candidate.wyckoff]
    shells = neighbours_of(sites, atoms)
    return [
        {key: row[key] for key in ("element", "x", "y", "z", "wyckoff", "multiplicity")}
        | {"esd": dict(zip("xyz", esd[atom], strict=True)), "neighbours": [asdict(n) for n in shell]}
        | ({"unexplained": True} if row["element"] == "X" else {})
        for row, atom, shell in zip(candidate.wyckoff, atoms, shells, strict=True)
    ]


def _atom_at(sites: AtomSites, row: Mapping[str, Any]) -> int:
    """Index of the atom of the cell that stands where a row says."""
    apart = nearest_image(sites.frac_coords - [row["x"], row["y"], row["z"]]) @ sites.lattice
    own = np.array([symbol == row["element"] for symbol in sites.species])
    return int(np.where(own, np.linalg.norm(apart, axis=1), np.inf).argmin())


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


def summary_row(
    pattern: str, folder: str = "", content: Mapping[str, Any] | None = None, error: str = ""
) -> dict[str, Any]:
    """A line of summary.csv: the best candidate of a pattern, or why there is none.

    Parameters
    ----------
    pattern, folder
        The pattern's file and the folder of its solution.
    content
        The content of solution.json; None where there is no solution.
    error
        Why not.

    Returns
    -------
    dict
        A value for each column of SUMMARY, "" where there is none.
    """
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

"""What `solve` writes: readable by other programs, complete, and whole or not at all."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from crystalnet.crystal.lattice import Cell
from crystalnet.density.placement import placement
from crystalnet.records import (
    AtomSites,
    Candidate,
    DensityGrid,
    Fit,
    InputError,
    Pattern,
    Peaks,
    Radiation,
    Solution,
)
from crystalnet.report import files as report_files
from crystalnet.report import solution_json, summary_row, write_density, write_solution, write_summary
from crystalnet.report.cif_file import write_cif
from crystalnet.report.reasons import WHY, verdict
from crystalnet.report.view import drawn_points, level_holding, symbol_parts
from crystalnet.solving.confidence import FEATURES

A = 5.64
NACL = Cell("cubic", "F", A, A)
# Gaussian atoms: electrons and width in Å.
ATOMS = {"Na": (7.0, 0.35), "Cl": (7.0, 0.45), "X": (4.0, 0.4)}


def gaussian_density(sites: AtomSites, n: int = 50) -> np.ndarray:
    """(n, n, n) e/Å³: the sum of periodic Gaussian atoms, by structure factors."""
    wave = np.fft.fftfreq(n, 1 / n)
    hkl = np.stack(np.meshgrid(wave, wave, wave, indexing="ij"), axis=-1)
    g2 = np.sum((2 * np.pi * hkl @ np.linalg.inv(sites.lattice).T) ** 2, axis=-1)
    factors = np.zeros((n, n, n), dtype=complex)
    for symbol, x in zip(sites.species, sites.frac_coords, strict=True):
        charge, width = ATOMS[symbol]
        turn = [np.exp(-2j * np.pi * wave * v) for v in x]
        phase = turn[0][:, None, None] * turn[1][:, None] * turn[2]
        factors += charge * np.exp(-(width**2) * g2 / 2) * phase
    return np.fft.ifftn(factors).real * n**3 / sites.volume


def face_centred(species: tuple[str, str] = ("Na", "Cl")) -> tuple[AtomSites, AtomSites]:
    """Rock salt: primitive and conventional cells."""
    centres = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    primitive = AtomSites(NACL.primitive_lattice, species, np.array([[0, 0, 0], [0.5, 0.5, 0.5]]))
    coords = np.vstack([centres, (centres + 0.5) % 1])
    return primitive, AtomSites(NACL.conventional_lattice, tuple(s for s in species for _ in range(4)), coords)


TWO_THETA = np.arange(10.0, 90.0, 0.02)
LINES = np.array([27.4, 31.7, 45.5, 53.9, 56.5])
CU_LINES = ((1.540593, 1.0), (1.544427, 0.5))
RADIATION_JSON = {
    "lines": [{"wavelength_angstrom": length, "weight": weight} for length, weight in CU_LINES],
    "polarisation": 1.0,
}


def profile(scale: float = 1.0) -> np.ndarray:
    return 20 + scale * sum(1000 * np.exp(-(((TWO_THETA - t) / 0.08) ** 2)) for t in LINES)


def rock_salt(species: tuple[str, str] = ("Na", "Cl"), source: str = "network", rwp: float = 0.08) -> Candidate:
    primitive, conventional = face_centred(species)
    orbits = tuple(
        {"element": s, "x": x, "y": x, "z": x, "wyckoff": w, "multiplicity": np.int64(4)}
        for s, x, w in zip(species, (0.0, 0.5), "ab", strict=True)
    )
    fit = Fit(conventional, rwp, profile(0.97), np.full_like(TWO_THETA, 20.0), LINES, 0.01)
    density = DensityGrid(gaussian_density(primitive), primitive.lattice)
    setting = placement(conventional, density)
    formula = "".join(species)
    return Candidate(source, formula, 225, "Fm-3m", conventional, orbits, fit, -rwp, density, 0.8, setting=setting)


def solution(*candidates: Candidate, assumed: bool = False, warnings: tuple[str, ...] = ()) -> Solution:
    radiation = Radiation(CU_LINES, assumed=assumed)
    intensity = profile()
    pattern = Pattern(TWO_THETA, intensity, np.sqrt(intensity), radiation, "salt <1>.xy")
    d = 1.540593 / 2 / np.sin(np.radians(LINES / 2))
    ones = np.ones(len(LINES))
    background = np.full_like(TWO_THETA, 20.0)
    given = {
        "elements": ["Cl", "Na"],
        "formula": None,
        "wavelength_angstrom": 1.540593,
        "wavelength_assumed": assumed,
        "system": "auto",
    }
    guesses = np.array([c.density.values for c in candidates]).reshape(-1, 50, 50, 50)
    return Solution(
        pattern,
        Peaks(LINES, d, ones, 0.1 * ones, background, 10.0, 89.98, radiation),
        given,
        {"file": "cubic-small.safetensors", "sha256": "ab" * 32},
        NACL if candidates else None,
        candidates,
        guesses,
        np.arange(1, len(guesses) + 1),
        guesses.std(axis=0) if candidates else np.zeros((50, 50, 50)),
        NACL.primitive_lattice if candidates else None,
        {"read": 0.01, "index": float("nan")},
        warnings,
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("report") / "salt.crystalnet"
    found = solution(
        rock_salt(), rock_salt(("Na", "X"), "catalogue", float("nan")), assumed=True, warnings=("Cu Kα was assumed.",)
    )
    return out, write_solution(found, out)


def read_cube(path: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Lattice in Å, values, comment lines, read as the format says."""
    lines = path.read_text().splitlines()
    natoms = int(lines[2].split()[0])
    shape = [int(line.split()[0]) for line in lines[3:6]]
    steps = np.array([line.split()[1:] for line in lines[3:6]], dtype=float)
    values = np.array(" ".join(lines[6 + natoms :]).split(), dtype=float).reshape(shape)
    return steps * np.array(shape)[:, None] * 0.529177210903, values, lines[:2]


def test_folder_and_solution_json(written: tuple[Path, dict]) -> None:
    out, content = written
    names = {p.name for p in out.iterdir()}
    assert names == {
        *("solution.json", "report.html", "figure.png", "density.npz", "measured.xye"),
        *("candidate-1.cif", "candidate-2.cif", "candidate-1.cube", "candidate-2.cube"),
    }
    assert json.loads((out / "solution.json").read_text()) == content
    assert list(content) == ["crystalnet", "model", "given", "pattern", "candidates", "seconds", "warnings", "files"]
    assert set(content["files"]) == names - {"solution.json"}
    assert set(content["given"]) == {
        "elements",
        "formula",
        "wavelength_angstrom",
        "wavelength_assumed",
        "system",
    }
    assert content["given"]["formula"] is None and content["given"]["wavelength_assumed"] is True
    assert content["pattern"] == {
        **{"file": "salt <1>.xy", "points": len(TWO_THETA), "peaks": len(LINES)},
        **{"two_theta_min": 10.0, "two_theta_max": pytest.approx(89.98)},
        **{"data": "measured.xye", "radiation": RADIATION_JSON},
    }
    first, second = content["candidates"]
    assert set(first) == {
        *("rank", "source", "formula", "space_group", "lattice", "sites"),
        *("rwp", "refinement_failed", "refined", "score", "confidence", "cif", "density"),
        *("structure_type", "agreement", "esd", "reflections"),
    }
    assert first["lattice"] == {"a": A, "b": A, "c": A, "alpha": 90.0, "beta": 90.0, "gamma": 90.0}
    assert first["sites"][0] == {
        "element": "Na",
        "x": 0.0,
        "y": 0.0,
        "z": 0.0,
        "wyckoff": "a",
        "multiplicity": 4,
        "esd": dict.fromkeys("xyz"),
        "neighbours": [{"element": "Cl", "distance": 2.82, "count": 6}],
    }
    assert first["confidence"] == 0.8 and second["rwp"] is None and content["seconds"]["index"] is None
    assert second["sites"][1]["unexplained"] is True and "unexplained" not in second["sites"][0]


def test_cif_reads_back(written: tuple[Path, dict]) -> None:
    import gemmi
    from pymatgen.analysis.structure_matcher import StructureMatcher
    from pymatgen.core import Structure

    out, _ = written
    read = Structure.from_file(out / "candidate-1.cif")
    _, conventional = face_centred()
    assert StructureMatcher().fit(read, conventional.structure())
    assert gemmi.read_small_structure(str(out / "candidate-1.cif")).spacegroup_hm.replace(" ", "") == "Fm-3m"
    block = gemmi.cif.read(str(out / "candidate-2.cif")).sole_block()
    table = block.find(["_atom_site_type_symbol", "_atom_site_calc_flag"])
    assert sorted(tuple(row) for row in table) == [("Na", "d"), ("X", "dum")]


def test_cif_falls_back_to_p1(tmp_path: Path) -> None:
    from dataclasses import replace

    from pymatgen.core import Structure

    found = solution(rock_salt())
    write_cif(replace(rock_salt(), space_group_number=221), tmp_path / "p1.cif", found.pattern, found.pattern.radiation)
    assert "P 1" in (tmp_path / "p1.cif").read_text()
    assert len(Structure.from_file(tmp_path / "p1.cif")) == 8


def test_cube_is_the_conventional_cell(written: tuple[Path, dict]) -> None:
    out, _ = written
    lattice, values, comments = read_cube(out / "candidate-1.cube")
    assert lattice == pytest.approx(A * np.eye(3), abs=1e-4)
    assert values.mean() * A**3 == pytest.approx(4 * 14, rel=1e-4)
    assert "e/Angstrom^3" in comments[0]
    expected = gaussian_density(face_centred()[1], len(values))
    assert values == pytest.approx(expected, abs=1e-3 * expected.max())


def test_density_npz(written: tuple[Path, dict]) -> None:
    arrays = np.load(written[0] / "density.npz")
    assert arrays["density"].shape == (2, 50, 50, 50) and arrays["spread"].shape == (50, 50, 50)
    assert arrays["lattice"] == pytest.approx(NACL.primitive_lattice) and list(arrays["rank"]) == [1, 2]


def test_page_is_self_contained(written: tuple[Path, dict]) -> None:
    page = (written[0] / "report.html").read_text(encoding="utf-8")
    assert len(page.encode()) < 6e6
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", page)
    assert "salt &lt;1&gt;.xy" in page and "salt <1>" not in page
    for words in (
        "was assumed",
        "valence density",
        "not the total X-ray density",
        "none of the given elements explains",
    ):
        assert words in page
    data = json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.S)[1])
    assert len(data["candidates"]) == 2 and len(data["candidates"][0]["density"]["shape"]) == 3
    assert {a["element"] for a in data["candidates"][1]["atoms"]} == {"Na", "X"}


def test_page_names_the_files_beside_it(tmp_path: Path) -> None:
    from dataclasses import replace

    found = solution(rock_salt())
    nothing = replace(
        found, guesses=found.guesses[:0], guess_rank=found.guess_rank[:0], spread=np.zeros_like(found.spread)
    )
    for folder, one in ("drawn", found), ("of the atoms", nothing), ("none", solution()):
        write_solution(one, tmp_path / folder)
        page = (tmp_path / folder / "report.html").read_text(encoding="utf-8")
        assert ('href="density.npz"' in page) is (tmp_path / folder / "density.npz").exists()


def test_page_says_how_far_to_believe(tmp_path: Path) -> None:
    from dataclasses import replace

    evidence = dict.fromkeys(FEATURES, 0.0) | {
        "log_excess": np.log(0.08),
        "log_merit": 5.0,
        "balanced": 1.0,
        "volume": 0.7,
    }
    sure, unsure = (replace(rock_salt(), confidence=c, evidence=evidence) for c in (0.93, 0.1))
    content = write_solution(solution(sure, unsure), tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Right with a probability of 93\u00a0%" in page and "its volume is unusual" in page
    assert page.count("Why this confidence") == 2
    assert summary_row("a", "b", content)["confidence"] == 0.93
    assert verdict(0.1, evidence).startswith("Not convincing")


def test_page_knows_the_evidence_of_solve() -> None:
    assert set(WHY) == set(FEATURES)


def test_page_holds_the_spread_of_the_guesses(written: tuple[Path, dict]) -> None:
    page = (written[0] / "report.html").read_text(encoding="utf-8")
    data = json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.S)[1])
    assert data["candidates"][0]["spread"] is not None and "where the guesses differ" in page


def test_figure_is_a_picture(written: tuple[Path, dict]) -> None:
    from matplotlib.image import imread

    picture = imread(written[0] / "figure.png")
    assert min(picture.shape[:2]) > 800 and picture[..., :3].std() > 0.05


def test_nothing_indexed(tmp_path: Path) -> None:
    content = write_solution(solution(warnings=("No cell explains the lines.",)), tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"solution.json", "report.html", "figure.png", "measured.xye"}
    assert content["candidates"] == []
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "No cell explains the lines." in page and "lines found" in page


@pytest.fixture
def no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figure takes most of the time; where it is not asked for an empty file stands in."""
    monkeypatch.setattr("crystalnet.report.figure.write_figure", lambda *arguments: arguments[-1].touch())


@pytest.mark.usefixtures("no_figure")
def test_second_run_replaces_the_first(tmp_path: Path) -> None:
    write_solution(solution(rock_salt(), rock_salt()), tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    write_solution(solution(rock_salt()), tmp_path)
    names = {p.name for p in tmp_path.iterdir()}
    assert "candidate-2.cif" not in names and "candidate-2.cube" not in names and "notes.txt" in names


@pytest.mark.usefixtures("no_figure")
def test_failure_leaves_the_folder_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_solution(solution(), tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def broken(*_: object) -> None:
        raise RuntimeError("disk full")

    monkeypatch.setattr(report_files, "write_cube", broken)
    with pytest.raises(RuntimeError):
        write_solution(solution(rock_salt()), tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_out_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match="--out"):
        write_solution(solution(), tmp_path / "taken")


def test_solution_json_is_pure_and_finite() -> None:
    json.dumps(solution_json(solution(rock_salt(rwp=float("nan")))), allow_nan=False)


@pytest.mark.usefixtures("no_figure")
def test_unplaceable_density_is_still_written(tmp_path: Path) -> None:
    from dataclasses import replace

    odd = replace(rock_salt(), density=DensityGrid(np.ones((50, 50, 50)), np.diag([3.0, 3.0, 7.1])), setting=None)
    write_solution(solution(odd), tmp_path)
    assert "in its own cell" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert read_cube(tmp_path / "candidate-1.cube")[0] == pytest.approx(np.diag([3.0, 3.0, 7.1]), abs=1e-4)


def test_level_holding() -> None:
    values = np.array([4.0, 3.0, 2.0, 1.0]).reshape(4, 1, 1)
    assert level_holding(values, 0.7) == 3.0 and level_holding(values, 1.0) == 1.0


def test_drawn_points_keep_peaks() -> None:
    intensity = np.zeros(20000)
    intensity[12345] = 9.0
    shown = drawn_points(intensity, 5000)
    assert 12345 in shown and len(shown) <= 5003 and shown[0] == 0 and shown[-1] == 19999


def test_symbol_parts() -> None:
    assert symbol_parts("P6_3/mmc") == [("text", "P6"), ("sub", "3"), ("text", "/mmc")]
    assert symbol_parts("R-3c") == [("text", "R"), ("bar", "3"), ("text", "c")]


def test_write_density(tmp_path: Path) -> None:
    from pymatgen.io.vasp import Chgcar

    primitive, _ = face_centred()
    grid = DensityGrid(gaussian_density(primitive, 20), primitive.lattice)
    for name in ("rho.npz", "rho.cube", "CHGCAR"):
        write_density(grid, primitive, tmp_path / name)
    assert {p.name for p in tmp_path.iterdir()} == {"rho.npz", "rho.cube", "CHGCAR"}
    arrays = np.load(tmp_path / "rho.npz")
    assert arrays["density"] == pytest.approx(grid.values, rel=1e-6) and list(arrays["species"]) == [
        "Na",
        "Cl",
    ]
    lattice, values, _ = read_cube(tmp_path / "rho.cube")
    assert lattice == pytest.approx(primitive.lattice, abs=1e-4) and values == pytest.approx(grid.values, rel=1e-4)
    chgcar = Chgcar.from_file(tmp_path / "CHGCAR")
    assert chgcar.data["total"].mean() == pytest.approx(14.0, rel=1e-6)
    assert chgcar.data["total"] / primitive.volume == pytest.approx(grid.values, abs=1e-6 * grid.values.max())
    assert chgcar.structure.composition.reduced_formula == "NaCl"


@pytest.mark.parametrize("name", ["rho.txt", "rho", "absent/rho.npz"])
def test_write_density_refuses(tmp_path: Path, name: str) -> None:
    primitive, _ = face_centred()
    with pytest.raises(InputError):
        write_density(DensityGrid(np.ones((4, 4, 4)), primitive.lattice), primitive, tmp_path / name)


def test_summary(tmp_path: Path) -> None:
    rows = [
        summary_row("a.xy", "a.crystalnet", solution_json(solution(rock_salt()))),
        summary_row("b.xy", "b.crystalnet", solution_json(solution())),
        summary_row("c.xy", error="no such file"),
    ]
    write_summary(rows, tmp_path / "summary.csv")
    with open(tmp_path / "summary.csv", newline="") as file:
        read = list(csv.DictReader(file))
    assert [r["formula"] for r in read] == ["NaCl", "", ""]
    assert float(read[0]["a"]) == A and read[0]["space_group"] == "Fm-3m" and float(read[0]["confidence"]) == 0.8
    assert read[1]["error"] == "no candidate found" and read[2]["error"] == "no such file"

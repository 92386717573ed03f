"""`crystalnet export` from a solution's folder to files that other programs read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import gemmi
import numpy as np
import pytest

from crystalnet.cli import main
from crystalnet.crystal.elements import atomic_numbers
from crystalnet.export import PROGRAMS, read_project
from crystalnet.export.setting import Described, Site, expanded
from crystalnet.ops.reflections import reflections
from crystalnet.records import AtomSites
from crystalnet.xrd.reader import read_pattern

EXAMPLE = Path(__file__).parents[2] / "examples" / "Zr3Sb4Pt3.xy"
FILES = {
    "gsas2": {"candidate-1.cif", "candidate-1.xye", "candidate-1.instprm", "candidate-1.py"},
    "fullprof": {"candidate-1.pcr", "candidate-1.dat"},
    "topas": {"candidate-1.inp", "candidate-1.xye"},
    "jana": {"candidate-1.cif", "candidate-1.dat", "README.txt"},
    "vesta": {"candidate-1.cif", "candidate-1.cube", "README.txt"},
}
Run = Callable[..., int]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["crystalnet", *arguments])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.fixture(scope="module")
def solution(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's solution, made once: a simulated pattern of a known crystal, with a zero shift."""
    folder = tmp_path_factory.mktemp("solved") / "Zr3Sb4Pt3.crystalnet"
    options = ("--elements", "Zr,Sb,Pt", "--system", "cubic", "--candidates", "catalogue", "--out", str(folder))
    with pytest.MonkeyPatch.context() as patch:
        assert run(patch, "solve", str(EXAMPLE), *options) == 0
    return folder


@pytest.fixture
def commanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line in an empty folder; returns the exit code."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: run(monkeypatch, *arguments)


@pytest.fixture
def copy(solution: Path, tmp_path: Path) -> Path:
    """A solution that a test may damage."""
    return Path(shutil.copytree(solution, tmp_path / "copy.crystalnet"))


def table(path: Path, skip: int = 0) -> np.ndarray:
    return np.loadtxt(path, skiprows=skip)


def lines(sites: AtomSites) -> np.ndarray:
    numbers = atomic_numbers(sites.species)
    found = reflections(sites.lattice, sites.frac_coords, numbers, 1.540593, 90, cut=1e-3)
    return np.column_stack([found.two_theta, found.intensity / found.intensity.max()])


@pytest.mark.parametrize("program", sorted(PROGRAMS))
def test_writes_the_files_of_a_program(commanded: Run, solution: Path, tmp_path: Path, program: str) -> None:
    assert commanded("export", str(solution), f"--{program}") == 0
    folder = tmp_path / f"Zr3Sb4Pt3-1.{program}"
    assert {path.name for path in folder.iterdir()} == FILES[program] | {"export.json"}


def test_the_pattern_is_the_one_that_was_solved(commanded: Run, solution: Path, tmp_path: Path) -> None:
    measured = read_pattern(EXAMPLE)
    expected = np.column_stack([measured.two_theta, measured.intensity, measured.sigma])
    for program, name, head in (("gsas2", "xye", 0), ("topas", "xye", 0), ("jana", "dat", 0), ("fullprof", "dat", 6)):
        assert commanded("export", str(solution), f"--{program}", "--out", program) == 0
        np.testing.assert_allclose(table(tmp_path / program / f"candidate-1.{name}", head), expected, rtol=1e-5)


def test_the_crystal_is_the_candidate(commanded: Run, solution: Path, tmp_path: Path) -> None:
    """Of what each program reads: the powder lines of the candidate's own CIF, expanded by its own operations."""
    from pymatgen.core import Structure

    whole = AtomSites.from_structure(Structure.from_file(solution / "candidate-1.cif"))
    assert len(whole) == 40
    assert commanded("export", str(solution), "--gsas2", "--out", "out") == 0
    crystal = gemmi.read_small_structure(str(tmp_path / "out" / "candidate-1.cif"))
    group = gemmi.get_spacegroup_reference_setting(crystal.spacegroup_number)
    sites = tuple(Site(s.label, s.type_symbol, tuple(s.fract.tolist()), 0) for s in crystal.sites)
    written = expanded(Described(group, crystal.cell.parameters, sites))
    np.testing.assert_allclose(lines(written), lines(whole), atol=1e-3)


def test_what_rietx_reads_explains_the_pattern(commanded: Run, solution: Path, tmp_path: Path) -> None:
    """Cell, atoms, scale, B, zero, widths, wavelengths and units at once: the profile calculated from the files."""
    from rietx import Refinement
    from rietx.io.instrument_profile import read_gsas2_instprm
    from rietx.io.projects import fullprof, topas
    from rietx.schemas.instrument import Geometry

    for program in ("gsas2", "fullprof", "topas"):
        assert commanded("export", str(solution), f"--{program}", "--out", program) == 0
    instrument = read_gsas2_instprm(tmp_path / "gsas2" / "candidate-1.instprm")
    instrument = instrument.model_copy(update={"geometry": Geometry(kind="debye_scherrer")})
    of_pcr = fullprof.to_structure(fullprof.read_fullprof_pcr(tmp_path / "fullprof" / "candidate-1.pcr"))
    of_inp = topas.to_structure(topas.read_topas_inp(tmp_path / "topas" / "candidate-1.inp"))
    project = read_project(solution)
    pattern = project.pattern
    for structure, halves in ((of_pcr, 1), (of_inp, 2)):  # TOPAS's Lp has no factor 1/2
        (phase,) = structure.phases
        phase.scale.value *= halves
        assert phase.cell.a.value == pytest.approx(9.63, abs=0.001)
        calculated = Refinement(structure, instrument, history=False).predict(pattern.two_theta)
        net = pattern.intensity - project.background
        weight = 1 / pattern.sigma**2
        misfit = (weight * (net - calculated) ** 2).sum() / (weight * net**2).sum()
        assert np.sqrt(misfit) < 0.25  # 0.17 in the solution, with its own background


def test_gsas2_script_is_python_and_names_its_files(commanded: Run, solution: Path, tmp_path: Path) -> None:
    assert commanded("export", str(solution), "--gsas2", "--out", "out") == 0
    script = (tmp_path / "out" / "candidate-1.py").read_text()
    compile(script, "candidate-1.py", "exec")
    for name in FILES["gsas2"] - {"candidate-1.py"}:
        assert f'"{name}"' in script


def test_gsas2_refines_to_the_same_cell(commanded: Run, solution: Path, tmp_path: Path) -> None:
    """With the Python of a GSAS-II installation in CRYSTALNET_GSAS2."""
    python = os.environ.get("CRYSTALNET_GSAS2")
    if python is None:
        pytest.skip("no GSAS-II (set CRYSTALNET_GSAS2 to its Python)")
    assert commanded("export", str(solution), "--gsas2", "--out", "out") == 0
    out = subprocess.run([python, "out/candidate-1.py"], capture_output=True, text=True, check=True).stdout
    assert (tmp_path / "out" / "candidate-1.gpx").is_file()
    edge = float(out.split("'length_a':")[1].split(",")[0].replace("np.float64(", "").strip(" )"))
    assert edge == pytest.approx(9.63, abs=0.0005)


def test_vesta_has_the_solution_s_own_axes(commanded: Run, solution: Path, tmp_path: Path) -> None:
    assert commanded("export", str(solution), "--vesta", "--out", "out") == 0
    for name in ("candidate-1.cif", "candidate-1.cube"):
        assert (tmp_path / "out" / name).read_bytes() == (solution / name).read_bytes()


def test_another_candidate(commanded: Run, solution: Path, tmp_path: Path) -> None:
    entries = json.loads((solution / "solution.json").read_text())["candidates"]
    assert len(entries) > 1
    assert commanded("export", str(solution), "--fullprof", "--candidate", "2") == 0
    text = (tmp_path / "Zr3Sb4Pt3-2.fullprof" / "candidate-2.pcr").read_text()
    assert entries[1]["formula"] in text.splitlines()[0]


def test_an_older_solution_is_to_be_solved_again(
    commanded: Run, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads((copy / "solution.json").read_text())
    for key in ("data", "radiation"):
        del document["pattern"][key]
    (copy / "solution.json").write_text(json.dumps(document))
    assert refused(commanded, capsys, str(copy), "--topas") == "holds no measured pattern"


def test_a_candidate_that_was_not_refined_gets_typical_widths(
    commanded: Run, copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads((copy / "solution.json").read_text())
    document["candidates"][0]["refined"] = None
    (copy / "solution.json").write_text(json.dumps(document))
    assert commanded("export", str(copy), "--topas", "--out", "out") == 0
    assert "could not be refined" in capsys.readouterr().err
    assert "could not be refined" in (tmp_path / "out" / "candidate-1.inp").read_text()


def test_a_pattern_s_name_stays_a_comment(commanded: Run, copy: Path, tmp_path: Path) -> None:
    document = json.loads((copy / "solution.json").read_text())
    document["pattern"]["file"] = 'in/α"""\\N\nprint().xy'
    (copy / "solution.json").write_text(json.dumps(document))
    for program, name in (("gsas2", "py"), ("fullprof", "pcr"), ("topas", "inp")):
        assert commanded("export", str(copy), f"--{program}", "--out", program) == 0
        text = (tmp_path / program / f"candidate-1.{name}").read_text()
        assert text.isascii() and not any(line.startswith("print()") for line in text.splitlines())
    compile((tmp_path / "gsas2" / "candidate-1.py").read_text(), "candidate-1.py", "exec")


SAID = (
    "no such folder",
    "holds no solution.json",
    "there is no candidate",
    "choose one of",
    "holds no measured pattern",
    "is damaged",
    "cannot be read",
    "is missing",
    "lists no atoms",
    "is not what an earlier run left",
)


def refused(commanded: Run, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What was said of bad usage, in one line, with exit code 2."""
    capsys.readouterr()
    assert commanded("export", *arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("crystalnet: ") and err.count("\n") == 1 and "Traceback" not in err
    return next((said for said in SAID if said in err), err)


def test_bad_usage_is_one_line(
    commanded: Run, solution: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    folder = str(solution)
    assert refused(commanded, capsys, "nowhere", "--gsas2") == "no such folder"
    assert refused(commanded, capsys, "empty", "--gsas2") == "holds no solution.json"
    assert refused(commanded, capsys, folder) == "choose one of"
    assert refused(commanded, capsys, folder, "--gsas2", "--topas") == "choose one of"
    for rank in ("0", "-1", "99"):
        assert refused(commanded, capsys, folder, "--jana", "--candidate", rank) == "there is no candidate"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty"]  # nothing was begun


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "solution.json").write_text("{"), "cannot be read"),
        (lambda folder: (folder / "solution.json").write_text("[]"), "is damaged"),
        (
            lambda folder: (folder / "solution.json").write_text('{"candidates": [1], "pattern": {}}'),
            "holds no measured",
        ),
        (lambda folder: (folder / "candidate-1.cif").unlink(), "is missing"),
        (lambda folder: (folder / "candidate-1.cif").write_text("no CIF"), "cannot be read"),
        (lambda folder: (folder / "candidate-1.cif").write_text("data_x"), "lists no atoms"),
        (lambda folder: (folder / "measured.xye").unlink(), "is missing"),
    ],
)
def test_a_damaged_solution_is_one_line(
    commanded: Run, copy: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], object], said: str
) -> None:
    damage(copy)
    assert refused(commanded, capsys, str(copy), "--topas", "--out", "out").startswith(said)
    assert not Path("out").exists()


def test_only_what_an_export_left_is_replaced(
    commanded: Run, solution: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export = ("export", str(solution), "--fullprof", "--out", "out")
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    assert commanded(*export) == 0
    assert commanded("export", str(solution), "--topas", "--out", "out") == 0  # replaces the .pcr and .dat
    assert {path.name for path in out.iterdir()} == FILES["topas"] | {"export.json", "notes.txt"}
    assert commanded(*export) == 0
    (out / "candidate-1.pcr").write_text("refined by hand")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert refused(commanded, capsys, *export[1:]) == "is not what an earlier run left"
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_the_solution_s_own_folder_is_not_written_over(
    commanded: Run, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    assert refused(commanded, capsys, str(copy), "--gsas2", "--out", str(copy)) == "is not what an earlier run left"
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before

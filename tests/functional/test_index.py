"""`crystalnet index`: patterns and lists of lines of every crystal system, as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from crystalnet.cli import main
from crystalnet.crystal.lattice import Cell
from crystalnet.crystal.systems import SYSTEMS

EXAMPLES = Path(__file__).parents[2] / "examples"
CELLS = {
    "cubic": Cell("cubic", "F", 5.6402, 5.6402),
    "hexagonal": Cell("hexagonal", "P", 3.2495, 5.2069),
    "trigonal": Cell("trigonal", "R", 4.7602, 12.9933),
    "tetragonal": Cell("tetragonal", "P", 4.5937, 2.9587),
    "orthorhombic": Cell("orthorhombic", "P", 8.482, 6.959, b=5.398),
    "monoclinic": Cell("monoclinic", "P", 5.1446, 5.3129, b=5.2113, beta=99.237),
    "triclinic": Cell("triclinic", "P", 7.066, 7.923, b=7.321, alpha=77.3, beta=84.6, gamma=81.2),
}
ALLOWED = {
    "P": lambda h, k, m: True,
    "F": lambda h, k, m: h % 2 == k % 2 == m % 2,
    "R": lambda h, k, m: (-h + k + m) % 3 == 0,
}


def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object
) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["crystalnet", "index", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    said = capsys.readouterr()
    return int(stop.value.code or 0), said.out, said.err


def d_values(cell: Cell, count: int = 24) -> np.ndarray:
    i = np.arange(-8, 9)
    hkl = np.array(
        [x for x in np.stack(np.meshgrid(i, i, i), -1).reshape(-1, 3) if x.any() and ALLOWED[cell.centring](*x)]
    )
    d = np.unique(np.round(cell.d_spacing(hkl), 4))[::-1]
    return d[:count]


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_list_of_d_values_gives_the_cell(
    system: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = CELLS[system]
    path = tmp_path / "lines.txt"
    path.write_text("# d\n" + "\n".join(f"{d:.4f}" for d in d_values(cell)))
    code, out, _ = run(capsys, monkeypatch, path, "--json")
    document = json.loads(out)
    best = document["cells"][0]
    assert code == 0
    assert (best["rank"], best["system"], best["centring"]) == (1, system, cell.centring)
    assert best["volume"] == pytest.approx(abs(np.linalg.det(cell.conventional_lattice)), rel=2e-3)
    assert sorted(best["lattice"][x] for x in "abc") == pytest.approx(sorted((cell.a, cell.b, cell.c)), rel=2e-3)
    assert best["m20"] > 20 and best["f_n"] > 10 and best["n_indexed"] == best["n_lines"]
    assert all(line["hkl"] is not None for line in document["lines"])
    assert {"two_theta", "d", "area", "hkl"} == set(document["lines"][0])


def test_indices_are_those_of_the_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rutile.csv"
    path.write_text("two_theta,intensity\n" + "\n".join(f"{x},{y}" for x, y in RUTILE))
    code, out, _ = run(capsys, monkeypatch, path, "--json", "--elements", "Ti,O")
    lines = json.loads(out)["lines"]
    assert code == 0
    likeliest = json.loads(out)["space_groups"][0]
    assert "P4_2/mnm" in likeliest["symbols"] and 136 in likeliest["numbers"] and likeliest["probability"] > 0.5
    assert [line["hkl"] for line in lines[:4]] == [[1, 1, 0], [1, 0, 1], [2, 0, 0], [1, 1, 1]]


#: TiO2, Cu Kα1: a = 4.5937, c = 2.9587 Å.
RUTILE = [
    (27.435, 100), (36.073, 50), (39.187, 8), (41.233, 25), (44.037, 10), (54.315, 60), (56.624, 20), (62.736, 10),
    (64.035, 10), (65.478, 2), (68.997, 20), (69.786, 12), (72.410, 2), (76.507, 4),
]  # fmt: skip


def test_a_pattern_is_told_as_a_table_and_a_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = tmp_path / "lines.png"
    code, out, _ = run(capsys, monkeypatch, EXAMPLES / "Zr3Sb4Pt3.xy", "--cells", 3, "--figure", picture)
    first = out.splitlines()[2].split()
    assert code == 0 and first[:3] == ["1", "cubic", "I"] and float(first[3]) == pytest.approx(9.63, abs=0.01)
    (groups,) = [line.split() for line in out.splitlines() if line.startswith("space groups of cell 1")]
    assert groups[-2:] == [">99%", "I-43d"]
    with Image.open(picture) as image:
        assert image.size[0] > 1000
    code, _, _ = run(capsys, monkeypatch, EXAMPLES / "Zr3Sb4Pt3.xy", "--figure", picture)
    assert code == 0  # its own picture is replaced
    own = tmp_path / "own.png"
    own.write_bytes(b"mine")
    code, _, said = run(capsys, monkeypatch, EXAMPLES / "Zr3Sb4Pt3.xy", "--figure", own)
    assert code == 2 and own.read_bytes() == b"mine" and "own.png" in said


def test_random_lines_have_no_cell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "random.txt"
    path.write_text("# 2theta\n" + "\n".join(f"{x:.3f}" for x in np.sort(np.random.default_rng(0).uniform(10, 70, 20))))
    code, out, said = run(capsys, monkeypatch, path, "--json")
    assert code == 1 and json.loads(out)["cells"] == [] and said.startswith("crystalnet: random.txt: no cell explains")


BAD: dict[str, tuple[str, list[str], str]] = {
    "one number": ("4.2\n", [], "lists 1 line;"),
    "d, 2θ or q?": ("1.1\n2.3\n3.4\n4.2\n", [], "--axis"),
    "no such system": ("4.2\n3.1\n2.2\n", ["--system", "quartic"], "--system"),
    "no such axis": ("4.2\n3.1\n2.2\n", ["--axis", "x"], "--axis"),
    "no such element": ("4.2\n3.1\n2.2\n", ["--elements", "Qq"], "Qq"),
    "words": ("d\nfour\n", [], "holds no columns"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_indexed_is_said_in_one_line(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text, options, word = BAD[case]
    path = tmp_path / "lines.txt"
    path.write_text(text)
    code, out, said = run(capsys, monkeypatch, path, *options)
    assert (code, out) == (2, "") and word in said and said.count("\n") == 1


def lines_of_text(tmp_path: Path, text: str, **options: Any) -> Any:
    from crystalnet.xrd.line_list import read_line_list

    path = tmp_path / "lines.txt"
    path.write_text(text)
    return read_line_list(path, **options)


def test_lists_are_told_from_profiles(tmp_path: Path) -> None:
    from crystalnet.xrd.line_list import read_line_list

    assert read_line_list(EXAMPLES / "Zr3Sb4Pt3.xy") is None
    rng = np.random.default_rng(1)
    long = np.sort(rng.uniform(10, 90, 120))
    assert len(lines_of_text(tmp_path, "\n".join(f"{x:.3f} {rng.uniform(1, 9):.2f}" for x in long))) > 100
    steps = np.arange(10, 90, 0.5)
    assert lines_of_text(tmp_path, "\n".join(f"{x:.3f} {rng.uniform(1, 9):.2f}" for x in steps)) is None
    d_profile = 2 * np.pi / np.linspace(1, 6, 400)
    assert lines_of_text(tmp_path, "\n".join(f"{x:.5f} {rng.uniform(1, 9):.2f}" for x in d_profile)) is None


def test_no_measured_pattern_is_a_list(shared_data: Path) -> None:
    from crystalnet.xrd.line_list import read_line_list

    files = [*shared_data.glob("patterns/*.xy"), *shared_data.glob("nano/*.xy"), *shared_data.glob("mixtures/*.xrdml")]
    assert [path.name for path in files if read_line_list(path) is not None] == []


def test_the_lines_that_simulate_writes_are_a_list(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lines.xy"
    monkeypatch.setattr("sys.argv", ["crystalnet", "simulate", str(EXAMPLES / "Zr3Sb4Pt3.cif"), "--out", str(path)])
    with pytest.raises(SystemExit):
        main()
    code, out, said = run(capsys, monkeypatch, path, "--wavelength", "MoKa", "--json")
    document = json.loads(out.partition("\n")[2] if out.startswith(str(path)) else out)
    best = document["cells"][0]
    assert code == 0 and "arcsin" not in said and (best["system"], best["centring"]) == ("cubic", "I")
    assert best["m20"] > 100 and best["lattice"]["a"] == pytest.approx(9.63, abs=0.02)
    assert sum(line["hkl"] is None for line in document["lines"]) == 0


def test_what_a_column_is(tmp_path: Path) -> None:
    d = lines_of_text(tmp_path, "4.255\n3.343\n2.456\n")
    assert d.d_spacing == pytest.approx([4.255, 3.343, 2.456])
    assert d.radiation.wavelength == pytest.approx(1.5406, abs=1e-4)
    angles = lines_of_text(tmp_path, "20.86\n26.64\n36.54\n")
    assert angles.two_theta == pytest.approx([20.86, 26.64, 36.54])
    q = lines_of_text(tmp_path, "1.4767\n1.8795\n2.5583\n", axis="q")
    assert q.d_spacing == pytest.approx([4.255, 3.343, 2.456], rel=1e-3)
    small = lines_of_text(tmp_path, "1.10\n0.62\n0.41\n")  # beyond copper's reach
    assert small.d_spacing == pytest.approx([1.10, 0.62, 0.41])
    rounded, exact = lines_of_text(tmp_path, "4.3\n3.3\n2.5\n"), lines_of_text(tmp_path, "4.3000\n3.3000\n2.5000\n")
    assert (rounded.fwhm > 3 * exact.fwhm).all()
    table = lines_of_text(tmp_path, "d,I\n4.3,100\n3.3,50\n2.5,20\n")  # the decimals are those of d, whatever follows
    assert table.fwhm == pytest.approx(rounded.fwhm)
    commas = lines_of_text(tmp_path, "4,3;100,25\n3,3;50,75\n2,5;20,50\n")
    assert commas.d_spacing == pytest.approx([4.3, 3.3, 2.5]) and commas.fwhm == pytest.approx(rounded.fwhm)

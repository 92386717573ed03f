"""Bad input gets one clear line on stderr and exit code 2: no traceback, nothing half-written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from crystalnet.cli import main

GOOD_PATTERN = Path(__file__).parents[2] / "examples" / "Zr3Sb4Pt3.xy"
CIF = Path(__file__).parents[2] / "examples" / "Zr3Sb4Pt3.cif"


def _rows(columns: Callable[[np.ndarray], str], n: int = 500) -> str:
    return "\n".join(columns(x) for x in np.linspace(10, 90, n))


CIF_HEAD = "data_x\n" + "".join(f"_cell_length_{edge} 20\n" for edge in "abc")
CIF_ATOM = "loop_\n_atom_site_label\n" + "".join(f"_atom_site_fract_{axis}\n" for axis in "xyz")
CIF_ATOM += "_atom_site_occupancy\n{}\n"

FILES = {
    "empty.xy": "",
    "binary.xy": bytes(range(256)) * 40,
    "words.xy": "this is not a pattern\n" * 100,
    "few.xy": "10 1\n11 2\n12 3\n",
    "one_column.xy": _rows(lambda x: f"{x:.3f}"),
    "constant.xy": _rows(lambda x: f"{x:.3f} 7"),
    "nan.xy": _rows(lambda x: f"{x:.3f} nan"),
    "negative_axis.xy": _rows(lambda x: f"{-x:.3f} {100 + x:.1f}"),
    "noise.xy": _rows(lambda x: f"{x:.3f} {1000 + 30 * np.sin(1e6 * x):.1f}"),
    "junk.cif": "data_junk\n_cell_length_a what\n",
    "open.cif": CIF_HEAD + "_symmetry_space_group_name_H-M 'F d -3 m'\n" + CIF_ATOM.format("La1 0.117 0.323 0.071 1"),
    "disordered.cif": CIF_HEAD + "_symmetry_space_group_name_H-M 'P m -3 m'\n" + CIF_ATOM.format("La1 0 0 0 0.5"),
    "formula.cif": CIF_HEAD + "_chemical_formula_sum 'La B6'\n" + CIF_ATOM.format("La1 0 0 0 1"),
    "junk.safetensors": b"not a model" * 10,
    "junk.jsonl": "{}\n",
    "broken.jsonl": '{"lattice": [[1,0,0\n',
}

PATTERN_CASES = {
    "missing file": (["absent.xy"], "absent.xy"),
    "a folder": (["."], ""),
    "empty file": (["empty.xy"], "empty"),
    "binary file": (["binary.xy"], "binary.xy"),
    "no numbers": (["words.xy"], "words.xy"),
    "too few points": (["few.xy"], "few.xy"),
    "one column": (["one_column.xy"], "one_column.xy"),
    "constant intensity": (["constant.xy"], "constant"),
    "only NaN": (["nan.xy"], "nan.xy"),
    "an axis that is no 2θ": (["negative_axis.xy"], "negative_axis.xy"),
    "no peaks": (["noise.xy"], "peak"),
    "unknown element": (["GOOD", "--elements", "Zr,Qq"], "Qq"),
    "no elements": (["GOOD", "--elements", ","], "--elements"),
    "no formula": (["GOOD", "--formula", "Zr3(("], "--formula"),
    "elements in doubt": (["GOOD", "--elements", "co"], "Co or C,O"),
    "an amount left open": (["GOOD", "--formula", "Li1-xCoO2"], "--elements Li,Co,O"),
    "a solid solution": (["GOOD", "--formula", "La0.7Sr0.3MnO3"], "LaMnO3"),
    "a dot in doubt": (["GOOD", "--formula", "Fe2O3.3SO3"], "decimal point"),
    "formula against elements": (["GOOD", "--elements", "Zr,Sb", "--formula", "Zr3Sb4Pt3"], "different elements"),
    "unknown tube": (["GOOD", "--wavelength", "XxKa"], "wavelength"),
    "wavelength out of range": (["GOOD", "--wavelength", "154.06"], "wavelength"),
    "wavelength in nm": (["GOOD", "--wavelength", "0.15406"], "did you mean 1.5406 Å"),
    "an energy as wavelength": (["GOOD", "--wavelength", "8.048"], "8.048 keV"),
    "unknown monochromator": (["GOOD", "--wavelength", "CuKa", "--monochromator", "glass"], "graphite"),
    "monochromator of a synchrotron": (["GOOD", "--wavelength", "0.41", "--monochromator", "Si"], "synchrotron"),
    "unknown system": (["GOOD", "--system", "cubicle"], "--system"),
    "no cell": (["GOOD", "--cell", "a=b"], "cell"),
    "no bond length": (["GOOD", "--elements", "Na,Cl", "--distance", "Na-Cl"], "two elements and Å"),
    "neighbours of another element": (["GOOD", "--elements", "Na,Cl", "--coordination", "K=6"], "K is not among"),
    "zero guesses": (["GOOD", "--guesses", "0"], "guesses"),
    "unknown candidates": (["GOOD", "--elements", "Zr", "--candidates", "some"], "--candidates"),
    "missing model": (["GOOD", "--model", "absent.safetensors"], "absent.safetensors"),
    "junk model": (["GOOD", "--model", "junk.safetensors"], "junk.safetensors"),
    "unknown option": (["GOOD", "--colour", "blue"], "--colour"),
}

COMMAND_CASES = {
    "no pattern": (["solve"], "PATTERN"),
    "unknown command": (["slove", "x.xy"], "slove"),
    "unknown source": (["fetch", "--source", "internet"], "--source"),
    "no key": (["fetch", "--source", "materials-project"], "MP_API_KEY"),
    "files without paths": (["fetch", "--source", "files"], "files"),
    "fetch of junk": (["fetch", "--source", "files", "--system", "cubic", "--out", "o", "junk.cif"], "junk.cif"),
    "missing types": (
        ["fetch", "--source", "prototypes", "--system", "cubic", "--types", "absent.jsonl"],
        "absent.jsonl",
    ),
    "data into a file": (
        ["fetch", "--source", "files", "--system", "cubic", "--out", "empty.xy/o", "CIF"],
        "empty.xy",
    ),
    "a simulation into a file": (["simulate", "CIF", "--out", "empty.xy/o.xy"], "empty.xy"),
    "unknown preset": (["train", "--preset", "huge"], "--preset"),
    "train on another system": (["train", "--system", "monoclinic"], "--system"),
    "train without data": (["train", "--data", "absent", "--out", "run"], "absent"),
    "verify a foreign folder": (["data", "verify", "."], "data set"),
    "evaluate a missing file": (["evaluate", "absent.jsonl"], "absent.jsonl"),
    "evaluate empty records": (["evaluate", "junk.jsonl"], "lacks"),
    "evaluate broken records": (["evaluate", "broken.jsonl"], "line 1"),
    "evaluate with unknown givens": (["evaluate", "junk.jsonl", "--given", "everything"], "--given"),
    "density of junk": (["density", "junk.cif"], "junk.cif"),
    "density of an open setting": (["density", "open.cif"], "F d -3 m:1 or F d -3 m:2"),
    "a disordered simulation": (["simulate", "disordered.cif"], "partially occupied"),
    "a simulation against its formula": (["simulate", "formula.cif"], "B of its formula has no site"),
    "fetch of an open setting": (
        ["fetch", "--source", "files", "--system", "cubic", "--out", "o", "open.cif"],
        "F d -3 m:1",
    ),
    "density as an unknown file": (["density", "CIF", "--out", "x.bmp"], "x.bmp"),
    "density of an unknown cell": (["density", "CIF", "--cell", "super"], "--cell"),
    "simulate a missing file": (["simulate", "absent.cif"], "absent.cif"),
    "simulate with unknown radiation": (["simulate", "CIF", "--wavelength", "sunlight"], "wavelength"),
}


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, content in FILES.items():
        data = content.encode() if isinstance(content, str) else content
        (tmp_path / name).write_bytes(data)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MP_API_KEY", raising=False)
    monkeypatch.setattr("crystalnet.commands.fetch.materials_project_key", lambda: None)
    return tmp_path


def run(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Exit code of the command line."""
    replaced = [{"GOOD": str(GOOD_PATTERN), "CIF": str(CIF)}.get(a, a) for a in arguments]
    monkeypatch.setattr("sys.argv", ["crystalnet", *replaced])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


CASES = {f"solve: {name}": (["solve", *arguments], said) for name, (arguments, said) in PATTERN_CASES.items()}


@pytest.mark.parametrize("case", [*CASES, *COMMAND_CASES])
def test_one_line_and_exit_2(
    case: str, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, said = (CASES | COMMAND_CASES)[case]
    before = sorted(path.name for path in workplace.iterdir())
    assert run(arguments, monkeypatch) == 2
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.strip()]
    assert len(lines) == 1 and lines[0].startswith("crystalnet: "), captured.err
    assert said.lower() in lines[0].lower()
    assert "Traceback" not in captured.err + captured.out
    assert sorted(path.name for path in workplace.iterdir()) == before

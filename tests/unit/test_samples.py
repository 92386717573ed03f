"""The samples of a call: patterns, and sheets that list them."""

from __future__ import annotations

from pathlib import Path

import pytest

from crystalnet.commands.samples import Options, is_sheet, samples_of
from crystalnet.records import InputError

COMMON = Options(effort=5.0)


def sheet(folder: Path, text: str, name: str = "samples.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        'pattern,elements,Wavelength,scan\na.xy,"Zr,Sb",CuKa,2\nsub/b.xy,,,\n',
        "Pattern;Elements;wavelength;scan\na.xy;Zr,Sb;CuKa;2\n\nsub/b.xy;;;\n",
        "\ufeffpattern\telements\twavelength\tscan\na.xy\tZr,Sb\tCuKa\t2\nsub/b.xy\n",
    ],
)
def test_a_sheet_lists_patterns_beside_it_with_what_is_known(text: str, tmp_path: Path) -> None:
    first, second = samples_of([sheet(tmp_path, text)], COMMON, Path("out"))
    assert first.pattern == tmp_path / "a.xy" and first.folder == Path("out/a.crystalnet")
    assert first.options == Options(elements="Zr,Sb", wavelength="CuKa", scan=2, effort=5.0)
    assert second.pattern == tmp_path / "sub" / "b.xy" and second.options == COMMON


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16"])
def test_a_sheet_is_read_as_excel_wrote_it(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "samples.csv"
    rows = "".join(f"müll{i}.xy;CuKa;µ\n" for i in range(600))  # longer than what tells that it is a sheet
    path.write_bytes(f"pattern;wavelength;größe\n{rows}".encode(encoding))
    samples = samples_of([path], COMMON, None)
    assert len(samples) == 600 and samples[-1].pattern.name == "müll599.xy"


def test_patterns_are_no_sheets(tmp_path: Path) -> None:
    assert not is_sheet(sheet(tmp_path, "2theta,intensity\n10,5\n"))
    assert not is_sheet(sheet(tmp_path, "# pattern of NaCl\n10 5\n"))
    assert not is_sheet(sheet(tmp_path, ""))
    assert not is_sheet(tmp_path / "missing.csv") and not is_sheet(tmp_path)
    (tmp_path / "binary.raw").write_bytes(b"RAW4\xff\x00\x81")
    assert not is_sheet(tmp_path / "binary.raw")


def test_one_pattern_has_the_folder_itself() -> None:
    assert [s.folder for s in samples_of([Path("a.xy")], COMMON, Path("here"))] == [Path("here")]
    assert [s.folder for s in samples_of([Path("a.xy")], COMMON, None)] == [Path("a.crystalnet")]
    assert [s.folder for s in samples_of([Path("a.xy"), Path("b.xy")], COMMON, Path("x"))][1] == Path("x/b.crystalnet")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pattern,elements\na.xy,Zr,Sb\n", "line 2: more cells than columns"),
        ("pattern,elements\na.xy,Zr\n,Sb\n", "line 3: names no pattern"),
        ("pattern,scan\na.xy,first\n", "line 2: scan is 'first'"),
        ("pattern,name\na.xy,../b\n", "not that of a folder"),
        ("pattern\n", "lists no pattern"),
        ("pattern\na.xy\nsub/A.xy\n", "share the results folder"),
    ],
)
def test_a_bad_sheet_is_refused_with_its_line(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="samples.csv|share") as refused:
        samples_of([sheet(tmp_path, text)], COMMON, None)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_a_name_keeps_two_patterns_apart(tmp_path: Path) -> None:
    named = samples_of([sheet(tmp_path, "pattern,name\na.xy,cold\na.xy,hot\n")], COMMON, None)
    assert [s.folder.name for s in named] == ["cold.crystalnet", "hot.crystalnet"]

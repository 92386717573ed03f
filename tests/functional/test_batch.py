"""Many patterns in one call: a sheet, an index over all, and going on after a kill."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from crystalnet.cli import main

EXAMPLE = Path(__file__).parents[2] / "examples" / "Zr3Sb4Pt3.xy"
FAST = ("--candidates", "catalogue,known")


def solve(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr("sys.argv", ["crystalnet", "solve", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    """A sheet of a pattern with its elements, the same with wrong ones, and a pattern that is not there."""
    shutil.copy(EXAMPLE, tmp_path / "one.xy")
    path = tmp_path / "samples.csv"
    path.write_text('pattern,name,elements\none.xy,right,"Zr,Sb,Pt"\none.xy,wrong,"Li,F"\nmissing.xy,,\n')
    return path


def test_a_sheet_is_solved_and_gone_on_with(
    samples: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = samples.parent / "out"
    assert solve(monkeypatch, samples, "--out", out, *FAST) == 2  # the missing pattern
    said = capsys.readouterr()
    assert "missing.xy: no such file" in said.err and "Zr3Sb4Pt3  I-43d" in said.out
    rows = (out / "summary.csv").read_text().splitlines()
    assert len(rows) == 4
    page = (out / "index.html").read_text()
    assert "3 patterns, 1 with an answer to believe" in page and page.count('class="doubt"') == 2
    assert 'href="right.crystalnet/report.html"' in page and (out / "right.crystalnet" / "figure.png").is_file()

    # Of the next run, only what is missing or asked otherwise is solved.
    written = {name: (out / f"{name}.crystalnet" / "solution.json").stat().st_mtime_ns for name in ("right", "wrong")}
    samples.write_text(samples.read_text().replace("Li,F", "Na,Cl"))
    assert solve(monkeypatch, samples, "--out", out, "--resume", *FAST) == 2
    assert "1 of 3 patterns are solved already" in capsys.readouterr().err
    after = {name: (out / f"{name}.crystalnet" / "solution.json").stat().st_mtime_ns for name in written}
    assert after["right"] == written["right"] and after["wrong"] > written["wrong"]
    assert len((out / "summary.csv").read_text().splitlines()) == 4


def test_an_interrupted_batch_shows_all_that_is_solved(samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those too that an earlier run solved and this one did not come to."""
    out = samples.parent / "out"
    samples.write_text('pattern,name,elements\none.xy,right,"Zr,Sb,Pt"\none.xy,wrong,"Li,F"\n')
    solve(monkeypatch, samples, "--out", out, *FAST)
    samples.write_text('pattern,name,elements\none.xy,wrong,"Na,Cl"\none.xy,right,"Zr,Sb,Pt"\n')

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("crystalnet.solving.solve.solve", interrupted)
    assert solve(monkeypatch, samples, "--out", out, "--resume", *FAST) == 130
    rows = (out / "summary.csv").read_text().splitlines()
    assert len(rows) == 2 and "Zr3Sb4Pt3" in rows[1]


def test_a_sheet_on_a_cluster(
    samples: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two workers, which are named the files; the answers are those of one process."""
    monkeypatch.chdir(samples.parent)
    assert solve(monkeypatch, samples.name, "--out", "out", "--cluster", "local", *FAST) == 2  # the missing pattern
    said = capsys.readouterr()
    assert "missing.xy: no such file" in said.err and "Zr3Sb4Pt3  I-43d" in said.out
    assert [row.split(",")[0] for row in Path("out/summary.csv").read_text().splitlines()[1:]] == [
        *("one.xy", "one.xy", "missing.xy"),
    ]
    assert solve(monkeypatch, samples.name, "--out", "out", "--resume", "--cluster", "local", *FAST) == 2
    assert "2 of 3 patterns are solved already" in capsys.readouterr().err
    ask = ("one.xy", "--elements", "Zr,Sb,Pt", "--out", "alone", *FAST)
    assert solve(monkeypatch, *ask, "--cluster", "local", "--json") == 0
    alone = json.loads(capsys.readouterr().out)["candidates"]
    inside = json.loads(Path("out/right.crystalnet/solution.json").read_text())["candidates"]
    assert [(c["formula"], c["score"]) for c in alone] == [(c["formula"], c["score"]) for c in inside]
    monkeypatch.setattr("crystalnet.runtime.cluster.PATIENCE", 0.5)
    assert solve(monkeypatch, *ask, "--cluster", "tcp://127.0.0.1:1") == 2
    assert "--cluster tcp://127.0.0.1:1: no scheduler answers there" in capsys.readouterr().err


def test_one_pattern_is_not_solved_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    ask = (EXAMPLE, "--elements", "Zr,Sb,Pt", "--out", out, *FAST)
    assert solve(monkeypatch, *ask) == 0
    first = (out / "solution.json").stat().st_mtime_ns
    monkeypatch.setattr("crystalnet.solving.solve.solve", None)  # nothing is left to do
    capsys.readouterr()
    assert solve(monkeypatch, *ask, "--resume", "--json") == 0
    assert json.loads(capsys.readouterr().out)["candidates"][0]["formula"] == "Zr3Sb4Pt3"
    assert (out / "solution.json").stat().st_mtime_ns == first


def test_an_index_of_the_users_is_not_written_over(samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = samples.parent / "index.html"
    own.write_text("<html>my thesis</html>")
    assert solve(monkeypatch, samples, "--out", samples.parent, *FAST) == 2
    assert own.read_text() == "<html>my thesis</html>" and not (samples.parent / "summary.csv").exists()

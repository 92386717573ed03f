"""A measured pattern from the file to the answer, as a user would: tests/data/README.md says whose it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crystalnet.cli import main
from crystalnet.data.splits import may_train

PATTERN = Path(__file__).parent.parent / "data" / "LaB6_SRM660c.xy"


def test_a_measured_pattern_is_solved_from_its_elements(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not may_train("LaB6")
    command = [
        "crystalnet",
        "solve",
        str(PATTERN),
        "--elements",
        "La,B",
        "--wavelength",
        "CuKa",
        "--out",
        str(tmp_path / "out"),
    ]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr()
    assert end.value.code == 0, said.err
    content = json.loads((tmp_path / "out" / "solution.json").read_text())
    best = content["candidates"][0]
    assert best["formula"] == "LaB6" and best["space_group"]["number"] == 221
    assert best["lattice"]["a"] == pytest.approx(4.1568, rel=2e-3)  # certified: 4.156826 Å at 22.5 °C
    assert sorted((s["element"], s["multiplicity"]) for s in best["sites"]) == [("B", 6), ("La", 1)]
    (boron,) = (s for s in best["sites"] if s["element"] == "B")
    free = max((boron[axis] for axis in "xyz"), key=lambda x: abs(x - 0.5) if abs(x) > 0.01 else 0)
    assert min(abs(free - 0.2), abs(free - 0.8), abs(free - 0.3), abs(free - 0.7)) < 0.03  # 0.1993, from either origin
    assert best["confidence"] >= 0.5 and content["given"]["system"] == "auto"

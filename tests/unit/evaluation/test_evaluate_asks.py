"""What `evaluate` hands to `solve`: what it says it gives, and nothing else."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from pymatgen.core import Lattice, Structure

from crystalnet.evaluation import evaluate as module
from crystalnet.evaluation.evaluate import Evaluation, Options, systems_asked
from crystalnet.records import InputError

SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    primitive = SALT.get_primitive_structure()
    record = {
        **{"id": "salt", "formula": "NaCl", "space_group": 225, "system": "cubic"},
        **{"lattice": primitive.lattice.matrix.tolist(), "species": [s.specie.symbol for s in primitive]},
        "frac_coords": primitive.frac_coords.tolist(),
    }
    path = tmp_path_factory.mktemp("records") / "salt.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.write(json.dumps(record) + "\n")
    return path


def asked(records: Path, given: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    told: dict[str, Any] = {}

    def solve(pattern: object, **options: Any) -> None:
        told.update(options)
        raise InputError("recorded")

    monkeypatch.setattr(module, "solve", solve)
    run = Evaluation(records, Options(system="cubic", given=given, split="all"))
    assert run._solved(run.question(run.targets.records[0])) == (None, "recorded")
    return told


@pytest.mark.parametrize(
    ("given", "elements", "formula"),
    [("formula", {"Na", "Cl"}, "NaCl"), ("elements", {"Na", "Cl"}, None), ("none", set(), None)],
)
def test_solve_is_told_what_is_given(
    records: Path, given: str, elements: set[str], formula: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = asked(records, given, monkeypatch)
    assert set(told["elements"] or ()) == elements
    assert told["formula"] in ((None,) if formula is None else ("Na1Cl1", "Cl1Na1", "NaCl"))


def test_one_element_is_dropped(records: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = asked(records, "drop-one", monkeypatch)
    assert len(told["elements"]) == 1 and told["formula"] is None


def test_neither_lattice_nor_system_nor_the_users_types_are_given(
    records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = asked(records, "elements", monkeypatch)
    assert told["system"] == "auto" and "cell" not in told and told["own_types"] is False
    given = Evaluation(records, Options(system="cubic", given="elements", split="all")).given()
    assert given["chemistry"] == "elements" and given["lattice"] is None and given["system"] is None


def test_whose_crystals() -> None:
    assert systems_asked(None) == systems_asked("auto") == systems_asked("all") == ("cubic", "trigonal")
    assert systems_asked("trigonal") == ("trigonal",)
    with pytest.raises(InputError, match="--system"):
        systems_asked("monoclinic")

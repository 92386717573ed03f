"""What `evaluate` hands to `solve`: what it says it gives, and nothing else."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from crystalnet.crystal.systems import SYSTEMS
from crystalnet.defaults import EFFORT
from crystalnet.evaluation import own_answers
from crystalnet.evaluation.evaluate import Evaluation
from crystalnet.evaluation.options import Options, systems_asked
from crystalnet.evaluation.question import in_words
from crystalnet.records import InputError
from crystalnet.solving.from_catalogue import Catalogue
from crystalnet.solving.given import Given
from crystals import SALT


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


def asked(records: Path, given: str, monkeypatch: pytest.MonkeyPatch) -> Given:
    handed: list[Given] = []

    def solve(pattern: object, given: Given, peaks: object) -> None:
        handed.append(given)
        raise InputError("recorded")

    monkeypatch.setattr(own_answers, "solve_pattern", solve)
    run = Evaluation(records, Options(system="cubic", given=given, split="all"))
    assert run.own.solved(run.question(run.targets.records[0])) == (None, "recorded")
    return handed[0]


@pytest.mark.parametrize(
    ("level", "elements", "amounts"),
    [
        ("formula", {"Na", "Cl"}, {"Na": 1.0, "Cl": 1.0}),
        ("elements", {"Na", "Cl"}, None),
        ("none", set(), None),
    ],
)
def test_solve_is_told_what_is_given(
    records: Path, level: str, elements: set[str], amounts: dict[str, float] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = asked(records, level, monkeypatch)
    assert set(given.symbols) == elements and given.amounts == amounts and given.level == level


def test_one_element_is_dropped(records: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = asked(records, "drop-one", monkeypatch)
    assert len(given.symbols) == 1 and given.formula is None


def test_neither_lattice_nor_system_nor_the_users_types_are_given(
    records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = asked(records, "elements", monkeypatch)
    assert given.system == "auto" and given.cell is None and given.effort == EFFORT
    assert given.catalogue == Catalogue(own=False, without_formula={"Cl": 1, "Na": 1})
    said = in_words(Options(system="cubic", given="elements"))
    assert said["chemistry"] == "elements" and said["lattice"] is None and said["system"] is None


def test_whose_crystals() -> None:
    assert systems_asked(None) == systems_asked("auto") == systems_asked("all") == SYSTEMS
    assert systems_asked("trigonal") == ("trigonal",)
    with pytest.raises(InputError, match="--system"):
        systems_asked("rhombic")

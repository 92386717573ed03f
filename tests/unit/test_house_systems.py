"""A crystal system is a row of a table, and Bragg's law is written once."""

import re
from pathlib import Path

import pytest

import crystalnet
from crystalnet.crystal.systems import CRYSTAL_SYSTEMS

PACKAGE = Path(crystalnet.__file__).parent
NAMES = "|".join(system.name for system in CRYSTAL_SYSTEMS)
ASKED_BY_NAME = re.compile(rf"""[!=]= ?["'](?:{NAMES})|["'](?:{NAMES})["'] (?:[!=]=|in\b|not in\b)""")
SYSTEM_COMPARED = re.compile(r"\bsystem [!=]= (?![\"']auto)")  # "auto": the user left it open
BRAGGS_LAW = re.compile(
    r"(?:np|math)\.(?:arc|a)sin\(|/ \(2 \* (?:np|math|torch)\.sin|sin\((?:np|math)\.(?:radians|deg2rad)\([^()]*/ 2\)"
    r"|4(?:\.0)? \* (?:np|math)\.pi"
)
# Two cells, or a file and a wish, compared: whatever the systems are.
COMPARES_TWO = {
    "evaluation/evaluate.py",
    "model/checkpoint.py",
    "solving/answer.py",
    "density/chgcar.py",
    "data/files.py",
    "model/choice.py",
}
# The search in the reciprocal metric has its formulas per lattice; `metric` asks for the cubic lattice behind others.
LATTICES = ("crystal/", "xrd/indexing/")


def sources(but: tuple[str, ...]) -> list[tuple[str, str]]:
    paths = {str(path.relative_to(PACKAGE)): path for path in sorted(PACKAGE.rglob("*.py"))}
    return [(name, path.read_text()) for name, path in paths.items() if not name.startswith(but)]


@pytest.mark.parametrize(("name", "text"), sources(LATTICES), ids=lambda value: value[:40])
def test_no_system_is_asked_for_by_name(name: str, text: str) -> None:
    assert not ASKED_BY_NAME.findall(text)
    assert name in COMPARES_TWO or not SYSTEM_COMPARED.findall(text)


def test_only_the_lattices_of_indexing_ask_for_a_system() -> None:
    asking = [name for name, text in sources(("crystal/",)) if ASKED_BY_NAME.findall(text)]
    assert asking == ["xrd/indexing/lattices.py"]


@pytest.mark.parametrize(("name", "text"), sources(("bragg.py", "crystal/lattice.py")), ids=lambda value: value[:40])
def test_braggs_law_is_in_one_place(name: str, text: str) -> None:
    assert not BRAGGS_LAW.findall(text), name

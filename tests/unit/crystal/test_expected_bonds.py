"""Bonds that the user expects."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from crystalnet.crystal.expected_bonds import NOTHING_SAID, ExpectedBonds
from crystalnet.records import AtomSites, InputError

# Quartz: silicon in tetrahedra of oxygen, 1.61 Å away; each oxygen has two silicon atoms.
QUARTZ = Structure.from_spacegroup(
    "P3_221", Lattice.hexagonal(4.9133, 5.4053), ["Si", "O"], [[0.4697, 0, 2 / 3], [0.4135, 0.2669, 0.7858]]
)
SITES = AtomSites.from_structure(QUARTZ)


def misfit(*said: str, sites: AtomSites = SITES) -> float:
    distances, coordination = [s for s in said if "-" in s], [s for s in said if "-" not in s]
    return ExpectedBonds.of(distances, coordination, ("Si", "O")).misfit(sites)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Si-O=1.61", 0.0),
        ("O-Si=1.66", 0.0),  # within a bond's own scatter, and whichever is named first
        ("Si-O=2.2", 1.0),
        ("Si-O=1.2", 1.0),
        ("Si=4", 0.0),
        ("O=2", 0.0),
        ("Si=6", 2 / 6),
        ("Si=2", 1.0),
    ],
)
def test_a_crystal_is_held_against_what_was_said(said: str, expected: float) -> None:
    assert misfit(said) == pytest.approx(expected, abs=0.02)


def test_statements_are_averaged_and_nothing_said_is_nothing_missed() -> None:
    assert misfit("Si-O=1.61", "Si=6") == pytest.approx(1 / 6, abs=0.01)
    assert NOTHING_SAID.misfit(SITES) == 0.0 and not NOTHING_SAID
    assert misfit("Si-O=1.61", sites=AtomSites(np.eye(3), ("Si",), np.zeros((1, 3)))) == 1.0


def test_the_misfit_grows_with_the_distance() -> None:
    values = [misfit(f"Si-O={d}") for d in (1.61, 1.72, 1.8, 1.9, 2.1)]
    assert values == sorted(values) and len(set(values)) >= 4


@pytest.mark.parametrize(
    ("distances", "coordination", "said"),
    [
        (("SiO=1.6",), (), "two elements and Å"),
        (("Si-O",), (), "two elements and Å"),
        (("Si-O=far",), (), "two elements and Å"),
        (("Si-O=0.1",), (), "two elements and Å"),
        (("Si-Al=1.7",), (), "Al is not among the elements given"),
        (("Si-Qq=1.7",), (), "'Qq' is no element"),
        ((), ("Si=0",), "number of neighbours"),
        ((), ("Si=four",), "number of neighbours"),
        ((), ("Al=4",), "Al is not among"),
    ],
)
def test_what_cannot_be_used_is_said(distances: tuple[str, ...], coordination: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        ExpectedBonds.of(distances, coordination, ("Si", "O"))

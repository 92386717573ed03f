"""Guesses ranked by their crystals, formulas, and a candidate as it is reported."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crystalnet.crystal.symmetry import wyckoff_rows
from crystalnet.records import AtomSites
from crystalnet.solving.answer import candidate, guess_rank, spread
from crystalnet.solving.answer import formula as formula_of
from crystalnet.solving.confidence import probability
from crystalnet.solving.ranking import TYPE_KNOWN
from solved_salt import CELL, DENSITY, OTHER, PEAKS, SALT, fit, found_at, refined


def test_guesses_are_ranked_by_the_best_crystal_read_off_them() -> None:
    proposals = [
        found_at(0.3, origin=0),
        found_at(0.2, origin=2),
        found_at(0.1, origin=0),
        found_at(0.01, "catalogue", origin="type"),
        found_at(0.02, cell=OTHER, origin=3),
    ]
    assert guess_rank(proposals, 4, CELL).tolist() == [1, 3, 2, 4]
    assert guess_rank([], 2, CELL).tolist() == [1, 2]


def test_guesses_that_differ_by_an_origin_have_no_spread() -> None:
    density = DENSITY
    moved = np.roll(density, 25, 0)  # half an edge
    assert spread(np.stack([density, moved]), density, CELL).max() < 1e-3 * density.max()
    assert np.allclose(spread(np.stack([density, 3 * density]), density, CELL), density, atol=1e-3 * density.max())


@pytest.mark.parametrize(
    ("species", "formula"),
    [
        (("Na",) * 4 + ("Cl",) * 4, "NaCl"),
        (("Fe",) * 4 + ("O",) * 6, "Fe2O3"),
        (("X",) * 4 + ("Cl",) * 4 + ("Na",) * 4, "ClNaX"),
        (("X",) * 4 + ("Na",) * 2, "NaX2"),
        (("X",) * 2, "X"),
    ],
)
def test_formulas_are_reduced_and_what_was_not_given_is_x(species: tuple[str, ...], formula: str) -> None:
    assert formula_of(AtomSites(np.eye(3), species, np.zeros((len(species), 3)))) == formula


def test_an_orbit_is_one_row() -> None:
    rows = wyckoff_rows(SALT)
    assert [(row["element"], row["multiplicity"]) for row in rows] == [("Na", 4), ("Cl", 4)]
    assert sorted(row["wyckoff"] for row in rows) == ["a", "b"]
    assert [rows[1][axis] for axis in "xyz"] == [0.5, 0.5, 0.5]


def test_a_candidate_as_reported() -> None:
    first, second = refined(found_at(0.05, "catalogue", origin="type"), 0.1), refined(found_at(0.05), 0.2)
    densities = {CELL: np.arange(3.0)[:, None, None, None] * np.ones((3, 50, 50, 50))}
    answer = candidate(first, [first, second], densities, PEAKS, True, 0.7)
    assert (answer.source, answer.formula, answer.space_group_number, answer.score) == (
        "catalogue",
        "NaCl",
        225,
        0.1 * TYPE_KNOWN,
    )
    assert len(answer.conventional) == 8 and answer.confidence == probability(answer.evidence)
    assert answer.evidence["lead"] == pytest.approx(np.log(2 / TYPE_KNOWN))
    assert answer.evidence["formula_given"] == 1.0 and answer.evidence["wavelength"] == 0.7
    assert answer.evidence["lines_per_parameter"] == pytest.approx(np.log(8 / 1))  # the edge alone
    assert answer.density.values.std() > 0  # the atoms' own, as no network made it
    assert abs(np.linalg.det(answer.density.lattice)) == pytest.approx(CELL.primitive_volume)
    assert answer.setting is not None and not answer.setting.shift.any()
    assert answer.setting.matrix @ answer.density.lattice == pytest.approx(answer.conventional.lattice)
    of_guess = candidate(refined(found_at(0.05, origin=2)), [], densities, PEAKS, False, 2.0)
    assert (of_guess.density.values == 2).all() and of_guess.evidence["formula_given"] == 0.0
    unknown = replace(first, fit=fit(sites=replace(SALT, species=("X",) * 4 + ("Cl",) * 4)))
    assert (candidate(unknown, [], densities, PEAKS, False, 2.0).density.values == 0).all()  # of the first guess

"""Which proposals are refined, what their fits are worth, and which of them are one crystal."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from crystalnet.crystal.chemistry import MOST_CONTACT, UNKNOWN_CONTACT, VOLUME_BOUNDS, contact_misfit, volume_ratio
from crystalnet.crystal.lattice import Cell
from crystalnet.crystal.symmetry import conventional_sites, free_coordinates
from crystalnet.records import AtomSites, Fit, Pattern, Peaks, Radiation
from crystalnet.solving import ranking
from crystalnet.solving.proposals import SOURCES, Proposal, sources_named
from crystalnet.solving.ranking import (
    AT_ONCE,
    COMPLEXITY,
    CONTACT,
    LEAST_EXCESS,
    LEAST_FREEDOM,
    MISSING_ELEMENT,
    PUBLISHED,
    REFINED,
    REFINEMENT_SECONDS,
    SAME_RWP,
    SECOND_OPINION,
    TYPE_KNOWN,
    UNBALANCED,
    UNKNOWN_VOLUME,
    VOLUME,
    WORTH_REFINING,
    WORTH_REFINING_ROUGH,
    Ranked,
    _cubic_first,
    _later_first,
    _promising,
    _same_crystal,
    _score,
    _unlike,
    _would_end_in,
    freedom,
    ranked,
)
from crystalnet.xrd.rietveld import MAX_SHIFT

CELL = Cell("cubic", "F", 5.64, 5.64)
SOURCE = Radiation(((1.5406, 1.0),))
NOTHING = np.zeros(0)
PATTERN = Pattern(np.arange(3.0), np.ones(3), np.ones(3), SOURCE)
PEAKS = Peaks(NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, 10.0, 90.0, SOURCE)


def crystal(group: str, lattice: Lattice, species: list[str], places: list[list[float]]) -> AtomSites:
    return AtomSites.from_structure(Structure.from_spacegroup(group, lattice, species, places))


SALT = crystal("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
ZINCBLENDE = crystal("F-43m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.25, 0.25, 0.25]])


def salt(metal: str = "Na", a: float = 5.64) -> AtomSites:
    return AtomSites(a * np.eye(3), (metal,) * 4 + ("Cl",) * 4, SALT.frac_coords)


PYRITE = crystal("Pa-3", Lattice.cubic(5.42), ["Fe", "S"], [[0, 0, 0], [0.385, 0.385, 0.385]])
WURTZITE = crystal("P6_3mc", Lattice.hexagonal(3.25, 5.207), ["Zn", "O"], [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.382]])
QUARTZ = crystal("P3_221", Lattice.hexagonal(4.913, 5.405), ["Si", "O"], [[0.4697, 0, 2 / 3], [0.4135, 0.2669, 0.7858]])
LOOSE = AtomSites(
    np.array([[4.1, 0, 0], [0.4, 5.2, 0], [0.3, 0.7, 6.3]]),
    ("Na", "Cl", "O"),
    np.array([[0, 0, 0], [0.41, 0.3, 0.2], [0.1, 0.63, 0.72]]),
)


def proposal(residual: float, source: str = "network", sites: AtomSites | None = None) -> Proposal:
    return Proposal(salt() if sites is None else sites, source, residual, CELL, 0)


def fit(sites: AtomSites, rwp: float = 0.1) -> Fit:
    return Fit(sites, rwp, NOTHING, NOTHING, NOTHING)


@pytest.mark.parametrize(
    ("text", "named"), [("all", SOURCES), ("network", ("network",)), ("search, known", ("search", "known"))]
)
def test_sources_by_name(text: str, named: tuple[str, ...]) -> None:
    assert sources_named(text) == named


# --- which are refined --------------------------------------------------------------------------------------------


def residuals(chosen: list[Proposal], source: str) -> list[float]:
    return [p.residual for p in chosen if p.source == source]


def test_every_source_has_its_share_of_refinement() -> None:
    many = [proposal(0.01 * i, "network") for i in range(1, 10)]
    many += [proposal(0.1 + 0.001 * i, "catalogue") for i in range(10)]
    chosen = list(_promising(many))
    assert len(chosen) == REFINED
    assert residuals(chosen, "network") == pytest.approx([0.01, 0.02, 0.03, 0.04])
    assert residuals(chosen, "catalogue") == pytest.approx([0.1, 0.101, 0.102, 0.103])
    sources = {p.source for p in _promising([*many, proposal(0.1, "known"), proposal(0.11, "search")])}
    assert sources == set(SOURCES)
    searched = [proposal(0.01 + 0.0002 * i, "search") for i in range(100)]  # many, which crowd out no other
    assert {p.source for p in _promising([*many, *searched])} == {"network", "catalogue", "search"}
    order = [p.residual for p in chosen]
    assert order[:2] == [0.01, 0.1] and order[2:] == sorted(order[2:])  # the best of each source, then the others


def test_where_one_source_has_little_the_other_fills_up() -> None:
    few = [proposal(0.05, "network"), proposal(0.3, "network")]
    few += [proposal(0.1 + 0.01 * i, "catalogue") for i in range(10)]
    chosen = list(_promising(few))
    assert residuals(chosen, "network") == [0.05, 0.3]
    assert residuals(chosen, "catalogue") == pytest.approx([0.1, 0.11, 0.12, 0.13, 0.14, 0.15])


def test_lines_much_worse_than_the_best_are_not_refined() -> None:
    for source, limit in (
        *((source, WORTH_REFINING_ROUGH) for source in ("network", "known")),
        *((source, WORTH_REFINING) for source in ("catalogue", "search")),
    ):
        worst = proposal(0.05 + limit + 0.01, source)
        assert list(_promising([proposal(0.05), proposal(0.05 + limit - 0.01, source), worst]))[-1] is not worst
        assert len(list(_promising([proposal(0.05), worst]))) == 1
    assert list(_promising([])) == []


def test_a_missing_element_is_tried_last_and_seldom() -> None:
    unknown = [proposal(0.01 * i, sites=replace(salt(), species=("X",) * 4 + ("Cl",) * 4)) for i in range(1, 6)]
    known = [proposal(0.1 + 0.01 * i, "catalogue") for i in range(3)]
    chosen = list(_promising(unknown + known))
    assert [p.residual for p in chosen] == pytest.approx([0.1, 0.11, 0.12, 0.01, 0.02])
    assert len(chosen) == 3 + REFINED // 4


def test_what_is_free_explains_a_little_by_chance() -> None:
    """More atoms and parameters must fit better to be refined first: by the bounds of their constants."""
    tight = 1 + COMPLEXITY * math.log(8) + LEAST_FREEDOM
    loose = 1 + COMPLEXITY * math.log(12) + 2 * LEAST_FREEDOM
    for share, first in ((0.999, "salt"), (1.001, "pyrite")):
        pair = {"salt": proposal(0.1 * loose / tight * share), "pyrite": proposal(0.1, sites=PYRITE)}
        assert next(_promising(list(pair.values()))) is pair[first]


def test_twins_wait_and_two_are_refined_at_once() -> None:
    one, twin, other, third = salt(), salt(a=5.7), salt("K"), ZINCBLENDE
    waiting = [(proposal(0.1, sites=s), s) for s in (one, twin, other, third)]
    now, later = _unlike(waiting)
    assert [s for _, s in now] == [one, other] and len(now) == AT_ONCE
    assert [s for _, s in later] == [twin, third]  # in the order they had


@pytest.fixture
def refinements(monkeypatch: pytest.MonkeyPatch) -> list[Proposal]:
    """Every proposal that is refined; its fit changes no atom, its score is its residual, and it takes 0.1 s."""
    done: list[Proposal] = []

    def fitted(p: Proposal, conventional: AtomSites, *rest: Any) -> tuple[Ranked, float]:
        done.append(p)
        seconds = REFINEMENT_SECONDS if p.origin == "slow" else 0.1
        ends = fit(conventional, p.residual)
        return Ranked(p, ends, p.residual, 1.0, p.residual, frozenset(), p.reference), seconds

    monkeypatch.setattr(ranking, "_fitted", fitted)
    return done


METALS = ("Li", "Na", "K", "Rb", "Cs", "Cu")


def test_the_best_score_comes_first(refinements: list[Proposal]) -> None:
    several = [proposal(0.3 - 0.05 * i, sites=salt(metal)) for i, metal in enumerate(METALS[:4])]
    order = ranked(several, PATTERN, PEAKS)
    assert [r.score for r in order] == pytest.approx([0.15, 0.2, 0.25, 0.3])
    assert len(refinements) == 4 and all(r.sources == {"network"} for r in order)


def test_when_time_is_spent_only_the_most_promising_are_refined(refinements: list[Proposal]) -> None:
    slow = [replace(proposal(0.1 + 0.01 * i, sites=salt(m)), origin="slow") for i, m in enumerate(METALS)]
    order = ranked(slow, PATTERN, PEAKS)
    # Two at once, and at least three in all: four.
    assert [p.residual for p in refinements] == pytest.approx([0.1, 0.11, 0.12, 0.13]) and len(order) == 4
    refinements.clear()
    quick = [replace(p, origin=0) for p in slow]
    assert len(ranked(quick, PATTERN, PEAKS)) == len(refinements) == len(METALS)


def test_a_known_crystal_is_judged_beside_the_most_promising(refinements: list[Proposal]) -> None:
    several = [proposal(0.1 + 0.01 * i, "catalogue", salt(metal)) for i, metal in enumerate(METALS[:4])]
    known = [proposal(0.15 + 0.01 * i, "known", salt(metal)) for i, metal in enumerate(METALS[4:])]
    ranked([*several, *known], PATTERN, PEAKS, most=2)
    assert [p.residual for p in refinements] == pytest.approx([0.1, 0.15])  # the first of each source
    refinements.clear()
    ranked([*several, *known], PATTERN, PEAKS, most=1)
    assert [p.residual for p in refinements] == pytest.approx([0.1, 0.15])


def test_what_was_refined_before_is_kept_and_not_refined_again(refinements: list[Proposal]) -> None:
    """A search proposes others that promise more; the one that fitted best may have promised least."""
    several = [proposal(0.2 + 0.01 * i, "catalogue", salt(metal)) for i, metal in enumerate(METALS)]
    done = [
        replace(r, score=0.05, residual=0.01) if r.proposal is several[-1] else r
        for r in ranked(several, PATTERN, PEAKS)
    ]
    refinements.clear()
    own = [proposal(0.1 + 0.01 * i, "search", salt(metal, 6.5)) for i, metal in enumerate(METALS)]
    order = ranked([*several, *own], PATTERN, PEAKS, done=done)
    assert order[0].proposal is several[-1] and {p.source for p in refinements} == {"search"}
    refinements.clear()
    twin = proposal(0.1, "search", several[-1].sites)
    order = ranked([*several, twin], PATTERN, PEAKS, done=done)
    assert not refinements and order[0].sources == {"catalogue", "search"}


def test_a_crystal_that_both_sources_propose_is_refined_once(refinements: list[Proposal]) -> None:
    moved = replace(salt(), frac_coords=(salt().frac_coords + 0.125) % 1.0)
    (only,) = ranked([proposal(0.05), proposal(0.0503, "catalogue", moved)], PATTERN, PEAKS)
    assert only.sources == {"network", "catalogue"} and only.proposal.source == "network" and len(refinements) == 1
    same, other = ranked([proposal(0.05), proposal(0.09, "catalogue", salt("K"))], PATTERN, PEAKS)
    assert same.sources == {"network"} and other.sources == {"catalogue"}


def test_fits_that_end_in_one_crystal_are_merged(refinements: list[Proposal]) -> None:
    """With lines too poor for anything to be spared (residual above 0.15), both are refined and found to be one."""
    (only,) = ranked([proposal(0.2), proposal(0.205, "catalogue")], PATTERN, PEAKS)
    assert len(refinements) == 2 and only.sources == {"network", "catalogue"}
    assert only.score == 0.205  # of the two fits that of the known type


def test_of_two_that_fit_alike_the_known_type_comes_first(refinements: list[Proposal]) -> None:
    for behind, first in ((0.96 * TYPE_KNOWN, "search"), (1.04 * TYPE_KNOWN, "catalogue")):
        fair = [proposal(0.1, "catalogue"), proposal(0.1 * behind, "search", salt("K"))]
        assert ranked(fair, PATTERN, PEAKS)[0].proposal.source == first


def test_a_published_crystal_comes_before_one_that_fits_somewhat_better(refinements: list[Proposal]) -> None:
    for behind, first in ((1.04 * PUBLISHED, "known"), (0.96 * PUBLISHED, "search")):
        published = replace(proposal(0.1, "known"), reference="somebody")
        order = ranked([published, proposal(0.1 * behind, "search", salt("K"))], PATTERN, PEAKS)
        assert order[0].proposal.source == first


def test_unusual_distances_go_behind_where_nobody_has_published_them() -> None:
    odd = Ranked(proposal(0.1), fit(SALT), 0.1, 1.0, 0.1, frozenset(), strain=0.05)
    sound = replace(odd, score=0.14, strain=0.0)
    assert odd.order == pytest.approx(0.15) and sound.order == pytest.approx(0.14)
    assert replace(odd, sources=frozenset({"catalogue"})).order == pytest.approx(0.15 * TYPE_KNOWN)
    assert replace(odd, reference="somewhere").order == pytest.approx(0.1 * PUBLISHED)


def test_a_proposal_without_a_symmetry_is_left_out(refinements: list[Proposal]) -> None:
    twice = AtomSites(CELL.primitive_lattice, ("Na", "Na"), np.zeros((2, 3)))
    assert conventional_sites(twice) is None
    assert ranked([proposal(0.05, sites=twice)], PATTERN, PEAKS) == [] == refinements


def test_a_refined_proposal_is_scored_by_its_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are held against the refined atoms, with the refined zero shift in the cell that was indexed."""
    held: list[tuple[AtomSites, Cell]] = []

    def refine(pattern: Pattern, peaks: Peaks, sites: AtomSites, *, zero_shift: float) -> Fit:
        assert zero_shift == 0.03
        return replace(fit(salt(a=5.65), 0.2), zero_shift=0.05)

    def residual(sites: AtomSites, peaks: Peaks, cell: Cell) -> float:
        held.append((sites, cell))
        return 0.08

    monkeypatch.setattr(ranking, "refine", refine)
    monkeypatch.setattr(ranking, "residual", residual)
    primitive = AtomSites(CELL.primitive_lattice, ("Na", "Cl"), np.array([[0, 0, 0], [0.5, 0.5, 0.5]]))
    asked = Proposal(primitive, "network", 0.1, replace(CELL, zero_shift=0.03), 0)
    (only,) = ranked([asked], PATTERN, PEAKS)
    assert only.residual == 0.08 and held[0][0].lattice[0, 0] == 5.65
    assert held[0][1] == replace(CELL, zero_shift=0.05)
    assert only.volume_ratio == pytest.approx(volume_ratio(salt(a=5.65)))
    assert only.score == pytest.approx(_score(only.fit, 0.08, only.volume_ratio, primitive, len(PEAKS)))


# --- the score ----------------------------------------------------------------------------------------------------


def test_the_score_is_as_its_constants_say() -> None:
    room = math.exp(CONTACT * contact_misfit(salt()))
    plain = 0.1 * (1 + COMPLEXITY * math.log(8) + LEAST_FREEDOM) * 0.1**SECOND_OPINION * room
    assert _score(fit(salt()), 0.1, 1.0, salt(), 1000) == pytest.approx(plain)
    assert _score(fit(salt()), 0.1, None, salt(), 1000) == pytest.approx(plain * math.exp(VOLUME * UNKNOWN_VOLUME**2))
    for factor in (1.5, 1 / 1.5):  # too large and too small are equally unlikely
        assert _score(fit(salt()), 0.1, factor, salt(), 1000) == pytest.approx(
            plain * math.exp(VOLUME * math.log(1.5) ** 2)
        )
    assert _score(fit(salt()), 0.001, 1.0, salt(), 1000) == _score(
        fit(salt()), 0.01, 1.0, salt(), 1000
    )  # noise, not crystals

    free = 0.1 * (1 + COMPLEXITY * math.log(12) + 2 * LEAST_FREEDOM) * 0.1**SECOND_OPINION
    free *= math.exp(CONTACT * contact_misfit(PYRITE))
    assert _score(fit(PYRITE), 0.1, 1.0, PYRITE, 1000) == pytest.approx(free)
    unbalanced = replace(salt(), species=("Na",) * 6 + ("Cl",) * 2)
    odd = 0.1 * (1 + COMPLEXITY * math.log(8) + LEAST_FREEDOM + UNBALANCED) * 0.1**SECOND_OPINION * room
    assert _score(fit(salt()), 0.1, 1.0, unbalanced, 1000) == pytest.approx(odd)
    unknown = replace(salt(), species=("X",) * 4 + ("Pd",) * 4)  # a metal: no charges to balance
    missing = 0.1 * (1 + COMPLEXITY * math.log(8) + LEAST_FREEDOM + MISSING_ELEMENT) * 0.1**SECOND_OPINION * room
    assert _score(fit(salt()), 0.1, 1.0, unknown, 1000) == pytest.approx(missing)


def test_a_parameter_costs_more_the_fewer_lines_there_are() -> None:
    few, many = (_score(fit(PYRITE), 0.1, 1.0, PYRITE, lines) for lines in (10, 1000))
    base = COMPLEXITY * math.log(12)
    assert few / many == pytest.approx((1 + base + 2 * math.log(10) / 20) / (1 + base + 2 * LEAST_FREEDOM))


def test_hydrogen_costs_nothing_and_explains_nothing() -> None:
    """A crystal with its hydrogen is no worse than the same without."""
    bare = replace(salt(), species=("Pd",) * 4 + ("Ag",) * 4)  # metals: no charges to balance
    places = np.vstack([bare.frac_coords, bare.frac_coords[:4] + [0.21, 0.13, 0.07]])  # of no symmetry
    whole = AtomSites(bare.lattice, (*bare.species, *["H"] * 4), places)
    assert freedom(fit(whole)) == freedom(fit(bare))
    assert _score(fit(whole), 0.05, 1.0, whole, 30) == pytest.approx(_score(fit(bare), 0.05, 1.0, bare, 30))


def test_what_counts_is_the_misfit_beyond_noise() -> None:
    few, least = (_score(fit(salt(), rwp), 0.1, 1.0, salt(), 100) for rwp in (LEAST_EXCESS / 2, LEAST_EXCESS))
    assert few == least  # what is left then are line shapes
    noisy = replace(fit(salt(), 0.5), r_expected=0.4)
    assert _score(noisy, 0.1, 1.0, salt(), 100) == pytest.approx(_score(fit(salt(), 0.3), 0.1, 1.0, salt(), 100))


@pytest.mark.parametrize(
    ("sites", "free"),
    [(salt(), 0), (PYRITE, 1), (WURTZITE, 1), (QUARTZ, 4), (LOOSE, 6)],  # of polar axes one origin is a choice
    ids=["salt", "pyrite", "wurtzite", "quartz", "triclinic"],
)
def test_coordinates_that_symmetry_leaves_free(sites: AtomSites, free: int) -> None:
    assert free_coordinates(sites) == free


def test_the_volume_is_held_against_the_expected_one() -> None:
    usual = volume_ratio(salt())
    assert usual is not None and 0.7 < usual < 1.5
    assert volume_ratio(salt(a=5.64 * 1.1)) == pytest.approx(1.1**3 * usual, rel=1e-6)
    assert volume_ratio(salt(a=5.64 * 2)) == VOLUME_BOUNDS[1] and volume_ratio(salt(a=5.64 / 2)) == VOLUME_BOUNDS[0]
    assert volume_ratio(replace(salt(), species=("X",) * 4 + ("Cl",) * 4)) is None


def test_a_bond_is_held_against_its_usual_length() -> None:
    edges = [5.0, 5.3, 5.64, 6.0, 6.4, 12.0]
    found = [contact_misfit(salt(a=a)) for a in edges]
    assert found[1] < min(found[0], found[2]) and found[5] == MOST_CONTACT  # too short, and too long
    assert found[4] - found[3] == pytest.approx(np.log(6.4 / 6.0), abs=1e-9)
    assert contact_misfit(replace(salt(), species=("X",) * 4 + ("Cl",) * 4)) == UNKNOWN_CONTACT
    hydrated = AtomSites(salt().lattice, (*salt().species, "H"), np.vstack([salt().frac_coords, [[0.1, 0, 0]]]))
    assert contact_misfit(hydrated) == contact_misfit(salt())  # hydrogen is placed too badly to count


# --- which are one crystal ----------------------------------------------------------------------------------------


def test_one_crystal_has_one_fit_and_one_structure() -> None:
    one = fit(salt())
    assert _same_crystal(one, fit(replace(salt(), frac_coords=salt().frac_coords + 0.5), 0.1 + 0.5 * SAME_RWP))
    assert not _same_crystal(one, fit(salt(), 0.1 + 1.5 * SAME_RWP))
    assert not _same_crystal(one, fit(salt(), 0.1 - 1.5 * SAME_RWP))
    assert not _same_crystal(one, fit(salt("K")))
    assert not _same_crystal(one, fit(ZINCBLENDE))
    moved = np.where(np.arange(12)[:, None] == 11, PYRITE.frac_coords + 0.05, PYRITE.frac_coords)
    assert not _same_crystal(fit(PYRITE), fit(replace(PYRITE, frac_coords=moved)))


def test_rhombohedral_crystals_come_on_hexagonal_axes() -> None:
    cell = Cell("trigonal", "R", 4.76, 12.99)
    primitive = AtomSites(cell.primitive_lattice, ("Al",), np.zeros((1, 3)))
    conventional = conventional_sites(primitive)
    assert conventional is not None and len(conventional) == 3
    assert np.allclose(np.linalg.norm(conventional.lattice, axis=1), [4.76, 4.76, 12.99], atol=1e-3)


@pytest.mark.parametrize(("share", "spared"), [(0.9, True), (1.1, False)])
def test_refinement_reaches_as_far_as_it_moves_atoms(share: float, spared: bool) -> None:
    """Sulphur of pyrite moves along threefold axes: x by δ is √3·a·δ."""
    moved = PYRITE.frac_coords.copy()
    x = 0.385 + share * MAX_SHIFT / (math.sqrt(3) * 5.42)
    moved[4:] += (x - 0.385) * np.sign(_nearest(PYRITE.frac_coords[4:], PYRITE.frac_coords[:4]))
    good = Ranked(proposal(0.05, sites=PYRITE), fit(PYRITE), 0.05, 1.0, 0.1, frozenset())
    assert _would_end_in(replace(PYRITE, frac_coords=moved % 1.0), good) is spared


def _nearest(atoms: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(n, 3) from the one of `others` that lies on the threefold axis of each atom, 0.385·√3 of an edge away."""
    difference = atoms[:, None] - others
    difference -= np.round(difference)
    even = np.ptp(np.abs(difference), axis=2) < 1e-6
    return np.array(
        [d[e][np.argmin(np.abs(np.abs(d[e][:, 0]) - 0.385))] for d, e in zip(difference, even, strict=True)]
    )


@pytest.mark.parametrize(
    ("rwp", "residual", "first"),
    [(0.1, 0.1, True), (0.104, 0.1, True), (0.106, 0.1, False), (0.1, 0.104, True), (0.1, 0.106, False)],
)
def test_the_cubic_crystal_goes_first_where_it_fits_no_worse(rwp: float, residual: float, first: bool) -> None:
    """Than one on hexagonal axes of the same metric, c/a = √24."""
    layers, cubic = Cell("trigonal", "R", 3.5, 3.5 * 24**0.5), Cell("cubic", "F", 3.5 * 8**0.5, 3.5 * 8**0.5)

    def of(cell: Cell, rwp: float, residual: float) -> Ranked:
        return Ranked(replace(proposal(0.1), cell=cell), fit(SALT, rwp), residual, 1.0, 0.1, frozenset())

    one, other, between = of(layers, 0.1, 0.1), of(cubic, rwp, residual), of(replace(cubic, a=9.0, c=9.0), 0.1, 0.1)
    assert _cubic_first([one, between, other]) == ([other, one, between] if first else [one, between, other])
    assert _cubic_first([other, one]) == [other, one]
    noise = of(layers, 0.1, 0.001), of(cubic, 0.1, 0.0104)  # residuals below 0.01 are all as good
    assert _cubic_first(list(noise))[0] is noise[1]


def test_of_two_published_crystals_that_fit_alike_the_later_goes_first() -> None:
    early, late = (
        Ranked(proposal(0.1), fit(SALT), 0.1, 1.0, 0.1, frozenset(), f"Journal 1 ({year}) 1-2") for year in (1923, 1973)
    )
    assert _later_first([early, late]) == _later_first([late, early]) == [late, early]
    worse, undated = replace(late, fit=fit(SALT, 0.2)), replace(late, reference="WPEM/XRED CIFs")
    of_another = replace(late, fit=fit(salt("K")))
    for other in (worse, undated, of_another):
        assert _later_first([early, other]) == [early, other]
    assert _later_first([undated, late]) == [undated, late]


def test_of_one_crystal_in_two_groups_the_higher_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A subgroup fits a little better; the crystal is the one that needs no chance."""
    lower = replace(PYRITE, frac_coords=PYRITE.frac_coords + 0.002 * np.sin(np.arange(36)).reshape(12, 3))

    def refine(pattern: Pattern, peaks: Peaks, sites: AtomSites, *, zero_shift: float) -> Fit:
        return fit(sites, 0.1 if np.array_equal(sites.frac_coords, lower.frac_coords) else 0.102)

    monkeypatch.setattr(ranking, "refine", refine)
    monkeypatch.setattr(ranking, "residual", lambda *rest: 0.05)
    monkeypatch.setattr(ranking, "conventional_sites", lambda sites: sites)
    known = replace(proposal(0.06, "known", PYRITE), reference="somewhere")
    (only,) = ranked([proposal(0.05, "catalogue", lower), known], PATTERN, PEAKS)
    assert only.proposal is known and only.sources == {"known", "catalogue"} and only.reference == "somewhere"

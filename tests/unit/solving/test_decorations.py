"""How the atoms of one geometry are named, which proposals are one crystal, and what the catalogue leaves out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from crystalnet.bragg import polarisation_ratio
from crystalnet.crystal.elements import ATOMIC_NUMBER
from crystalnet.crystal.lattice import Cell
from crystalnet.crystal.library import Entry, library_of, packed
from crystalnet.crystal.symmetry import SYMPREC
from crystalnet.density.atoms import Decomposition
from crystalnet.density.promolecule import promolecule_density
from crystalnet.ops.reflections import reflections
from crystalnet.records import AtomSites, DensityGrid, Peaks, Radiation
from crystalnet.solving import from_catalogue, from_network
from crystalnet.solving.from_catalogue import Catalogue
from crystalnet.solving.from_network import (
    LIKELY_ELEMENTS,
    MAX_ASSIGNMENTS,
    _decorations,
    _fits_system,
    _geometries,
    network_proposals,
)
from crystalnet.solving.proposals import WELL_EXPLAINED, Proposal, distinct, same_composition, same_crystal
from crystalnet.solving.screen import MIN_CONTACT, Screen, residual
from crystalnet.xrd.residual import D_MIN

SOURCE = Radiation(((1.5406, 1.0),))
CELL = Cell("cubic", "F", 5.46, 5.46)
FLUORITE = AtomSites(
    CELL.primitive_lattice, ("Ca", "F", "F"), np.array([[0, 0, 0], [0.25, 0.25, 0.25], [0.75, 0.75, 0.75]])
)


def lines_of(sites: AtomSites) -> Peaks:
    numbers = np.array([ATOMIC_NUMBER[s] for s in sites.species])
    lines = reflections(sites.lattice, sites.frac_coords, numbers, SOURCE.wavelength, 100.0)
    seen = lines.intensity > 1e-3 * lines.intensity.max()
    two_theta = lines.two_theta[seen]
    area = lines.intensity[seen] * polarisation_ratio(two_theta, SOURCE)
    return Peaks(two_theta, lines.d_spacing[seen], area, np.full(len(area), 0.1), np.zeros(9), 10.0, 100.0, SOURCE)


PEAKS = lines_of(FLUORITE)


def proposal(value: float, species: tuple[str, ...] = FLUORITE.species, source: str = "network") -> Proposal:
    return Proposal(replace(FLUORITE, species=species), source, value, CELL, 0)


# --- decorations ------------------------------------------------------------------------------------------------------


def test_decorations_come_as_the_density_likes_them() -> None:
    """Two orbits of one and two atoms: what decoration them costs is the sum over their atoms."""
    orbits, cost = np.array([0, 1, 1]), np.array([[0.0, 1.0], [0.5, 0.0], [0.4, 0.0]])
    assert _decorations(orbits, cost, all_used=False) == [(0, 1), (0, 0), (1, 1), (1, 0)]  # 0, 0.9, 1, 1.9
    assert _decorations(orbits, cost, all_used=True) == [(0, 1), (1, 0)]


def test_decorations_keep_to_the_formula() -> None:
    orbits, cost = np.array([0, 1, 1, 2]), np.zeros((4, 2))
    assert set(_decorations(orbits, cost, True, np.array([1.0, 1.0]))) == {(0, 1, 0), (1, 0, 1)}
    assert set(_decorations(orbits, cost, True, np.array([2.0, 6.0]))) == {(1, 1, 0), (0, 1, 1)}
    assert _decorations(orbits, cost, True, np.array([1.0, 2.0])) == []
    # In proportion, and nearly in proportion.
    assert set(_decorations(orbits, cost, True, np.array([0.5, 1.5]))) == {(1, 1, 0), (0, 1, 1)}
    assert _decorations(orbits, cost, True, np.array([1.0, 3.001])) == []


def test_so_many_decorations_are_tried() -> None:
    orbits = np.arange(7)
    cost = np.random.default_rng(0).random((7, 3))
    names = _decorations(orbits, cost, all_used=True)
    price = [cost[orbits, list(name)].sum() for name in names]
    assert len(names) == len(set(names)) == MAX_ASSIGNMENTS and price == sorted(price)
    assert all(set(name) == {0, 1, 2} for name in names)


def test_where_all_decorations_are_too_many_two_orbits_change_at_a_time() -> None:
    orbits, n_elements = np.arange(4), 80
    cost = np.random.default_rng(1).random((4, n_elements))
    own = cost.argmin(1)
    names = np.array(_decorations(orbits, cost, all_used=False))
    assert tuple(names[0]) == tuple(own) and len(names) == 1 + 4 * 5 + 6 * 5**2
    assert ((names != own).sum(1) <= 2).all() and ((names != own).sum(1) == 2).any()
    likely = np.argsort(cost, axis=1)[:, :LIKELY_ELEMENTS]
    assert all(name[i] in likely[i] for name in names for i in range(4))


@pytest.mark.parametrize(
    ("species", "formula", "right"),
    [
        ("CaFF", {"Ca": 1.0, "F": 2.0}, True),
        ("CaFF", {"Ca": 0.5, "F": 1.0}, True),
        ("CaFF", {"F": 1.0, "Ca": 2.0}, False),
        ("CaFF", {"Ca": 1.0, "F": 2.001}, False),
        ("CaFF", {"Ca": 1.0, "F": 2.0, "O": 1.0}, False),
        ("CaFF", {"Ca": 1.0}, False),
        ("CaCaFFFF", {"Ca": 3.0, "F": 6.0}, True),
    ],
)
def test_atoms_have_a_formula_in_proportion(species: str, formula: dict[str, float], right: bool) -> None:
    atoms = species.replace("Ca", "C ").replace("F", "F ").replace("C ", "Ca ").split()
    assert same_composition(Counter(atoms), formula) is right


@pytest.mark.parametrize(
    ("group", "cubic", "trigonal"),
    [(142, False, False), (143, False, True), (194, False, True), (195, True, False), (230, True, False)],
)
def test_space_groups_of_a_cell(group: int, cubic: bool, trigonal: bool) -> None:
    assert _fits_system(group, CELL) is cubic
    assert _fits_system(group, Cell("trigonal", "P", 4.9, 5.4)) is trigonal


# --- which are one ------------------------------------------------------------------------------------------------


def test_the_same_crystal_is_kept_once() -> None:
    first, again = proposal(0.1), proposal(0.10004, source="catalogue")
    other, named_otherwise, worse = proposal(0.3), proposal(0.1, ("F", "Ca", "Ca")), proposal(0.1002)
    assert same_crystal(first, again) and same_crystal(again, first)
    assert same_crystal(first, proposal(0.1, ("F", "Ca", "F")))  # atoms in another order
    assert (
        not same_crystal(first, worse) and not same_crystal(worse, first) and not same_crystal(first, named_otherwise)
    )
    kept = distinct([other, again, first, named_otherwise, worse])
    assert kept == [again, named_otherwise, worse, other]  # of equals the first stays
    assert [p.residual for p in distinct([proposal(m) for m in (0.3, 0.1, 0.2)])] == [0.1, 0.2, 0.3]


def test_the_best_are_kept() -> None:
    many = [proposal(0.01 * i) for i in range(1, 60)][::-1]
    assert [p.residual for p in distinct(many)] == pytest.approx([0.01 * i for i in range(1, 41)])
    assert len(distinct(many, keep=7)) == 7 and distinct(many, keep=1)[0].residual == 0.01
    assert distinct([]) == []


# --- the catalogue ------------------------------------------------------------------------------------------------

TYPE = Entry("fluorite", "CaF2", 225, "AB2_cF12_225_a_c", "Fluorite", "somewhere", True)


@pytest.fixture
def only_fluorite(monkeypatch: pytest.MonkeyPatch) -> None:
    one = library_of([(TYPE, packed(FLUORITE, SYMPREC))])
    monkeypatch.setattr(from_catalogue, "library", lambda: one)
    monkeypatch.setattr(from_catalogue, "own_crystals", list)


@pytest.mark.usefixtures("only_fluorite")
def test_a_type_is_decorated_in_every_way() -> None:
    found = Catalogue().proposals(CELL, PEAKS, ("F", "Ca"))
    assert [Counter(p.sites.species) for p in found] == [{"Ca": 1, "F": 2}, {"Ca": 2, "F": 1}]
    assert found[0].residual < 1e-4 < found[1].residual and found[0].origin == "fluorite" and found[0].cell == CELL
    assert found[0].source == "catalogue" and found[0].sites.volume == pytest.approx(CELL.primitive_volume)
    (right,) = Catalogue().proposals(CELL, PEAKS, ("F", "Ca"), {"Ca": 1.0, "F": 2.0})
    assert Counter(right.sites.species) == {"Ca": 1, "F": 2}


@pytest.mark.usefixtures("only_fluorite")
def test_what_the_catalogue_leaves_out() -> None:
    def found(known: Catalogue = Catalogue(), cell: Cell = CELL, elements: Sequence[str] = ("F", "Ca")) -> Any:  # noqa: B008
        return known.proposals(cell, PEAKS, elements)

    assert not found(Catalogue(without_type=TYPE.type)) and found(Catalogue(without_type="other"))
    assert not found(Catalogue(without_formula={"Ca": 2, "F": 4})) and found(Catalogue(without_formula={"Ca": 1}))
    assert not found(elements=("F", "Ca", "O")) and not found(elements=("F",))
    assert found(elements=("F", "Ca", "H"))  # no pattern shows hydrogen: its places are not asked for
    # No lattice but F has the symmetry of the type, and none may be too small or too large for the elements.
    assert not found(cell=replace(CELL, centring="I"))
    assert not found(cell=Cell("tetragonal", "I", 3.86, 5.5)) and found(cell=Cell("trigonal", "R", 3.861, 9.457))
    assert not found(cell=Cell("cubic", "F", 4.3)) and not found(cell=Cell("cubic", "F", 9.4))
    # Barium and caesium, 2.15 and 2.44 Å, find no room in the cell of fluorite (2.36 Å between neighbours).
    assert MIN_CONTACT * (2.15 + 2.44) > 2.36 and not found(elements=("Ba", "Cs"))


@pytest.mark.parametrize("symbol", ["O", "Ti", "Pd", "Pt"])
def test_an_unknown_element_is_probed_with_a_light_to_a_heavy_one(symbol: str) -> None:
    peaks = lines_of(replace(FLUORITE, species=(symbol, "F", "F")))
    assert residual(replace(FLUORITE, species=("X", "F", "F")), peaks, CELL) == pytest.approx(0, abs=1e-6)


# --- the network --------------------------------------------------------------------------------------------------


def density(sites: AtomSites = FLUORITE) -> np.ndarray:
    return promolecule_density(sites.lattice, sites.species, sites.frac_coords)


def test_crystals_are_read_off_every_density() -> None:
    swapped = replace(FLUORITE, species=("F", "Ca", "Ca"))
    found = network_proposals(np.stack([density(swapped), density()]), CELL, PEAKS, ("Ca", "F"), None)
    assert found[0].residual < 0.02 and Counter(found[0].sites.species) == {"Ca": 1, "F": 2}
    assert {p.origin for p in found} == {0, 1} and {p.source for p in found} == {"network"}
    assert [p.residual for p in found] == sorted(p.residual for p in found)
    formula = {"Ca": 1.0, "F": 2.0}
    named = network_proposals(density()[None], CELL, PEAKS, ("Ca", "F"), formula)
    assert named and all(Counter(p.sites.species) == {"Ca": 1, "F": 2} for p in named)


def test_orbits_are_read_only_where_maxima_do_not_explain_the_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def in_orbits(values: DensityGrid, elements: tuple[str, ...], symmetry: object, most: int) -> list[Decomposition]:
        asked.append(elements)
        return []

    monkeypatch.setattr(from_network, "decompose_orbits", in_orbits)
    network_proposals(density()[None], CELL, PEAKS, ("Ca", "F"), None)
    assert asked == []
    foreign = replace(PEAKS, area=PEAKS.area[::-1])
    assert network_proposals(density()[None], CELL, foreign, ("Ca", "F"), None)[0].residual > WELL_EXPLAINED
    assert asked and set(asked) == {("Ca", "F")}


def test_where_no_element_is_known_one_density_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[int, tuple[str, ...]]] = []

    def read_off(values: np.ndarray, number: int, *, elements: tuple[str, ...], **rest: object) -> list[Proposal]:
        read.append((number, elements))
        return [proposal(0.1 - 0.01 * number)]

    monkeypatch.setattr(from_network, "_read_off", read_off)
    maps = np.zeros((3, 2, 2, 2))
    assert len(network_proposals(maps, CELL, PEAKS, (), None)) == 1 and read == [(0, ())]
    best = network_proposals(maps, CELL, PEAKS, ["Ca", "F"], None)
    assert (
        [p.residual for p in best] == pytest.approx([0.08, 0.09, 0.1]) and len(read) == 4 and read[-1][1] == ("Ca", "F")
    )


def test_geometries_come_once_with_and_without_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tolerances that find the same orbits, another system's symmetry, or none, add nothing and end nothing."""
    one, other = np.array([0, 1, 1]), np.array([0, 1, 2])
    found = {0.5: None, 0.35: (142, one), 0.2: (225, one), 0.1: (225, other)}
    searched: list[tuple[tuple[str, ...], float]] = []

    def orbits_of(sites: AtomSites, tolerance: float) -> SimpleNamespace | None:
        searched.append((sites.species, tolerance))
        if len(set(sites.species)) == 1:  # without names: the same again, then one more
            return SimpleNamespace(
                space_group=225, orbits=one if tolerance > 0.1 else one[::-1], frac_coords="nameless"
            )
        entry = found[tolerance]
        return None if entry is None else SimpleNamespace(space_group=entry[0], orbits=entry[1], frac_coords="named")

    monkeypatch.setattr(from_network, "orbits_of", orbits_of)
    cost = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    taken = Decomposition(FLUORITE, cost)
    ways = list(_geometries(taken, CELL, ("Ca", "F"), None, True))
    assert [(x, orbits.tolist()) for x, orbits, _ in ways] == [  # type: ignore[comparison-overlap]
        ("named", [0, 1, 1]),
        ("named", [0, 1, 2]),
        ("nameless", [1, 1, 0]),
    ]
    assert [decorations[0] for _, _, decorations in ways][:2] == [["Ca", "F"], ["Ca", "F", "F"]]
    assert [tolerance for _, tolerance in searched] == [0.5, 0.35, 0.2, 0.1] * 2
    assert {species for species, _ in searched} == {("Ca", "F", "F"), ("Ca", "Ca", "Ca")}
    (stoichiometric, *_) = _geometries(taken, CELL, ("Ca", "F"), {"Ca": 2.0, "F": 1.0}, True)
    assert stoichiometric[2] == [["F", "Ca"]]


@pytest.mark.parametrize(
    ("wavelength", "shortest"), [(0.7, D_MIN), (1.5406, 1.5406 / 2 / np.sin(np.radians(100.5 / 2)))]
)
def test_lines_are_compared_as_far_as_they_tell_something(wavelength: float, shortest: float) -> None:
    """To the end of the pattern, and not beyond D_MIN."""
    lines = Screen(CELL.primitive_lattice, 0.0, replace(PEAKS, radiation=Radiation(((wavelength, 1.0),)))).lines
    assert shortest <= lines.d_spacing.min() < 1.1 * shortest

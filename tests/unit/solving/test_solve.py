"""`solve` with its stages replaced: which cells and elements are tried, and what each stage is handed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from crystalnet.crystal.lattice import Cell
from crystalnet.crystal.systems import SYSTEMS
from crystalnet.density.promolecule import GRID
from crystalnet.model.choice import shipped_model
from crystalnet.records import BELIEVED, Candidate, InputError, Pattern, Peaks
from crystalnet.solving import solve as solver
from crystalnet.solving.answer import REPORTED
from crystalnet.solving.from_catalogue import Catalogue
from crystalnet.solving.from_search import SOLVED
from crystalnet.solving.given import Given
from crystalnet.solving.proposals import WELL_EXPLAINED, Proposal
from crystalnet.solving.ranking import Ranked
from crystalnet.solving.solve import (
    CELLS_TRIED,
    EXPLAINED,
    HOPELESS,
    JUDGED,
    SEEN,
    SURE,
    cells_of,
    solve,
    solve_pattern,
)
from crystalnet.solving.tube import MOST_LEAD, Tube
from crystalnet.xrd.radiation import assumed_cu
from solved_salt import CELL, DENSITY, OTHER, PATTERN, PEAKS, TRIGONAL, answer, found_at, refined


def test_four_lattices_are_tried_however_often_each_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    cubic = [Cell("cubic", "P", a, a) for a in (4.0, 4.7, 5.3, 6.1, 7.9)]
    twice = Cell("trigonal", "R", 4.0 * 2**0.5, 4.0 * 3**0.5)  # the first, on hexagonal axes

    def index_peaks(peaks: Peaks, systems: tuple[str, ...], elements: Any, threads: int) -> list[Cell]:
        asked.append(systems)
        return [cubic[0], twice, *cubic[1:]]

    monkeypatch.setattr(solver, "index_peaks", index_peaks)
    assert cells_of(PEAKS, Given()) == [cubic[0], twice, *cubic[1:CELLS_TRIED]]
    cells_of(PEAKS, Given(system="trigonal"))
    assert asked == [SYSTEMS, ("trigonal",)]
    assert {cell.centring for cell in cells_of(PEAKS, Given(system="cubic", cell="5.64"))} <= set("PIF")
    assert cells_of(PEAKS, Given(system="cubic", cell="5.64"))[0].centring == "F" and len(asked) == 2


def test_a_cell_of_any_system_may_be_given() -> None:
    assert {cell.system for cell in cells_of(PEAKS, Given(cell="5.1,5.2,5.3,90,99.2,90"))} == {"monoclinic"}


class Stages:
    """The stages of `solve`, each of which notes what it was handed and answers what a test tells it to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cells: list[Cell] = [CELL, OTHER, TRIGONAL]
        self.residuals: dict[Cell, float] = {}  # of the crystal that the network has in a cell, else 0.25
        self.unknown: list[Proposal] = []  # of the catalogue with an element that was not given
        self.confidence = SURE
        self.search_finds = 0.4
        self.asked: list[tuple[Cell, int]] = []
        self.types: list[tuple[Any, ...]] = []
        self.completed = 0
        self.known: list[Proposal] = []  # crystals of the library
        self.searched: list[tuple[Cell, float]] = []
        self.ranked: list[Proposal] = []
        self.rankings: list[tuple[int, int | None]] = []  # how many were refined before, and how many are to be
        self.now = 0.0
        monkeypatch.setattr(solver, "time", SimpleNamespace(monotonic=lambda: self.now))
        names = ("cells_of", "drawing", "ask_network", "completed", "ranked", "candidate", "own_cell")
        for name in (*names, "known_proposals", "search_proposals"):
            monkeypatch.setattr(solver, name, getattr(self, f"do_{name}"))
        monkeypatch.setattr(Catalogue, "proposals", lambda known, *asked: self.do_types(known, *asked))

    def do_known_proposals(self, known: Catalogue, peaks: Peaks, symbols: Any, amounts: Any) -> list[Proposal]:
        return list(self.known)

    def do_search_proposals(self, cell: Cell, peaks: Peaks, *rest: Any, seconds: float, **more: Any) -> list[Proposal]:
        self.searched.append((cell, seconds))
        self.now += seconds
        return [found_at(self.search_finds, "search", cell)]

    def do_cells_of(self, peaks: Peaks, given: Given) -> list[Cell]:
        self.system = given.system
        return list(self.cells)

    def do_drawing(self, given: Given, peaks: Peaks, cell: Cell, count: int, **rest: Any) -> Callable[[], np.ndarray]:
        self.asked.append((cell, count))
        self.told = (given.symbols, given.amounts, given.seed)
        return lambda: np.stack([DENSITY] * count)

    def do_ask_network(
        self, given: Given, peaks: Peaks, cell: Cell, drawn: Callable[[], np.ndarray], **rest: Any
    ) -> tuple[np.ndarray, list[Proposal]]:
        return drawn(), [found_at(self.residuals.get(cell, 0.25), cell=cell)]

    def do_types(self, known: Catalogue, cell: Cell, peaks: Peaks, symbols: Any, *rest: Any) -> list[Proposal]:
        self.types.append((cell, tuple(symbols), *rest))
        self.catalogue = known
        return list(self.unknown) if "X" in symbols else []

    def do_completed(self, proposals: Any, peaks: Peaks, elements: Any) -> list[Proposal]:
        self.completed += 1
        return []

    def do_ranked(self, proposals: list[Proposal], *rest: Any) -> list[Ranked]:
        self.ranked = list(proposals)
        *_, done, _, most = rest
        self.rankings.append((len(done), most))
        return [refined(p, p.residual) for p in sorted(proposals, key=lambda p: p.residual)]

    def do_own_cell(self, best: Ranked, cells: Sequence[Cell]) -> Cell:
        return best.proposal.cell

    def do_candidate(
        self, one: Ranked, order: Any, densities: Any, peaks: Peaks, formula_given: bool, lead: float
    ) -> Candidate:
        self.lead, self.formula_given = lead, formula_given
        return answer(self.confidence)


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> Stages:
    return Stages(monkeypatch)


def solved(elements: str | None = "Na,Cl", **options: Any) -> Any:
    return solve_pattern(PATTERN, Given.of(elements, **options), PEAKS)


def test_every_cell_is_tried_until_one_explains_the_lines(stages: Stages) -> None:
    solution = solved(guesses=4, seed=7)
    assert stages.asked == [(CELL, 4), (OTHER, 1), (TRIGONAL, 1)]  # samples of the likeliest only
    assert stages.told == (("Na", "Cl"), None, 7) and stages.system == "auto"
    assert [cell for cell, symbols, *_ in stages.types if "X" not in symbols] == stages.cells
    assert all(rest[0] is None for _, _, *rest in stages.types) and not stages.searched  # the answer is believed
    assert len(solution.guesses) == 4 and solution.cell == CELL and solution.guess_rank.tolist() == [1, 2, 3, 4]
    assert len(solution.candidates) == 3 and (stages.lead, stages.formula_given) == (MOST_LEAD, False)
    assert np.array_equal(solution.lattice, CELL.primitive_lattice)
    assert solution.given["elements"] == ["Na", "Cl"] and solution.given["formula"] is None
    assert solution.given["wavelength_angstrom"] == 1.5406 and solution.given["wavelength_assumed"] is False
    assert {"indexing", "catalogue", "refinement", "ranking"} <= set(solution.seconds)


def test_a_cell_that_explains_the_lines_is_the_last(stages: Stages) -> None:
    stages.residuals = {CELL: WELL_EXPLAINED - 0.01}
    solved()
    assert [cell for cell, _ in stages.asked] == [CELL]
    # Larger lattices, whose further lines may be faint, by the catalogue alone; then one more element, in its own.
    assert [(cell.a, symbols) for cell, symbols, *_ in stages.types] == [
        (5.64, ("Na", "Cl")),
        (5.64, ("Na", "Cl")),
        (5.64, ("Na", "Cl", "X")),
    ]
    assert [cell.centring for cell, *_ in stages.types] == ["F", "P", "F"]


@pytest.mark.parametrize(("residual", "options"), [(SEEN / 2, {}), (SEEN * 2, {"cell": "5.64", "system": "cubic"})])
def test_no_larger_lattice_of_a_cell_that_is_given_or_explains_all(
    residual: float, options: dict[str, Any], stages: Stages
) -> None:
    stages.residuals = {CELL: residual}
    solved(**options)
    assert {cell.centring for cell, *_ in stages.types} == {"F"}


def test_a_search_is_for_what_nobody_believes(stages: Stages) -> None:
    stages.confidence = BELIEVED - 0.01
    solved(effort=8.0)
    assert stages.searched == [(CELL, 4.0), (OTHER, 2.0), (TRIGONAL, 1.0)]  # the likeliest cell gets half of the time
    assert {p.source for p in stages.ranked} == {"network", "search"}
    stages.searched, stages.search_finds = [], SOLVED / 2
    solved(effort=8.0)
    assert stages.searched == [(CELL, 4.0)]  # who has found the crystal looks no further
    stages.searched, stages.confidence, stages.search_finds = [], SURE - 0.01, 0.4
    solved(effort=8.0)
    assert stages.searched[0] == (CELL, pytest.approx(4.0 / 3))  # others may be better than what is believed
    stages.searched, stages.confidence = [], SURE
    solved(effort=8.0)
    assert not stages.searched
    stages.confidence = BELIEVED - 0.01
    solved(candidates="catalogue,network")
    assert not stages.searched
    stages.residuals = {CELL: EXPLAINED - 0.01}
    solved(effort=8.0)  # the lines are explained, but not by a crystal that anybody believes (Cu2PbO2 as Cu2PbO4)
    assert stages.searched[0] == (CELL, 4.0)
    stages.searched, stages.confidence = [], BELIEVED
    solved()
    assert not stages.searched


def test_a_cell_without_room_for_the_elements_is_enlarged(stages: Stages) -> None:
    """Chalcopyrite, whose copper and iron scatter alike: the lines are those of half a formula unit."""
    subcell = Cell("tetragonal", "I", 3.74, 5.21)
    stages.cells, stages.confidence = [subcell], BELIEVED - 0.01
    solved(None, formula="CuFeS2")
    asked = {(cell.centring, round(cell.a, 2), round(cell.c, 2)) for cell, *_ in stages.types}
    assert {("I", 3.74, 5.21), ("P", 3.74, 5.21)} <= asked
    assert {cell for cell, _ in stages.searched} == {cell for cell, *_ in stages.types}
    once = stages.types
    stages.types = []
    solved(None, formula="Cu2Fe2S4")  # however often it is written
    assert [cell for cell, *_ in stages.types] == [cell for cell, *_ in once]
    stages.types = []
    solved(None, formula="CuFeS2", cell="3.74,3.74,5.21,90,90,90")  # who gives the cell knows its size
    assert len({cell for cell, *_ in stages.types}) == 1


@pytest.mark.parametrize(
    ("residual", "rankings"),
    [
        (HOPELESS + 0.01, [(0, None)]),
        (HOPELESS - 0.01, [(0, JUDGED), (3, None)]),
        (EXPLAINED - 0.01, [(0, None), (1, None)]),
    ],
    ids=["hopeless", "doubtful", "explained"],
)
def test_what_is_refined_before_a_search(residual: float, rankings: list[Any], stages: Stages) -> None:
    """Nothing that nobody could believe, few that are in doubt; what explains the lines as if no search would come."""
    stages.confidence = BELIEVED - 0.01
    stages.residuals = dict.fromkeys(stages.cells, residual)
    solved()
    assert stages.rankings == rankings and stages.searched
    stages.rankings = []
    solved(candidates="network")  # no search will come
    assert stages.rankings == [(0, None)]


def test_hydrogen_alone_is_not_searched_for(stages: Stages) -> None:
    stages.confidence = BELIEVED - 0.01
    solved("H")
    assert not stages.searched


def test_known_crystals_come_without_a_cell(stages: Stages) -> None:
    stages.cells, stages.known = [], [found_at(0.1, "known")]
    assert solved().cell == CELL and stages.ranked[0] == stages.known[0]
    assert not solved(candidates="catalogue,search,network").candidates


def test_a_cell_of_the_same_metric_is_tried_still(stages: Stages) -> None:
    same = Cell("trigonal", "R", 5.64 / 8**0.5, 5.64 * 3**0.5)
    stages.cells, stages.residuals = [same, CELL, OTHER], {same: WELL_EXPLAINED - 0.01}
    solved()
    assert [cell for cell, _ in stages.asked] == [same, CELL]


def test_one_more_element_must_do_better_where_those_given_explain_the_lines(stages: Stages) -> None:
    worse, better = (found_at(m, "catalogue", origin="X") for m in (0.12, 0.08))
    stages.residuals, stages.unknown = {CELL: 0.1}, [better, worse]
    solved()
    assert better in stages.ranked and worse not in stages.ranked and stages.completed == 1
    stages.residuals, stages.unknown = {}, [found_at(0.7, "catalogue", origin="X")]
    solved()
    assert stages.unknown[0] in stages.ranked  # nothing explains them
    assert stages.types[-1][0] == CELL  # then it is in the likeliest cell


def test_who_gives_the_formula_misses_no_element(stages: Stages) -> None:
    solution = solved(None, formula="NaCl")
    assert not any("X" in symbols for _, symbols, *_ in stages.types) and stages.completed == 0
    assert stages.formula_given and stages.told[1] == {"Na": 1.0, "Cl": 1.0}
    assert stages.types[0][2] == {"Na": 1.0, "Cl": 1.0}
    assert solution.given["formula"] == "NaCl" and solution.given["elements"] is None


@pytest.mark.parametrize("options", [{"candidates": "known,network"}, {"elements": None}])
def test_no_catalogue(options: dict[str, Any], stages: Stages) -> None:
    solved(**options)
    assert stages.types == []


def test_no_network(stages: Stages) -> None:
    """It proposes nothing where it is not asked to, and draws nothing in a system that it was not trained on."""
    stages.known = [found_at(0.1, "known")]
    solved(candidates="known,catalogue")
    assert {p.source for p in stages.ranked} == {"known"} and stages.asked == [
        (CELL, 5)
    ]  # densities are drawn all the same
    stages.asked, stages.cells = [], [Cell("tetragonal", "P", 4.0, 5.0)]
    stages.known = [found_at(0.1, "known", stages.cells[0])]
    solved()
    assert stages.asked == []


def test_the_catalogue_is_as_asked(stages: Stages) -> None:
    known = Catalogue(own=False, without_type="A_hP1")
    solved(system="trigonal", catalogue=known)
    assert stages.catalogue == known
    assert stages.system == "trigonal"


def test_nothing_indexed_is_an_answer(stages: Stages) -> None:
    stages.cells = []
    solution = solved()
    assert solution.cell is None and solution.candidates == () and solution.lattice is None
    assert solution.guesses.shape == (0, GRID, GRID, GRID) and len(solution.guess_rank) == 0
    assert solution.model == {"file": None, "sha256": None} and not stages.asked and not stages.types
    assert "cell explains the 8 lines" in solution.warnings[0]


@pytest.mark.parametrize("found", [True, False])
def test_the_tube_is_sought_where_nobody_said_it(found: bool, stages: Stages, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the two likeliest cells, the catalogue, and the network's mean; the source's polarisation stays."""
    assumed = replace(PATTERN, radiation=replace(assumed_cu(), polarisation=0.8))
    tube = Tube("Co", replace(assumed_cu(), lines=((1.78897, 1.0),)), 0.4, (("Co", 1.0),))
    tried: list[Cell] = []

    def likeliest(pattern: Pattern, cells: Any, ways: Any, mapped: Any) -> Tube | None:
        tried.extend(cells(PEAKS))
        types, network = ways
        assert types(CELL, PEAKS) == [] and stages.types[0][:3] == (CELL, ("Na", "Cl"), None)
        assert [p.cell for p in network(CELL, PEAKS)] == [CELL] and stages.asked == [(CELL, 1)]
        return tube if found else None

    def find_peaks(pattern: Pattern) -> Peaks:
        return replace(PEAKS, radiation=pattern.radiation)

    monkeypatch.setattr(solver, "likeliest_tube", likeliest)
    monkeypatch.setattr(solver, "find_peaks", find_peaks)
    solution = solve(assumed, elements="Na,Cl")
    assert tried == [CELL, OTHER] and stages.lead == (0.4 if found else 0.0)
    assert solution.peaks.radiation.wavelength == (1.78897 if found else assumed_cu().wavelength)
    assert solution.peaks.radiation.polarisation == 0.8 and solution.given["wavelength_assumed"]
    assert any(tube.remark in warning for warning in solution.warnings) is found


@pytest.mark.parametrize("options", [{"elements": None}, {"known": PEAKS}])
def test_no_tube_is_sought_without_elements_or_for_known_lines(
    options: dict[str, Any], stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*arguments: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(solver, "likeliest_tube", never)
    monkeypatch.setattr(solver, "find_peaks", lambda pattern: PEAKS)
    given = Given.of(options.get("elements", "Na,Cl"))
    solve_pattern(replace(PATTERN, radiation=assumed_cu()), given, options.get("known"))
    with pytest.raises(AssertionError):
        solve(replace(PATTERN, radiation=assumed_cu()), elements="Na,Cl")


@pytest.mark.parametrize(("confidence", "cell"), [(SURE, OTHER), (SURE - 0.01, CELL)])
def test_only_a_sure_crystal_moves_the_guesses_to_its_cell(confidence: float, cell: Cell, stages: Stages) -> None:
    stages.residuals, stages.confidence = {OTHER: 0.2}, confidence
    solution = solved(guesses=2)
    assert solution.cell == cell and len(solution.guesses) == 2
    assert stages.asked == [(CELL, 2), (OTHER, 1), (TRIGONAL, 1)] + ([(OTHER, 2)] if cell == OTHER else [])


def test_a_model_that_is_given_must_be_of_the_likeliest_cell(stages: Stages) -> None:
    own = shipped_model("cubic")
    stages.cells = [TRIGONAL, CELL]
    with pytest.raises(InputError, match="is of the cubic system, but the cell is trigonal"):
        solved(models=own)
    stages.cells = [CELL]
    assert solved(models=own).cell == CELL


def test_so_many_are_reported(stages: Stages) -> None:
    stages.cells = [Cell("cubic", "P", a, a) for a in np.linspace(4, 9, REPORTED + 2)]
    assert len(solved().candidates) == REPORTED


@pytest.mark.parametrize(
    ("options", "message"), [({"candidates": "both"}, "--candidates"), ({"system": "rhombic"}, "--system")]
)
def test_choices_that_there_are_not(options: dict[str, Any], message: str, stages: Stages) -> None:
    with pytest.raises(InputError, match=message):
        solve(PATTERN, elements="Na,Cl", **options)

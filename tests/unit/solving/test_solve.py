"""`solve` with its stages replaced: what each is handed, which cells and elements are tried, what the user is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from crystalnet.crystal.lattice import Cell
from crystalnet.crystal.symmetry import wyckoff_rows
from crystalnet.crystal.systems import SYSTEMS
from crystalnet.density.promolecule import GRID, promolecule_density
from crystalnet.model.checkpoint import Model
from crystalnet.model.choice import shipped_model
from crystalnet.model.config import SMALL
from crystalnet.model.guesses import guess_densities
from crystalnet.model.inputs import LEVELS
from crystalnet.records import AtomSites, Candidate, DensityGrid, Fit, InputError, Pattern, Peaks, Radiation
from crystalnet.solving import from_network
from crystalnet.solving import solve as solver
from crystalnet.solving.answer import REPORTED, candidate, guess_rank, spread
from crystalnet.solving.answer import formula as formula_of
from crystalnet.solving.confidence import THRESHOLD, VOLUME_RANGE, probability
from crystalnet.solving.from_catalogue import Catalogue
from crystalnet.solving.from_network import ask_network, drawing
from crystalnet.solving.from_search import SOLVED
from crystalnet.solving.given import Given, symbols_of
from crystalnet.solving.proposals import WELL_EXPLAINED, Proposal
from crystalnet.solving.ranking import TYPE_KNOWN, Ranked
from crystalnet.solving.solve import CELLS_TRIED, EXPLAINED, HOPELESS, SEEN, SURE, cells_of, solve, solve_pattern
from crystalnet.solving.tube import MOST_LEAD, Tube, wavelength_lead
from crystalnet.solving.verdict import is_confident, warnings_of
from crystalnet.xrd.radiation import assumed_cu

CELL = Cell("cubic", "F", 5.64, 5.64, zero_shift=0.02, figure_of_merit=100.0, n_indexed=8, n_lines=8)
OTHER = Cell("cubic", "P", 4.1, 4.1)
TRIGONAL = Cell("trigonal", "P", 4.3, 6.9)
PRIMITIVE = AtomSites(CELL.primitive_lattice, ("Na", "Cl"), np.array([[0, 0, 0], [0.5, 0.5, 0.5]]))
SALT = AtomSites(
    5.64 * np.eye(3),
    ("Na",) * 4 + ("Cl",) * 4,
    np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]]) / 2,
)
DENSITY = promolecule_density(PRIMITIVE.lattice, PRIMITIVE.species, PRIMITIVE.frac_coords)
SOURCE = Radiation(((1.5406, 1.0),))
NOTHING = np.zeros(0)


def salt_lines() -> Peaks:
    d = CELL.a / np.sqrt([3, 4, 8, 11, 12, 16, 19, 20])
    two_theta = 2 * np.degrees(np.arcsin(1.5406 / 2 / d)) + CELL.zero_shift
    return Peaks(two_theta, d, np.ones(8), np.full(8, 0.1), NOTHING, 10.0, 90.0, SOURCE)


PEAKS = salt_lines()
PATTERN = Pattern(np.linspace(10, 90, 9), np.ones(9), np.ones(9), SOURCE)


def fit(rwp: float = 0.1, sites: AtomSites = SALT, **more: Any) -> Fit:
    return Fit(sites, rwp, NOTHING, NOTHING, **{"hkl_two_theta": NOTHING, **more})


def found_at(residual: float, source: str = "network", cell: Cell = CELL, origin: int | str = 0) -> Proposal:
    return Proposal(PRIMITIVE, source, residual, cell, origin)


def refined(proposal: Proposal, score: float = 0.1, volume_ratio: float | None = 1.1) -> Ranked:
    return Ranked(proposal, fit(), 0.05, volume_ratio, score, frozenset({proposal.source}))


# --- parts --------------------------------------------------------------------------------------------------------


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


def test_guesses_that_differ_by_an_origin_have_nospread() -> None:
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


@pytest.mark.parametrize(
    ("elements", "amounts", "symbols"),
    [
        (None, None, ()),
        ("Na,Cl", None, ("Na", "Cl")),
        (["Cl", "Na"], None, ("Cl", "Na")),
        ("Cl,Na", {"Na": 1.0, "Cl": 1.0}, ("Na", "Cl")),
        (None, {"Na": 1.0, "Cl": 1.0}, ("Na", "Cl")),
    ],
)
def test_elements_in_play(elements: Any, amounts: Any, symbols: tuple[str, ...]) -> None:
    assert symbols_of(elements, amounts) == symbols


def test_elements_that_cannot_be_used_are_named() -> None:
    with pytest.raises(InputError, match="different elements"):
        symbols_of("Na,Br", {"Na": 1.0, "Cl": 1.0})
    with pytest.raises(InputError, match="Og"):
        symbols_of("Og", None)


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


def test_who_says_the_wavelength_is_believed() -> None:
    assumed = replace(PATTERN, radiation=assumed_cu())
    tube = Tube("Cu", assumed_cu(), 0.4, ())
    assert wavelength_lead(PATTERN, None) == MOST_LEAD
    assert wavelength_lead(assumed, tube) == 0.4
    assert wavelength_lead(assumed, None) == 0.0


def network() -> Model:
    """A network whose densities are its latents: zero the mean, else random."""

    def encode(*told: torch.Tensor) -> SimpleNamespace:
        seen.append(told)
        return SimpleNamespace(
            mean=lambda: torch.zeros(1, 8), sample=lambda generator: torch.randn(1, 8, generator=generator)
        )

    seen: list[Any] = []
    stub: Any = SimpleNamespace(encode=encode, density_grid=lambda latents: latents, seen=seen)
    return Model(stub, SMALL, {}, "file", "hash")


def test_the_first_guess_is_the_mean_and_the_others_are_samples() -> None:
    model = network()

    def guesses(n: int, seed: int = 0, mean: bool = True) -> np.ndarray:
        told = {"Na": 1.0, "Cl": 1.0}
        return guess_densities(model, np.ones(1024), np.ones(1024), np.eye(3), told, "elements", n, seed, mean)

    four = guesses(4)
    assert four.shape == (4, 8) and not four[0].any() and all(row.any() for row in four[1:])
    assert len({row.tobytes() for row in four}) == 4
    assert np.array_equal(four, guesses(4)) and np.array_equal(guesses(2), four[:2])
    assert not np.array_equal(four[1:], guesses(4, seed=1)[1:])
    assert np.array_equal(guesses(3, mean=False), four[1:])
    seen: Any = model.network
    vector, mask, lattice, composition, level = seen.seen[0]
    assert vector.shape == mask.shape == (1, 1024) and torch.equal(lattice[0], torch.eye(3))
    assert (composition > 0).sum() == 2 and level.item() == LEVELS.index("elements")
    guess_densities(model, np.ones(1024), np.ones(1024), None, {}, "none", 1, 0)
    assert not seen.seen[-1][2].any() and seen.seen[-1][4].item() == LEVELS.index("none")


@pytest.mark.parametrize(
    ("symbols", "amounts", "level", "told"),
    [
        (("Na", "Cl"), {"Na": 2.0, "Cl": 1.0}, "formula", {"Na": 2.0, "Cl": 1.0}),
        (("Na", "Cl"), None, "elements", {"Na": 1.0, "Cl": 1.0}),
        ((), None, "none", {}),
    ],
)
def test_the_network_is_told_what_the_user_gave(
    symbols: tuple[str, ...], amounts: Any, level: str, told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: dict[str, Any] = {}
    astray = replace(PRIMITIVE, frac_coords=PRIMITIVE.frac_coords + [0.14, 0, 0])
    maps = np.stack([promolecule_density(astray.lattice, astray.species, astray.frac_coords)] * 3)

    def guess(model: Model, vector: np.ndarray, mask: np.ndarray, lattice: Any, *rest: Any) -> np.ndarray:
        handed.update(vector=vector, lattice=lattice, told=rest[0], level=rest[1], count=rest[2], seed=rest[3])
        return np.array(maps[rest[5]])  # those that are wanted

    def read_off(
        maps: np.ndarray, cell: Cell, peaks: Peaks, elements: Any, formula: Any, mapped: Any, explained: bool
    ) -> list[Proposal]:
        assert (tuple(elements), formula) == (symbols, amounts)
        read = [found_at(WELL_EXPLAINED - 0.01, origin=0), found_at(WELL_EXPLAINED + 0.01, origin=1)]
        return [replace(p, sites=astray) for p in read]

    monkeypatch.setattr("crystalnet.model.choice.model_for", lambda system, files: network())
    monkeypatch.setattr("crystalnet.model.guesses.guess_densities", guess)
    monkeypatch.setattr(from_network, "network_proposals", read_off)
    given = Given(symbols, amounts, seed=5)
    moved, proposals = ask_network(given, PEAKS, CELL, drawing(given, PEAKS, CELL, 3))
    assert (handed["told"], handed["level"], handed["count"], handed["seed"]) == (told, level, 3, 5)
    assert np.array_equal(handed["lattice"], CELL.primitive_lattice) and len(proposals) == 2
    # Bins of lines whose zero shift was taken off: those of a crystal that has none.
    unshifted = replace(PEAKS, two_theta=PEAKS.two_theta - CELL.zero_shift)
    assert np.array_equal(handed["vector"], from_network.observed_vector(unshifted)[0])
    # Only a density whose atoms explain the lines is moved to where its atoms are at home.
    assert not np.allclose(moved[0], maps[0]) and np.array_equal(moved[1:], maps[1:])


# --- what is reported ---------------------------------------------------------------------------------------------


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


def answer(confidence: float | None, sites: AtomSites = SALT, **of_the_fit: Any) -> Candidate:
    made = fit(sites=sites, **of_the_fit)
    grid = DensityGrid(np.zeros((2, 2, 2)), np.eye(3))
    return Candidate("network", "NaCl", 225, "Fm-3m", sites, (), made, 0.1, grid, confidence, {})


def said(*found: Candidate, pattern: Pattern = PATTERN, cells: Sequence[Cell] = (CELL,), tube: Any = None) -> str:
    return "\n".join(warnings_of(pattern, PEAKS, list(cells), found, tube))


def test_a_sound_answer_has_nowarnings_of() -> None:
    assert said(answer(0.9)) == ""
    assert said(answer(THRESHOLD)) == ""


def test_a_given_element_without_a_place_is_said() -> None:
    def of(*elements: str) -> str:
        return "\n".join(warnings_of(PATTERN, PEAKS, [CELL], (answer(0.9),), None, elements))

    assert of("Na", "Cl") == ""
    assert "Hydrogen is not among the atoms of NaCl" in of("Na", "Cl", "H") and "another phase" not in of("Na", "H")
    assert "Br and K of the given elements has no place in NaCl" in of("Na", "Br", "K")


def test_where_no_cell_convinces_the_lines_in_the_way_are_said() -> None:
    def of(nearest: Cell | None, peaks: Peaks = PEAKS) -> str:
        return "\n".join(warnings_of(PATTERN, peaks, [], (), None, (), nearest))

    foreign = replace(PEAKS, two_theta=np.sort(np.append(PEAKS.two_theta[1:], 51.33)))
    found = of(CELL, foreign)
    assert "51.33° (" in found and f"--cell {f'{CELL.a:.4f},' * 3}90.00,90.00,90.00" in found
    assert "51.33" not in of(None, foreign) and "--cell" in of(None, foreign)
    assert "nearest" not in of(CELL)  # it explains all lines
    assert "nearest" not in of(replace(CELL, a=0.83 * CELL.a), foreign)  # hardly any


def test_what_the_user_must_know_is_said() -> None:
    assumed = replace(PATTERN, radiation=assumed_cu(), remarks=("Two scans.",))
    assert said(answer(0.9), pattern=assumed).startswith("Two scans.\nThe wavelength is not in the file")
    tube = Tube("Co", assumed_cu(), 0.4, (("Co", 1.0), ("Cu", 0.7)))
    assert tube.remark in said(answer(0.9), pattern=assumed, tube=tube)
    assert "Cu Kα was assumed" not in said(answer(0.9), pattern=assumed, tube=tube)
    assert "cell explains the 8 lines" in said(cells=())
    assert "no arrangement" in said()
    assert "No confident match" in said(answer(THRESHOLD - 0.01)) and "49%" in said(answer(THRESHOLD - 0.01))
    assert "No confident match" in said(answer(None))
    others = said(answer(0.9, hkl_two_theta=PEAKS.two_theta[2:]))  # the two first are of another phase
    assert f"lines at {PEAKS.two_theta[1]:.2f}°" in others or f"{PEAKS.two_theta[0]:.2f}°" in others
    assert "a second phase" in others and said(answer(0.9, hkl_two_theta=PEAKS.two_theta)) == ""
    assert "asks for atoms (X)" in said(answer(0.9, replace(SALT, species=("X",) * 4 + ("Cl",) * 4)))
    failed = said(answer(0.9), answer(0.9, rwp=1.0, failure="singular matrix", remarks=("Eu was left out",)))
    assert "Candidate 2 (NaCl) could not be refined (singular matrix): its Rwp of 1.00" in failed
    assert failed.count("In the refinement Eu was left out.") == 1


@pytest.mark.parametrize(("scale", "warned"), [(1.0, False), (0.85, True), (1.3, True)])
def test_an_impossible_volume_is_said(scale: float, warned: bool) -> None:
    ratio = 0.925 * scale**3  # of rock salt with this edge
    assert warned is not (VOLUME_RANGE[0] < ratio < VOLUME_RANGE[1])
    text = said(answer(0.9, replace(SALT, lattice=scale * SALT.lattice)))
    assert (f"{ratio:.2f} times the volume expected for NaCl" in text) is warned


def test_confidence_is_of_the_first_candidate() -> None:
    assert is_confident((answer(THRESHOLD), answer(0.1)))
    assert not is_confident((answer(THRESHOLD - 1e-6), answer(0.9)))
    assert not is_confident(()) and not is_confident((answer(None),))


# --- the way through ----------------------------------------------------------------------------------------------


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
        self.rankings = 0
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
        self.rankings += 1
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
    stages.confidence = THRESHOLD - 0.01
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
    stages.confidence = THRESHOLD - 0.01
    solved(candidates="catalogue,network")
    stages.residuals = {CELL: EXPLAINED - 0.01}
    solved()
    assert not stages.searched


def test_a_cell_without_room_for_the_elements_is_enlarged(stages: Stages) -> None:
    """Chalcopyrite, whose copper and iron scatter alike: the lines are those of half a formula unit."""
    subcell = Cell("tetragonal", "I", 3.74, 5.21)
    stages.cells, stages.confidence = [subcell], THRESHOLD - 0.01
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


@pytest.mark.parametrize(("above", "rankings"), [(-0.01, 2), (0.01, 1)])
def test_what_nobody_can_believe_is_not_refined_before_a_search(above: float, rankings: int, stages: Stages) -> None:
    stages.confidence = THRESHOLD - 0.01
    stages.residuals = dict.fromkeys(stages.cells, HOPELESS + above)
    solved()
    assert stages.rankings == rankings and stages.searched
    stages.rankings = 0
    solved(candidates="network")  # no search will come
    assert stages.rankings == 1


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

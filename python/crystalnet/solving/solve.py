"""Solving a pattern: pattern → lines → cells → proposals → refined crystals → answers. Read `solve_pattern`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from crystalnet.crystal.chemistry import expected_volume
from crystalnet.crystal.elements import visible
from crystalnet.crystal.lattice import Cell
from crystalnet.crystal.metric import same_metric
from crystalnet.defaults import EFFORT, GUESSES
from crystalnet.density.promolecule import GRID
from crystalnet.model.choice import Models, has_model, model_entry, model_file, model_for
from crystalnet.records import Candidate, Pattern, Peaks, Solution
from crystalnet.runtime.clock import Clock, Progress, Stage, unclocked
from crystalnet.runtime.pool import Map, own_threads
from crystalnet.runtime.settings import settings
from crystalnet.solving.analogues import Analogues
from crystalnet.solving.answer import REPORTED, SAME_VOLUME, candidate, guess_rank, own_cell, spread
from crystalnet.solving.completion import completed
from crystalnet.solving.contents import formula_unit
from crystalnet.solving.from_known import known_proposals
from crystalnet.solving.from_network import ask_network, drawing
from crystalnet.solving.from_search import SOLVED, search_proposals
from crystalnet.solving.given import Given
from crystalnet.solving.proposals import WELL_EXPLAINED, Proposal, distinct
from crystalnet.solving.ranking import Ranked, ranked
from crystalnet.solving.tube import Tube, likeliest_tube, wavelength_lead
from crystalnet.solving.verdict import is_confident, warnings_of
from crystalnet.xrd.excerpt import parse_range, within
from crystalnet.xrd.indexing.equal_scatterers import hidden_lattices, roomier_lattices
from crystalnet.xrd.indexing.given import cell_from_option, centrings
from crystalnet.xrd.indexing.index import index_peaks, nearest_cell
from crystalnet.xrd.indexing.related import reduced, same_lattice
from crystalnet.xrd.kalpha2 import kalpha2_remark
from crystalnet.xrd.monochromator import monochromated
from crystalnet.xrd.peaks import find_peaks
from crystalnet.xrd.radiation import parse_wavelength
from crystalnet.xrd.reader import read_pattern

CELLS_TRIED = 4  # indexing's first cell is right nine times in ten; the others cost a second each
TUBE_CELLS = 2  # tried with each tube where the wavelength was not said
EXPLAINED = 0.05  # residual that asks for no search if the crystal is believed: of 489 (perfect lines) 484 were right
HOPELESS = 0.3  # residual above which a search comes first: hardly any such crystal would be believed
DOUBTED = 1 / 3  # of the effort, where an answer is believed but others may be better (stromeyerite, WO3)
JUDGED = 2  # proposals whose profile is refined to see whether a search is needed
SEEN = 0.02  # residual below which no faint line of a larger lattice asks for it (tilted octahedra: 0.05 without)
SURE = 0.9  # confidence; below, a crystal in another cell is no reason to leave the likeliest one (SrLiAlF6, Mg3Hg)


def solve(
    pattern: str | Path | Pattern,
    *,
    elements: str | Sequence[str] | None = None,
    formula: str | None = None,
    wavelength: str | float | None = None,
    monochromator: str | None = None,
    system: str = "auto",
    cell: str | None = None,
    guesses: int = GUESSES,
    seed: int = 0,
    model: Models = None,
    candidates: str = "all",
    effort: float = EFFORT,
    distances: Sequence[str] = (),
    coordination: Sequence[str] = (),
    scan: int | None = None,
    axis: str = "auto",
    two_theta_range: str | None = None,
    progress: Progress = lambda stage: None,
    mapped: Map = map,
) -> Solution:
    """Crystal candidates for a measured powder pattern, best first by what the pattern says.

    Parameters
    ----------
    pattern : str, Path or Pattern
        A file, or a pattern already read.
    elements : str or sequence of str, optional
        Those in the sample: "Zr,Sb,Pt".
    formula : str, optional
        Where it is known: "Zr3Sb4Pt3".
    wavelength : str or float, optional
        A name (CuKa, MoKa1, ...) or Å; else the file's, else that of the user's settings, else it is sought.
    monochromator : str, optional
        Its crystal (graphite, Ge, ...) or 2θ in degrees.
    system : str
        auto or one of the seven.
    cell : str, optional
        "a", "a,c" (hexagonal axes), "a,alpha=55" or all six parameters, in Å and degrees.
    guesses, seed : int
        Latent samples of the network, the first being the mean, and their seed.
    model : str, Path or mapping, optional
        A model file, or files by crystal system; the package's where there is none.
    candidates : str
        "all", or some of known, catalogue, search and network with commas: where crystals may come from.
    effort : float
        Seconds that a search may take where no known type convinces.
    distances, coordination : sequence of str, optional
        What is expected of bonds, "Si-O=1.62" (Å) and "Si=4" (neighbours): crystals that differ are ranked lower.
    scan : int, optional
        Number of the scan in a file of several.
    axis : {"auto", "two-theta", "q", "d"}
        What the first column is where the file does not say.
    two_theta_range : str, optional
        The part that is used, degrees 2θ: "15,90", "15," or ",90".
    progress : callable
        Is told the name of each stage as it begins.
    mapped : callable
        The built-in map, or one over several processes (`runtime.pool.helped`) for an answer sooner, not another.

    Returns
    -------
    Solution

    Raises
    ------
    InputError
        For anything that cannot be used.

    Examples
    --------
    Too slow for a test of its own (the tutorial's commands, which are one, include it):

    >>> solution = solve("examples/Zr3Sb4Pt3.xy", elements="Zr,Sb,Pt")  # doctest: +SKIP
    >>> solution.candidates[0].formula  # doctest: +SKIP
    'Zr3Sb4Pt3'
    """
    given = Given.of(
        elements,
        formula,
        system,
        cell,
        guesses,
        seed,
        model,
        candidates=candidates,
        effort=effort,
        distances=distances,
        coordination=coordination,
    )
    clock = Clock(progress)
    with clock("reading"):
        low, high = parse_range(two_theta_range) if two_theta_range else (None, None)
        measured = within(measured_pattern(pattern, wavelength, monochromator, scan, axis), low, high)
    return solve_pattern(measured, given, clock=clock, mapped=mapped)


def measured_pattern(
    pattern: str | Path | Pattern,
    wavelength: str | float | None,
    monochromator: str | None,
    scan: int | None,
    axis: str,
) -> Pattern:
    """The pattern with the radiation given, else its file's, else the user's diffractometer's, else Cu Kα assumed."""
    if isinstance(pattern, Pattern):  # the settings are about files
        return replace(pattern, radiation=monochromated(pattern.radiation, monochromator, None))
    said = None if wavelength is None else parse_wavelength(wavelength)
    own = settings()
    usual = parse_wavelength(own.wavelength) if own.wavelength else None
    measured = read_pattern(Path(pattern), said, scan=scan, axis=axis, otherwise=usual)
    return replace(measured, radiation=monochromated(measured.radiation, monochromator, own.monochromator))


def solve_pattern(
    measured: Pattern, given: Given, known: Peaks | None = None, *, clock: Clock | None = None, mapped: Map = map
) -> Solution:
    """The way of a pattern, a line a stage.

    known: its lines, where they are known; else they are picked from it, and the tube is sought where nobody said it.
    """
    stages = _Stages(given, clock or Clock(), mapped)
    lines = stages.lines(measured) if known is None else Lines(measured, known).decided()
    proposals = stages.proposals(lines.peaks, stages.cells(lines.peaks))
    doubtful, hopeless = (stages.unexplained(proposals, least) for least in (EXPLAINED, HOPELESS))
    refined = [] if hopeless else stages.refined(lines, proposals, most=JUDGED if doubtful else None)
    answers = stages.answers(lines, proposals, refined)
    if doubtful or (stages.may_search(proposals) and not is_confident(answers)):
        proposals = stages.searched(lines.peaks, proposals, answers)
        refined = stages.refined(lines, proposals, refined)
        answers = stages.answers(lines, proposals, refined)
    guesses = stages.guesses(lines, proposals, refined, answers)
    radiation = lines.pattern.radiation
    return Solution(
        pattern=lines.pattern,
        peaks=lines.peaks,
        given={
            "elements": list(given.symbols) if given.elements else None,
            "formula": given.formula,
            "system": given.system,
            "wavelength_angstrom": lines.peaks.radiation.wavelength,
            "wavelength_assumed": radiation.assumed,
        },
        model=model_entry(stages.model_of(guesses)),
        cell=guesses.cell,
        candidates=answers,
        guesses=guesses.maps,
        guess_rank=guesses.rank,
        spread=guesses.spread,
        lattice=guesses.cell.primitive_lattice if guesses.cell else None,
        seconds=stages.clock.seconds,
        warnings=warnings_of(
            lines.pattern,
            lines.peaks,
            proposals.cells,
            answers,
            lines.tube,
            given.symbols,
            None if proposals.cells else stages.nearest(lines.peaks),
        ),
    )


@dataclass(frozen=True)
class Lines:
    """A pattern with its radiation decided, its Bragg lines, and the tube that was taken where nobody said one."""

    pattern: Pattern
    peaks: Peaks
    tube: Tube | None = None

    def decided(self) -> Lines:
        """With what the lines say of Kα2."""
        remark = kalpha2_remark(self.pattern.radiation, self.peaks.radiation)
        remarks = (*self.pattern.remarks, remark) if remark else self.pattern.remarks
        return replace(self, pattern=replace(self.pattern, radiation=self.peaks.radiation, remarks=remarks))


@dataclass(frozen=True)
class Proposals:
    """Crystals worth refining; the cells that were tried, best first, and the network's densities in those asked for.

    densities: (N, 50, 50, 50) e/Å³ in the primitive axes of each cell, N the guesses in the likeliest and 1 in others.
    """

    cells: tuple[Cell, ...]
    densities: Mapping[Cell, np.ndarray]
    found: tuple[Proposal, ...]


@dataclass(frozen=True)
class Guesses:
    """The network's densities in the cell of the answer: maps (N, 50, 50, 50), rank (N,) by the pattern, 1 the best,
    and the spread (50, 50, 50) of the maps. No cell, no maps.
    """

    cell: Cell | None
    maps: np.ndarray
    rank: np.ndarray
    spread: np.ndarray


class _Stages:
    """The stages of one answer, which share what the user gave, the clock and the processes."""

    def __init__(self, given: Given, clock: Clock, mapped: Map) -> None:
        self.given, self.clock, self.mapped = given, clock, mapped

    def lines(self, measured: Pattern) -> Lines:
        """Lines picked from the pattern, with the tube that the sample speaks for where nobody said the wavelength."""
        tube = None
        if measured.radiation.assumed and self.given.symbols:
            with self.clock("wavelength"):
                tube = likeliest_tube(measured, self._tube_cells, (self._types_in, self._mean_guess), self.mapped)
            if tube:
                taken = replace(tube.radiation, polarisation=measured.radiation.polarisation)
                measured = replace(measured, radiation=taken)
        with self.clock("peaks"):
            return Lines(measured, find_peaks(measured), tube).decided()

    def cells(self, peaks: Peaks) -> tuple[Cell, ...]:
        """Cells to try, best first."""
        with self.clock("indexing"):
            cells = cells_of(peaks, self.given)
            if cells and self.given.models is not None and not isinstance(self.given.models, Mapping):
                model_for(cells[0].system, self.given.models)  # who gives a model wants it used
            return tuple(cells)

    def nearest(self, peaks: Peaks) -> Cell | None:
        """The cell that comes nearest to explaining the lines, where none convinces."""
        with self.clock("indexing"):
            return nearest_cell(peaks, self.given.systems, self.given.symbols, own_threads())

    def proposals(self, peaks: Peaks, cells: tuple[Cell, ...]) -> Proposals:
        """Known crystals, and those of the catalogue and the network in each cell until one explains the lines."""
        given = self.given
        densities: dict[Cell, np.ndarray] = {}
        proposals: list[Proposal] = []
        if "known" in given.sources and given.symbols:
            with self.clock("known"):
                proposals += known_proposals(given.catalogue, peaks, given.symbols, given.amounts)
        if not cells and proposals:  # a known crystal brings its own
            cells = (proposals[0].cell,)
        explains: Cell | None = None
        least = 1.0
        for number, tried in enumerate(cells):
            # The next cells are for the case that this one is wrong, or has the metric of a higher symmetry.
            if explains and not _rivals(tried, explains):
                continue
            asks = "network" in given.sources and has_model(tried.system, given.models)
            # Samples of the likeliest cell only: a decoding takes longer than all else that is done for a cell.
            drawn = self._drawing(tried, peaks, 1 if densities else given.guesses) if asks else None
            if not any(_one_lattice(tried, other) for other in cells[:number]):
                with self.clock("catalogue"):
                    proposals += self._types_in(tried, peaks)
            if drawn is not None:
                explained = min((p.residual for p in proposals), default=1.0) < WELL_EXPLAINED
                densities[tried], found = self._asked(tried, peaks, drawn, explained)
                proposals += found
            least = min((p.residual for p in proposals), default=1.0)
            explains = explains or (tried if least < WELL_EXPLAINED else None)
        if explains and least > SEEN and given.cell is None:  # who gives the cell knows its size
            with self.clock("catalogue"):
                proposals += [p for larger in hidden_lattices(explains) for p in self._types_in(larger, peaks)]
                least = min(p.residual for p in proposals)
        if cells and explains is None and given.symbols and given.cell is None:
            with self.clock("catalogue"):
                unit = formula_unit(given.composition) or given.composition  # "Fe4O6" is two of Fe2O3
                larger = roomier_lattices(cells, expected_volume(unit))
                proposals += [p for cell in larger for p in self._types_in(cell, peaks)]
                cells += tuple(larger)
        if cells and given.symbols and given.amounts is None:
            with self.clock("completion"):
                proposals += completed(distinct(proposals), peaks, given.symbols)
                least = min((p.residual for p in proposals), default=1.0)
            with self.clock("catalogue"):
                further = self._types_in(explains or cells[0], peaks, "X")
                # Where the given elements explain the lines, one more must do so better from the start.
                proposals += [p for p in further if p.residual < least or explains is None]
        return Proposals(cells, densities, tuple(proposals))

    def may_search(self, proposals: Proposals) -> bool:
        """Whether there are elements to place, and a cell to put them in."""
        return bool("search" in self.given.sources and visible(self.given.symbols) and proposals.cells)

    def unexplained(self, proposals: Proposals, least: float) -> bool:
        """Whether a search may be made, and no proposal has a residual as small."""
        return self.may_search(proposals) and min((p.residual for p in proposals.found), default=1.0) > least

    def searched(self, peaks: Peaks, proposals: Proposals, answers: Sequence[Candidate]) -> Proposals:
        """With what a search finds in the cells, the likeliest of which gets half of the time.

        A crystal that somebody has published and a sure one need no search; one that is believed gets less of it.
        """
        left, found = self.given.effort, list(proposals.found)
        if is_confident(answers):
            if answers[0].reference or answers[0].confidence >= SURE:
                return proposals
            left *= DOUBTED
        with self.clock("search"):
            # Of the package's library alone: the user's own files may have been asked not to take part.
            analogues = Analogues(self.given.symbols, replace(self.given.catalogue, own=False).crystals())
            for cell in proposals.cells:
                started = time.monotonic()
                own = search_proposals(
                    cell,
                    peaks,
                    analogues,
                    self.given.amounts,
                    bonds=self.given.bonds,
                    seconds=left / 2,
                    threads=own_threads(),
                )
                found += own
                left -= time.monotonic() - started  # in a cell without room no time is spent
                if own and own[0].worth < SOLVED:
                    break
        return replace(proposals, found=tuple(found))

    def refined(
        self, lines: Lines, proposals: Proposals, done: Sequence[Ranked] = (), most: int | None = None
    ) -> list[Ranked]:
        """The most promising proposals refined on the profile, best first; done: those that are refined already."""
        with self.clock("refinement"):
            return ranked(proposals.found, lines.pattern, lines.peaks, self.mapped, done, self.given.bonds, most)

    def answers(self, lines: Lines, proposals: Proposals, refined: Sequence[Ranked]) -> tuple[Candidate, ...]:
        """The best crystals as they are reported, each with its confidence."""
        lead = wavelength_lead(lines.pattern, lines.tube)
        formula_given = self.given.amounts is not None
        with self.clock("ranking"):
            return tuple(
                candidate(entry, refined, proposals.densities, lines.peaks, formula_given, lead)
                for entry in refined[:REPORTED]
            )

    def guesses(
        self, lines: Lines, proposals: Proposals, refined: Sequence[Ranked], answers: tuple[Candidate, ...]
    ) -> Guesses:
        """The densities in the likeliest cell, or in that of a sure crystal.

        Those of another cell than the likeliest are drawn only here: to draw them for every cell that is tried would
        cost each pattern seconds for the few whose cell changes.
        """
        if not proposals.cells:
            return Guesses(None, np.zeros((0, GRID, GRID, GRID)), np.zeros(0, int), np.zeros((GRID, GRID, GRID)))
        likeliest = cell = proposals.cells[0]
        if answers and answers[0].confidence >= SURE:  # a crystal in doubt is no reason to leave it
            cell = own_cell(refined[0], proposals.cells)
        if not has_model(cell.system, self.given.models):
            return Guesses(cell, np.zeros((0, GRID, GRID, GRID)), np.zeros(0, int), np.zeros((GRID, GRID, GRID)))
        drawn = cell == likeliest and cell in proposals.densities
        if drawn:
            maps = proposals.densities[cell]
        else:
            begun = self._drawing(cell, lines.peaks, self.given.guesses)
            maps = self._asked(cell, lines.peaks, begun, explained=True)[0]
        rank = guess_rank(proposals.found, len(maps), cell)
        return Guesses(cell, maps, rank, spread(maps, maps[rank.argmin()], cell))

    def model_of(self, guesses: Guesses) -> Path | None:
        """The file of the network that drew the densities."""
        return model_file(guesses.cell.system, self.given.models) if len(guesses.maps) and guesses.cell else None

    def _drawing(self, cell: Cell, peaks: Peaks, guesses: int) -> Callable[[], np.ndarray]:
        return drawing(self.given, peaks, cell, guesses, mapped=self.mapped)

    def _asked(
        self,
        cell: Cell,
        peaks: Peaks,
        drawn: Callable[[], np.ndarray],
        explained: bool = False,
        clock: Stage | None = None,
    ) -> tuple[np.ndarray, list[Proposal]]:
        clock = clock or self.clock
        return ask_network(self.given, peaks, cell, drawn, explained=explained, clock=clock, mapped=self.mapped)

    def _types_in(self, cell: Cell, peaks: Peaks, *further: str) -> list[Proposal]:
        """Crystals of the catalogue in a cell, of the given elements and further ones."""
        given = self.given
        if "catalogue" not in given.sources or not given.symbols:
            return []
        symbols = (*given.symbols, *further)
        return given.catalogue.proposals(cell, peaks, symbols, given.amounts, own_threads())

    def _tube_cells(self, peaks: Peaks) -> Sequence[Cell]:
        return cells_of(peaks, self.given)[:TUBE_CELLS]

    def _mean_guess(self, cell: Cell, peaks: Peaks) -> list[Proposal]:
        if not has_model(cell.system, self.given.models):
            return []
        return self._asked(cell, peaks, self._drawing(cell, peaks, 1), clock=unclocked)[1]


def cells_of(peaks: Peaks, given: Given) -> list[Cell]:
    """Cells to try, best first: CELLS_TRIED lattices, of which some may be described in two crystal systems."""
    if given.cell is not None:
        return centrings(peaks, cell_from_option(given.cell, given.system))
    found: list[Cell] = []
    lattices = 0
    for cell in index_peaks(peaks, given.systems, elements=given.symbols, threads=own_threads()):
        lattices += not any(_one_lattice(cell, other) or same_metric(cell, other) for other in found)
        if lattices > CELLS_TRIED:
            break
        found.append(cell)
    return found


def _rivals(tried: Cell, explains: Cell) -> bool:
    """Whether a cell is worth trying beside one that explains the lines: cubic, or smaller, and of the same metric."""
    smaller = tried.primitive_volume < (1 - SAME_VOLUME) * explains.primitive_volume
    alike = same_metric(tried, explains) or _one_lattice(tried, explains)
    return alike and (smaller or len(tried.free) < len(explains.free))


def _one_lattice(one: Cell, other: Cell) -> bool:
    """Whether two cells describe one lattice, be it in two crystal systems."""
    return same_lattice(reduced(one.primitive_lattice), reduced(other.primitive_lattice))

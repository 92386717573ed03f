"""Solving a pattern: read → peaks → cell → densities → atoms → refinement → ranking. Read `solve` top to bottom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from crystalnet.crystal.elements import ATOMIC_NUMBER
from crystalnet.crystal.formula import parse_elements, parse_formula
from crystalnet.crystal.lattice import Cell
from crystalnet.crystal.metric import same_metric
from crystalnet.crystal.systems import SYSTEMS
from crystalnet.density.promolecule import GRID, element_table
from crystalnet.model.choice import Models, _loaded_file, _model_entry, _of_the_model, model_for
from crystalnet.ops.reflections import form_factor_table
from crystalnet.records import InputError, Pattern, Peaks, Radiation, Solution
from crystalnet.runtime.clock import Progress, Stage, _Clock, _unclocked
from crystalnet.runtime.pool import Map
from crystalnet.runtime.settings import settings
from crystalnet.solving.answer import REPORTED, SAME_VOLUME, _candidate, _guess_rank, _own_cell, _spread
from crystalnet.solving.completion import completed
from crystalnet.solving.from_catalogue import catalogue_proposals
from crystalnet.solving.from_network import ask_network
from crystalnet.solving.proposals import WELL_EXPLAINED, Proposal, distinct
from crystalnet.solving.ranking import ranked
from crystalnet.solving.tube import _wavelength_lead, likeliest_tube
from crystalnet.solving.verdict import _warnings
from crystalnet.xrd.indexing.given import cell_from_option, centrings
from crystalnet.xrd.indexing.index import index_peaks
from crystalnet.xrd.indexing.superlattices import hidden_lattices
from crystalnet.xrd.peaks import find_peaks, kalpha2_remark
from crystalnet.xrd.radiation import monochromated, parse_wavelength
from crystalnet.xrd.reader import read_pattern

CELLS_TRIED = 4  # indexing's first cell is right nine times in ten; the others cost a second each
TUBE_CELLS = 2  # tried with each tube where the wavelength was not said
SEEN = 0.02  # misfit below which no faint line of a larger lattice asks for it (tilted octahedra: 0.05 without)
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
    guesses: int = 5,
    seed: int = 0,
    model: Models = None,
    candidates: str = "all",
    scan: int | None = None,
    axis: str = "auto",
    own_types: bool = True,
    without_type: str | None = None,
    peaks: Peaks | None = None,
    progress: Progress = lambda stage: None,
    mapped: Map = map,
) -> Solution:
    """Crystal candidates for a measured powder pattern, best first by what the pattern says.

    pattern: file, or a Pattern already read. elements: "Zr,Sb,Pt" or a sequence; formula: "Zr3Sb4Pt3"; both optional.
    wavelength: a name (CuKa, MoKa1, ...) or Å. monochromator: its crystal (graphite, Ge, ...) or 2θ in degrees.
    system: auto, cubic or trigonal. cell: "a", "a,c" or "a,alpha=55". scan: number of the scan in a file of several;
    axis: two-theta, q or d where the file does not say.
    model: a file, or files by crystal system; the package's where there is none.
    guesses: latent samples, the first being the mean. candidates: "all" or "network" (no catalogue).
    own_types: the catalogue holds the structure types of the user's data sets too; without them an answer does not
    depend on what was fetched. without_type: a protostructure that the catalogue shall not know, to see what an answer
    of an unknown type is worth. peaks: its lines where they are known; else they are picked from it. mapped: the
    built-in map, or one over several processes (`pool.helped`) for an answer sooner, not another.
    Raises InputError for anything that cannot be used.

    Too slow for a test of its own (the tutorial's commands, which are one, include it):

    >>> solution = solve("examples/Zr3Sb4Pt3.xy", elements="Zr,Sb,Pt")  # doctest: +SKIP
    >>> solution.candidates[0].formula  # doctest: +SKIP
    'Zr3Sb4Pt3'
    """
    clock = _Clock(progress)
    amounts = parse_formula(formula) if formula else None
    symbols = _symbols(elements, amounts)
    if candidates not in ("all", "network"):
        raise InputError(f"--candidates {candidates!r}: choose all or network")
    given = {"elements": list(symbols) if elements else None, "formula": formula, "system": _check_system(system)}
    if model is not None and not isinstance(model, Mapping):  # what is wrong with it is said before the work
        model_for(_loaded_file(Path(model)).config.system if system == "auto" else system, model)

    with clock("reading"):
        radiation = None if wavelength is None else parse_wavelength(wavelength)
        measured = pattern if isinstance(pattern, Pattern) else _read(Path(pattern), radiation, scan, axis)
        own = None if isinstance(pattern, Pattern) else settings().monochromator  # of files, as for the wavelength
        measured = replace(measured, radiation=monochromated(measured.radiation, monochromator, own))

    def asked(cell: Cell, peaks: Peaks, count: int, clock: Stage = clock) -> tuple[np.ndarray, list[Proposal]]:
        return ask_network(
            model_for(cell.system, model), peaks, cell, symbols, amounts, count, seed, clock=clock, mapped=mapped
        )

    def types_in(cell: Cell, peaks: Peaks, symbols: tuple[str, ...]) -> list[Proposal]:
        if candidates == "network" or not symbols:
            return []
        return catalogue_proposals(cell, peaks, symbols, amounts, system == "auto", own_types, without_type)

    tube = None
    if measured.radiation.assumed and symbols and peaks is None:
        with clock("wavelength"):
            tube = likeliest_tube(
                measured,
                lambda lines: _of_the_model(_cells(lines, system, cell, mapped), model)[:TUBE_CELLS],
                (
                    lambda tried, lines: types_in(tried, lines, symbols),
                    lambda tried, lines: asked(tried, lines, 1, _unclocked)[1],
                ),
                mapped,
            )
        if tube:
            taken = replace(tube.radiation, polarisation=measured.radiation.polarisation)
            measured = replace(measured, radiation=taken)
    with clock("peaks"):
        peaks = peaks or find_peaks(measured)
        remark = kalpha2_remark(measured.radiation, peaks.radiation)
        remarks = (*measured.remarks, remark) if remark else measured.remarks
        measured = replace(measured, radiation=peaks.radiation, remarks=remarks)
    with clock("indexing"):
        cells = _cells(peaks, system, cell, mapped)
        if cells:
            model_for(cells[0].system, model)  # the likeliest cell's must be there
        cells = _of_the_model(cells, model)

    densities: dict[Cell, np.ndarray] = {}
    proposals: list[Proposal] = []
    explains: Cell | None = None
    least = 1.0
    for tried in cells:
        # The next cells are for the case that this one is wrong, or has the metric of a higher symmetry.
        if explains and not _rivals(tried, explains):
            continue
        # Samples of the likeliest cell only: a decoding takes longer than all else that is done for a cell.
        densities[tried], found = asked(tried, peaks, 1 if densities else guesses)
        with clock("catalogue"):
            found += types_in(tried, peaks, symbols)
        proposals += found
        least = min((p.misfit for p in proposals), default=1.0)
        explains = explains or (tried if least < WELL_EXPLAINED else None)
    if explains and least > SEEN and cell is None:  # who gives the cell knows its size
        with clock("catalogue"):
            proposals += [p for larger in hidden_lattices(explains) for p in types_in(larger, peaks, symbols)]
            least = min(p.misfit for p in proposals)
    if cells and symbols and amounts is None:
        with clock("completion"):
            proposals += completed(distinct(proposals), peaks, symbols)
            least = min((p.misfit for p in proposals), default=1.0)
        with clock("catalogue"):
            explained = explains is not None
            further = types_in(explains or cells[0], peaks, (*symbols, "X"))
            # Where the given elements explain the lines, one more must do so better from the start.
            proposals += [p for p in further if p.misfit < least or not explained]
    with clock("refinement"):
        order = ranked(proposals, measured, peaks, mapped)
    with clock("ranking"):
        answers = tuple(
            _candidate(r, order, densities, peaks, amounts is not None, _wavelength_lead(measured, tube))
            for r in order[:REPORTED]
        )
        best = cells[0] if cells else None  # a crystal that is in doubt is no reason to leave it
        if answers and (answers[0].confidence or 0.0) >= SURE:
            best = _own_cell(order[0], cells)
    maps = np.zeros((0, GRID, GRID, GRID))
    rank, spread = np.zeros(0, int), np.zeros((GRID, GRID, GRID))
    if best is not None:
        maps = densities[best] if best == cells[0] else asked(best, peaks, guesses)[0]
        rank = _guess_rank(proposals, len(maps), best)
        spread = _spread(maps, maps[rank.argmin()], best)
    return Solution(
        pattern=measured,
        peaks=peaks,
        given=given
        | {"wavelength_angstrom": peaks.radiation.wavelength, "wavelength_assumed": measured.radiation.assumed},
        model=_model_entry(model_for(best.system, model) if best else None),
        cell=best,
        candidates=answers,
        guesses=maps,
        guess_rank=rank,
        spread=spread,
        lattice=best.primitive_lattice if best else None,
        seconds=clock.seconds,
        warnings=_warnings(measured, peaks, cells, answers, tube),
    )


def _symbols(elements: str | Sequence[str] | None, amounts: Mapping[str, float] | None) -> tuple[str, ...]:
    """The elements in play, () if nothing is known. InputError where --elements and --formula disagree."""
    named = parse_elements(elements if isinstance(elements, str) else ",".join(elements)) if elements else ()
    if amounts is None:
        symbols = named
    elif named and set(named) != set(amounts):
        raise InputError(f"--elements {','.join(named)} and --formula ({','.join(amounts)}) name different elements")
    else:
        symbols = tuple(amounts)
    unknown = [s for s in symbols if s not in element_table()]
    if unknown:
        raise InputError(f"no valence density is known for {', '.join(unknown)}; leave it out or give no elements")
    unscattered = [s for s in symbols if ATOMIC_NUMBER[s] >= len(form_factor_table())]
    if unscattered:
        raise InputError(f"no form factor is known for {', '.join(unscattered)}; leave it out or give no elements")
    return symbols


def _check_system(system: str) -> str:
    if system not in ("auto", *SYSTEMS):
        raise InputError(f"--system {system!r}: choose one of auto, {', '.join(SYSTEMS)}")
    return system


def _read(path: Path, radiation: Radiation | None, scan: int | None, axis: str) -> Pattern:
    """The file, with the wavelength given, else its own, else that of the user's diffractometer, else Cu Kα assumed."""
    measured = read_pattern(path, radiation, scan=scan, axis=axis)
    own = settings().wavelength
    return (
        read_pattern(path, parse_wavelength(own), scan=scan, axis=axis)
        if measured.radiation.assumed and own
        else measured
    )


def _cells(peaks: Peaks, system: str, option: str | None, mapped: Map) -> list[Cell]:
    """Cells to try, best first: CELLS_TRIED lattices, of which some may be described in two crystal systems."""
    if option is not None:
        return centrings(peaks, cell_from_option(option, system))
    systems = SYSTEMS if system == "auto" else (system,)
    found: list[Cell] = []
    lattices = 0
    for cell in index_peaks(peaks, systems, mapped=mapped):
        lattices += not any(same_metric(cell, other) for other in found)
        if lattices > CELLS_TRIED:
            break
        found.append(cell)
    return found


def _rivals(tried: Cell, explains: Cell) -> bool:
    """Whether a cell is worth trying beside one that explains the lines: cubic, or smaller, and of the same metric."""
    smaller = tried.primitive_volume < (1 - SAME_VOLUME) * explains.primitive_volume
    return same_metric(tried, explains) and (smaller or len(tried.free) < len(explains.free))

"""Solving a pattern: read → peaks → cell → densities → atoms → refinement → ranking. Read `solve` top to bottom."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crystalnet.candidates import (
    WELL_EXPLAINED,
    Proposal,
    catalogue_proposals,
    distinct,
    exchanged_misfit,
    faintest_misfit,
    network_proposals,
)
from crystalnet.checkpoint import Model, load_model, shipped_model
from crystalnet.completion import completed
from crystalnet.confidence import THRESHOLD, VOLUME_RANGE, evidence, probability
from crystalnet.config import SYSTEMS
from crystalnet.density.cell import SYMPREC_ON_SITES
from crystalnet.density.description import in_canonical_description, in_description_of
from crystalnet.density.promolecule import GRID, element_table, promolecule_density
from crystalnet.elements import ATOMIC_NUMBER
from crystalnet.formula import parse_elements, parse_formula
from crystalnet.model.inputs import LEVELS, composition_vector
from crystalnet.ops.reflections import form_factor_table
from crystalnet.pool import Map
from crystalnet.ranking import Ranked, ranked, volume_ratio
from crystalnet.records import (
    AtomSites,
    Candidate,
    Cell,
    DensityGrid,
    InputError,
    Pattern,
    Peaks,
    Radiation,
    Solution,
)
from crystalnet.settings import settings
from crystalnet.tube import MOST_LEAD, Tube, likeliest_tube
from crystalnet.xrd.holohedry import same_metric
from crystalnet.xrd.indexing import cell_from_option, centrings, hidden_lattices, index_peaks
from crystalnet.xrd.peaks import find_peaks, kalpha2_remark
from crystalnet.xrd.radiation import monochromated, parse_wavelength
from crystalnet.xrd.reader import read_pattern
from crystalnet.xrd.vector import observed_vector

CELLS_TRIED = 4  # indexing's first cell is right nine times in ten; the others cost a second each
REPORTED = 5  # candidates written
TUBE_CELLS = 2  # tried with each tube where the wavelength was not said
SAME_VOLUME = 0.02  # cells nearer than this are one cell, refined
SEEN = 0.02  # misfit below which no faint line of a larger lattice asks for it (tilted octahedra: 0.05 without)
SURE = 0.9  # confidence; below, a crystal in another cell is no reason to leave the likeliest one (SrLiAlF6, Mg3Hg)

Progress = Callable[[str], None]
Models = str | Path | Mapping[str, str | Path] | None  # one file, files by crystal system, or the package's
Stage = Callable[[str], AbstractContextManager[None]]  # times what is done in it


def _unclocked(stage: str) -> AbstractContextManager[None]:
    return nullcontext()


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


class _Clock:
    """Seconds of each stage, told to the progress display as they begin."""

    def __init__(self, progress: Progress) -> None:
        self.seconds: dict[str, float] = {}
        self.progress = progress

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        self.progress(stage)
        started = time.perf_counter()
        yield
        self.seconds[stage] = round(self.seconds.get(stage, 0.0) + time.perf_counter() - started, 3)


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
    return same_metric(tried, explains) and (smaller or tried.system == "cubic")


def _wavelength_lead(measured: Pattern, tube: Tube | None) -> float:
    """By how much the pattern prefers the wavelength to other tubes', in ln of the score; the most if it was said."""
    if not measured.radiation.assumed:
        return MOST_LEAD
    return tube.lead if tube else 0.0


def model_for(system: str, files: Models = None) -> Model:
    """The network for a crystal system: the user's, or the package's where he has none for it.

    InputError where the user's only file is of another system.
    """
    if isinstance(files, Mapping):
        return _loaded_file(Path(files[system]) if system in files else shipped_model(system))
    if files is None:
        return _loaded_file(shipped_model(system))
    model = _loaded_file(Path(files))
    if model.config.system != system:
        raise InputError(
            f"--model {files}: is of the {model.config.system} system, but the cell is {system}; leave --model out,"
            " or give one of that system"
        )
    return model


def _of_the_model(cells: list[Cell], files: Models) -> list[Cell]:
    """The cells that there is a model for: all, or those of the system of the user's only file."""
    if files is None or isinstance(files, Mapping):
        return cells
    trained = _loaded_file(Path(files)).config.system
    return [cell for cell in cells if cell.system == trained]


def _loaded_file(path: Path) -> Model:
    return _loaded(path, path.stat().st_mtime_ns) if path.is_file() else load_model(path)


@lru_cache(maxsize=4)  # reading one takes as long as indexing a pattern; a batch meets two
def _loaded(path: Path, changed: int) -> Model:
    return load_model(path)


def _model_entry(model: Model | None) -> dict[str, Any]:
    return {"file": model.file, "sha256": model.sha256} if model else {"file": None, "sha256": None}


def ask_network(
    model: Model,
    peaks: Peaks,
    cell: Cell,
    symbols: tuple[str, ...],
    amounts: Mapping[str, float] | None,
    guesses: int,
    seed: int,
    *,
    mean: bool = True,
    clock: Stage = _unclocked,
    mapped: Map = map,
) -> tuple[np.ndarray, list[Proposal]]:
    """What the network makes of a pattern in a cell: densities (guesses, 50, 50, 50) and the crystals read off them.

    symbols, amounts: the elements and, where known, the formula. mean: guess 1 is the latent mean. A density whose
    atoms explain the lines well is put into the canonical description of these atoms.
    """
    with clock("network"):
        level = "formula" if amounts else "elements" if symbols else "none"
        told = amounts or dict.fromkeys(symbols, 1.0)
        seen = observed_vector(peaks, cell.zero_shift)
        maps = guess_densities(model, *seen, cell.primitive_lattice, told, level, guesses, seed, mean)
    with clock("atoms"):
        proposals = network_proposals(maps, cell, peaks, symbols, amounts, mapped)
        for number in range(len(maps)):
            own = min((p for p in proposals if p.origin == number), key=lambda p: p.misfit, default=None)
            if own is not None and own.misfit < WELL_EXPLAINED:
                maps[number] = in_canonical_description(maps[number], own.sites)
    return maps, proposals


@torch.no_grad()
def guess_densities(
    model: Model,
    vector: np.ndarray,
    mask: np.ndarray,
    lattice: np.ndarray | None,
    composition: Mapping[str, float],
    level: str,
    guesses: int,
    seed: int,
    mean: bool = True,
) -> np.ndarray:
    """Densities (guesses, 50, 50, 50) e/Å³ from a pattern vector and mask (1024,), the primitive lattice (3, 3) that it
    was indexed with (None: by none), and a composition at a level.

    Guess 1 is the latent mean where `mean` says so, the others are samples.
    """
    network = model.network
    cell = np.zeros((3, 3)) if lattice is None else lattice
    told = (vector, mask, cell, composition_vector(composition, level))
    seen, observed, axes, chemistry = (torch.as_tensor(np.asarray(array, np.float32))[None] for array in told)
    latents = network.encode(seen, observed, axes, chemistry, torch.tensor([LEVELS.index(level)]))
    generator = torch.Generator().manual_seed(seed)
    draws = [latents.mean()] if mean else []
    draws += [latents.sample(generator) for _ in range(guesses - len(draws))]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return network.density_grid(torch.cat(draws)).numpy()


def _own_cell(refined: Ranked, cells: list[Cell]) -> Cell:
    """The cell that the best crystal has: a smaller one than it was found in where symmetry says so (Se, Ho3TlC)."""
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    found = refined.proposal.cell
    volume = SpacegroupAnalyzer(refined.fit.sites.structure(), SYMPREC_ON_SITES).get_primitive_standard_structure().volume
    same = (c for c in cells if c.system == found.system and abs(c.primitive_volume / volume - 1) < SAME_VOLUME)
    return found if abs(found.primitive_volume / volume - 1) < SAME_VOLUME else next(same, found)


def _spread(maps: np.ndarray, reference: np.ndarray, cell: Cell) -> np.ndarray:
    """Standard deviation (n, n, n) of densities (N, n, n, n), each laid on the reference: what they differ by is to be
    their crystals, not the choice of an origin.
    """
    alike = np.array([in_description_of(reference, values, cell.primitive_lattice) for values in maps])
    deviation: np.ndarray = alike.std(0)
    return deviation


def _guess_rank(proposals: list[Proposal], n: int, cell: Cell) -> np.ndarray:
    """Rank (n,) of each guess, 1 the best, by the best proposal that came of it; those that gave none last."""
    best = np.full(n, np.inf)
    for p in proposals:
        if p.source == "network" and p.cell == cell:
            best[int(p.origin)] = min(best[int(p.origin)], p.misfit)
    return np.argsort(np.argsort(best, kind="stable"), kind="stable") + 1


def _candidate(
    refined: Ranked,
    ranked: Sequence[Ranked],
    densities: Mapping[Cell, np.ndarray],
    peaks: Peaks,
    formula_given: bool,
    wavelength_lead: float,
) -> Candidate:
    """A refined proposal as reported: refined atoms, their symmetry, the density behind them, how far to believe it."""
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    proposal, fit = refined.proposal, refined.fit
    analyser = SpacegroupAnalyzer(fit.sites.structure(), SYMPREC_ON_SITES)
    structure = analyser.get_conventional_standard_structure()
    conventional = AtomSites.from_structure(structure)
    primitive = AtomSites.from_structure(analyser.get_primitive_standard_structure())
    if proposal.source == "network" or "X" in primitive.species:  # X has no density of its own: the network's shows it
        values = densities[proposal.cell][int(proposal.origin) if proposal.source == "network" else 0]
        lattice = proposal.cell.primitive_lattice
    else:
        values = promolecule_density(primitive.lattice, primitive.species, primitive.frac_coords)
        lattice = primitive.lattice
    wyckoff = _wyckoff(conventional)
    shifted = replace(proposal.cell, zero_shift=fit.zero_shift)
    equivalent = np.asarray(analyser.get_symmetry_dataset().equivalent_atoms)
    found = evidence(
        excess=fit.excess,
        misfit=refined.misfit,
        score=refined.score,
        rival=min((other.score for other in ranked if other is not refined), default=None),
        sites=primitive,
        exchanged=exchanged_misfit(fit.sites, peaks, shifted),
        faintest=faintest_misfit(fit.sites, equivalent, peaks, shifted),
        noise=fit.r_expected,
        orbits=len(wyckoff),
        cell=proposal.cell,
        peaks=peaks,
        sources=set(refined.sources),
        volume_ratio=refined.volume_ratio,
        formula_given=formula_given,
        wavelength_lead=wavelength_lead,
    )
    return Candidate(
        source=proposal.source,
        formula=_formula(conventional),
        space_group_number=analyser.get_space_group_number(),
        space_group_symbol=analyser.get_space_group_symbol(),
        conventional=conventional,
        wyckoff=wyckoff,
        fit=fit,
        score=refined.score,
        density=DensityGrid(values, lattice),
        confidence=probability(found),
        evidence=found,
    )


def _formula(sites: AtomSites) -> str:
    """Reduced formula in pymatgen's order; an element that was not given is X, written last."""
    from pymatgen.core import Composition

    counts = Counter(sites.species)
    unknown = counts.pop("X", 0)
    if not unknown:
        return str(Composition(counts).reduced_formula)
    shared = math.gcd(unknown, *counts.values())
    parts = [(symbol, n // shared) for symbol, n in [*sorted(counts.items()), ("X", unknown)]]
    return "".join(symbol + (str(n) if n > 1 else "") for symbol, n in parts)


def _wyckoff(sites: AtomSites) -> tuple[dict[str, Any], ...]:
    """One entry an orbit: element, x, y, z of its first atom, Wyckoff letter, multiplicity in the conventional cell."""
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    dataset = SpacegroupAnalyzer(sites.structure(), SYMPREC_ON_SITES).get_symmetry_dataset()
    multiplicity = Counter(dataset.equivalent_atoms.tolist())
    rows = []
    for atom, count in sorted(multiplicity.items()):
        x, y, z = (round(float(v) % 1.0, 6) for v in sites.frac_coords[atom])
        row = {"element": sites.species[atom], "x": x, "y": y, "z": z}
        row |= {"wyckoff": dataset.wyckoffs[atom], "multiplicity": count}
        rows.append(row)
    return tuple(rows)


def _warnings(
    pattern: Pattern, peaks: Peaks, cells: list[Cell], found: tuple[Candidate, ...], tube: Tube | None
) -> tuple[str, ...]:
    """What the user must know before believing the answer, in plain words."""
    said = list(pattern.remarks)
    if tube:
        said.append(tube.remark)
    elif pattern.radiation.assumed:
        said.append(
            "The wavelength is not in the file and was not given: Cu Kα was assumed. Give --wavelength if wrong."
        )
    if not cells:
        said.append(
            f"No cubic, rhombohedral or hexagonal cell explains the {len(peaks)} lines: the sample may have another"
            " crystal system, or more than one phase. If you know the cell, give --cell."
        )
    elif not found:
        said.append("A cell was found, but no arrangement of the atoms that fits it.")
    else:
        ratio = volume_ratio(found[0].conventional)
        if ratio is not None and not VOLUME_RANGE[0] < ratio < VOLUME_RANGE[1]:
            said.append(
                f"The cell has {ratio:.2f} times the volume expected for {found[0].formula}:"
                " check the wavelength and the elements."
            )
    said += [
        f"Candidate {rank} ({c.formula}) could not be refined ({c.fit.failure}): its Rwp of {c.fit.rwp:.2f} tells"
        " nothing."
        for rank, c in enumerate(found, 1)
        if c.fit.failure
    ]
    remarks = dict.fromkeys(remark for c in found for remark in c.fit.remarks)  # each once, in order
    said += [f"In the refinement {remark}." for remark in remarks]
    if found and "X" in found[0].conventional.species:
        said.append(
            "The pattern asks for atoms (X) that none of the given elements explains:"
            " is an element missing from --elements?"
        )
    if found and not _believable(found[0]):
        said.append(
            f"No confident match: the best candidate (Rwp = {found[0].fit.rwp:.2f})"
            f" is right with a probability of {found[0].confidence or 0:.0%}."
        )
    return tuple(said)


def _believable(candidate: Candidate) -> bool:
    return candidate.confidence is not None and candidate.confidence >= THRESHOLD


def is_confident(solution: Solution) -> bool:
    """Whether the first candidate may be believed."""
    return bool(solution.candidates) and _believable(solution.candidates[0])

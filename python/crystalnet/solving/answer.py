"""A refined proposal as it is reported."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from crystalnet.crystal.lattice import Cell
from crystalnet.crystal.symmetry import SYMPREC_ON_SITES, wyckoff_rows
from crystalnet.density.promolecule import promolecule_density
from crystalnet.density.setting import in_description_of
from crystalnet.records import AtomSites, Candidate, DensityGrid, Peaks
from crystalnet.solving.confidence import evidence, probability
from crystalnet.solving.proposals import Proposal
from crystalnet.solving.ranking import Ranked
from crystalnet.solving.screen import exchanged_misfit, faintest_misfit

REPORTED = 5  # candidates written
SAME_VOLUME = 0.02  # cells nearer than this are one cell, refined


def _own_cell(refined: Ranked, cells: list[Cell]) -> Cell:
    """The cell that the best crystal has: a smaller one than it was found in where symmetry says so (Se, Ho3TlC)."""
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    found = refined.proposal.cell
    volume = (
        SpacegroupAnalyzer(refined.fit.sites.structure(), SYMPREC_ON_SITES).get_primitive_standard_structure().volume
    )
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
    wyckoff = wyckoff_rows(conventional)
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

"""A refined proposal as it is reported."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from crystalnet.crystal.lattice import Cell
from crystalnet.crystal.symmetry import SYMPREC_ON_SITES, Symmetry, wyckoff_rows
from crystalnet.density.placement import placement
from crystalnet.density.promolecule import promolecule_density
from crystalnet.density.setting import in_setting_of
from crystalnet.records import AtomSites, Candidate, DensityGrid, Peaks
from crystalnet.solving.confidence import evidence, probability
from crystalnet.solving.proposals import Proposal
from crystalnet.solving.ranking import Ranked, freedom
from crystalnet.solving.screen import exchanged_residual

REPORTED = 5  # candidates written
SAME_VOLUME = 0.02  # cells nearer than this are one cell, refined


def own_cell(refined: Ranked, cells: Sequence[Cell]) -> Cell:
    """The cell that the best crystal has: a smaller one than it was found in where symmetry says so (Se, Ho3TlC)."""
    found = refined.proposal.cell
    volume = Symmetry(refined.fit.sites, SYMPREC_ON_SITES).primitive.volume
    same = (c for c in cells if c.system == found.system and abs(c.primitive_volume / volume - 1) < SAME_VOLUME)
    return found if abs(found.primitive_volume / volume - 1) < SAME_VOLUME else next(same, found)


def spread(maps: np.ndarray, reference: np.ndarray, cell: Cell) -> np.ndarray:
    """Standard deviation (n, n, n) of densities (N, n, n, n), each laid on the reference: what they differ by is to be
    their crystals, not the choice of an origin.
    """
    alike = np.array([in_setting_of(reference, values, cell.primitive_lattice) for values in maps])
    deviation: np.ndarray = alike.std(0)
    return deviation


def guess_rank(proposals: Sequence[Proposal], n: int, cell: Cell) -> np.ndarray:
    """Rank (n,) of each guess, 1 the best, by the best proposal that came of it; those that gave none last."""
    best = np.full(n, np.inf)
    for p in proposals:
        if p.source == "network" and p.cell == cell:
            best[int(p.origin)] = min(best[int(p.origin)], p.residual)
    return np.argsort(np.argsort(best, kind="stable"), kind="stable") + 1


def candidate(
    refined: Ranked,
    ranked: Sequence[Ranked],
    densities: Mapping[Cell, np.ndarray],
    peaks: Peaks,
    formula_given: bool,
    wavelength_lead: float,
) -> Candidate:
    """A refined proposal as reported: refined atoms, their symmetry, the density behind them, how far to believe it."""
    proposal, fit = refined.proposal, refined.fit
    symmetry = Symmetry(fit.sites, SYMPREC_ON_SITES)
    conventional = AtomSites.from_structure(symmetry.conventional)
    primitive, to_conventional = symmetry.primitive_of_conventional
    drawn = proposal.cell in densities
    # X has no density of its own: the network's shows it.
    if drawn and (proposal.source == "network" or "X" in primitive.species):
        values = densities[proposal.cell][int(proposal.origin) if proposal.source == "network" else 0]
        lattice = proposal.cell.primitive_lattice
        setting = placement(conventional, DensityGrid(values, lattice))  # refinement may have taken another setting
    else:
        known = [i for i, symbol in enumerate(primitive.species) if symbol != "X"]
        values = promolecule_density(
            primitive.lattice, tuple(primitive.species[i] for i in known), primitive.frac_coords[known]
        )
        lattice = primitive.lattice
        setting = to_conventional
    wyckoff = wyckoff_rows(conventional)
    reference = refined.reference
    shifted = replace(proposal.cell, zero_shift=fit.zero_shift)
    found = evidence(
        excess=fit.excess,
        residual=refined.residual,
        score=refined.order,
        rival=min((other.order for other in ranked if other is not refined), default=None),
        sites=primitive,
        exchanged=exchanged_residual(fit.sites, peaks, shifted),
        parameters=freedom(fit),
        cell=proposal.cell,
        peaks=peaks,
        sources=set(refined.sources),
        volume_ratio=refined.volume_ratio,
        formula_given=formula_given,
        wavelength_lead=wavelength_lead,
    )
    return Candidate(
        source="known" if reference else proposal.source,
        reference=reference,
        formula=formula(conventional),
        space_group_number=symmetry.number,
        space_group_symbol=symmetry.symbol,
        conventional=conventional,
        wyckoff=wyckoff,
        fit=fit,
        score=refined.order,
        density=DensityGrid(values, lattice),
        confidence=probability(found),
        evidence=found,
        setting=setting,
    )


def formula(sites: AtomSites) -> str:
    """Reduced formula in pymatgen's order; an element that was not given is X, written last."""
    from pymatgen.core import Composition

    counts = Counter(sites.species)
    unknown = counts.pop("X", 0)
    if not unknown:
        return str(Composition(counts).reduced_formula)
    shared = math.gcd(unknown, *counts.values())
    parts = [(symbol, n // shared) for symbol, n in [*sorted(counts.items()), ("X", unknown)]]
    return "".join(symbol + (str(n) if n > 1 else "") for symbol, n in parts)

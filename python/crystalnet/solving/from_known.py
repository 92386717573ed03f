"""Proposals of the library: crystals that somebody has measured, held against the pattern as they are.

No cell need be indexed: the crystal brings its own, which is scaled and then refined on the lines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from crystalnet.crystal.elements import ATOMIC_NUMBER
from crystalnet.crystal.lattice_maps import LatticeMaps
from crystalnet.crystal.library import Entry, Library
from crystalnet.crystal.symmetry import bravais_lattice
from crystalnet.ops.index_cells import CELL
from crystalnet.ops.reflections import reflections
from crystalnet.records import Peaks
from crystalnet.solving.from_catalogue import Catalogue
from crystalnet.solving.proposals import Proposal, distinct, same_composition
from crystalnet.solving.screen import Screen
from crystalnet.xrd.indexing.given import refined_cells
from crystalnet.xrd.indexing.lattices import metric_of, row_of

SCALES = np.linspace(-0.03, 0.03, 31)  # ln of a cell edge; thermal expansion, pressure, a slightly other composition
STRONGEST = 12  # lines of the pattern that are looked for
SAME_LINE = 0.004  # relative, of spacings; half a step of SCALES and a zero shift
LEAST_FOUND = 0.6  # share of the strongest lines, weighed by their areas, without which a crystal is not refined
REFINED_AS_KNOWN = 12  # crystals that are, the best first
METRIC_TOLERANCE = 0.002  # relative to the longest edge, of a metric that is that of a higher symmetry
LEAST_CONTACT = 0.3  # of the covalent radii: somebody measured the crystal
FITS = 0.4  # residual up to which a known crystal is worth a refinement
ALL_FOUND = 0.9  # share of the strongest lines that makes it worth one whatever the residual: broad lines overlap


def known_proposals(
    catalogue: Catalogue, peaks: Peaks, elements: Sequence[str], amounts: Mapping[str, float] | None = None
) -> list[Proposal]:
    """Measured crystals of just these elements that have the strongest lines, best first; hydrogen may be missing."""
    strong = np.argsort(-peaks.area)[:STRONGEST]
    hopeful: list[tuple[float, float, Library, int]] = []
    for known, i in catalogue.crystals():
        if _may_be(known.entries[i], known.counts[i], elements, amounts):
            share, scale = _found(known, i, peaks, strong)
            if share >= LEAST_FOUND:
                hopeful.append((share, scale, known, i))
    hopeful.sort(key=lambda item: -item[0])
    return distinct(
        proposal
        for share, scale, known, i in hopeful[:REFINED_AS_KNOWN]
        for proposal in _in_own_cell(known, i, scale, peaks)
        if proposal.residual < FITS or share > ALL_FOUND
    )


def _may_be(
    entry: Entry, counts: Mapping[str, int], elements: Sequence[str], amounts: Mapping[str, float] | None
) -> bool:
    if not entry.measured or set(counts) - {"H"} != set(elements) - {"H"}:
        return False
    return amounts is None or same_composition(counts, amounts)


def _found(known: Library, i: int, peaks: Peaks, strong: np.ndarray) -> tuple[float, float]:
    """Share of the strongest lines that a crystal has at the scale that suits best, and that scale."""
    sites = known.sites(i)
    numbers = [ATOMIC_NUMBER[s] for s in sites.species]
    end = min(peaks.two_theta_max + 2.0, 179.0)
    lines = reflections(sites.lattice, sites.frac_coords, numbers, peaks.radiation.wavelength, end)
    seen = lines.intensity > 0.003 * lines.intensity.max(initial=0.0)
    if not seen.any():
        return 0.0, 0.0
    own, observed = np.log(lines.d_spacing[seen]), np.log(peaks.d_spacing[strong])
    apart = np.abs(observed[:, None, None] - own[None, :, None] - SCALES).min(axis=1)  # (lines, scales)
    weight = np.sqrt(peaks.area[strong])
    share = (weight[:, None] * (apart < SAME_LINE)).sum(axis=0) / weight.sum()
    best = np.flatnonzero(share > share.max() - 1e-9)
    middle = best[np.abs(best - best.mean()).argmin()]
    return float(share[middle]), float(SCALES[middle])


def _in_own_cell(known: Library, i: int, scale: float, peaks: Peaks) -> list[Proposal]:
    """The crystal in its own cell, refined on the lines; none where the lines do not have it."""
    sites, entry = known.sites(i), known.entries[i]
    lattice = sites.lattice * np.exp(scale)
    bravais = bravais_lattice(lattice, METRIC_TOLERANCE * np.linalg.norm(lattice, axis=1).max())
    if bravais is None:
        return []
    start = np.zeros(1, CELL)
    start["lattice"] = row_of(*bravais[:2])
    start["metric"] = metric_of(bravais[2] @ bravais[2].T)
    cell = refined_cells(peaks, [start], np.exp(2 * np.linspace(-0.004, 0.004, 5)))[0]
    maps = LatticeMaps(cell.primitive_lattice)
    screen = Screen(maps.lattice, cell.zero_shift, peaks)
    found = []
    for image in maps.images(sites, maps.near(known.metrics[[i]])[0])[:4]:
        for crystal, value in screen.crystal(image.species, image.frac_coords, LEAST_CONTACT):
            reference = ", ".join(part for part in (entry.name, entry.reference) if part)
            found.append(Proposal(crystal, "known", value, cell, entry.id, reference or entry.id))
    return found

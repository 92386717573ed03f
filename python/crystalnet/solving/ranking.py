"""Which proposal is the crystal? The most promising are fitted to the profile and put in order, best first."""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from crystalnet.crystal.chemistry import charge_balances, contact_misfit, volume_ratio
from crystalnet.crystal.expected_bonds import NOTHING_SAID, ExpectedBonds
from crystalnet.crystal.metric import same_metric
from crystalnet.crystal.symmetry import SYMPREC_ON_SITES, conventional_sites, free_coordinates, space_group_of
from crystalnet.crystal.systems import system_of
from crystalnet.records import AtomSites, Fit, Pattern, Peaks
from crystalnet.runtime.pool import Map
from crystalnet.solving.proposals import (
    SOURCES,
    WELL_EXPLAINED,
    Proposal,
    distinct,
    same_composition,
    same_crystal,
)
from crystalnet.solving.screen import residual
from crystalnet.solving.usual_bonds import strain_of, strained
from crystalnet.xrd.rietveld import MAX_SHIFT, refine

LOOKED_AT = 20  # proposals of each source whose symmetry is asked for, those that promise most
REFINED = 8  # proposals that go on to profile refinement, some of each source; a quarter as many more with X
AT_ONCE = 2  # of them refined together: a laptop has two cores; the same with one, so that answers are the same
# Above the best residual: intensities this much worse do not win by refinement. Atoms read off a density are rough, and
# those of a known crystal are another sample's; the others were refined on the intensities before.
WORTH_REFINING, WORTH_REFINING_ROUGH = 0.12, 0.35
ALIKE = 1.05  # fits that differ by less say nothing of two crystals whose cells have one metric
SAME_RWP = 0.01  # refinements that ended in one crystal differ less in Rwp
LEAST_EXCESS = 0.04  # below, line shapes and texture are left to fit, which a lower symmetry does a little better
COMPLEXITY = 0.03  # of Rwp for each e-fold of atoms in the primitive cell: more atoms have more freedom to fit
# Of Rwp, the least that a parameter which symmetry leaves free costs (`_cost_of_freedom`): texture and line shapes are
# not noise, which more lines would average out.
LEAST_FREEDOM = 0.02
# Rwp is ruled by the strongest lines, and with them by texture and line shape; the residual of the intensities' square
# roots is a second opinion: of 30 simulated patterns with a right candidate 27 ranked it first with it and a gentler
# term of the volume, 24 without the two (exponents of 0.2 to 0.5 do alike).
SECOND_OPINION = 0.3
# Of ln²(volume over the expected one): (ln/0.19)²/2 is the odds against it, for known crystals scatter by 0.19, and a
# pattern's dozen independent lines turn odds into Rwp by their twelfth root.
VOLUME = 1.2
UNKNOWN_VOLUME = 0.2  # |ln| that an unknown element counts as
CONTACT = 1.0  # of |ln(shortest bond / usual length)|: light atoms beside heavy ones are told by their room alone
UNBALANCED = 0.15  # of Rwp, for a halide or oxide whose charges cannot balance
TYPE_KNOWN = 0.95  # of the score: half of what line shapes and texture leave to chance
# Of the score of a published crystal of just these elements: nobody fitted its ratios and positions to this pattern.
PUBLISHED = 0.6
UNEXPECTED = 1.0  # of Rwp, for bonds that are not at all what the user said
MISSING_ELEMENT = 0.25  # of Rwp, for an element that was not given: the user knows the sample
REFINEMENT_SECONDS = 8.0  # of processor time in all; at least the three most promising are refined


@dataclass(frozen=True)
class Ranked:
    """A proposal fitted to the profile.

    residual: of the line intensities, refined; volume_ratio: over the expected one; score: lower is better; sources:
    which proposed this crystal; reference: where it was published, if it is a known one; strain: of the distances.
    """

    proposal: Proposal
    fit: Fit
    residual: float
    volume_ratio: float | None
    score: float
    sources: frozenset[str]
    reference: str | None = None
    strain: float = 0.0

    @property
    def order(self) -> float:
        """The score, lower for what nature is known to build: a little for a known type, more for a known crystal;
        higher for unusual distances that nobody has published.
        """
        if self.reference:
            return self.score * PUBLISHED
        return float(strained(self.score, self.strain)) * (TYPE_KNOWN if "catalogue" in self.sources else 1.0)


def ranked(
    proposals: Sequence[Proposal],
    pattern: Pattern,
    peaks: Peaks,
    mapped: Map = map,
    done: Sequence[Ranked] = (),
    bonds: ExpectedBonds = NOTHING_SAID,
    most: int | None = None,
) -> list[Ranked]:
    """The most promising proposals refined on the profile, the likeliest first; same crystals merged.

    mapped: the built-in map or one over several processes (`pool`); the answer is the same. done: refined before.
    bonds: what the user expects of them. most: how many are refined, and the likeliest known crystal beside them; all
    that promise where None.
    """
    promising = list(_promising(proposals, bonds))
    if most is not None:
        judged = promising[:most]
        known = next((p for p in promising if p.source == "known"), None)
        promising = judged if known is None or any(p is known for p in judged) else [*judged, known]
    fitted = list(done)  # also those that promise less than what came since: one of them may fit best
    new = [p for p in promising if all(entry.proposal is not p for entry in fitted)]
    waiting = [(p, sites) for p in new if (sites := conventional_sites(p.sites)) is not None]
    waiting = _without_twins(waiting, fitted)
    spent = 0.0
    least = max(3, len(fitted) + AT_ONCE)
    while waiting and (len(fitted) < least or spent < REFINEMENT_SECONDS):
        now, waiting = _unlike(waiting)
        for result, seconds in mapped(_fitted, *zip(*((*item, pattern, peaks, bonds) for item in now), strict=True)):
            sources = frozenset(p.source for p in proposals if same_crystal(p, result.proposal))
            fitted.append(replace(result, sources=sources))
            spent += seconds
        waiting = _without_twins(waiting, fitted)
    best: list[Ranked] = []
    for entry in sorted(fitted, key=lambda entry: entry.order):
        same = next((i for i, other in enumerate(best) if _same_crystal(entry.fit, other.fit)), None)
        if same is None:
            best.append(entry)
        else:
            first, other = best[same], entry
            # Of one crystal in two space groups the higher one, which has by symmetry what the lower has by chance.
            if _alike(other, first) and freedom(other.fit) < freedom(first.fit):
                first, other = replace(entry, score=first.score, strain=first.strain), first
            reference = first.reference or other.reference
            best[same] = replace(first, sources=first.sources | other.sources, reference=reference)
    return _later_first(_cubic_first(sorted(best, key=lambda entry: entry.order)))


def _cubic_first(ordered: list[Ranked]) -> list[Ranked]:
    """Put a cubic crystal before one on hexagonal axes of the same metric that fits no better: the higher symmetry
    explains the metric too, which the other has by chance.
    """

    def goes_first(other: Ranked, entry: Ranked) -> bool:
        lower = entry.proposal.cell.free != ("a",)  # none is higher than cubic
        return lower and _alike(other, entry) and same_metric(entry.proposal.cell, other.proposal.cell)

    return _with_first(ordered, goes_first)


def _later_first(ordered: list[Ranked]) -> list[Ranked]:
    """Put a published crystal before an earlier one of its composition that fits no better: later work corrects earlier
    (chalcopyrite has one of 1923 with half of the cell).
    """

    def goes_first(other: Ranked, entry: Ranked) -> bool:
        earlier, later = _year(entry), _year(other)
        if earlier is None or later is None or later <= earlier or not _alike(other, entry):
            return False
        return same_composition(Counter(entry.fit.sites.species), Counter(other.fit.sites.species))

    return _with_first(ordered, goes_first)


def _with_first(ordered: list[Ranked], goes_first: Callable[[Ranked, Ranked], bool]) -> list[Ranked]:
    """The order, each entry that goes before an earlier one put there."""
    order = list(range(len(ordered)))
    for i, entry in enumerate(ordered):
        for j in range(i + 1, len(ordered)):
            if order.index(j) > order.index(i) and goes_first(ordered[j], entry):
                order.remove(j)
                order.insert(order.index(i), j)
    return [ordered[i] for i in order]


def _year(entry: Ranked) -> int | None:
    """In which a known crystal was published, where its reference says so."""
    said = re.findall(r"\((1[89]\d\d|20\d\d)\)", entry.reference or "")
    return int(said[-1]) if said else None


def _alike(one: Ranked, other: Ranked) -> bool:
    """Whether one fits no worse than the other."""
    return one.fit.excess < ALIKE * other.fit.excess and one.residual < ALIKE * max(other.residual, 0.01)


def freedom(fit: Fit) -> int:
    """Parameters of the cell and coordinates that the space group leaves free; hydrogen's explain nothing."""
    return _freedom(fit.sites.visible)


def _freedom(sites: AtomSites) -> int:
    number = space_group_of(sites, SYMPREC_ON_SITES)
    return (len(system_of(number).free) if number else 6) + free_coordinates(sites)


def _promising(proposals: Sequence[Proposal], bonds: ExpectedBonds = NOTHING_SAID) -> Iterator[Proposal]:
    """Those worth refining, by what they promise (`Proposal.worth`): of every source, and some with an unknown element.

    The first of each source comes before the second of any: residuals of broad and overlapping lines say little.
    """
    named = [p for p in proposals if "X" not in p.sites.species]
    unknown = distinct(p for p in proposals if "X" in p.sites.species)
    likely = [distinct((p for p in named if p.source == source), LOOKED_AT) for source in SOURCES]
    judged = {id(p): _expected(p, bonds) for own in likely for p in own}  # once each: symmetry takes milliseconds

    def order(proposal: Proposal) -> float:
        return judged[id(proposal)]

    by_source = [sorted(own, key=order) for own in likely]
    share = REFINED // max(1, sum(map(bool, by_source)))
    chosen = [p for own in by_source for p in own[:share]]
    chosen += sorted((p for own in by_source for p in own[share:]), key=order)[: REFINED - len(chosen)]
    firsts = [own[0] for own in by_source if own]
    others = [p for p in chosen if all(p is not first for first in firsts)]
    chosen = [*sorted(firsts, key=order), *sorted(others, key=order), *unknown[: REFINED // 4]]
    least = min((p.worth for p in chosen), default=0.0)
    limits = dict.fromkeys(("network", "known"), WORTH_REFINING_ROUGH)
    return (p for p in chosen if p.worth <= least + limits.get(p.source, WORTH_REFINING))


def _expected(proposal: Proposal, bonds: ExpectedBonds) -> float:
    """What a proposal is worth, raised as the score of a pattern with many lines will be: what symmetry leaves free
    explains a little more by chance.
    """
    atoms = proposal.sites.visible
    free = COMPLEXITY * math.log(len(atoms)) + LEAST_FREEDOM * _freedom(atoms)
    return proposal.worth * (1 + free) * (1 + UNEXPECTED * bonds.misfit(proposal.sites))


_Waiting = list[tuple[Proposal, AtomSites]]  # with its conventional cell


def _unlike(waiting: _Waiting) -> tuple[_Waiting, _Waiting]:
    """The first AT_ONCE that can hardly end in one crystal, and the others: a twin waits, and may be spared."""
    now: _Waiting = []
    others: _Waiting = []
    kinds = []
    for proposal, sites in waiting:
        kind = None if len(now) == AT_ONCE else (Counter(sites.species), space_group_of(sites, SYMPREC_ON_SITES))
        if kind is None or kind in kinds:
            others.append((proposal, sites))
        else:
            now.append((proposal, sites))
            kinds.append(kind)
    return now, others


def _without_twins(waiting: _Waiting, fitted: list[Ranked]) -> _Waiting:
    """Those that no refined crystal spares; one that does has the source and the reference of the other too."""
    others = []
    for proposal, sites in waiting:
        twin = next((i for i, entry in enumerate(fitted) if _would_end_in(sites, entry)), None)
        if twin is None:
            others.append((proposal, sites))
        else:
            sources = fitted[twin].sources | {proposal.source}
            reference = fitted[twin].reference or proposal.reference
            fitted[twin] = replace(fitted[twin], sources=sources, reference=reference)
    return others


def _fitted(
    proposal: Proposal, conventional: AtomSites, pattern: Pattern, peaks: Peaks, bonds: ExpectedBonds = NOTHING_SAID
) -> tuple[Ranked, float]:
    """A proposal refined, its sources not yet filled in, and the processor time that it took."""
    started = time.thread_time()
    fit = refine(pattern, peaks, conventional, zero_shift=proposal.cell.zero_shift)
    left = residual(fit.sites, peaks, replace(proposal.cell, zero_shift=fit.zero_shift))
    ratio = volume_ratio(fit.sites)
    score = _score(fit, left, ratio, proposal.sites, len(peaks)) * (1 + UNEXPECTED * bonds.misfit(fit.sites))
    found = Ranked(proposal, fit, left, ratio, score, frozenset(), proposal.reference, strain_of(fit.sites.visible))
    return found, time.thread_time() - started


def _score(fit: Fit, left: float, volume_ratio: float | None, sites: AtomSites, lines: int) -> float:
    """Rwp beyond noise, tempered by the residual `left` of the line intensities, with penalties for complexity, charges
    that cannot balance, an unlikely volume and an unlikely shortest bond; lower is better.
    """
    penalty = COMPLEXITY * math.log(len(sites.visible)) + _cost_of_freedom(lines) * freedom(fit)
    if not charge_balances(Counter(sites.species)):
        penalty += UNBALANCED
    if "X" in sites.species:
        penalty += MISSING_ELEMENT
    unlikely = UNKNOWN_VOLUME if volume_ratio is None else math.log(volume_ratio)
    score: float = (
        max(fit.excess, LEAST_EXCESS)
        * (1 + penalty)
        * max(left, 0.01) ** SECOND_OPINION
        * math.exp(VOLUME * unlikely**2 + CONTACT * contact_misfit(fit.sites))
    )
    return score


def _cost_of_freedom(lines: int) -> float:
    """Share of Rwp that a free parameter must save: a subgroup always fits a little better, the more so the fewer lines
    there are. By Schwarz's criterion (Ann. Statist. 6, 461, 1978) χ² of n lines counts n^(1/n) times, so Rwp
    1 + ln(n)/2n times.
    """
    n = max(lines, 2)
    return max(math.log(n) / (2 * n), LEAST_FREEDOM)


def _same_crystal(one: Fit, other: Fit) -> bool:
    """Refined to the same crystal: equally good fits, and equal by pymatgen's StructureMatcher."""
    from pymatgen.analysis.structure_matcher import StructureMatcher

    if abs(one.rwp - other.rwp) > SAME_RWP or sorted(set(one.sites.species)) != sorted(set(other.sites.species)):
        return False
    return bool(StructureMatcher(ltol=0.02, stol=0.05, angle_tol=1).fit(one.sites.structure(), other.sites.structure()))


def _would_end_in(sites: AtomSites, refined: Ranked) -> bool:
    """Refinement would take these atoms where it took others: lines well explained there, the same space group, and no
    atom farther off than it moves one.
    """
    from pymatgen.analysis.structure_matcher import StructureMatcher

    if refined.residual > WELL_EXPLAINED or Counter(sites.species) != Counter(refined.fit.sites.species):
        return False
    if space_group_of(sites, SYMPREC_ON_SITES) != space_group_of(refined.fit.sites, SYMPREC_ON_SITES):
        return False
    distances = StructureMatcher(ltol=0.02, angle_tol=1).get_rms_dist(refined.fit.sites.structure(), sites.structure())
    per_atom = abs(np.linalg.det(sites.lattice)) / len(sites)
    return distances is not None and bool(distances[1] * per_atom ** (1 / 3) < MAX_SHIFT)

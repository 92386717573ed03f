"""Which tube made a pattern whose wavelength nobody said? The one with which the sample makes sense.

The positions of the lines of a cubic crystal are those of a cube of any size at some wavelength: they say nothing. What
does: the volume (λ³: Co instead of Cu makes it half as large again), the split of Kα1 and Kα2, and the fall of the
intensities with sinθ/λ. All three need the elements. With each tube the likeliest cells are filled by the catalogue, or
where it knows no such crystal by the network's mean guess; the best few crystals are refined and compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from crystalnet.crystal.chemistry import contact_misfit
from crystalnet.crystal.lattice import Cell
from crystalnet.records import InputError, Pattern, Peaks, Radiation
from crystalnet.runtime.pool import Map
from crystalnet.solving.proposals import WELL_EXPLAINED, Proposal
from crystalnet.solving.ranking import ranked
from crystalnet.xrd.emission_lines import TUBES
from crystalnet.xrd.peaks import find_peaks
from crystalnet.xrd.radiation import doublet

REFINED = 3  # crystals a tube; the best of the right one is among them where anything is
HOPELESS = 0.25  # above the best residual: lines explained this much worse are not refined
#: sd of ln(volume / expected volume): of 1,100 crystals 95% lie between 0.76 and 1.4.
VOLUME_SD = 0.2
#: Of ln score, for copper: most diffractometers have it.
CU_PREFERENCE = 0.3
MOST_LEAD = 2.0  # of ln score: more says no more
Propose = Callable[[Cell, Peaks], list[Proposal]]


@dataclass(frozen=True)
class Tube:
    """The anode taken and its radiation; lead: by what the next one is worse, in ln of the score, at most MOST_LEAD.

    others: volume over the expected one of the best crystal with each anode, worst last; None where it is not known.
    """

    anode: str
    radiation: Radiation
    lead: float
    volumes: tuple[tuple[str, float | None], ...]

    @property
    def remark(self) -> str:
        """What was taken and why, for the user."""
        said = [f"{anode} {ratio:.2f}" for anode, ratio in self.volumes[:3] if ratio is not None]
        volumes = f" (volume over the expected one: {', '.join(said)})" if said else ""
        sure = "" if self.lead > 0.5 else ", but another does nearly as well"
        return (
            "The wavelength is not in the file and was not given: of the common tubes"
            f" {self.anode} Kα suits the sample and the lines best{sure}{volumes} and was assumed."
            " Give --wavelength if wrong."
        )


def likeliest_tube(
    measured: Pattern, cells_of: Callable[[Peaks], Sequence[Cell]], sources: Sequence[Propose], mapped: Map = map
) -> Tube | None:
    """The tube, among TUBES, with which the best crystal explains the pattern best; None where none does with any.

    measured: with any radiation. cells_of: cells for the lines of one reading, best first. sources: of crystals in a
    cell, the quickest first; the next is asked where no crystal of those before explains the lines with any tube.
    """
    readings = list(_readings(measured))
    cells = [cells_of(peaks) for _, _, peaks in readings]
    proposals: list[list[Proposal]] = [[] for _ in readings]
    for propose in sources:
        for (_, _, peaks), own, listed in zip(readings, cells, proposals, strict=True):
            listed += [p for cell in own for p in propose(cell, peaks)]
            listed.sort(key=lambda p: p.residual)
        least = min((listed[0].residual for listed in proposals if listed), default=1.0)
        if least < WELL_EXPLAINED:
            break
    found: list[tuple[float, str, float | None]] = []
    for (anode, pattern, peaks), listed in zip(readings, proposals, strict=True):
        hopeful = [p for p in listed[:REFINED] if p.residual < least + HOPELESS]
        for entry in ranked(hopeful, pattern, peaks, mapped)[:1]:
            ratio = entry.volume_ratio
            # Two opinions on the volume: what the atoms take as a rule (open structures, as cuprite's, more), and what
            # the shortest bond asks for.
            off = [abs(math.log(ratio)) if ratio else 0.0, 3 * contact_misfit(entry.fit.sites)]
            cost = math.log(entry.score) + sum(0.25 * (value / VOLUME_SD) ** 2 for value in off)
            found.append((cost - (CU_PREFERENCE if anode == "Cu" else 0.0), anode, ratio))
    if not found:
        return None
    found.sort(key=lambda item: item[0])
    lead = min(found[1][0] - found[0][0], MOST_LEAD) if len(found) > 1 else MOST_LEAD
    anode = found[0][1]
    radiation = replace(doublet(*TUBES[anode], known=False), assumed=True)
    return Tube(anode, radiation, lead, tuple((name, ratio) for _, name, ratio in found))


def _readings(measured: Pattern) -> Iterator[tuple[str, Pattern, Peaks]]:
    """The anode, the pattern and its lines with each tube's Kα; the data decide on Kα2."""
    for anode, lines in TUBES.items():
        pattern = replace(measured, radiation=replace(doublet(*lines, known=False), assumed=True))
        try:
            peaks = find_peaks(pattern)
        except InputError:  # too few lines with this tube's Kα2
            continue
        yield anode, replace(pattern, radiation=peaks.radiation), peaks


def wavelength_lead(measured: Pattern, tube: Tube | None) -> float:
    """By how much the pattern prefers the wavelength to other tubes', in ln of the score; the most if it was said."""
    if not measured.radiation.assumed:
        return MOST_LEAD
    return tube.lead if tube else 0.0

"""Proposals: crystals worth refining."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from crystalnet.crystal.lattice import Cell
from crystalnet.records import AtomSites, InputError
from crystalnet.solving.usual_bonds import strained

SOURCES = ("known", "catalogue", "search", "network")  # of two equal crystals the first says where it came from
SAME_PROPORTION = 1e-4  # relative; amounts are whole numbers or decimals of the user's
WELL_EXPLAINED = 0.15  # intensity residual up to which nobody asks for another way of reading atoms, or another cell


# Where nothing is known of the elements a noble gas may be named, and pymatgen remarks on each of them.
warnings.filterwarnings("ignore", message="No Pauling electronegativity")


@dataclass(frozen=True)
class Proposal:
    """A crystal in the indexed cell (primitive axes) and its disagreement with the line intensities, 0 is perfect.

    source: one of SOURCES. origin: the number of the guess it was decoded from, the catalogue's type, the name of the
    crystal that is known, or the space group searched. reference: where a known crystal was published. strain: how far
    distances are from usual ones (`UsualBonds`) in what a search found; that of others counts when they are refined.
    """

    sites: AtomSites
    source: str
    residual: float
    cell: Cell
    origin: int | str
    reference: str | None = None
    strain: float = 0.0

    @property
    def worth(self) -> float:
        """The residual, raised for unusual distances: lower promises more."""
        return float(strained(self.residual, self.strain))


def sources_named(text: str) -> tuple[str, ...]:
    """The sources that `--candidates` names. InputError where it names others."""
    named = SOURCES if text == "all" else tuple(part.strip() for part in text.split(","))
    if not set(named) <= set(SOURCES):
        raise InputError(f"--candidates {text!r}: choose all, or some of {', '.join(SOURCES)} with commas")
    return named


def proportional(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether two lists of amounts are in one proportion, to SAME_PROPORTION."""
    ratios = [a / b for a, b in zip(one, other, strict=True)]
    return max(ratios) - min(ratios) < SAME_PROPORTION * max(ratios)


def same_composition(counts: Mapping[str, float], other: Mapping[str, float]) -> bool:
    """Whether both are of one formula, hydrogen left out where one of them lacks it."""
    if ("H" in counts) != ("H" in other):
        counts, other = ({s: n for s, n in each.items() if s != "H"} for each in (counts, other))
    return set(counts) == set(other) and proportional([counts[s] for s in other], list(other.values()))


# --- both ---------------------------------------------------------------------------------------------------------


def distinct(proposals: Iterable[Proposal], keep: int = 40) -> list[Proposal]:
    """Best first, without those that are the same crystal as a better one; of equals the first stays."""
    best: list[Proposal] = []
    for proposal in sorted(proposals, key=lambda p: round(p.worth, 4)):
        if not any(same_crystal(proposal, other) for other in best):
            best.append(proposal)
            if len(best) == keep:
                break
    return best


def same_crystal(one: Proposal, other: Proposal) -> bool:
    """Equal composition and residual: two different crystals hardly ever agree with all lines to four digits alike."""
    return abs(one.residual - other.residual) < 1e-4 and Counter(one.sites.species) == Counter(other.sites.species)

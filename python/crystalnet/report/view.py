"""From a candidate to what is drawn: its density in the cell of its atoms, levels, atoms, edges, colours."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

import numpy as np

from crystalnet.density.grid import resample
from crystalnet.density.placement import placed, placement
from crystalnet.records import AtomSites, Candidate, DensityGrid, Solution

INK, MUTED, SURFACE, SPREAD = "#1f2933", "#8a94a0", "#f2c230", "#b05fb0"
ACCENT, DIFFERENCE, TICKS = "#c0392b", "#0b62a4", "#009e73"  # calculated, difference, reflections, as in page.html
# Okabe & Ito's colours, told apart by colour-blind readers too; elements take them in alphabetical order.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#5b4b9a", "#7f7f7f")
UNEXPLAINED = "#111111"


@dataclass(frozen=True)
class View:
    """One candidate ready to be drawn and written.

    Attributes
    ----------
    candidate
        As `solve` found it.
    grid
        Its density in the conventional cell of its atoms, or in its own cell without `overlay`.
    overlay
        Whether the density repeats with the cell of the atoms; only then may they be drawn into it.
    spread
        Standard deviation over the network's guesses in the cell of `grid`; None where theirs is another cell.
    """

    candidate: Candidate
    grid: DensityGrid
    overlay: bool
    spread: DensityGrid | None = None

    @property
    def atoms(self) -> AtomSites:
        """The atoms that may be drawn into `grid`: none without `overlay`."""
        sites = self.candidate.conventional
        return sites if self.overlay else AtomSites(self.grid.lattice, (), np.zeros((0, 3)))


def view(candidate: Candidate, solution: Solution) -> View:
    """Bring a candidate's density and the spread of the guesses into the conventional cell of its atoms.

    Parameters
    ----------
    candidate
        One of the solution's; its `setting` says where its density stands.
    solution
        With the network's guesses and their spread.
    """
    sites, density, setting = candidate.conventional, candidate.density, candidate.setting
    if setting is None:
        return View(candidate, density, overlay=False)
    grid, spread = DensityGrid(placed(density.values, setting), sites.lattice), None
    if solution.lattice is not None and len(solution.guesses) > 1:
        # The spread stands in the setting of the guess that the pattern likes best.
        best = solution.guesses[solution.guess_rank.argmin()]
        if not np.array_equal(best, density.values):
            setting = placement(sites, DensityGrid(best, solution.lattice))
        spread = None if setting is None else DensityGrid(placed(solution.spread, setting), sites.lattice)
    return View(candidate, grid, overlay=True, spread=spread)


def redrawn(grid: DensityGrid, points: int) -> np.ndarray:
    """The map on about `points` points spaced alike along the three axes, as fine as needed for a picture."""
    lengths = np.linalg.norm(grid.lattice, axis=1)
    n1, n2, n3 = (max(8, 2 * round(n / 2)) for n in lengths * (points / np.prod(lengths)) ** (1 / 3))
    return resample(grid.values, (n1, n2, n3), smooth=1.0)


def level_holding(values: np.ndarray, share: float) -> float:
    """The level in e/Å³ above which a share of the electrons lies."""
    ordered = np.sort(np.clip(values, 0.0, None), axis=None)[::-1]
    inside = np.cumsum(ordered)
    return float(ordered[min(np.searchsorted(inside, share * inside[-1]), len(ordered) - 1)])


def drawn_atoms(sites: AtomSites) -> tuple[list[str], np.ndarray]:
    """Symbols and fractional coordinates of the atoms; one on a face, edge or corner is on all of them."""
    symbols: list[str] = []
    coords: list[np.ndarray] = []
    for symbol, x in zip(sites.species, np.mod(np.round(sites.frac_coords, 5), 1.0), strict=True):
        for shift in itertools.product(*[(0, 1) if v < 0.01 else (0, -1) if v > 0.99 else (0,) for v in x]):
            symbols.append(symbol)
            coords.append(x + shift)
    return symbols, np.array(coords).reshape(-1, 3)


def cell_edges(lattice: np.ndarray) -> np.ndarray:
    """(12, 2, 3) Cartesian ends of the edges of the cell."""
    corners = list(itertools.product((0, 1), repeat=3))
    pairs = [(p, q) for p, q in itertools.combinations(corners, 2) if sum(np.abs(np.subtract(p, q))) == 1]
    return np.asarray(np.array(pairs, dtype=float) @ lattice)


def element_colours(candidates: tuple[Candidate, ...]) -> dict[str, str]:
    """A colour for each element of any candidate, so that it keeps it from one candidate to the next."""
    elements = sorted({s for c in candidates for s in c.conventional.species} - {"X"})
    return {e: PALETTE[i % len(PALETTE)] for i, e in enumerate(elements)} | {"X": UNEXPLAINED}


def drawn_points(intensity: np.ndarray, limit: int) -> np.ndarray:
    """Indices of about `limit` points at most that keep every peak: lowest and highest of each window."""
    n = len(intensity)
    if n <= limit:
        return np.arange(n)
    windows = np.array_split(np.arange(n), limit // 2)
    ends = [(w[0] + intensity[w].argmin(), w[0] + intensity[w].argmax()) for w in windows]
    return np.unique(np.concatenate([np.ravel(ends), [0, n - 1]]))


def symbol_parts(symbol: str) -> list[tuple[str, str]]:
    """A Hermann–Mauguin symbol as (kind, text): "bar" for -3, "sub" for the 3 of 6_3, "text" for the rest."""
    pattern = re.compile(r"-(?P<bar>\d)|_(?P<sub>\d)|(?P<text>[^-_]+)")
    return [(str(m.lastgroup), m.group(str(m.lastgroup))) for m in pattern.finditer(symbol)]

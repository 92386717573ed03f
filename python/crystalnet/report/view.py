"""From a candidate to what is drawn: its density in the cell of its atoms, levels, atoms, edges, colours."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

import numpy as np

from ..records import AtomSites, Candidate, DensityGrid, Solution

CENTRED_GRID = 60  # points an axis where the conventional cell holds several primitive ones: 3 MB a cube file
COARSE = 24  # grid on which origin and axes of density and atoms are compared; 0.2–0.5 Å, less than an atom
INK, MUTED, SURFACE, SPREAD = "#1f2933", "#8a94a0", "#f2c230", "#b05fb0"
ACCENT, DIFFERENCE, TICKS = (
    "#c0392b",
    "#0b62a4",
    "#009e73",
)  # calculated, difference, reflections (as in page.html)
# Okabe & Ito's colours, told apart by colour-blind readers too; elements take them in alphabetical order.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#5b4b9a", "#7f7f7f")
UNEXPLAINED = "#111111"


@dataclass(frozen=True)
class View:
    """One candidate ready to be drawn and written.

    grid: the density in the conventional cell of the atoms. overlay: False where the density's own cell could
    not be brought onto that of the atoms; `grid` is then in its own cell and no atoms may be drawn into it.
    spread: standard deviation over the network's guesses in the cell of `grid`; None where they are in another cell.
    """

    candidate: Candidate
    grid: DensityGrid
    overlay: bool
    spread: DensityGrid | None = None

    @property
    def atoms(self) -> AtomSites:
        """The atoms that may be drawn in `grid`'s cell (none without overlay)."""
        sites = self.candidate.conventional
        return sites if self.overlay else AtomSites(self.grid.lattice, (), np.zeros((0, 3)))


def view(candidate: Candidate, solution: Solution) -> View:
    """Bring a candidate's density and the spread of the guesses into the conventional cell and origin of its atoms."""
    sites, grid = candidate.conventional, in_cell_of(candidate.conventional, candidate.density)
    spread = None
    if grid is not None and solution.lattice is not None and len(solution.guesses) > 1:
        # The spread stands where the guess does that the pattern likes best, and is placed as that one would be.
        place = placement(sites, DensityGrid(solution.guesses[solution.guess_rank.argmin()], solution.lattice))
        spread = None if place is None else DensityGrid(placed(solution.spread, place), sites.lattice)
    return View(candidate, grid or candidate.density, grid is not None, spread)


def in_cell_of(sites: AtomSites, density: DensityGrid) -> DensityGrid | None:
    """The density in the cell of `sites`, or None where that cell is not a cell of the density's lattice."""
    place = placement(sites, density)
    return None if place is None else DensityGrid(placed(density.values, place), sites.lattice)


Placement = tuple[np.ndarray, np.ndarray]  # integer (3, 3) axes in the density's own, then a fractional shift (3,)


def placed(values: np.ndarray, place: Placement) -> np.ndarray:
    """A map in the axes and origin of a placement."""
    return _moved(_in_axes(values, place[0]), place[1])


def placement(sites: AtomSites, density: DensityGrid) -> Placement | None:
    """How the density is brought into the cell of `sites`, or None where that is not a cell of the density's lattice.

    The density may come in the primitive or the conventional cell. A powder pattern fixes neither the origin
    nor which of the equivalent axes is which: where the atoms do not lie on the density as given, that choice
    of axes and origin is taken (FFT correlation with the atoms) in which they do.
    """
    choices = _axes(density.lattice, sites.lattice)
    if not choices:
        return None
    if not len(sites):
        return choices[0], np.zeros(3)
    coarse, atoms = resample(density.values, (COARSE,) * 3), np.conj(_atom_factors(sites, COARSE))
    best, chosen, shift = -np.inf, choices[0], np.zeros(3)
    for number, axes in enumerate(choices):
        overlap = np.fft.ifftn(np.fft.fftn(coarse[_lookup(axes, COARSE)]) * atoms).real
        if number == 0:  # as given, where that is as good as any up to the network's error
            near = np.abs(np.fft.fftfreq(COARSE)) < 0.1
            at_hand = np.where(near[:, None, None] & near[:, None] & near, overlap, -np.inf)
            if at_hand.max() >= 0.9 * overlap.max():
                shift = np.zeros(3) if at_hand.argmax() == 0 else _summit(overlap, int(at_hand.argmax()))
                break
        if overlap.max() > best * (1 + 1e-6):
            best, chosen, shift = float(overlap.max()), axes, _summit(overlap, int(overlap.argmax()))
    return chosen, shift


def resample(values: np.ndarray, shape: tuple[int, int, int], smooth: float = 0.0) -> np.ndarray:
    """A periodic map on `shape` points by Fourier series; its mean (the electron count) is kept.

    smooth: damp the terms at the limit of the coarser grid to e^-smooth, so that sharp cores do not ring.
    """
    factors = np.fft.fftn(values)
    for axis, n in enumerate(shape):
        m = factors.shape[axis]
        half = min(m, n) // 2
        waves = np.r_[0:half, 1 - half : 0]
        kept = np.take(factors, waves, axis=axis)
        damp = np.exp(-smooth * (waves / half) ** 2).reshape([-1 if k == axis else 1 for k in range(3)])
        factors = np.zeros([n if k == axis else size for k, size in enumerate(kept.shape)], dtype=complex)
        factors[tuple(waves if k == axis else slice(None) for k in range(3))] = kept * damp
    return np.fft.ifftn(factors).real * (np.prod(shape) / values.size)


def _axes(own: np.ndarray, wanted: np.ndarray) -> list[np.ndarray]:
    """Integer matrices T with T·own ≅ wanted up to a rotation, the standard setting first.

    The refined cell differs a little from the indexed one: lengths may differ by 2 %, cosines by 0.02.
    """
    vectors = np.array([v for v in itertools.product((-1, 0, 1), repeat=3) if any(v)])
    cartesian = vectors @ own
    lengths = np.linalg.norm(cartesian, axis=1)
    goal = np.linalg.norm(wanted, axis=1)
    cosines = (wanted @ wanted.T) / np.outer(goal, goal)
    fits = [np.flatnonzero(abs(lengths / g - 1) < 0.02) for g in goal]
    unit = cartesian / lengths[:, None]
    found = [
        vectors[[i, j, k]]
        for i, j, k in itertools.product(*fits)
        if abs(unit[i] @ unit[j] - cosines[0, 1]) < 0.02
        and abs(unit[i] @ unit[k] - cosines[0, 2]) < 0.02
        and abs(unit[j] @ unit[k] - cosines[1, 2]) < 0.02
    ]
    standard = np.linalg.solve(own.T, wanted.T).T  # same orientation: the plain quotient of the two lattices
    rhombohedral = np.array([[1, -1, 0], [0, 1, -1], [1, 1, 1]])  # pymatgen turns these axes; obverse setting

    def strangeness(axes: np.ndarray) -> tuple[bool, bool, bool]:
        return (
            not np.allclose(axes, standard, atol=0.1),
            not np.array_equal(axes, rhombohedral),
            bool(np.linalg.det(axes) < 0),
        )

    return sorted(found, key=strangeness)


def _lookup(axes: np.ndarray, n: int) -> tuple[np.ndarray, ...]:
    """Where the points of the cell T·own lie on the n³ grid of `own`: on grid points, T being integer."""
    points = np.indices((n, n, n)).reshape(3, -1).T @ axes % n
    return tuple(column.reshape(n, n, n) for column in points.T)


def _in_axes(values: np.ndarray, axes: np.ndarray) -> np.ndarray:
    if np.array_equal(axes, np.eye(3)):
        return values
    n = CENTRED_GRID if abs(np.linalg.det(axes)) > 1.5 else len(values)
    fine = values if n == len(values) else resample(values, (n, n, n))
    return np.asarray(fine[_lookup(axes, n)])


def _summit(overlap: np.ndarray, index: int) -> np.ndarray:
    """(3,) fractional position of the maximum at `index`, by a parabola along each axis."""
    n = len(overlap)
    top = np.unravel_index(index, overlap.shape)
    position = np.array(top, dtype=float)
    for axis in range(3):
        before, after = (overlap[tuple((t + d * (k == axis)) % n for k, t in enumerate(top))] for d in (-1, 1))
        bend = before - 2 * overlap[top] + after
        position[axis] += 0.5 * (before - after) / bend if bend < 0 else 0.0
    return position / n


def _moved(values: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """The map whose value at x is that of `values` at x + shift (fractional), by Fourier phases."""
    if not shift.any():
        return values
    factors = np.fft.fftn(values)
    for axis, n in enumerate(values.shape):
        phase = np.exp(2j * np.pi * np.fft.fftfreq(n, 1 / n) * shift[axis])
        factors *= phase.reshape([-1 if k == axis else 1 for k in range(3)])
    moved: np.ndarray = np.fft.ifftn(factors).real
    return moved


def _atom_factors(sites: AtomSites, n: int) -> np.ndarray:
    """(n, n, n) Fourier terms of alike Gaussian atoms 0.4 Å wide, the mean left out.

    Alike, because Z would set heavy atoms with few valence electrons on the density of light ones with many.
    """
    wave = np.fft.fftfreq(n, 1 / n)
    turns = [np.exp(-2j * np.pi * np.outer(wave, x)) for x in sites.frac_coords.T]
    factors = np.einsum("is,js,ks->ijk", *turns, optimize=True)
    hkl = np.stack(np.meshgrid(wave, wave, wave, indexing="ij"), axis=-1)
    g = 2 * np.pi * hkl @ np.linalg.inv(sites.lattice).T
    factors *= np.exp(-(0.4**2) * np.einsum("...i,...i->...", g, g) / 2)
    factors[0, 0, 0] = 0.0
    terms: np.ndarray = factors
    return terms


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

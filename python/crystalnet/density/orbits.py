"""Density → atoms, an orbit at a time: the density's own symmetry tells where atoms must stand.

Matching pursuit atom by atom (`crystalnet.density.atoms`) loses its way where diffuse valence shells overlap (Li, Al,
Mg): a first atom set a little beside its place leaves a residual that sets the next one wrong. A network's density is
more symmetric than its atoms are clear, so whole orbits are taken out here, exactly on special positions where that
is better.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.ndimage import maximum_filter

from crystalnet.crystal.lattice import TRANSLATION_STEPS, holohedry, nearest_image, one_of_each, periodic_distances
from crystalnet.density.atoms import MAX_ATOMS, MIN_DISTANCE, MIN_GAIN, Decomposition
from crystalnet.density.grid import maximum_offset
from crystalnet.density.promolecule import promolecule_density
from crystalnet.records import AtomSites, DensityGrid

D_MIN = 0.8  # Å; shorter spacings place valence shells no better, and their Fourier terms grow as 1/d³
COARSE = 32  # points an axis, on which maxima are searched: 0.1 to 0.5 Å, refined by parabolas
AGREEMENTS = (0.98, 0.93, 0.85)  # correlation of map and image from which an operation counts: a group each
TWENTY_FOURTHS = 0.01  # a translation this near a multiple of 1/24 is one, as in every standard setting
SNAPS = (0.3, 0.6, 1.0, 1.4)  # Å; an atom is tried on special positions this near; nearer images are one atom
FAINT = -0.3  # as MIN_GAIN, for orbits of a third of an atom: often the network is unsure of these
OVERFULL = 1.5  # as MIN_GAIN: where a place holds 1.25 atoms, several may stand around it (Al of corundum)
AROUND = np.stack(np.meshgrid(*[np.arange(-1.6, 1.7, 0.4)] * 3), -1).reshape(-1, 3)  # Å; places tried instead
TRIED = 6  # maxima of each element's map, the best first, tried at every turn


@dataclass(frozen=True)
class MapSymmetry:
    """Operations x' = R x + t that a density obeys: rotations (m, 3, 3) integer, translations (m, 3)."""

    rotations: np.ndarray
    translations: np.ndarray

    def images(self, x: np.ndarray) -> np.ndarray:
        """(m, 3) of a point (3,)."""
        moved: np.ndarray = self.rotations @ x + self.translations
        return moved


def symmetries_of(density: DensityGrid) -> list[MapSymmetry]:
    """Groups of symmetry operations that a density obeys.

    Parameters
    ----------
    density
        (n, n, n) e/Å³ in its cell.

    Returns
    -------
    list of MapSymmetry
        One group for each of AGREEMENTS, the strictest first; none of a size that is there already, none trivial.

    Notes
    -----
    Each matrix of the lattice's holohedry gets the translation that gives the largest correlation.
    """
    operations = np.round(holohedry(density.lattice)).astype(np.int64)
    h, terms = _terms(density)
    whole = _whole_orbits(operations.tobytes(), h.tobytes())
    h, terms = h[whole], terms[whole]
    n = _points(h)
    flat = terms.copy()
    flat[0] = 0.0  # the mean agrees with everything
    power = float(np.square(np.abs(flat)).sum())
    agreement, shifts = [], []
    for turned in _turned(operations.tobytes(), h.tobytes()):
        correlation = _map(h, flat * flat[turned].conj(), n)
        highest = np.array(np.unravel_index(correlation.argmax(), correlation.shape))
        agreement.append(float(correlation.max()) * n**3 / power)
        shift = (highest + maximum_offset(correlation, highest)) / n
        exact = np.round(TRANSLATION_STEPS * shift) / TRANSLATION_STEPS
        shifts.append(np.where(np.abs(shift - exact) < TWENTY_FOURTHS, exact, shift))
    # A map read at P x is the map moved by P⁻¹.
    rotations = np.round(np.linalg.inv(operations)).astype(np.int64)
    found: list[MapSymmetry] = []
    sizes: set[int] = set()
    for least in AGREEMENTS:
        kept = _closed(rotations, np.flatnonzero(np.array(agreement) > least))
        if len(kept) > 1 and len(kept) not in sizes:
            sizes.add(len(kept))
            found.append(MapSymmetry(rotations[kept], np.array(shifts)[kept]))
    return found


def decompose_orbits(
    density: DensityGrid, elements: tuple[str, ...], symmetry: MapSymmetry, max_atoms: int = MAX_ATOMS
) -> list[Decomposition]:
    """Atoms of the given elements, in whole orbits of a symmetry, that add up to a density.

    Parameters
    ----------
    density
        (n, n, n) e/Å³ in its cell.
    elements
        Symbols; each orbit becomes the one that leaves least.
    symmetry
        Operations of that density.
    max_atoms
        At most so many are taken out.

    Returns
    -------
    list of Decomposition
        The clear atoms alone, and, where there are any, these with the fainter ones.
    """
    h, residual = _terms(density)
    origin = np.zeros((1, 3))
    alone = [DensityGrid(promolecule_density(density.lattice, (e,), origin), density.lattice) for e in elements]
    shapes = np.array([_terms(shape)[1] for shape in alone])
    start = residual

    found: list[_Orbit] = []
    clear = 0  # orbits found before the first faint one
    while (best := _best_orbit(residual, shapes, h, density.lattice, symmetry, found, max_atoms)) is not None:
        found.append(best)
        residual = residual - shapes[best.element] * best.wave
        if best.gain > MIN_GAIN and clear == len(found) - 1:
            clear = len(found)
    answers = []
    for count in sorted({clear, len(found)} - {0}):
        answers.append(_named(found[:count], start, shapes, elements, density.lattice))
    return answers


@dataclass(frozen=True)
class _Orbit:
    """Atoms (m, 3) of one element, their wave Σ e^{−2πi h·x} (K,), their own Σρ², and what they gain of it."""

    element: int
    atoms: np.ndarray
    wave: np.ndarray
    gain: float
    size: float


def _best_orbit(
    residual: np.ndarray,
    shapes: np.ndarray,
    h: np.ndarray,
    lattice: np.ndarray,
    symmetry: MapSymmetry,
    found: list[_Orbit],
    max_atoms: int,
) -> _Orbit | None:
    """The orbit that lowers Σ|residual|² most for each of its atoms; None where none is worth it."""
    taken = np.concatenate([np.zeros((0, 3)), *(orbit.atoms for orbit in found)])

    def orbits_at(x: np.ndarray, element: int) -> Iterator[_Orbit]:
        for atoms in _orbits_near(x, symmetry, lattice, taken, max_atoms - len(taken)):
            wave = _wave(h, atoms)
            own = shapes[element] * wave
            size = float(np.square(np.abs(own)).sum())
            yield _Orbit(element, atoms, wave, 2 * float((residual * own.conj()).real.sum()) / size - 1, size)

    places = (
        (x, element)
        for element, shape in enumerate(shapes)
        for x in _maxima(_map(h, residual * shape.conj(), _points(h)))
    )
    worth = [orbit for x, element in places for orbit in orbits_at(x, element) if orbit.gain > FAINT]
    best = max(worth, key=lambda orbit: orbit.gain * orbit.size / len(orbit.atoms), default=None)
    if best is None or best.gain < OVERFULL:
        return best
    around = (best.atoms[0] + step @ np.linalg.inv(lattice) for step in AROUND)
    return max((o for x in around for o in orbits_at(x, best.element)), key=lambda o: o.gain * o.size, default=best)


def _named(
    orbits: list[_Orbit],
    density: np.ndarray,
    shapes: np.ndarray,
    elements: tuple[str, ...],
    lattice: np.ndarray,
) -> Decomposition:
    """The orbits, each named again with the others gone: the first got their names while others overlapped them."""
    named = [orbit.element for orbit in orbits]
    residual = density - sum(shapes[orbit.element] * orbit.wave for orbit in orbits)
    cost = np.zeros((len(named), len(elements)))
    for _ in range(2):
        for i, orbit in enumerate(orbits):
            own = shapes * orbit.wave
            residual = residual + own[named[i]]
            overlaps = (residual * own.conj()).real.sum(1)
            sizes = np.square(np.abs(own)).sum(1)
            gains = (2 * overlaps - sizes) / len(orbit.atoms)
            named[i] = int(gains.argmax())
            cost[i] = gains.max() - gains
            residual = residual - own[named[i]]
    of = np.repeat(np.arange(len(orbits)), [len(orbit.atoms) for orbit in orbits])
    sites = AtomSites(lattice, tuple(elements[named[i]] for i in of), np.concatenate([o.atoms for o in orbits]))
    return Decomposition(sites, cost[of])


def _orbits_near(
    x: np.ndarray, symmetry: MapSymmetry, lattice: np.ndarray, taken: np.ndarray, most: int
) -> list[np.ndarray]:
    """The orbit of a point and those of special positions near it, (m, 3) each, one of each size.

    Left out are orbits of more than `most` atoms and those with atoms too near each other or too near those `taken`.
    """
    found: list[np.ndarray] = []
    for reach in SNAPS:
        place = x
        for _ in range(2):
            offset = nearest_image(symmetry.images(place) - place)
            place = place + offset[np.linalg.norm(offset @ lattice, axis=1) <= reach].mean(0)
        images = symmetry.images(place) % 1.0
        # An operation takes one pair of images to another: distances from the first are all that there are.
        own = periodic_distances(images[:1], images, lattice)[0]
        same = own < SNAPS[0]
        size = len(images) // int(same.sum())
        if size > most or own.min(initial=99.0, where=~same) < MIN_DISTANCE:
            continue
        if len(taken) and periodic_distances(images[:1], taken, lattice).min() < MIN_DISTANCE:
            continue
        if not any(size == len(other) for other in found):
            found.append(images[one_of_each(images, lattice, SNAPS[0])])
    return found


def _maxima(values: np.ndarray) -> np.ndarray:
    """Fractional coordinates (≤ TRIED, 3) of the highest maxima of a periodic map."""
    n = values.shape[0]
    peaks = np.argwhere((values == maximum_filter(values, size=3, mode="wrap")) & (values > 0))
    best = peaks[np.argsort(-values[tuple(peaks.T)])[:TRIED]]
    return np.array([(p + maximum_offset(values, p)) / n for p in best]).reshape(-1, 3) % 1.0


def _terms(density: DensityGrid) -> tuple[np.ndarray, np.ndarray]:
    """Indices h (K, 3) of the Fourier terms with d ≥ D_MIN, (0, 0, 0) the first, and the terms (K,)."""
    n = density.values.shape[0]
    h = _sphere(density.lattice.tobytes(), n)
    return h, np.fft.fftn(density.values)[tuple(h.T)]


@lru_cache(maxsize=4)
def _sphere(lattice: bytes, n: int) -> np.ndarray:
    vectors = np.frombuffer(lattice).reshape(3, 3)
    i = np.arange(-(n // 2) + 1, n // 2)
    h = np.stack(np.meshgrid(i, i, i, indexing="ij"), -1).reshape(-1, 3)
    length = np.linalg.norm(h @ np.linalg.inv(vectors).T, axis=1)
    # No larger than fits into the grid: turned terms must be terms of it too.
    edge = (n // 2 - 1) / np.linalg.norm(vectors, axis=1).max()
    kept: np.ndarray = h[length <= min(1 / D_MIN, edge)]
    order = np.argsort(np.abs(kept).sum(1), kind="stable")
    return np.ascontiguousarray(kept[order])


def _wave(h: np.ndarray, atoms: np.ndarray) -> np.ndarray:
    """Σ e^{−2πi h·x} (K,) over atoms (m, 3), from three short tables: exponentials of all would take far longer."""
    most = int(np.abs(h).max(initial=0))
    tables = np.exp(-2j * np.pi * np.arange(-most, most + 1)[:, None, None] * atoms)  # (2·most + 1, m, 3)
    own = h + most
    waves = tables[own[:, 0], :, 0] * tables[own[:, 1], :, 1]
    summed: np.ndarray = np.einsum("km,km->k", waves, tables[own[:, 2], :, 2])
    return summed


def _points(h: np.ndarray) -> int:
    """Points an axis that hold the terms."""
    return max(COARSE, 2 * int(np.abs(h).max()) + 2)


def _map(h: np.ndarray, terms: np.ndarray, n: int) -> np.ndarray:
    """(n, n, n) map of Fourier terms (K,)."""
    full = np.zeros((n, n, n), complex)
    full[tuple(h.T)] = terms
    values: np.ndarray = np.fft.ifftn(full).real
    return values


def _images(operations: bytes, h: bytes) -> list[np.ndarray]:
    """Indices (K, 3) of each term of a map read at P x, for every operation P: P⁻ᵀ h."""
    matrices = np.frombuffer(operations, np.int64).reshape(-1, 3, 3)
    indices = np.frombuffer(h, np.int64).reshape(-1, 3)
    return [indices @ np.round(np.linalg.inv(p)).astype(np.int64) for p in matrices]


@lru_cache(maxsize=2)  # the guesses of a cell come one after the other
def _whole_orbits(operations: bytes, h: bytes) -> np.ndarray:
    """(K,) whether all images of a term are among the terms.

    Where the metric obeys an operation only nearly, equivalent terms differ in length, and D_MIN may lie between them.
    """
    known = {row.tobytes() for row in np.frombuffer(h, np.int64).reshape(-1, 3)}
    whole: np.ndarray = np.all([[row.tobytes() in known for row in image] for image in _images(operations, h)], axis=0)
    return whole


@lru_cache(maxsize=2)
def _turned(operations: bytes, h: bytes) -> np.ndarray:
    """(m, K): which term of a map each term of the map read at P x is; it stands at P⁻ᵀ h."""
    number = {row.tobytes(): i for i, row in enumerate(np.frombuffer(h, np.int64).reshape(-1, 3))}
    return np.array([[number[row.tobytes()] for row in image] for image in _images(operations, h)])


def _closed(rotations: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The operations kept, less those whose products with the others are not kept."""
    keys = {rotations[k].tobytes(): int(k) for k in range(len(rotations))}
    chosen = {int(k) for k in kept}
    while chosen:
        broken = {
            k: sum(keys[(rotations[k] @ rotations[j]).tobytes()] not in chosen for j in chosen) for k in sorted(chosen)
        }
        worst = max(broken, key=lambda k: broken[k])
        if broken[worst] == 0:
            break
        chosen.discard(worst)
    return np.array(sorted(chosen), dtype=np.int64)

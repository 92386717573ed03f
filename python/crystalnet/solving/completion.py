"""Is an orbit missing? A crystal that lacks light atoms explains the lines nearly as well as the one that has them.

Lithium between phosphorus and a heavy metal moves no line by more than a few per cent: densities show it faintly, and a
known type without it wins by its simplicity. Every place that symmetry offers and that is wide enough is tried with
every given element; what explains the lines clearly better goes on to refinement beside its parent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from crystalnet.crystal.chemistry import covalent_radius, shortest_distances
from crystalnet.crystal.elements import visible
from crystalnet.crystal.lattice import nearest_image
from crystalnet.crystal.symmetry import SYMPREC_PLACED, bare_symmetry
from crystalnet.density.atoms import MAX_ATOMS
from crystalnet.records import AtomSites, Peaks
from crystalnet.solving.proposals import Proposal
from crystalnet.solving.screen import MIN_CONTACT, Screen

PARENTS = 4  # proposals, of the best, that may be completed
SPACING = 0.5  # Å between the points tried; refinement moves an atom by as much
SNAP = 0.75  # Å; images of a point nearer than this are one atom on a special position
GAIN = 0.6  # of the parent's residual: a missing orbit halves it as a rule, texture and noise are fitted by any orbit
PERFECT = 0.012  # residual below which nothing is missing that could be seen
AT_ONCE = 256  # points whose images are made at a time: a few MB where there are 192 operations
MOST_ATOMS = 40  # of a parent's primitive cell: beyond, places are too many for a second


def completed(proposals: Sequence[Proposal], peaks: Peaks, elements: Sequence[str]) -> list[Proposal]:
    """The best proposals with an orbit more of one of the elements, where that explains the lines clearly better.

    proposals: best first. elements: those given.
    """
    found = []
    for parent in proposals[:PARENTS]:
        if parent.residual > PERFECT and len(parent.sites) <= MOST_ATOMS and "X" not in parent.sites.species:
            best = min(_with_an_orbit(parent, peaks, elements), key=lambda p: p.residual, default=parent)
            if best.residual < GAIN * parent.residual:
                found.append(best)
    return found


def _with_an_orbit(parent: Proposal, peaks: Peaks, elements: Sequence[str]) -> Iterator[Proposal]:
    sites = parent.sites
    names, groups = np.unique(sites.species, return_inverse=True)
    screen = Screen(sites.lattice, parent.cell.zero_shift, peaks)
    may_lack = visible(elements)
    radii = np.array([covalent_radius(element) for element in (*sites.species, *may_lack)])
    for orbit in _orbits(sites):
        if len(sites) + len(orbit) > MAX_ATOMS:
            continue
        x = np.vstack([sites.frac_coords, orbit])
        # One atom of the orbit has the surroundings of all.
        apart = shortest_distances(sites.lattice, x, slice(len(sites), len(sites) + 1))[0]
        to_parent, to_own = apart[: len(sites)], apart[len(sites) :].min()
        with_room = [
            element
            for element, radius in zip(may_lack, radii[len(sites) :], strict=True)
            if min((to_parent / (radii[: len(sites)] + radius)).min(), to_own / (2 * radius)) > MIN_CONTACT
        ]
        if not with_room:
            continue
        number = np.append(groups, np.full(len(orbit), len(names)))
        residuals = screen.residuals(x, number, [[*names.tolist(), element] for element in with_room])
        best = int(residuals.argmin())
        species = (*sites.species, *[with_room[best]] * len(orbit))
        yield Proposal(
            AtomSites(sites.lattice, species, x), parent.source, float(residuals[best]), parent.cell, parent.origin
        )


def _orbits(sites: AtomSites) -> Iterator[np.ndarray]:
    """(m, 3) positions of the orbits of points SPACING apart, special positions first, each once."""
    symmetry = bare_symmetry(sites, SYMPREC_PLACED)
    if symmetry is None:
        return
    rotations, translations = symmetry.rotations, symmetry.translations
    edges = np.linalg.norm(sites.lattice, axis=1)
    # Multiples of 12 hold the special positions of every space group but 1/8, which 24 has.
    steps = [int(12 * max(1, round(edge / SPACING / 12))) for edge in edges]
    grid = np.stack(np.meshgrid(*(np.arange(n) / n for n in steps), indexing="ij"), -1).reshape(-1, 3)
    orbits, codes = [], []
    for first in range(0, len(grid), AT_ONCE):
        x = grid[first : first + AT_ONCE]
        near = nearest_image(_images(x, rotations, translations) - x[:, None])
        own = np.linalg.norm(near @ sites.lattice, axis=2) < SNAP
        x = x + (near * own[:, :, None]).sum(1) / own.sum(1)[:, None]  # at least the identity's image is its own
        images = _images(x, rotations, translations) % 1.0
        orbits.append(images)
        codes.append(np.round(images * 96).astype(np.int64) % 96 @ (96 * 96, 96, 1))
    images, code = np.concatenate(orbits), np.concatenate(codes)
    _, chosen = np.unique(np.sort(code, axis=1), axis=0, return_index=True)
    found = [images[i][np.unique(code[i], return_index=True)[1]] for i in np.sort(chosen)]
    yield from sorted(found, key=len)


def _images(x: np.ndarray, rotations: np.ndarray, translations: np.ndarray) -> np.ndarray:
    """(M, n, 3): of points x (M, 3) under n operations."""
    return np.asarray(np.einsum("oij,mj->moi", rotations, x) + translations)

"""Sub- and superlattices of a cell, and what Bravais lattice a metric has.

Lines rarely say which of a lattice and its sub- and superlattices is the crystal's: those of index 2 and 3 of the best
cells are rated beside them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import gemmi
import numpy as np

from crystalnet.crystal.lattice import PRIMITIVE_AXES
from crystalnet.crystal.symmetry import bravais_lattice
from crystalnet.ops.index_cells import CELL
from crystalnet.xrd.indexing.lattices import LATTICES, axes_of, metric_of, row_of

INDICES = 2, 3  # of the sub- and superlattices that are tried
LARGEST_INDEX = 8  # of a superlattice that is recognised as one
#: Å relative to the longest edge of the primitive cell, within which a metric is that of a higher symmetry: refinement
#: under the symmetry says whether it is. The second finds pseudo-symmetry that noise has hidden.
METRIC_TOLERANCES = 0.002, 0.008
SAME_EDGE, SAME_VOLUME = 3e-3, 6e-3  # relative, of reduced cells that are one


def primitive_axes(state: np.void) -> np.ndarray:
    """(3, 3) primitive axes in Å as rows."""
    centring = LATTICES[int(state["lattice"])].centring
    return np.asarray(PRIMITIVE_AXES[centring] @ axes_of(state["metric"]))


def reduced(axes: np.ndarray) -> np.ndarray:
    """(7,) Niggli cell of primitive axes (edges in Å, angles in degrees) and its volume in Å³."""
    gram = axes @ axes.T
    vector = gemmi.GruberVector([gram[0, 0], gram[1, 1], gram[2, 2], 2 * gram[1, 2], 2 * gram[0, 2], 2 * gram[0, 1]])
    vector.niggli_reduce()
    return np.array([*vector.cell_parameters(), abs(np.linalg.det(axes))])


def same_lattice(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two reduced cells describe one lattice. Edges and volume: angles jump where edges are nearly equal."""
    near = abs(one[6] / other[6] - 1) < SAME_VOLUME and np.all(np.abs(one[:3] / other[:3] - 1) < SAME_EDGE)
    return bool(near)


def states_of(
    axes: np.ndarray, like: np.void, allowed: np.ndarray, tolerances: Sequence[float]
) -> Iterator[np.ndarray]:
    """(1,) of `CELL` for each Bravais lattice, of those allowed, that primitive axes may have; shifts as of `like`."""
    seen = set()
    longest = reduced(axes)[2]
    for tolerance in tolerances:
        found = bravais_lattice(axes, tolerance * longest)
        if found is None or found[:2] in seen:
            continue
        seen.add(found[:2])
        row = row_of(*found[:2])
        if not allowed[row]:
            continue
        state = np.zeros(1, CELL)
        state["lattice"] = row
        state["metric"] = metric_of(found[2] @ found[2].T)
        state["zero"], state["displacement"] = like["zero"], like["displacement"]
        yield state


def sublattice_matrices(index: int) -> list[np.ndarray]:
    """Hermite normal forms: the integer matrices, once each, whose rows span a sublattice of this index."""
    found = []
    for a in range(1, index + 1):
        for b in range(1, index // a + 1):
            if index % (a * b):
                continue
            c = index // (a * b)
            found += [np.array([[a, i, j], [0, b, k], [0, 0, c]]) for i in range(b) for j in range(c) for k in range(c)]
    return found


def contains(small: np.ndarray, state: np.void, large: np.ndarray) -> bool:
    """Whether the lattice of the reduced cell `large` is a superlattice of that of `small`, described by `state`."""
    times = round(large[6] / small[6])
    if not 2 <= times <= LARGEST_INDEX or abs(large[6] / small[6] - times) > 2 * SAME_VOLUME * times:
        return False
    axes = primitive_axes(state)
    return any(same_lattice(reduced(matrix @ axes), large) for matrix in sublattice_matrices(times))


def related_axes(axes: np.ndarray) -> Iterator[np.ndarray]:
    """Primitive axes of the lattice itself, of its larger cells and of its smaller ones."""
    yield axes
    for index in INDICES:
        for matrix in sublattice_matrices(index):
            yield matrix @ axes
            # A smaller cell of the direct lattice is a sublattice of the reciprocal one.
            yield np.linalg.inv(matrix.T) @ axes

"""Lattices: nearest images, holohedry."""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import numpy as np

METRIC_STEPS = 1e9  # of a metric tensor, relative to its largest length: fine enough for the edges of a tall cell


def nearest_image(difference: np.ndarray) -> np.ndarray:
    """Fractional differences (..., 3) moved into the cell around the origin, each coordinate by a whole number.

    The shortest image wherever that is shorter than half of the shortest lattice vector, however skewed the cell; of
    longer ones in a skewed cell another image may be shorter, which no use here asks for.
    """
    image: np.ndarray = difference - np.round(difference)
    return image


def image_beside(points: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Of each of points (..., 3), fractional, the image nearest to x, as `nearest_image` understands it."""
    image: np.ndarray = points - np.round(points - x)
    return image


def periodic_distances(x: np.ndarray, y: np.ndarray, lattice: np.ndarray) -> np.ndarray:
    """(len(x), len(y)) Å between points at fractional coordinates, of nearest images."""
    lengths: np.ndarray = np.linalg.norm(nearest_image(x[:, None] - y[None]) @ lattice, axis=-1)
    return lengths


def holohedry(lattice: np.ndarray, tolerance: float = 1e-3) -> np.ndarray:
    """Integer matrices that preserve the metric of a lattice: (m, 3, 3); they act on fractional columns, x' = P x.

    lattice (3, 3) Å rows. tolerance relative to the edges that a length or a product is of. 48 for cubic lattices,
    12 for rhombohedral, 24 for hexagonal ones.
    """
    metric = lattice @ lattice.T
    # Whatever its size, a lattice of one shape is worked out once.
    shape = np.round(metric / np.diag(metric).max() * METRIC_STEPS).astype(np.int64)
    return _holohedry_of(shape.tobytes(), tolerance)


@lru_cache(maxsize=256)
def _holohedry_of(shape: bytes, tolerance: float) -> np.ndarray:
    metric = np.frombuffer(shape, dtype=np.int64).reshape(3, 3) / METRIC_STEPS
    vectors = np.array(list(product((-2, -1, 0, 1, 2), repeat=3)))
    lengths = np.einsum("ni,ij,nj->n", vectors, metric, vectors)
    edges = np.sqrt(np.diag(metric))
    slack = tolerance * np.outer(edges, edges)
    columns = [vectors[np.abs(lengths - metric[i, i]) < slack[i, i]] for i in range(3)]
    found = []
    for a, b in product(columns[0], columns[1]):
        if abs(a @ metric @ b - metric[0, 1]) > slack[0, 1]:
            continue
        for c in columns[2]:
            if abs(a @ metric @ c - metric[0, 2]) < slack[0, 2] and abs(b @ metric @ c - metric[1, 2]) < slack[1, 2]:
                found.append(np.column_stack([a, b, c]))
    return np.array(found)

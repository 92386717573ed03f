"""Which lines lie nearest to which: both are many and in order, so that no table of all pairs is made."""

from __future__ import annotations

import numpy as np


def nearest(ascending: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(n,) index of the nearest of `ascending` (m,), at least one, to each of `values` (n,); of two alike the first.

    >>> nearest(np.array([1.0, 2.0, 4.0]), np.array([0.0, 1.6, 3.0, 9.0])).tolist()
    [0, 1, 1, 2]
    """
    after = np.clip(np.searchsorted(ascending, values), 1, max(len(ascending) - 1, 1))
    if len(ascending) == 1:
        return np.zeros(len(values), np.int64)
    closer_before = values - ascending[after - 1] <= ascending[after] - values
    return np.asarray(after - closer_before)


def around(ascending: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """(n, count) indices of the nearest of `ascending` (m,) to each of `values` (n,); m where there are no more.

    >>> around(np.array([1.0, 2.0, 4.0]), np.array([3.5]), 2).tolist()
    [[2, 1]]
    """
    near = np.searchsorted(ascending, values)[:, None] + np.arange(-count, count)
    outside = (near < 0) | (near >= len(ascending))
    near[outside] = len(ascending)
    distance = np.abs(np.append(ascending, np.inf)[near] - values[:, None])
    return np.asarray(np.take_along_axis(near, np.argsort(distance, axis=1, kind="stable")[:, :count], axis=1))

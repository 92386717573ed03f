"""Means of measured points that fall into one bin: fewer points that say as much."""

from __future__ import annotations

import numpy as np


class Bins:
    """Points (n,) by the number of the bin that each falls into; only the m bins that hold any count.

    Attributes
    ----------
    filled : (m,) array of int
        Numbers of the bins that hold points, ascending.
    count : (m,) array of int
        How many each holds.
    """

    def __init__(self, number: np.ndarray) -> None:
        self._number = number
        count = np.bincount(number)
        self.filled = np.flatnonzero(count)
        self.count = count[self.filled]

    def mean(self, values: np.ndarray) -> np.ndarray:
        """(m,) means of values (n,) in each filled bin."""
        return np.asarray(np.bincount(self._number, values)[self.filled] / self.count)

"""How measured lines compare with the calculated lines of a lattice, and with chance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from crystalnet.xrd.indexing.lattices import Lattice
from crystalnet.xrd.indexing.lines import Lines

#: Chance of a random hit above which a hit says nothing for a cell.
MAX_CHANCE = 0.4


@dataclass(frozen=True)
class Comparison:
    """Measured lines held against many metrics of one Bravais lattice at once.

    In all methods metric is (m, 2), q the measured Q after correction of the shifts, (n,) or (m, n), and use the
    indices (k,) of the lines that are asked.

    Attributes
    ----------
    lines : Lines
    lattice : Lattice
    slack : float
        By which the zero may still be wrong, degrees; see `Lines.window`.
    """

    lines: Lines
    lattice: Lattice
    slack: float = 0.0

    def distance(self, metric: np.ndarray, q: np.ndarray, use: np.ndarray) -> np.ndarray:
        """Distance of each line to the nearest calculated one, in windows within which it counts as met, (m, k)."""
        window = self._window(use)
        q = np.broadcast_to(q, (len(metric), len(self.lines)))[:, use]
        distance = np.empty(q.shape)
        if not distance.size:  # no start survived the sieve
            return distance
        order = np.argsort(metric[:, 0])  # cells of like A need like numbers of M
        for part in np.array_split(order, max(1, q.size // 40_000)):
            distance[part] = self.lattice.distance(metric[part], q[part]) / window
        return distance

    def chance(self, metric: np.ndarray, q: np.ndarray, use: np.ndarray) -> np.ndarray:
        """Chance of a hit on a lattice with as many lines but no relation to the crystal, (m, k)."""
        window = self._window(use)
        q = np.broadcast_to(q, (len(metric), len(self.lines)))[:, use]
        chance: np.ndarray = 1 - np.exp(-2 * window * self.lattice.line_density(metric, q))
        return chance

    def gain(self, metric: np.ndarray, q: np.ndarray, use: np.ndarray) -> np.ndarray:
        """Log-likelihood ratio, against chance, of the lines falling on calculated ones, (m,)."""
        distance, chance = self.distance(metric, q, use), self.chance(metric, q, use)
        spurious = self.lines.spurious[use]
        # Met lines are spread normally with half the window, chance ones evenly over all of it.
        met = np.log((1 - spurious) / chance) + math.log(4 / math.sqrt(2 * math.pi)) - 2 * distance**2
        missed = np.log(spurious / np.maximum(1 - chance, 0.02))
        gain: np.ndarray = np.where(distance < 1, met, missed).sum(1)
        return gain

    def _window(self, use: np.ndarray) -> np.ndarray:
        """(k,) in units of Q."""
        window: np.ndarray = (self.lines.window(1.5, self.slack) * self.lines.slope)[use]
        return window

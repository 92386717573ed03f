"""Refinement of cells on the positions of the lines."""

from __future__ import annotations

import numpy as np

from crystalnet.crystal.lattice import Cell
from crystalnet.xrd.indexing.lattices import Lattice, lattice_of, state_of
from crystalnet.xrd.indexing.lines import DISPLACEMENT_ESD, ZERO_ESD, ZERO_STEPS, Lines
from crystalnet.xrd.indexing.rating import Rated, rate


def refine(lines: Lines, lattice: Lattice, state: np.ndarray, slack: float = 0.0) -> np.ndarray:
    """Least squares of the states of many starts at once.

    Zero and displacement are held softly at 0 by their expected spread, which matters where lines are few.

    Parameters
    ----------
    lines : Lines
    lattice : Lattice
    state : ndarray, shape (m, 4)
        A, C, zero, displacement.
    slack : float
        By which the zeros of the starts may be wrong, degrees.

    Returns
    -------
    ndarray, shape (m, 4)
    """
    state = state.copy()
    if not len(state):
        return state
    held = np.array([0.0, 0.0, ZERO_ESD**-2, DISPLACEMENT_ESD**-2])
    for times, left in ((4.0, slack), (4.0, slack / 2), (3.0, slack / 4), (2.5, 0.0), (2.5, 0.0)):
        q = lines.q(state[:, 2], state[:, 3])
        i, s = lattice.nearest(state[:, :2], q)
        miss = (q - state[:, :1] * i - state[:, 1:2] * s) / lines.slope
        weight = (np.abs(miss) < lines.window(times, left)) / lines.tolerance**2
        # Columns A and C in relative units, so that the normal matrix is well scaled.
        design = np.stack(
            [
                state[:, :1] * i / lines.slope,
                state[:, 1:2] * s / lines.slope,
                np.ones_like(i),
                np.broadcast_to(lines.displacement_shift, i.shape),
            ],
            axis=-1,
        )
        normal = np.einsum("mn,mnp,mnq->mpq", weight, design, design)
        normal += np.eye(4) * (held + 1e-6)
        right = np.einsum("mn,mnp,mn->mp", weight, design, miss) - held * state
        step = np.linalg.solve(normal, right[..., None])[..., 0]
        # A start whose lines do not determine it may run away: not far in one cycle.
        step = np.clip(step, [-0.02, -0.02, -0.2, -0.2], [0.02, 0.02, 0.2, 0.2])
        state[:, :2] *= 1 + step[:, :2]
        state[:, 2:] += step[:, 2:]
    return state


def refine_near(lines: Lines, cell: Cell) -> Rated:
    """The best of the refinements that start within 2% of a cell, at every trial zero shift.

    Of a cell from another source the zero shift is not known, and where lines are dense each start ends elsewhere.
    """
    lattice = lattice_of(cell)
    step = lines.max_zero / ZERO_STEPS
    zeros = step * np.arange(-ZERO_STEPS, ZERO_STEPS + 1)
    scale, zero = (x.ravel() for x in np.meshgrid(np.linspace(0.98, 1.02, 9), zeros))
    starts = np.repeat(state_of(cell), len(zero), axis=0)
    starts[:, :2] *= scale[:, None]
    starts[:, 2] = zero
    states = refine(lines, lattice, starts, step / 2)
    return max((rate(lines, lattice, state) for state in states), key=lambda rated: rated.score)

"""What a cell says of each line: indices, calculated position, figures of merit, esds of the cell."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from crystalnet.bragg import inverse_d_squared, two_theta_of_inverse_d
from crystalnet.crystal.lattice import Cell
from crystalnet.xrd.indexing.index import Indexed
from crystalnet.xrd.indexing.lattices import cell_of, line_indices
from crystalnet.xrd.indexing.lines import Lines
from crystalnet.xrd.nearest import nearest

TWENTY = 20  # lines of de Wolff's figure of merit
LEAST, LEAST_DEGREES = 1e-6, 1e-4  # mean misfits taken at least, of Q and of 2θ: lists are rounded
MET = 2.0  # tolerances within which a line is indexed, as in the rating
STEPS = {"a": 1e-4, "b": 1e-4, "c": 1e-4, "alpha": 1e-3, "beta": 1e-3, "gamma": 1e-3}  # Å, degrees: of derivatives


@dataclass(frozen=True)
class Assignment:
    """Lines indexed with a cell.

    Attributes
    ----------
    cell : Cell
    hkl : ndarray, shape (n, 3)
        Indices on the conventional axes, of equivalent ones the largest; zero where the line is not indexed.
    difference : ndarray, shape (n,)
        Measured less calculated 2θ after the zero shift and displacement, degrees; NaN where not indexed.
    m20 : float
        Q₂₀ / (2⟨ΔQ⟩ N₂₀) over the first 20 lines (de Wolff, J. Appl. Cryst. 1, 108, 1968).
    f_n : float
        n / (⟨|Δ2θ|⟩ N) over all lines (Smith & Snyder, J. Appl. Cryst. 12, 60, 1979).
    esd : dict
        Standard deviations of the free parameters, Å and degrees.
    """

    cell: Cell
    hkl: np.ndarray
    difference: np.ndarray
    m20: float
    f_n: float
    esd: dict[str, float]


def assigned(lines: Lines, found: Indexed, every: Lines) -> Assignment:
    """Lines indexed with the cell that indexing found.

    Parameters
    ----------
    lines : Lines
        Those that took part: the figures of merit and esds are theirs.
    found : Indexed
    every : Lines
        Those to be indexed, `lines` and fainter ones.
    """
    cell = cell_of(found.state, len(lines))
    zero, displacement = float(found.state["zero"]), float(found.state["displacement"])
    in_reach = inverse_d_squared(180.0, lines.wavelength)
    hkl, q_calc = _distinct(*line_indices(cell, float(min(every.q(zero, displacement)[-1] * 1.03, in_reach))))
    calculated = two_theta_of_inverse_d(np.sqrt(q_calc), lines.wavelength)

    def compared(with_lines: Lines) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        observed = with_lines.two_theta - zero - displacement * lines.displacement_at(with_lines.two_theta)
        near = nearest(calculated, observed)
        difference = observed - calculated[near]
        return near, difference, np.abs(difference) < MET * with_lines.tolerance

    near, difference, met = compared(lines)
    all_near, all_difference, all_met = compared(every)
    return Assignment(
        cell,
        np.where(all_met[:, None], hkl[all_near], 0),
        np.where(all_met, all_difference, np.nan),
        *_merits(lines, lines.q(zero, displacement), difference, met, q_calc),
        _esds(cell, hkl[near][met], difference[met], lines.wavelength),
    )


def _merits(
    lines: Lines, q: np.ndarray, difference: np.ndarray, met: np.ndarray, q_calc: np.ndarray
) -> tuple[float, float]:
    """M₂₀ and F_N of lines (n,) at q with their differences from the calculated ones in degrees."""
    if not met.any():
        return 0.0, 0.0
    possible = np.searchsorted(q_calc, q + lines.slope * lines.tolerance)  # distinct calculated lines up to each
    last = min(TWENTY, len(lines)) - 1
    first = met & (np.arange(len(lines)) <= last)
    miss = np.abs(difference * lines.slope)[first].mean() if first.any() else np.inf
    m20 = q[last] / (2 * max(miss, LEAST * q[last]) * max(possible[last], 1))
    f_n = met.sum() / (max(np.abs(difference[met]).mean(), LEAST_DEGREES) * max(possible[-1], 1))
    return float(m20), float(f_n)


def _distinct(hkl: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One of the reflections of each Q, that with the fewest negative and then the largest indices."""
    hkl = np.where((hkl < 0).sum(axis=1, keepdims=True) > (hkl > 0).sum(axis=1, keepdims=True), -hkl, hkl)
    negative = (hkl < 0).sum(axis=1)
    order = np.lexsort((*-hkl.T[::-1], negative, np.round(q, 9)))
    hkl, q = hkl[order], q[order]
    first = np.concatenate([[True], np.diff(q) > 1e-7 * q[1:]])
    return hkl[first], q[first]


def _esds(cell: Cell, hkl: np.ndarray, difference: np.ndarray, wavelength: float) -> dict[str, float]:
    """From least squares of the free parameters and the zero shift on the lines met; {} where they are too few."""
    if len(hkl) <= len(cell.free) + 1:
        return {}
    columns = [np.ones(len(hkl))]
    for name in cell.free:
        ends = [replace(cell, **{name: getattr(cell, name) + sign * STEPS[name]}) for sign in (1, -1)]
        up, down = (two_theta_of_inverse_d(1 / end.d_spacing(hkl), wavelength) for end in ends)
        columns.append((up - down) / (2 * STEPS[name]))
    design = np.column_stack(columns)
    variance = np.sum(difference**2) / (len(hkl) - design.shape[1])
    covariance = variance * np.linalg.pinv(design.T @ design)
    return {name: float(np.sqrt(covariance[i + 1, i + 1])) for i, name in enumerate(cell.free)}

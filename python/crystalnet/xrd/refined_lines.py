"""The reflections of a refined crystal: calculated intensities, and what the measured profile has of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crystalnet.crystal.symmetry import laue_group
from crystalnet.records import Lines

if TYPE_CHECKING:
    from rietx import Structure
    from rietx.model.forward import CompiledModel

REACH = 2.0  # widths to either side of a line from which its intensity is taken
LEAST_SHARED = 1e-9  # of the highest point: where the calculated profile is lower there is nothing to share


def lines_of(
    model: CompiledModel,
    values: dict[str, float],
    structure: Structure,
    rotations: np.ndarray,
    two_theta: np.ndarray,
    measured: np.ndarray,
    calculated: np.ndarray,
) -> Lines:
    """The reflections in the measured range.

    Parameters
    ----------
    model, values, structure
        As rietx has them: on these points, its parameters, the refined crystal.
    rotations : ndarray, shape (k, 3, 3)
        Of the space group.
    two_theta : ndarray, shape (n,)
        Degrees, ascending.
    measured, calculated : ndarray, shape (n,)
        Both without background.

    Notes
    -----
    Each reflection has the share of the net measured intensity that it has of the calculated one (Rietveld, J. Appl.
    Cryst. 2, 65, 1969). rietx's own `structure_intensity_partition` goes through the reflections one by one, which
    takes as long as the rest of a fit's evaluation, and counts points below the background as 0.
    """
    from rietx.io.exporters import reflection_table

    table = [row for row in reflection_table(model, values, structure) if row.line == 0]
    peaks = np.array(model.phase_peaks(0, values), dtype=float)  # wavelengths; 2θ, FWHM, Lorentzian share, area
    peaks = peaks[:, :, np.isfinite(peaks[0, 0])]  # as the table has them
    observed = peaks[:, 3].sum(axis=0) * _observed_over_calculated(two_theta, measured, calculated, peaks)
    place = peaks[0, 0]
    order = np.argsort(place, kind="stable")
    order = order[(place[order] >= two_theta[0]) & (place[order] <= two_theta[-1])]
    hkl = np.array([(row.h, row.k, row.l) for row in table], dtype=np.int64).reshape(-1, 3)
    return Lines(
        hkl=_usual(hkl[order], rotations),
        multiplicity=np.array([row.multiplicity for row in table], dtype=np.int64)[order],
        d_spacing=np.array([row.d for row in table], dtype=float)[order],
        two_theta=place[order],
        f_squared=np.array([row.f_squared for row in table], dtype=float)[order],
        calculated=peaks[:, 3].sum(axis=0)[order],
        observed=observed[order],
    )


def _usual(hkl: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """Of each reflection's equivalents, Friedel's included, the one with the fewest minus signs, then the largest."""
    equivalent = np.einsum("mi,kij->mkj", hkl, laue_group(rotations))
    place = 2 * int(np.abs(equivalent).max(initial=0)) + 1
    largest = equivalent @ [place**2, place, 1] - place**3 * (equivalent < 0).sum(axis=2)
    return np.asarray(equivalent[np.arange(len(hkl)), largest.argmax(axis=1)])


def _observed_over_calculated(
    two_theta: np.ndarray, measured: np.ndarray, calculated: np.ndarray, peaks: np.ndarray
) -> np.ndarray:
    """(m,) measured over calculated intensity of each reflection, over all wavelengths; nan where there is none.

    peaks: (w, 4, m); 2θ and FWHM in degrees, Lorentzian share and area of m reflections at each of w wavelengths.
    """
    from rietx.model.profiles.pseudovoigt import pseudo_voigt

    n = peaks.shape[2]
    position, width, lorentzian, area = np.moveaxis(peaks, 1, 0).reshape(4, -1)
    there = np.isfinite(position) & (area > 0)
    reflection = np.tile(np.arange(n), len(peaks))[there]
    position, width, lorentzian, area = position[there], width[there], lorentzian[there], area[there]
    first = np.searchsorted(two_theta, position - REACH * width)
    count = np.searchsorted(two_theta, position + REACH * width) - first
    line = np.repeat(np.arange(len(position)), count)
    point = np.arange(len(line)) - np.repeat(np.cumsum(count) - count, count) + first[line]

    part = area[line] * pseudo_voigt(two_theta[point] - position[line], width[line], lorentzian[line])
    whole = calculated[point]
    shared = whole > LEAST_SHARED * calculated.max(initial=0.0)
    part, ratio = part[shared], measured[point][shared] / whole[shared]
    own = np.bincount(reflection[line[shared]], part, n)
    seen = np.bincount(reflection[line[shared]], part * ratio, n)
    return np.asarray(np.divide(seen, own, out=np.full(n, np.nan), where=own > 0))

"""Periodic maps: laid on one another, moved, interpolated, and read in another cell of the crystal."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy.fft import fftn, irfftn, rfftn

from crystalnet.density.promolecule import GRID
from crystalnet.records import Transformation
from crystalnet.runtime.pool import own_threads


def best_alignment(reference: np.ndarray, values: np.ndarray, operations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The operation, and the translation after it, that make one map most like another.

    `np.roll(turned(values, operation), translation, (0, 1, 2))` has the largest correlation with the reference.

    Parameters
    ----------
    reference, values
        Maps (n, n, n) of one lattice.
    operations
        Integer matrices (m, 3, 3), usually the lattice's holohedry.

    Returns
    -------
    operation, translation
        One of the operations (3, 3) and a translation (3,) in voxels.
    """
    n = len(reference)
    operations = np.round(operations).astype(np.int64)
    factors = rfftn(reference.astype(np.float32))
    own = fftn(values.astype(np.float32)).conj().ravel()
    best, chosen, shift = -math.inf, operations[0], 0
    for operation, places in zip(operations, _turned_factors(operations.tobytes(), n), strict=True):
        correlation = irfftn(factors * own[places].reshape(factors.shape), s=(n, n, n), workers=own_threads())
        where = int(correlation.argmax())
        if correlation.flat[where] > best:
            best, chosen, shift = correlation.flat[where], operation, where
    return chosen, np.array(np.unravel_index(shift, (n, n, n)))


@lru_cache(maxsize=6)  # 48 operations take 25 MB; a run meets the three cubic or the two trigonal lattices
def _turned_factors(operations: bytes, n: int) -> np.ndarray:
    """(m, n·n·(n//2+1)): where each Fourier term of a turned map stands among those of the map.

    A map read at P x has the terms of the map at P⁻ᵀ h, so that one transform of the map serves all operations.
    """
    matrices = np.frombuffer(operations, dtype=np.int64).reshape(-1, 3, 3)
    h = np.indices((n, n, n // 2 + 1)).reshape(3, -1)
    inverse = np.round(np.linalg.inv(matrices)).astype(np.int64).transpose(0, 2, 1)
    i, j, k = ((inverse @ h) % n).transpose(1, 0, 2)
    places: np.ndarray = (i * n + j) * n + k
    return places


def turned(values: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """A map (n, n, n) read at P x, for an integer matrix P (3, 3)."""
    n = len(values)
    source = matrix @ np.indices((n, n, n)).reshape(3, -1)
    read: np.ndarray = values[tuple(source % n)].reshape(n, n, n)
    return read


def moved(values: np.ndarray, matrix: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """A density (n, n, n) after the operation x' = P x + t: what stood at x stands at P x + t.

    Parameters
    ----------
    values
        Density, not negative.
    matrix
        P (3, 3), an integer matrix of determinant ±1.
    shift
        t (3,), fractional; between grid points the density is interpolated by its Fourier series.

    Returns
    -------
    ndarray
        (n, n, n), of the same type; what interpolation makes negative is 0.
    """
    n = len(values)
    f, half = np.fft.fftfreq(n, 1 / n), np.arange(n // 2 + 1)
    wave = [np.exp(-2j * np.pi * h * t) for h, t in zip((f, f, half), shift, strict=True)]
    back = np.round(np.linalg.inv(matrix)).astype(np.int64)
    terms = np.fft.rfftn(turned(values, back)) * wave[0][:, None, None] * wave[1][:, None] * wave[2]
    result: np.ndarray = np.maximum(np.fft.irfftn(terms, s=(n, n, n), axes=(0, 1, 2)), 0).astype(values.dtype)
    return result


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's correlation coefficient of two maps of one shape."""
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def maximum_offset(values: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Offset (3,) in voxels, at most ±0.5, of the maximum from the grid point (3,) where a map is largest.

    A parabola through three points along each axis gives it.
    """
    n = values.shape[0]
    offset = np.zeros(3)
    for axis in range(3):
        low, high = index.copy(), index.copy()
        low[axis], high[axis] = (index[axis] - 1) % n, (index[axis] + 1) % n
        a, b, c = values[tuple(low)], values[tuple(index)], values[tuple(high)]
        curvature = a - 2 * b + c
        if curvature < 0:
            offset[axis] = np.clip(0.5 * (a - c) / curvature, -0.5, 0.5)
    return offset


def resample(values: np.ndarray, shape: tuple[int, int, int], smooth: float = 0.0) -> np.ndarray:
    """A periodic map on another grid of its cell, by its Fourier series; the mean is kept.

    Parameters
    ----------
    values
        Map on any grid.
    shape
        Points along each axis wanted.
    smooth
        The terms at the limit of the coarser grid are damped to e^-smooth, so that sharp cores do not ring.
    """
    factors = np.fft.fftn(values)
    for axis, n in enumerate(shape):
        m = factors.shape[axis]
        half = min(m, n) // 2
        waves = np.r_[0:half, 1 - half : 0]
        kept = np.take(factors, waves, axis=axis)
        damp = np.exp(-smooth * (waves / half) ** 2).reshape([-1 if k == axis else 1 for k in range(3)])
        factors = np.zeros([n if k == axis else size for k, size in enumerate(kept.shape)], dtype=complex)
        factors[tuple(waves if k == axis else slice(None) for k in range(3))] = kept * damp
    return np.fft.ifftn(factors).real * (np.prod(shape) / values.size)


def in_cell(values: np.ndarray, setting: Transformation, points: int = GRID, limited: bool = True) -> np.ndarray:
    """A map in another cell and origin of the same crystal, by its Fourier series.

    ρ(u) = Σ_h F(h) e^{2πi h·t} e^{2πi (M h)·u}, because x = u M + t. Terms at or beyond the Nyquist frequency of the
    old grid are left out.

    Parameters
    ----------
    values
        Map (n1, n2, n3) in the old cell.
    setting
        From the old cell to the new one.
    points
        Along each axis of the new cell.
    limited
        Terms at or beyond the Nyquist frequency of the new grid are left out too, as a map wants that is worked with.
        Otherwise each value is that of the series at its point, as for a picture.

    Returns
    -------
    ndarray
        (points, points, points), in the units of `values`.
    """
    coefficients = np.fft.fftn(values) / values.size
    axes = [np.fft.fftfreq(n, 1 / n) for n in values.shape]
    inside = [np.abs(h) < n / 2 for h, n in zip(axes, values.shape, strict=True)]
    h = np.stack(np.meshgrid(*(a[i] for a, i in zip(axes, inside, strict=True)), indexing="ij"), axis=-1)
    coefficients = coefficients[np.ix_(*inside)]
    k = h @ setting.matrix.T
    whole = np.round(k)
    kept = (np.abs(k - whole) < 0.01).all(-1)  # the others are 0: they differ between the cells of a multiple cell
    if limited:
        kept &= (np.abs(whole) < points / 2).all(-1)
    target = np.zeros((points,) * 3, dtype=np.complex128)
    where = whole[kept].astype(np.int64) % points
    np.add.at(target, tuple(where.T), coefficients[kept] * np.exp(2j * np.pi * (h[kept] @ setting.shift)))
    return np.fft.ifftn(target).real * points**3

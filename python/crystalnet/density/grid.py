"""Periodic maps: laid on one another, moved, read between their points."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch

from crystalnet.density.promolecule import GRID


def likest_operation(
    reference: np.ndarray, values: np.ndarray, operations: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which of the operations (m, 3, 3), and what translation (3,) in voxels, make one map most like another.

    Maps (n, n, n); the moved map is np.roll(turned(values, operation), translation), its correlation the largest.
    """
    n = len(reference)
    operations = np.round(operations).astype(np.int64)
    factors = torch.fft.rfftn(torch.as_tensor(reference, dtype=torch.float32))
    own = torch.fft.fftn(torch.as_tensor(values, dtype=torch.float32)).conj().resolve_conj().flatten()
    best, summit, shift = -math.inf, operations[0], 0
    for operation, places in zip(operations, _turned_factors(operations.tobytes(), n), strict=True):
        correlation = torch.fft.irfftn(factors * own[places].view_as(factors), s=(n, n, n)).flatten()
        highest, where = correlation.max(0)
        if highest.item() > best:
            best, summit, shift = highest.item(), operation, int(where)
    return summit, np.array(np.unravel_index(shift, (n, n, n)))


@lru_cache(maxsize=6)  # 48 operations take 25 MB; a run meets the three cubic or the two trigonal lattices
def _turned_factors(operations: bytes, n: int) -> torch.Tensor:
    """(m, n·n·(n//2+1)): where each Fourier term of a turned map stands among those of the map.

    A map read at P x has the terms of the map at P⁻ᵀ h, so that one transform of the map serves all operations.
    """
    matrices = np.frombuffer(operations, dtype=np.int64).reshape(-1, 3, 3)
    h = np.indices((n, n, n // 2 + 1)).reshape(3, -1)
    inverse = np.round(np.linalg.inv(matrices)).astype(np.int64).transpose(0, 2, 1)
    i, j, k = ((inverse @ h) % n).transpose(1, 0, 2)
    return torch.from_numpy((i * n + j) * n + k)


def turned(values: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """A map (n, n, n) read at P x, P an integer matrix (3, 3)."""
    n = len(values)
    source = matrix @ np.indices((n, n, n)).reshape(3, -1)
    read: np.ndarray = values[tuple(source % n)].reshape(n, n, n)
    return read


def summit_offset(values: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Sub-voxel offset (3,) of the maximum near a grid point, each axis by a parabola through three points."""
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
    """A periodic map on `shape` points by Fourier series; its mean (the electron count) is kept.

    smooth: damp the terms at the limit of the coarser grid to e^-smooth, so that sharp cores do not ring.
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


def _summit(overlap: np.ndarray, index: int) -> np.ndarray:
    """(3,) fractional position of the maximum at `index`, by a parabola along each axis."""
    n = len(overlap)
    top = np.unravel_index(index, overlap.shape)
    position = np.array(top, dtype=float)
    for axis in range(3):
        before, after = (overlap[tuple((t + d * (k == axis)) % n for k, t in enumerate(top))] for d in (-1, 1))
        bend = before - 2 * overlap[top] + after
        position[axis] += 0.5 * (before - after) / bend if bend < 0 else 0.0
    return position / n


def _moved(values: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """The map whose value at x is that of `values` at x + shift (fractional), by Fourier phases."""
    if not shift.any():
        return values
    factors = np.fft.fftn(values)
    for axis, n in enumerate(values.shape):
        phase = np.exp(2j * np.pi * np.fft.fftfreq(n, 1 / n) * shift[axis])
        factors *= phase.reshape([-1 if k == axis else 1 for k in range(3)])
    moved: np.ndarray = np.fft.ifftn(factors).real
    return moved


def fourier_resample(density: np.ndarray, turn: np.ndarray, shift: np.ndarray, grid: int = GRID) -> np.ndarray:
    """Density at fractional u = i/grid of another cell of the same crystal: (grid, grid, grid), same units.

    density (n1, n2, n3) at x = j/n of its cell; x = u turn + shift. ρ(u) = Σ_h F(h) e^{2πi h·shift} e^{2πi (turn h)·u};
    terms at or beyond the Nyquist frequency of either grid are left out.
    """
    coefficients = np.fft.fftn(density) / density.size
    axes = [np.fft.fftfreq(n, 1 / n) for n in density.shape]
    inside = [np.abs(h) < n / 2 for h, n in zip(axes, density.shape, strict=True)]
    h = np.stack(np.meshgrid(*(a[i] for a, i in zip(axes, inside, strict=True)), indexing="ij"), axis=-1)
    coefficients = coefficients[np.ix_(*inside)]
    k = h @ turn.T
    whole = np.round(k)
    kept = (np.abs(whole) < grid / 2).all(-1) & (np.abs(k - whole) < 0.01).all(-1)  # a non-primitive cell has others: 0
    target = np.zeros((grid,) * 3, dtype=np.complex128)
    where = whole[kept].astype(np.int64) % grid
    np.add.at(target, tuple(where.T), coefficients[kept] * np.exp(2j * np.pi * (h[kept] @ shift)))
    return np.fft.ifftn(target).real * grid**3

"""Laying one map of a lattice on another: what a powder pattern cannot fix is not held against a density."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch


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

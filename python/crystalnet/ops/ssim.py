"""3-D SSIM and PSNR of one truth against guesses, over the 24 rotations of the cube (paper, equations 8 and 9).

Equal to `skimage.metrics.structural_similarity(truth, guess, win_size=7, data_range=truth.max() - truth.min())`
(uniform window, sample covariance, border of 3 cut off). The window sums of truth and guess are made once; a rotation
turns the guess's sums with it, so that only the cross term is new.
"""

from __future__ import annotations

from functools import cache
from itertools import permutations, product

import numpy as np

WINDOW = 7  # paper, Metrics
K1, K2 = 0.01, 0.03  # Wang et al. 2004, as in skimage


@cache
def rotations_24() -> tuple[tuple[tuple[int, int, int], tuple[int, int, int]], ...]:
    """The proper rotations of an array as (axis permutation, sign of each new axis); the identity first."""
    found = []
    for axes in permutations(range(3)):
        parity = int(np.linalg.det(np.eye(3)[list(axes)]))
        for signs in product((1, -1), repeat=3):
            if parity * np.prod(signs) == 1:
                found.append((axes, signs))
    return tuple(sorted(found, key=lambda r: (r[0] != (0, 1, 2), -sum(r[1]))))


def rotate(array: np.ndarray, rotation: tuple[tuple[int, ...], tuple[int, ...]]) -> np.ndarray:
    """View of the last three axes turned; i → n−1−i where the sign is negative (numpy.rot90 semantics)."""
    axes, signs = rotation
    lead = array.ndim - 3
    turned = array.transpose(*range(lead), *(lead + axis for axis in axes))
    flips = tuple(slice(None, None, sign) for sign in signs)
    view: np.ndarray = turned[(..., *flips)]
    return view


def _window_mean(array: np.ndarray) -> np.ndarray:
    """Mean over each whole 7³ window: (n, n, n) → (n−6, n−6, n−6)."""
    for axis in range(3):
        total = np.cumsum(array, axis=axis, dtype=np.float64)
        total = np.concatenate([np.zeros_like(total.take([0], axis)), total], axis)
        ahead = np.arange(WINDOW, total.shape[axis])
        array = (total.take(ahead, axis) - total.take(ahead - WINDOW, axis)) / WINDOW
    return array


def similarity(truth: np.ndarray, guess: np.ndarray, rotate_guess: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """SSIM and PSNR (dB), each (24,) over `rotations_24()` or (1,) unrotated.

    truth, guess: (n, n, n) e/Å³ on the same grid, n ≥ 7. A truth without contrast gives nan.
    """
    truth, guess = truth.astype(np.float64), guess.astype(np.float64)
    span = truth.max() - truth.min()
    c1, c2 = (K1 * span) ** 2, (K2 * span) ** 2
    unbiased = WINDOW**3 / (WINDOW**3 - 1)
    mean_t, mean_g = _window_mean(truth), _window_mean(guess)
    var_t = unbiased * (_window_mean(truth * truth) - mean_t * mean_t)
    var_g = unbiased * (_window_mean(guess * guess) - mean_g * mean_g)
    ssim, psnr = [], []
    for rotation in rotations_24() if rotate_guess else rotations_24()[:1]:
        g, mg, vg = (rotate(a, rotation) for a in (guess, mean_g, var_g))
        covariance = unbiased * (_window_mean(truth * g) - mean_t * mg)
        top = (2 * mean_t * mg + c1) * (2 * covariance + c2)
        ssim.append((top / ((mean_t**2 + mg**2 + c1) * (var_t + vg + c2))).mean())
        psnr.append(10 * np.log10(span**2 / np.maximum(np.square(truth - g).mean(), 1e-30)))
    return np.array(ssim), np.array(psnr)

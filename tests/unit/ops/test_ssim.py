"""SSIM over rotations against skimage."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from crystalnet.ops.ssim import rotate, rotations_24, similarity


@pytest.mark.parametrize("n", [7, 12, 15])
def test_equals_skimage_for_every_rotation(n: int) -> None:
    rng = np.random.default_rng(n)
    truth, guess = rng.random((2, n, n, n)) ** 3
    ssim, psnr = similarity(truth, guess, rotate_guess=True)
    span = truth.max() - truth.min()
    for i, rotation in enumerate(rotations_24()):
        turned = rotate(guess, rotation)
        assert ssim[i] == pytest.approx(structural_similarity(truth, turned, win_size=7, data_range=span), abs=1e-9)
        assert psnr[i] == pytest.approx(peak_signal_noise_ratio(truth, turned, data_range=span), abs=1e-9)


def test_24_different_proper_rotations() -> None:
    marked = np.arange(27.0).reshape(3, 3, 3)
    turned = {rotate(marked, r).tobytes() for r in rotations_24()}
    assert len(turned) == 24
    by_rot90 = {
        np.rot90(np.rot90(np.rot90(marked, i, (0, 1)), j, (1, 2)), k, (0, 2)).tobytes()
        for i in range(4) for j in range(4) for k in range(4)
    }  # fmt: skip
    assert turned == by_rot90


def test_identity_is_perfect() -> None:
    truth = np.random.default_rng(0).random((10, 10, 10))
    ssim, psnr = similarity(truth, truth)
    assert ssim[0] == pytest.approx(1.0) and psnr[0] > 200

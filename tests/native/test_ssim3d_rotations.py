"""SSIM and PSNR over rotations: against skimage, the definition, and the kernels against the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from crystalnet.ops._native import native
from crystalnet.ops.ssim import cube_rotations, reference_ssim3d_rotations, rotate, ssim3d_rotations

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")),
]


def maps(n: int, guesses: int = 1, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """A truth with peaks on a low background, as densities are, and guesses related to it."""
    rng = np.random.default_rng(n)
    truth = 0.05 * rng.random((n, n, n)) + 3 * rng.random((n, n, n)) ** 8
    noise = rng.random((guesses, n, n, n)) ** 4
    return torch.from_numpy(truth).to(dtype), torch.from_numpy(0.7 * truth.transpose(2, 0, 1) + noise).to(dtype)


def by_skimage(truth: Tensor, guess: Tensor, rotations: int) -> np.ndarray:
    """The definition, spelled out: (2, rotations)."""
    t, g = truth.double().numpy(), guess.double().numpy()
    span = t.max() - t.min()
    turned = [np.ascontiguousarray(rotate(g, rotation)) for rotation in cube_rotations()[:rotations]]
    ssim = [structural_similarity(t, g, win_size=7, data_range=span) for g in turned]
    return np.array([ssim, [peak_signal_noise_ratio(t, g, data_range=span) for g in turned]])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("n", [7, 8, 9, 15])
def test_equals_skimage_for_every_rotation(device: str, dtype: torch.dtype, n: int) -> None:
    truth, guesses = maps(n, 2, dtype)
    ssim, psnr = ssim3d_rotations(truth.to(device), guesses.to(device), 48)
    assert ssim.shape == psnr.shape == (2, 48) and ssim.dtype == torch.float64
    for i, guess in enumerate(guesses):
        expected = by_skimage(truth, guess, 48)
        np.testing.assert_allclose(ssim[i].cpu(), expected[0], atol=1e-5)
        np.testing.assert_allclose(psnr[i].cpu(), expected[1], atol=1e-5)


def test_equals_skimage_on_a_real_grid() -> None:
    truth, guesses = maps(50)
    ssim, psnr = ssim3d_rotations(truth, guesses)
    expected = by_skimage(truth, guesses[0], 3)
    np.testing.assert_allclose(ssim[0, :3], expected[0], atol=1e-6)
    np.testing.assert_allclose(psnr[0, :3], expected[1], atol=1e-5)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("n", [7, 9, 30, 50])
@pytest.mark.parametrize("rotations", [1, 24, 48])
def test_equals_the_reference(device: str, n: int, rotations: int) -> None:
    truth, guesses = maps(n, 3)
    ours = ssim3d_rotations(truth.to(device), guesses.to(device), rotations)
    for mine, expected in zip(ours, reference_ssim3d_rotations(truth, guesses, rotations), strict=True):
        torch.testing.assert_close(mine.cpu(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("offset", "other"), [(0, 30), (100, 100), (-50, 0)])
def test_an_offset_costs_no_digits(device: str, offset: float, other: float) -> None:
    truth, guesses = (t + o for t, o in zip(maps(12), (offset, other), strict=True))
    ours = ssim3d_rotations(truth.to(device), guesses.to(device))
    for mine, expected in zip(ours, reference_ssim3d_rotations(truth, guesses), strict=True):
        torch.testing.assert_close(mine.cpu(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_units_do_not_matter(scale: float) -> None:
    truth, guesses = maps(9)
    for mine, expected in zip(
        ssim3d_rotations(scale * truth, scale * guesses), ssim3d_rotations(truth, guesses), strict=True
    ):
        torch.testing.assert_close(mine, expected, rtol=0, atol=1e-5)


def test_the_rotations_are_those_of_the_cube() -> None:
    marked = np.arange(27.0).reshape(3, 3, 3)
    turned = [rotate(marked, r).tobytes() for r in cube_rotations()]
    by_rot90 = {
        np.rot90(np.rot90(np.rot90(marked, i, (0, 1)), j, (1, 2)), k, (0, 2)).tobytes()
        for i in range(4) for j in range(4) for k in range(4)
    }  # fmt: skip
    assert turned[0] == marked.tobytes()
    assert len(by_rot90) == 24 and set(turned[:24]) == by_rot90
    inverted = {np.ascontiguousarray(np.frombuffer(t).reshape(3, 3, 3)[::-1, ::-1, ::-1]).tobytes() for t in by_rot90}
    assert len(inverted | by_rot90) == 48 and set(turned[24:]) == inverted


@pytest.mark.parametrize("device", DEVICES)
def test_a_turned_truth_is_found(device: str) -> None:
    truth, _ = maps(10)
    for i in (0, 1, 7, 23, 24, 47):
        guess = torch.from_numpy(np.ascontiguousarray(rotate(truth.numpy(), cube_rotations()[i])))
        ssim, psnr = ssim3d_rotations(truth.to(device), guess[None].to(device), 48)
        best = int(ssim.argmax())
        assert ssim[0, best].item() == pytest.approx(1, abs=1e-6) and psnr[0, best] > 200 and psnr.argmax() == best
        turned_back = rotate(guess.numpy(), cube_rotations()[best])
        assert (turned_back == truth.numpy()).all()


@pytest.mark.parametrize("device", DEVICES)
def test_no_contrast_gives_nan(device: str) -> None:
    truth, guesses = torch.full((8, 8, 8), 2.0, device=device), maps(8)[1].to(device)
    for scores in ssim3d_rotations(truth, guesses), reference_ssim3d_rotations(truth, guesses):
        assert all(s.isnan().all() for s in scores)
    ssim, _ = ssim3d_rotations(maps(8)[0].to(device), truth[None])
    assert ssim.isfinite().all()


@pytest.mark.parametrize("device", DEVICES)
def test_empty_batch(device: str) -> None:
    ssim, psnr = ssim3d_rotations(maps(7)[0].to(device), torch.zeros(0, 7, 7, 7, device=device))
    assert ssim.shape == psnr.shape == (0, 24)


def test_guesses_do_not_see_each_other_and_threads_do_not_matter() -> None:
    truth, guesses = maps(11, 3)
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(torch.stack(ssim3d_rotations(truth, guesses)))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])
    alone = [torch.stack(ssim3d_rotations(truth, guess[None])) for guess in guesses]
    assert torch.equal(results[0], torch.cat(alone, dim=1))


def test_askew_maps() -> None:
    truth, guesses = maps(9, 4)
    ours = ssim3d_rotations(truth.transpose(0, 2), guesses[::2].transpose(1, 3))
    expected = ssim3d_rotations(truth.transpose(0, 2).contiguous(), guesses[::2].transpose(1, 3).contiguous())
    assert torch.equal(torch.stack(ours), torch.stack(expected))


def test_reference_serves_without_the_native_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYSTALNET_OPS", "reference")
    assert native() is None
    truth, guesses = maps(8)
    expected = reference_ssim3d_rotations(truth, guesses)
    assert torch.equal(torch.stack(ssim3d_rotations(truth, guesses)), torch.stack(expected))


def test_opcheck() -> None:
    torch.library.opcheck(torch.ops.crystalnet.ssim3d_rotations.default, (*maps(8, 2), 24))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"truth": torch.zeros(6, 6, 6)}, "at least 7"),
        ({"truth": torch.zeros(8, 8, 9)}, r"\(n, n, n\)"),
        ({"guesses": torch.zeros(8, 8, 8)}, "guesses must be"),
        ({"guesses": torch.zeros(1, 9, 9, 9)}, "guesses must be"),
        ({"truth": torch.zeros(8, 8, 8, dtype=torch.int64)}, "floating-point"),
        ({"rotations": 12}, "choose 1, 24 or 48"),
    ],
)
def test_bad_input_is_refused(change: dict[str, Any], message: str) -> None:
    good = {"truth": torch.zeros(8, 8, 8), "guesses": torch.zeros(1, 8, 8, 8)}
    with pytest.raises(ValueError, match=message):
        ssim3d_rotations(**{**good, **change})

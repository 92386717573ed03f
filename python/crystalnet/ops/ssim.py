"""3-D SSIM and PSNR of one truth against guesses over rotations of the cube (paper, equations 8 and 9).

Registered with torch as `crystalnet::ssim3d_rotations`.

Equal to `skimage.metrics.structural_similarity(truth, guess, win_size=7, data_range=truth.max() - truth.min())`
(uniform window, sample covariance, border of 3 cut off). The window sums of truth and guess are made once; a rotation
turns the guess's sums with it, so that only the cross term is new.
"""

from __future__ import annotations

from functools import cache
from itertools import permutations, product
from types import EllipsisType

import numpy as np
import torch
from torch import Tensor

from crystalnet.ops._native import native, native_cuda
from crystalnet.ops.choice import NATIVE, Choice, choose

Rotation = tuple[tuple[int, int, int], tuple[int, int, int]]  # axis permutation, sign of each new axis
WINDOW = 7  # paper, Metrics
K1, K2 = 0.01, 0.03  # Wang et al. 2004, as in skimage
WORTH_A_CHOICE, TIMED_GRID = 1e6, 24  # voxels × rotations × guesses, about 1 ms; side of the part that is timed
LEAST_ERROR = 1e-30  # mean square error of equal maps: keeps PSNR finite


def ssim3d_rotations(truth: Tensor, guesses: Tensor, rotations: int = 24) -> tuple[Tensor, Tensor]:
    """SSIM and PSNR (dB), each (N, rotations) float64, in the order of `cube_rotations`.

    truth: (n, n, n), guesses: (N, n, n, n), floating-point (computed in float32), e/Å³ on the same grid, n ≥ 7.
    rotations: 1 (as it is), 24 (proper) or 48 (with inversion). A truth without contrast gives nan.
    Raises ValueError where the arguments do not fit together.
    """
    ssim, psnr = torch.ops.crystalnet.ssim3d_rotations(truth, guesses, rotations)
    return ssim, psnr


def choose_ssim3d_rotations(truth: Tensor, guesses: Tensor, rotations: int = 24) -> Choice:
    """The faster way to compare on this machine; native unasked for little."""
    if guesses.numel() * rotations < WORTH_A_CHOICE:
        return NATIVE
    n = TIMED_GRID
    some = (truth[:n, :n, :n], guesses[:1, :n, :n, :n], rotations)
    return choose(
        f"ssim3d_rotations {rotations}",
        truth.device,
        lambda: {
            "native": lambda: _native_ssim3d_rotations(*some),
            "reference": lambda: reference_ssim3d_rotations(*some),
        },
    )


@cache
def cube_rotations() -> tuple[Rotation, ...]:
    """The 48 symmetries of the cube: the identity, the other 23 proper rotations, then the 24 with inversion."""
    found = [
        (axes, signs, int(np.linalg.det(np.eye(3)[list(axes)])) * int(np.prod(signs)))
        for axes in permutations(range(3))
        for signs in product((1, -1), repeat=3)
    ]
    found.sort(key=lambda r: (-r[2], r[0] != (0, 1, 2), -sum(r[1])))
    return tuple((axes, signs) for axes, signs, _ in found)  # type: ignore[misc]


def rotate(array: np.ndarray, rotation: Rotation) -> np.ndarray:
    """View of the last three axes turned; i → n−1−i where the sign is negative (numpy.rot90 semantics)."""
    axes, signs = rotation
    lead = array.ndim - 3
    turned = array.transpose(*range(lead), *(lead + axis for axis in axes))
    flips: tuple[EllipsisType | slice, ...] = (..., *(slice(None, None, sign) for sign in signs))
    view: np.ndarray = turned[flips]
    return view


def reference_ssim3d_rotations(truth: Tensor, guesses: Tensor, rotations: int = 24) -> tuple[Tensor, Tensor]:
    """`ssim3d_rotations` in plain numpy and float64: the oracle of the compiled kernels."""
    t = truth.cpu().double().numpy()
    span = t.max() - t.min()
    ssim, psnr = (np.full((len(guesses), rotations), np.nan) for _ in range(2))
    for i, guess in enumerate(guesses.cpu().double().numpy() if span > 0 else ()):
        ssim[i], psnr[i] = _similarity(t, guess, span, cube_rotations()[:rotations])
    return torch.from_numpy(ssim).to(truth.device), torch.from_numpy(psnr).to(truth.device)


def _similarity(truth: np.ndarray, guess: np.ndarray, span: float, rotations: tuple[Rotation, ...]) -> np.ndarray:
    """(2, len(rotations)): SSIM and PSNR."""
    c1, c2 = (K1 * span) ** 2, (K2 * span) ** 2
    unbiased = WINDOW**3 / (WINDOW**3 - 1)
    mean_t, mean_g = _window_mean(truth), _window_mean(guess)
    var_t = unbiased * (_window_mean(truth * truth) - mean_t * mean_t)
    var_g = unbiased * (_window_mean(guess * guess) - mean_g * mean_g)
    ssim, psnr = [], []
    for rotation in rotations:
        g, mg, vg = (rotate(a, rotation) for a in (guess, mean_g, var_g))
        covariance = unbiased * (_window_mean(truth * g) - mean_t * mg)
        top = (2 * mean_t * mg + c1) * (2 * covariance + c2)
        ssim.append((top / ((mean_t**2 + mg**2 + c1) * (var_t + vg + c2))).mean())
        psnr.append(10 * np.log10(span**2 / max(np.square(truth - g).mean(), LEAST_ERROR)))
    return np.array([ssim, psnr])


def _window_mean(array: np.ndarray) -> np.ndarray:
    """Mean over each whole 7³ window: (n, n, n) → (n−6, n−6, n−6)."""
    for axis in range(3):
        total = np.cumsum(array, axis=axis, dtype=np.float64)
        total = np.concatenate([np.zeros_like(total.take([0], axis)), total], axis)
        ahead = np.arange(WINDOW, total.shape[axis])
        array = (total.take(ahead, axis) - total.take(ahead - WINDOW, axis)) / WINDOW
    return array


def _check(truth: Tensor, guesses: Tensor, rotations: int) -> None:
    if truth.dim() != 3 or len(set(truth.shape)) != 1 or len(truth) < WINDOW:
        raise ValueError(f"truth must be (n, n, n) with n of at least {WINDOW}, not {tuple(truth.shape)}")
    if guesses.shape[1:] != truth.shape or guesses.device != truth.device:
        raise ValueError(f"guesses must be (N, *{tuple(truth.shape)}) on {truth.device}, not {tuple(guesses.shape)}")
    if not (truth.is_floating_point() and guesses.is_floating_point()):
        raise ValueError(f"maps must be floating-point, not {truth.dtype} and {guesses.dtype}")
    if rotations not in (1, 24, 48):
        raise ValueError(f"{rotations} rotations: choose 1, 24 or 48")


torch.library.define(
    "crystalnet::ssim3d_rotations",
    "(Tensor truth, Tensor guesses, int rotations) -> (Tensor, Tensor)",
)


@torch.library.impl("crystalnet::ssim3d_rotations", ("cpu", "cuda"))
def _ssim3d_rotations(truth: Tensor, guesses: Tensor, rotations: int) -> tuple[Tensor, Tensor]:
    _check(truth, guesses, rotations)
    compiled = native_cuda() if truth.is_cuda else native()
    if compiled is None or choose_ssim3d_rotations(truth, guesses, rotations).chosen == "reference":
        return reference_ssim3d_rotations(truth, guesses, rotations)
    return _native_ssim3d_rotations(truth, guesses, rotations)


def _native_ssim3d_rotations(truth: Tensor, guesses: Tensor, rotations: int) -> tuple[Tensor, Tensor]:
    module = native()
    assert module is not None
    truth, guesses = (t.float().contiguous() for t in (truth, guesses))
    ssim, psnr = _ssim3d_rotations_fake(truth, guesses, rotations)
    codes = np.array(cube_rotations()[:rotations], dtype=np.int32)  # (rotations, 2, 3), stays on the host
    shape = (len(truth), truth.data_ptr(), len(guesses), guesses.data_ptr(), rotations, codes.ctypes.data)
    if truth.is_cuda:
        size = module.ssim3d_rotations_workspace(len(truth), len(guesses), rotations, codes.ctypes.data)
        workspace = torch.empty(size, dtype=torch.uint8, device=truth.device)
        with torch.cuda.device(truth.device):
            stream = torch.cuda.current_stream().cuda_stream
            module.ssim3d_rotations_cuda(*shape, workspace.data_ptr(), ssim.data_ptr(), psnr.data_ptr(), stream)
    else:
        module.ssim3d_rotations(*shape, torch.get_num_threads(), ssim.data_ptr(), psnr.data_ptr())
    return ssim, psnr


def _ssim3d_rotations_fake(truth: Tensor, guesses: Tensor, rotations: int) -> tuple[Tensor, Tensor]:
    shape = (guesses.shape[0], rotations)
    return guesses.new_empty(shape, dtype=torch.float64), guesses.new_empty(shape, dtype=torch.float64)


torch.library.register_fake("crystalnet::ssim3d_rotations", _ssim3d_rotations_fake)

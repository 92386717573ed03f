"""Stratified samples: the kernels against the reference, the points against the generator they follow from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from crystalnet.ops._native import native, native_cuda
from crystalnet.ops.sampling import BELOW_ONE, MODES, Mode, reference_stratified_sample, stratified_sample

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")),
]


def density_maps(count: int, n: int, dtype: torch.dtype = torch.float16, device: str = "cpu") -> Tensor:
    return (5 * torch.rand(count, n, n, n, generator=torch.Generator().manual_seed(n))).to(device, dtype)


def assert_equal(ours: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor], mode: str) -> None:
    """Points to the last bit; densities too, but interpolation rounds in its own order."""
    assert torch.equal(ours[0].cpu(), expected[0].cpu())
    torch.testing.assert_close(ours[1].cpu(), expected[1].cpu(), rtol=0, atol=2e-6 if mode == "trilinear" else 0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("shared", [False, True], ids=["own", "shared"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("n", "samples"), [(1, 1), (7, 3), (9, 10), (50, 1), (50, 11)])
def test_equals_the_reference(device: str, dtype: torch.dtype, shared: bool, mode: Mode, n: int, samples: int) -> None:
    if (native() if device == "cpu" else native_cuda()) is None:
        pytest.skip("not built")
    maps, rows = density_maps(5, n, dtype, device), torch.tensor([4, 0, 3], device=device)
    ours = stratified_sample([maps], rows, samples, -3, mode, shared)
    assert ours[0].shape == ((samples**3, 3) if shared else (3, samples**3, 3)) and ours[1].shape == (3, samples**3)
    assert_equal(ours, reference_stratified_sample([maps.cpu()], rows.cpu(), samples, -3, mode, shared), mode)


def test_jitter_is_philox() -> None:
    """Numpy's Philox has 64-bit words; these are the known answers of Philox4x32-10 (Random123's kat_vectors)."""
    from crystalnet.ops.sampling import _philox

    words = [int(w) for w in _philox(torch.tensor(0), torch.tensor(0), 0)]
    assert words == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    # One cell: the first three words, 24 bits each, are the point.
    points, _ = stratified_sample([density_maps(1, 7)], torch.tensor([0]), 1, 0)
    assert points[0, 0].tolist() == [(word >> 8) * 2.0**-24 for word in words[:3]]


@pytest.mark.parametrize("samples", [1, 5, 10])
def test_one_point_in_each_cell(samples: int) -> None:
    points, _ = stratified_sample([density_maps(3, 9)], torch.arange(3), samples, 8)
    assert points.min() >= 0 and points.max() <= BELOW_ONE < 1
    cell = (points.double() * samples + 1e-6).long()
    number = (cell[..., 0] * samples + cell[..., 1]) * samples + cell[..., 2]
    assert torch.equal(number, torch.arange(samples**3).expand(3, -1))


def test_points_are_uniform_and_independent() -> None:
    points, _ = stratified_sample([density_maps(40, 7)], torch.arange(40), 10, 1)
    jitter = points.double() * 10 % 1
    assert (jitter.mean((0, 1)) - 0.5).abs().max() < 0.01
    assert torch.histc(jitter, 10, 0, 1).div(jitter.numel() / 10).sub(1).abs().max() < 0.05
    pairs = torch.corrcoef(torch.cat([jitter.reshape(-1, 3).T, jitter.roll(1, 0).reshape(-1, 3).T]))
    assert (pairs - torch.eye(6)).abs().max() < 0.02


def test_density_is_of_the_nearest_voxel_across_the_faces() -> None:
    n, maps = 9, density_maps(2, 9)
    points, nearest = stratified_sample([maps], torch.tensor([1]), 12, 4)
    moved, exact = stratified_sample([maps], torch.tensor([1]), 12, 4, "voxel")
    apart = (points - moved + 0.5) % 1 - 0.5
    assert apart.abs().max() <= 0.5 / n + 1e-6 and moved.max() < 1
    index = (moved * n).round().long()[0]
    assert torch.equal(exact[0], maps[1][tuple(index.T)].float()) and torch.equal(exact, nearest)
    assert (points[moved == 0] > 0.5).any()  # points near 1 have come over the face


def test_trilinear_is_exact_on_a_periodic_ramp() -> None:
    n = 50
    wave = torch.minimum(torch.arange(n), n - torch.arange(n)).float()  # linear between grid points, faces included
    maps = (wave[:, None, None] + 10 * wave[None, :, None] + 100 * wave)[None]
    points, densities = stratified_sample([maps], torch.tensor([0]), 8, 2, "trilinear")
    x = points[0].double() * n
    expected = torch.minimum(x, n - x) @ torch.tensor([1.0, 10, 100]).double()
    torch.testing.assert_close(densities[0].double(), expected, rtol=1e-5, atol=1e-3)


def test_a_point_depends_on_seed_and_row_only() -> None:
    maps = density_maps(6, 7)
    one = stratified_sample([maps], torch.tensor([5, 2, 2]), 4, 9)
    alone = stratified_sample([maps], torch.tensor([2]), 4, 9)
    assert_equal((one[0][1:2], one[1][1:2]), alone, "nearest")
    assert torch.equal(one[0][1], one[0][2]) and not torch.equal(one[0][0], one[0][1])
    assert not torch.equal(alone[0], stratified_sample([maps], torch.tensor([2]), 4, 9 + 2**32)[0])


@pytest.mark.parametrize("shared", [False, True], ids=["own", "shared"])
def test_threads_do_not_matter(shared: bool) -> None:
    maps, rows, threads = density_maps(4, 50), torch.arange(4), torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(stratified_sample([maps], rows, 13, 0, "nearest", shared))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert_equal(other, results[0], "nearest")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("shared", [False, True], ids=["own", "shared"])
def test_empty_batch(device: str, shared: bool) -> None:
    maps, none = density_maps(2, 7, device=device), torch.zeros(0, dtype=torch.int64, device=device)
    points, densities = stratified_sample([maps], none, 3, 0, shared=shared)
    assert points.shape == ((27, 3) if shared else (0, 27, 3)) and densities.shape == (0, 27)
    if shared:
        assert torch.equal(points, stratified_sample([maps], torch.tensor([1], device=device), 3, 0, shared=True)[0])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("reference", [False, True], ids=["native", "reference"])
def test_shards_are_one_set(device: str, reference: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    maps, rows = density_maps(7, 9, device=device), torch.tensor([6, 0, 3, 2, 3], device=device)
    expected = stratified_sample([maps], rows, 4, 1)
    if reference:
        monkeypatch.setenv("CRYSTALNET_OPS", "reference")
    for sizes in ([3, 4], [1, 0, 2, 4], [7]):
        assert_equal(stratified_sample(maps.split(sizes), rows, 4, 1), expected, "nearest")


def test_maps_that_lie_apart_or_askew() -> None:
    maps, rows = density_maps(6, 9), torch.tensor([2, 7, 1, 7])[::2]  # 2, 1
    for view in (maps[::2], maps.transpose(1, 3), maps[:, ::2, ::2, ::2]):
        ours = stratified_sample([view], rows, 5, 0)
        assert_equal(ours, stratified_sample([view.contiguous()], rows.contiguous(), 5, 0), "nearest")


def test_reads_a_memory_mapped_file(tmp_path: Path) -> None:
    maps = density_maps(3, 7)
    np.save(tmp_path / "maps.npy", maps.numpy())
    mapped = torch.from_numpy(np.load(tmp_path / "maps.npy", mmap_mode="r+"))
    rows = torch.tensor([2, 0])
    assert_equal(stratified_sample([mapped], rows, 4, 1), stratified_sample([maps], rows, 4, 1), "nearest")


def test_reference_serves_without_the_native_module(monkeypatch: pytest.MonkeyPatch) -> None:
    maps, rows = density_maps(3, 7), torch.tensor([1, 2])
    ours = stratified_sample([maps], rows, 4, 6)
    monkeypatch.setenv("CRYSTALNET_OPS", "reference")
    assert native() is None
    assert_equal(ours, stratified_sample([maps], rows, 4, 6), "nearest")


@pytest.mark.parametrize("shared", [False, True], ids=["own", "shared"])
def test_opcheck(shared: bool) -> None:
    arguments = ([density_maps(3, 7)], torch.tensor([2, 0]), 3, 1, "voxel", shared)
    torch.library.opcheck(torch.ops.crystalnet.stratified_sample.default, arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"maps": [torch.zeros(2, 343)]}, "maps must be"),
        ({"maps": [torch.zeros(2, 7, 7, 6)]}, "maps must be"),
        ({"maps": [torch.zeros(2, 7, 7, 7), torch.zeros(2, 8, 8, 8)]}, "one n"),
        ({"maps": [torch.zeros(2, 7, 7, 7).double()]}, "float16 or"),
        ({"maps": [torch.zeros(2, 7, 7, 7), torch.zeros(2, 7, 7, 7).half()]}, "float16 or"),
        ({"maps": []}, "at least one"),
        ({"rows": torch.tensor([0, 2])}, r"rows must lie in \[0, 2\)"),
        ({"rows": torch.tensor([-1])}, r"rows must lie in \[0, 2\)"),
        ({"rows": torch.tensor([0.0])}, "int64"),
        ({"samples": 0}, "0 samples"),
        ({"samples": 2000}, "2000 samples"),
        ({"mode": "cubic"}, "choose one of nearest, trilinear, voxel"),
    ],
)
def test_bad_input_is_refused(change: dict[str, Any], message: str) -> None:
    good = {"maps": [torch.zeros(2, 7, 7, 7)], "rows": torch.tensor([1]), "samples": 2, "seed": 0}
    with pytest.raises(ValueError, match=message):
        stratified_sample(**{**good, **change})

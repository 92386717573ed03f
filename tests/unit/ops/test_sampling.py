"""Stratified points."""

from __future__ import annotations

import torch

from crystalnet.ops.sampling import nearest_voxel, stratified_points, voxel_points


def test_one_point_in_each_cell() -> None:
    points = stratified_points(3, 5, torch.Generator().manual_seed(0))
    assert points.shape == (3, 125, 3) and points.min() >= 0 and points.max() < 1
    cells = (points * 5).long()
    flat = (cells[..., 0] * 5 + cells[..., 1]) * 5 + cells[..., 2]
    assert all(len(set(row.tolist())) == 125 for row in flat)


def test_same_seed_same_points() -> None:
    one, two = (stratified_points(2, 4, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(one, two)


def test_nearest_voxel_crosses_the_cell_face() -> None:
    points = torch.tensor([[0.999, 0.0, 0.5], [0.011, 0.009, 0.49]])
    assert nearest_voxel(points, 50).tolist() == [25, 1 * 2500 + 0 * 50 + 24 + (1 if 0.49 * 50 > 24.5 else 0)]
    assert torch.equal(nearest_voxel(voxel_points(torch.arange(50**3), 50), 50), torch.arange(50**3))

"""Scores against cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from crystalnet.crystal.lattice import holohedry
from crystalnet.density.promolecule import promolecule
from crystalnet.evaluation.metrics import aligned, density_scores, map_scores, structure_scores, wilson
from crystalnet.ops.ssim import cube_rotations, rotate
from crystals import SALT

QUARTZ = Structure.from_spacegroup(
    "P3_221", Lattice.hexagonal(4.913, 5.405), ["Si", "O"], [[0.4697, 0, 2 / 3], [0.4135, 0.2669, 0.7858]]
)


@pytest.fixture(scope="module")
def quartz() -> np.ndarray:
    return promolecule(QUARTZ)


def test_the_truth_scores_one(quartz: np.ndarray) -> None:
    scores = map_scores(quartz, quartz)
    assert scores["ssim"] == pytest.approx(1.0, abs=1e-6) and scores["psnr"] > 100 and scores["nmae"] == 0


def test_what_a_pattern_cannot_fix_is_undone(quartz: np.ndarray) -> None:
    operations = holohedry(QUARTZ.lattice.matrix)
    assert len(operations) == 24
    index = np.indices(quartz.shape).reshape(3, -1)
    for operation in operations[::5].astype(int):
        turned = quartz[tuple((operation @ index) % 50)].reshape(quartz.shape)
        moved = np.roll(turned, (3, 17, 44), (0, 1, 2))
        np.testing.assert_allclose(aligned(quartz, moved, operations), quartz, atol=1e-5 * quartz.max())


def test_each_protocol_takes_what_is_its_own(quartz: np.ndarray) -> None:
    shifted = np.roll(quartz, 10, 0)
    turned = np.ascontiguousarray(rotate(quartz, cube_rotations()[5]))
    poor = np.full_like(quartz, quartz.mean())
    # Guess 1 is off by a shift, guess 2 by nothing that can be undone; the samples hold a rotated truth.
    scores = density_scores(quartz, np.stack([shifted, poor]), np.stack([poor, turned]), 0, np.eye(3)[None])
    assert scores["ssim"]["paper"] == pytest.approx(1.0, abs=1e-6) and scores["nmae"]["paper"] == 0
    assert scores["ssim"]["ranked"] == pytest.approx(1.0, abs=1e-6)
    assert scores["ssim"]["single"] == map_scores(quartz, shifted)["ssim"] < 0.7


@pytest.mark.parametrize(("larger", "right"), [(1.08, True), (0.92, True), (1.12, False), (0.88, False), (1.4, False)])
def test_a_match_has_the_volume_within_ten_per_cent(larger: float, right: bool) -> None:
    scaled = SALT.copy()
    scaled.scale_lattice(larger * SALT.volume)
    assert structure_scores(SALT, [scaled], [225])["match_top1"] is right


def test_structures() -> None:
    right = structure_scores(SALT, [SALT.get_primitive_structure()], [225])
    assert right["match_top1"] and right["strict_top1"] and right["exact_top1"] and right["rmsd"] < 1e-6
    swollen = SALT.copy()
    swollen.scale_lattice(1.5 * SALT.volume)
    second = structure_scores(SALT, [swollen, SALT], [225, 225])
    assert not second["match_top1"] and second["match_any"] and second["rmsd"] is None
    assert not structure_scores(SALT, [], [])["match_any"]
    assert structure_scores(QUARTZ, [QUARTZ], [152])["exact_top1"]  # the other hand


def test_wilson_interval() -> None:
    assert wilson(8, 10) == pytest.approx([0.4902, 0.9433], abs=1e-4)  # Newcombe, Stat. Med. 17, 857 (1998), method 3
    assert wilson(0, 0) == [0.0, 1.0]

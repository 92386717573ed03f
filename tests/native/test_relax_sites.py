"""relax_sites: the compiled op against its reference, and the reference's gradient against differences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crystalnet.crystal.free_sites import FreeSites
from crystalnet.ops._native import native
from crystalnet.ops.relax_sites import UsualDistances, reference_relax, relax_sites, strain_and_gradient
from crystalnet.solving.usual_bonds import STEPS, usual_distances

needs_native = pytest.mark.skipif(native() is None, reason="the compiled module is not built")
SPECIES = ("Ca", "Si", "Si", "O", "O", "O", "O", "H", "F")


def arrangement(axes: tuple[float, float, float], seed: int = 3) -> UsualDistances:
    """Nine atoms under an inversion, each free, in a cell that may be so short that images count."""
    rng = np.random.default_rng(seed)
    lattice = np.diag(axes) + np.array([[0, 0, 0], [0.3, 0, 0], [-0.2, 0.4, 0]])
    x, n = rng.random((len(SPECIES), 3)), len(SPECIES)
    columns = np.arange(3 * n, dtype=np.int32).reshape(n, 3)
    both = np.concatenate([np.tile(np.eye(3), (n, 1, 1)), np.tile(-np.eye(3), (n, 1, 1))])
    inversion = np.array([np.eye(3), -np.eye(3)], np.int64)
    crystal = FreeSites(lattice, SPECIES * 2, np.vstack([x, -x]), both, np.vstack([columns, columns]), inversion)
    return usual_distances(crystal)


@pytest.mark.parametrize("axes", [(6.2, 6.5, 6.8), (4.0, 7.0, 8.0)], ids=["one image", "images"])
def test_the_gradient_is_that_of_the_strain(axes: tuple[float, float, float]) -> None:
    """Where no neighbour is so far that it counts as none."""
    usual = arrangement(axes)
    u = np.random.default_rng(1).normal(0, 0.05, (2, usual.crystal.free))
    _, gradient = strain_and_gradient(usual, u)
    for k in range(0, usual.crystal.free, 5):
        step = np.zeros_like(u)
        step[:, k] = 1e-6
        ahead, behind = (strain_and_gradient(usual, u + sign * step)[0] for sign in (1, -1))
        assert (ahead - behind) / 2e-6 == pytest.approx(gradient[:, k], rel=1e-4, abs=1e-6)


@needs_native
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("axes", [(6.2, 6.5, 6.8), (4.0, 7.0, 8.0)], ids=["one image", "images"])
def test_the_compiled_op_is_its_reference(axes: tuple[float, float, float], threads: int) -> None:
    usual = arrangement(axes)
    starts = np.random.default_rng(2).normal(0, 0.2, (5, usual.crystal.free))
    before = starts.copy()
    for lengths in (np.zeros(0), STEPS[:1], STEPS):
        u, strain = relax_sites(usual, starts, lengths, threads)
        expected = reference_relax(usual, starts, lengths)
        assert u == pytest.approx(expected[0], abs=1e-8) and strain == pytest.approx(expected[1], abs=1e-9)
    assert relax_sites(usual, np.asfortranarray(starts), STEPS)[0] == pytest.approx(u, abs=1e-12)
    assert np.array_equal(starts, before) and (strain < 0.5 * relax_sites(usual, starts, np.zeros(0))[1]).all()


@needs_native
def test_what_is_no_number_is_not_at_rest() -> None:
    usual = arrangement((6.2, 6.5, 6.8))
    starts = np.zeros((2, usual.crystal.free))
    starts[1, 3] = np.nan
    for lengths in (np.zeros(0), STEPS):
        assert np.isnan(relax_sites(usual, starts, lengths)[1]).tolist() == [False, True]


@needs_native
def test_nothing_to_move_and_nothing_known() -> None:
    usual = arrangement((6.2, 6.5, 6.8))
    assert relax_sites(usual, np.zeros((0, usual.crystal.free)), STEPS)[1].shape == (0,)
    fixed = replace(usual.crystal, columns=np.full_like(usual.crystal.columns, -1))
    u, strain = relax_sites(usual_distances(fixed), np.zeros((2, 0)), STEPS)
    assert u.shape == (2, 0) and strain[0] == strain[1] > 0
    metals = usual_distances(replace(usual.crystal, species=("Pt",) * len(usual.crystal)))
    assert not metals.longest.any() and not metals.anion.any()
    starts = np.random.default_rng(2).normal(0, 0.2, (3, usual.crystal.free))
    assert relax_sites(metals, starts, STEPS)[0] == pytest.approx(reference_relax(metals, starts, STEPS)[0], abs=1e-8)

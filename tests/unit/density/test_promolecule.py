"""The density definition."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from crystalnet.density import promolecule
from crystalnet.density.promolecule import element_table, promolecule_density, valence_form_factor
from crystalnet.records import InputError
from crystals import SALT


@pytest.mark.parametrize("grid", [20, 25, 50])
def test_sums_to_the_valence_electrons(grid: int) -> None:
    density = promolecule(SALT, grid)
    expected = 4 * (element_table()["Na"]["n_val"] + element_table()["Cl"]["n_val"])
    assert density.shape == (grid,) * 3
    assert density.sum() * SALT.volume / grid**3 == pytest.approx(expected, rel=1e-6)


def test_equals_a_direct_sum_of_gaussians() -> None:
    """Where the grid resolves the atom, the Fourier sum is the sum of periodic images."""
    lattice, grid = np.diag([4.0, 4.5, 5.0]), 40
    x = np.array([[0.1, 0.2, 0.3]])
    row = element_table()["Ba"]
    axis = np.arange(grid) / grid
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1) - x[0]
    direct = np.zeros((grid,) * 3)
    for shift in np.ndindex(5, 5, 5):
        r2 = np.square((points + np.array(shift) - 2) @ lattice).sum(-1)
        for q, a in zip(row["q"], row["a"], strict=True):
            direct += q * (a / np.pi) ** 1.5 * np.exp(-a * r2)
    assert promolecule_density(lattice, ("Ba",), x, grid) == pytest.approx(direct, abs=2e-3 * direct.max())


def test_form_factor_starts_at_the_electron_count() -> None:
    for element in ("H", "Al", "Pt"):
        assert valence_form_factor(element, np.zeros(1))[0] == pytest.approx(
            element_table()[element]["n_val"], abs=1e-6
        )


def test_moves_with_the_atoms() -> None:
    moved = SALT.copy()
    moved.translate_sites(list(range(len(moved))), [0.1, 0.2, 0.5])
    assert np.roll(promolecule(SALT, 20), (2, 4, 10), (0, 1, 2)) == pytest.approx(promolecule(moved, 20), abs=1e-9)


def test_unknown_element_is_named() -> None:
    with pytest.raises(InputError, match="Og"):
        promolecule_density(np.eye(3) * 4, ("Og",), np.zeros((1, 3)))


def test_agrees_with_density_functional_theory(shared_data) -> None:  # type: ignore[no-untyped-def]
    """Mean SSIM over the DFT densities at Materials Project valence; the acceptance figure is 0.97."""
    scores = []
    for path in sorted((shared_data / "dft_densities").glob("*.npz")):
        known = np.load(path)
        truth = known["density"]
        guess = promolecule_density(known["lattice"], tuple(known["species"].tolist()), known["frac_coords"])
        scores.append(structural_similarity(truth, guess, win_size=7, data_range=truth.max() - truth.min()))
    assert len(scores) >= 30
    assert np.mean(scores) >= 0.97

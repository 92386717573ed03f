"""What the network is told, and what is made of its densities."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from crystalnet.crystal.lattice import Cell
from crystalnet.density.promolecule import promolecule_density
from crystalnet.model.checkpoint import Model
from crystalnet.model.config import SMALL
from crystalnet.model.guesses import guess_densities
from crystalnet.model.inputs import LEVELS
from crystalnet.records import Peaks
from crystalnet.solving import from_network
from crystalnet.solving.from_network import ask_network, drawing
from crystalnet.solving.given import Given
from crystalnet.solving.proposals import WELL_EXPLAINED, Proposal
from solved_salt import CELL, PEAKS, PRIMITIVE, found_at


def network() -> Model:
    """A network whose densities are its latents: zero the mean, else random."""

    def encode(*told: torch.Tensor) -> SimpleNamespace:
        seen.append(told)
        return SimpleNamespace(
            mean=lambda: torch.zeros(1, 8), sample=lambda generator: torch.randn(1, 8, generator=generator)
        )

    seen: list[Any] = []
    stub: Any = SimpleNamespace(encode=encode, density_grid=lambda latents: latents, seen=seen)
    return Model(stub, SMALL, {}, "file", "hash")


def test_the_first_guess_is_the_mean_and_the_others_are_samples() -> None:
    model = network()

    def guesses(n: int, seed: int = 0, mean: bool = True) -> np.ndarray:
        told = {"Na": 1.0, "Cl": 1.0}
        return guess_densities(model, np.ones(1024), np.ones(1024), np.eye(3), told, "elements", n, seed, mean)

    four = guesses(4)
    assert four.shape == (4, 8) and not four[0].any() and all(row.any() for row in four[1:])
    assert len({row.tobytes() for row in four}) == 4
    assert np.array_equal(four, guesses(4)) and np.array_equal(guesses(2), four[:2])
    assert not np.array_equal(four[1:], guesses(4, seed=1)[1:])
    assert np.array_equal(guesses(3, mean=False), four[1:])
    seen: Any = model.network
    vector, mask, lattice, composition, level = seen.seen[0]
    assert vector.shape == mask.shape == (1, 1024) and torch.equal(lattice[0], torch.eye(3))
    assert (composition > 0).sum() == 2 and level.item() == LEVELS.index("elements")
    guess_densities(model, np.ones(1024), np.ones(1024), None, {}, "none", 1, 0)
    assert not seen.seen[-1][2].any() and seen.seen[-1][4].item() == LEVELS.index("none")


@pytest.mark.parametrize(
    ("symbols", "amounts", "level", "told"),
    [
        (("Na", "Cl"), {"Na": 2.0, "Cl": 1.0}, "formula", {"Na": 2.0, "Cl": 1.0}),
        (("Na", "Cl"), None, "elements", {"Na": 1.0, "Cl": 1.0}),
        ((), None, "none", {}),
    ],
)
def test_the_network_is_told_what_the_user_gave(
    symbols: tuple[str, ...], amounts: Any, level: str, told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: dict[str, Any] = {}
    astray = replace(PRIMITIVE, frac_coords=PRIMITIVE.frac_coords + [0.14, 0, 0])
    maps = np.stack([promolecule_density(astray.lattice, astray.species, astray.frac_coords)] * 3)

    def guess(model: Model, vector: np.ndarray, mask: np.ndarray, lattice: Any, *rest: Any) -> np.ndarray:
        handed.update(vector=vector, lattice=lattice, told=rest[0], level=rest[1], count=rest[2], seed=rest[3])
        return np.array(maps[rest[5]])  # those that are wanted

    def read_off(
        maps: np.ndarray, cell: Cell, peaks: Peaks, elements: Any, formula: Any, mapped: Any, explained: bool
    ) -> list[Proposal]:
        assert (tuple(elements), formula) == (symbols, amounts)
        read = [found_at(WELL_EXPLAINED - 0.01, origin=0), found_at(WELL_EXPLAINED + 0.01, origin=1)]
        return [replace(p, sites=astray) for p in read]

    monkeypatch.setattr("crystalnet.model.choice.model_for", lambda system, files: network())
    monkeypatch.setattr("crystalnet.model.guesses.guess_densities", guess)
    monkeypatch.setattr(from_network, "network_proposals", read_off)
    given = Given(symbols, amounts, seed=5)
    moved, proposals = ask_network(given, PEAKS, CELL, drawing(given, PEAKS, CELL, 3))
    assert (handed["told"], handed["level"], handed["count"], handed["seed"]) == (told, level, 3, 5)
    assert np.array_equal(handed["lattice"], CELL.primitive_lattice) and len(proposals) == 2
    # Bins of lines whose zero shift was taken off: those of a crystal that has none.
    unshifted = replace(PEAKS, two_theta=PEAKS.two_theta - CELL.zero_shift)
    assert np.array_equal(handed["vector"], from_network.observed_vector(unshifted)[0])
    # Only a density whose atoms explain the lines is moved to where its atoms are at home.
    assert not np.allclose(moved[0], maps[0]) and np.array_equal(moved[1:], maps[1:])

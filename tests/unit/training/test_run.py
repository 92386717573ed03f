"""The weight average of a training run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from crystalnet.model.config import PAPER, SMALL, Config, ModelConfig
from crystalnet.training.run import Run

TINY = replace(SMALL, model=ModelConfig(latent=16, width=32, layers=2, frequencies=32))


def take_steps(run: Run, count: int) -> None:
    """Stands for training: the weights change, and the average follows."""
    for _ in range(count):
        with torch.no_grad():
            for weight in run.network.parameters():
                weight.add_(0.1 * torch.sin(weight + run.state.step))
        run.state.step += 1
        run._update_average()


def test_the_average_is_that_of_all_weights_from_the_first_on() -> None:
    run = Run(TINY)
    expected = {name: weight.clone() for name, weight in run.network.state_dict().items()}
    for step in range(1, 5):
        take_steps(run, 1)
        decay = (1 + step) / (10 + step)  # until it reaches the preset's
        for name, weight in run.network.state_dict().items():
            expected[name] = decay * expected[name] + (1 - decay) * weight
    averaged = run.averaged_network().state_dict()
    assert averaged.keys() == run.network.state_dict().keys()
    for name, weight in averaged.items():
        torch.testing.assert_close(weight, expected[name])


def test_a_resumed_run_averages_on(tmp_path: Path) -> None:
    whole, part = Run(TINY), Run(TINY)
    take_steps(whole, 5)
    take_steps(part, 2)
    part.save(tmp_path / "last.safetensors")
    resumed = Run(TINY)
    resumed.load(tmp_path / "last.safetensors")
    take_steps(resumed, 3)
    assert all(torch.equal(weight, resumed.weights()[name]) for name, weight in whole.weights().items())


@pytest.mark.parametrize("config", [PAPER, replace(TINY, train=replace(TINY.train, ema=0.0))])
def test_without_an_average_the_weights_are_the_networks(config: Config) -> None:
    run = Run(config)
    assert run.average is None
    assert all(torch.equal(weight, run.weights()[name]) for name, weight in run.network.state_dict().items())

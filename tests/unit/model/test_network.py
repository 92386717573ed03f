"""The network: the paper's shape, ours, and what both promise."""

from __future__ import annotations

import pytest
import torch

from crystalnet.model.base import Latents
from crystalnet.model.config import PAPER, PRESETS, SMALL, Config, ModelConfig, preset
from crystalnet.model.losses import kl, l1
from crystalnet.model.network import build_network
from crystalnet.model.paper import PaperNetwork
from crystalnet.records import InputError


def inputs(batch: int) -> tuple[torch.Tensor, ...]:
    g = torch.Generator().manual_seed(0)
    pattern = torch.rand(batch, 1024, generator=g)
    composition = torch.rand(batch, 119, generator=g)
    lattice = (4 + 4 * torch.rand(batch, 1, 1, generator=g)) * torch.eye(3)
    fractions = composition / composition.sum(1, keepdim=True)
    return pattern, torch.ones_like(pattern), lattice, fractions, torch.full((batch,), 2)


def test_paper_has_14_8_million_parameters() -> None:
    network = build_network(PAPER)
    count = sum(p.numel() for p in network.parameters())
    assert round(count / 1e6, 1) == 14.8


def test_paper_layers() -> None:
    network = PaperNetwork(PAPER.model)
    widths = [tuple(m.weight.shape) for m in network.regressor.modules() if isinstance(m, torch.nn.Linear)]
    assert widths == [(512, 512)] * 4 + ([(512, 1024)] + [(512, 512)] * 3) * 3 + [(1, 512)]
    film = [tuple(m.weight.shape) for m in network.gamma.modules() if isinstance(m, torch.nn.Linear)]
    assert film == [(1024, 1024)] * 3 + [(512, 1024)]
    formula = [tuple(m.weight.shape) for m in network.formula_mu.modules() if isinstance(m, torch.nn.Linear)]
    assert formula == [(512, 119), (512, 512), (512, 512)]
    channels = [(m.in_channels, m.out_channels) for m in network.pattern_mu.modules() if isinstance(m, torch.nn.Conv1d)]
    assert channels == [
        (1, 8),
        (8, 8),
        (16, 8),
        (24, 8),
        (32, 8),
        (40, 16),
        (16, 8),
        (24, 8),
        (32, 8),
        (40, 8),
        (48, 1),
    ]
    assert network.rows.shape == (128, 3) and 2.5 < float(network.rows.std()) < 3.5


@pytest.mark.parametrize("name", PRESETS)
def test_shapes(name: str) -> None:
    network, config = build_network(PRESETS[name]).eval(), PRESETS[name].model
    latents = network.encode(*inputs(3))
    assert latents.mean().shape == (3, 2 * config.latent)
    conditions = network.condition(latents.sample(torch.Generator().manual_seed(1)))
    shared = torch.rand(17, 3)
    density = network.decode(conditions, shared)
    assert density.shape == (3, 17)
    # Points of each crystal's own give what shared points give.
    torch.testing.assert_close(network.decode(conditions, shared.expand(3, -1, -1)), density, atol=1e-5, rtol=1e-4)
    assert network.density_grid(latents.mean()[:1], grid=7).shape == (1, 7, 7, 7)


def test_small_is_periodic_and_positive() -> None:
    network = build_network(SMALL).eval()
    conditions = network.condition(network.encode(*inputs(2)).mean())
    points = torch.rand(50, 3)
    here, there = (
        network.decode(conditions, points),
        network.decode(conditions, points + torch.tensor([1.0, -2.0, 3.0])),
    )
    torch.testing.assert_close(here, there, atol=1e-3, rtol=1e-2)
    assert (here > 0).all()


def test_sigma_is_positive_by_construction() -> None:
    latents = build_network(SMALL).encode(*inputs(4))
    assert (latents.sigma_pattern > 0).all() and (latents.sigma_composition > 0).all()


def test_same_seed_same_sample() -> None:
    latents = build_network(SMALL).encode(*inputs(2))
    one, two = (latents.sample(torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(one, two)


def test_kl_vanishes_at_the_prior_and_nowhere_else() -> None:
    zero, one = torch.zeros(3, 8), torch.ones(3, 8)
    assert float(kl(Latents(zero, one, zero, one))) == pytest.approx(0.0)
    assert float(kl(Latents(one, one, zero, one))) == pytest.approx(1.0)  # μ² of one latent, no ½
    assert float(kl(Latents(zero, 2 * one, zero, one))) > 0


def test_relative_l1() -> None:
    truth = torch.tensor([[1.0, 3.0], [10.0, 30.0]])
    assert float(l1(truth * 1.1, truth, relative=True)) == pytest.approx(0.1)
    assert float(l1(truth + 1, truth, relative=False)) == pytest.approx(1.0)


def test_config_survives_json_and_refuses_nonsense() -> None:
    for config in PRESETS.values():
        assert Config.from_dict(config.to_dict()) == config
    with pytest.raises(InputError, match="architecture"):
        ModelConfig(architecture="transformer")
    with pytest.raises(InputError, match="colour"):
        Config.from_dict(SMALL.to_dict() | {"train": {"colour": 1}})


def test_the_paper_preset_is_the_published_protocol() -> None:
    """Guo et al., Methods: 1500 epochs in four warm restarts, 1e-3 falling to 1e-6, 128 crystals × 10³ points."""
    paper = preset("paper", "cubic")
    train, model = paper.train, paper.model
    assert (train.epochs, train.cycles, sum(train.cycles)) == (1500, (100, 200, 400, 800), 1500)
    assert (train.learning_rate, train.final_rate) == (1e-3, 1e-6)
    assert (train.batch, train.samples, train.kl_weight) == (128, 10, 0.05)
    assert (train.weight_decay, train.warmup_steps, train.ema, train.bf16) == (0.0, 0, 0.0, False)
    assert train.levels == (1.0, 0.0, 0.0, 0.0) and train.measured_like == 0.0
    assert train.hypotheses == 1 and train.relative_loss is False  # one sample a crystal, plain L1
    assert (model.architecture, model.latent, model.width, model.layers, model.frequencies) == (
        "paper",
        512,
        512,
        16,
        128,
    )

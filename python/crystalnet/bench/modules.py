"""Whole networks, ours and the published one, as the benchmark takes them."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from crystalnet.model.config import Config
from crystalnet.model.network import build_network
from crystalnet.model.paper import PaperNetwork
from crystalnet.model.periodic import PeriodicNetwork

CHUNK = 5_000  # points at a time in eager torch: more would not fit into the caches, fewer cost calls
PUBLISHED_CHUNK = 8192  # points at a time in the published code


def network_that_saw_data(config: Config) -> Any:
    """A network with random weights, in eval mode, whose BatchNorm statistics are as if it had seen data."""
    torch.manual_seed(0)
    network = build_network(config).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):  # fresh statistics would let activations die out
            assert module.running_mean is not None and module.running_var is not None
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.05, 0.2)
    return network


def decode_eagerly(network: PaperNetwork | PeriodicNetwork, conditions: tuple[Tensor, ...], points: Tensor) -> Tensor:
    """What a user would write: FiLM once a crystal, normalisations as modules, points in chunks."""
    shared = tuple(condition[:, None] for condition in conditions)
    return torch.cat([_modules(network, shared, part) for part in points.split(CHUNK)], dim=1)


def decode_as_published(network: PaperNetwork | PeriodicNetwork, z: Tensor, points: Tensor) -> Tensor:
    """What the published code does for one guess z (1, 2L): the latent repeated for every point, FiLM made at each."""
    parts = []
    for part in points.split(PUBLISHED_CHUNK):
        conditions = network.condition(z.expand(len(part), -1))
        parts.append(_modules(network, tuple(condition[None] for condition in conditions), part))
    return torch.cat(parts, dim=1)


def _modules(network: PaperNetwork | PeriodicNetwork, conditions: tuple[Tensor, ...], points: Tensor) -> Tensor:
    """Densities (B, P) by the network's modules; conditions: (B, 1, ...), or (1, P, ...): each point its own."""
    film = conditions[0]
    phase = 2 * torch.pi * ((points - (0.5 if isinstance(network, PaperNetwork) else 0)) @ network.rows.T)
    p = network.position(torch.cat([phase.sin(), phase.cos()], dim=-1))
    if isinstance(network, PaperNetwork):
        h = film[..., 0, 0, :] * p + film[..., 0, 1, :]
        return cast(Tensor, network.regressor(h.flatten(0, 1)).reshape(h.shape[:2]))
    h = F.relu(torch.addcmul(film[..., 0, 1, :], film[..., 0, 0, :], p))
    for i, layer in enumerate(network.layers, 1):
        h = h + F.relu(torch.addcmul(film[..., i, 1, :], film[..., i, 0, :], layer(h)))
    return F.softplus(network.head(h).squeeze(-1)) * conditions[1]

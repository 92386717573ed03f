"""The network: two variational encoders condition a coordinate network that returns the density at any point.

    pattern (B, 1024), cell ─ encoder ─ μ, σ ─ z ┐
                                                 ├─ FiLM ─ coordinate network on Fourier features ─ ρ(x), e/Å³
    composition (B, 119) ──── encoder ─ μ, σ ─ z ┘

`encode → sample → condition → decode` is the only way through, for training, solving and evaluating alike.
The cell is what indexing makes of the same pattern; the paper's network does without it.
Shapes: B crystals, P points, L latent, W width.
"""

from __future__ import annotations

from crystalnet.model.base import CrystalNetwork
from crystalnet.model.config import Config
from crystalnet.model.paper import PaperNetwork
from crystalnet.model.periodic import PeriodicNetwork


def build_network(config: Config) -> CrystalNetwork:
    """The network a configuration describes."""
    if config.model.architecture == "paper":
        return PaperNetwork(config.model)
    return PeriodicNetwork(config.model, config.system)

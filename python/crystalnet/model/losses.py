"""The training loss: L1 on the density and a KL term for each latent (paper, equations 5 to 7)."""

from __future__ import annotations

from torch import Tensor

from crystalnet.model.base import Latents


def l1(predicted: Tensor, truth: Tensor, relative: bool) -> Tensor:
    """Mean |ρ̂ − ρ| over (B, P); relative: each crystal's divided by its mean density, so that light crystals count."""
    error = (predicted - truth).abs().mean(dim=1)
    if relative:
        error = error / truth.mean(dim=1).clamp_min(1e-3)
    return error.mean()


def kl(latents: Latents) -> Tensor:
    """−mean(1 + log σ² − μ² − σ²) over the latent and the batch, summed over the two latents.

    The sign in the paper's equation 6 is a misprint; there is no ½, as published.
    """
    pattern = _kl_term(latents.mu_pattern, latents.sigma_pattern)
    return pattern + _kl_term(latents.mu_composition, latents.sigma_composition)


def _kl_term(mu: Tensor, sigma: Tensor) -> Tensor:
    variance = sigma.square()
    return -(1 + variance.clamp_min(1e-12).log() - mu.square() - variance).mean()

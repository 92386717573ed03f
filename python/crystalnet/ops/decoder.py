"""The decoder that both coordinate networks share, and the reference implementation of `film_decode` in torch.

Fourier features → position layers → FiLM → trunk → head: densities at points from per-crystal FiLM parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from itertools import count

import torch
from torch import Tensor
from torch.nn import functional as F

REFERENCE_CHUNK = 5_000  # points at a time in the reference: a batch of them fits into memory
TORCH_ROWS = 2_000  # points × crystals at a time on the CPU: twice as fast as REFERENCE_CHUNK, for the caches hold them


class LayerFlag(IntFlag):
    """What follows the matrix product of a layer, in this order; the values of film_decode.hpp."""

    NONE = 0
    RELU = 1
    FILM = 2  # the next scale and shift of the crystal, before the ReLU
    CONCAT = 4  # the layer sees [h, c], c being the trunk's own input
    RESIDUAL = 8  # its input h is added to its output


@dataclass(frozen=True)
class Layer:
    """y = W h + b, as torch.nn.Linear: weight (out, in), bias (out,)."""

    weight: Tensor
    bias: Tensor
    flags: LayerFlag = LayerFlag.NONE


@dataclass(frozen=True)
class Decoder:
    """The weights of a coordinate network, normalisations folded in.

    rows: (F, 3) Fourier rows, features sin and cos of 2π (x − centre)·row. position: layers 2F → W, flags RELU or NONE.
    trunk: layers of width W. head: (1, W). junction_relu: ReLU after the first FiLM. softplus: the density is
    softplus(head) × amplitude, else the head itself.
    """

    rows: Tensor
    position: tuple[Layer, ...]
    trunk: tuple[Layer, ...]
    head: Layer
    centre: float = 0.0
    junction_relu: bool = False
    softplus: bool = False

    @property
    def layers(self) -> tuple[Layer, ...]:
        return *self.position, *self.trunk, self.head

    @property
    def has_native_backward(self) -> bool:
        """Whether the compiled backward knows this shape: one linear position layer, nothing concatenated."""
        (first, *others) = self.position
        return not others and not first.flags and not any(layer.flags & LayerFlag.CONCAT for layer in self.trunk)


def decoder_flop(decoder: Decoder, points: int, crystals: int, shared: bool = True) -> float:
    """Operations of the matrix products of one forward pass, at points that the crystals share or not."""
    position = sum(layer.weight.numel() for layer in decoder.position)
    conditioned = sum(layer.weight.numel() for layer in (*decoder.trunk, decoder.head))
    return 2.0 * points * (position * (1 if shared else crystals) + conditioned * crystals)


def torch_film_decode(
    points: Tensor, decoder: Decoder, film: Tensor, amplitude: Tensor | None = None, bf16: bool = False
) -> Tensor:
    """`reference_film_decode` as fast as torch does it: on the CPU as many points at a time as the caches hold."""
    rows = max(1, TORCH_ROWS // max(1, len(film))) if points.device.type == "cpu" else REFERENCE_CHUNK
    parts = [reference_film_decode(part, decoder, film, amplitude, bf16) for part in torch.split(points, rows, dim=-2)]
    return torch.cat(parts, dim=1) if len(parts) != 1 else parts[0]


def reference_film_decode(
    points: Tensor, decoder: Decoder, film: Tensor, amplitude: Tensor | None = None, bf16: bool = False
) -> Tensor:
    """`film_decode` in plain torch, in the precision of its arguments: the oracle of the kernels.

    Differentiable in everything; points may also be (B, P, 3), each crystal its own.
    """
    parts = [_reference(part, decoder, film, amplitude, bf16) for part in torch.split(points, REFERENCE_CHUNK, dim=-2)]
    return torch.cat(parts, dim=1) if len(parts) != 1 else parts[0]


def _reference(points: Tensor, decoder: Decoder, film: Tensor, amplitude: Tensor | None, bf16: bool) -> Tensor:
    pairs = count()

    def conditioned(h: Tensor) -> Tensor:
        pair = film[:, next(pairs), :, None]
        return torch.addcmul(pair[:, 1], pair[:, 0], h)

    with torch.autocast(points.device.type, enabled=False):  # bfloat16 would lose the phase of high frequencies
        phase = 2 * torch.pi * ((points - decoder.centre) @ decoder.rows.T)
        h = torch.cat([phase.sin(), phase.cos()], dim=-1)
    with torch.autocast(points.device.type, dtype=torch.bfloat16, enabled=bf16):
        for layer in decoder.position:
            h = F.linear(h, layer.weight, layer.bias)
            h = F.relu(h) if layer.flags & LayerFlag.RELU else h
        c = conditioned(h)
        h = c = F.relu(c) if decoder.junction_relu else c
        for layer in decoder.trunk:
            y = F.linear(torch.cat([h, c], dim=-1) if layer.flags & LayerFlag.CONCAT else h, layer.weight, layer.bias)
            y = conditioned(y) if layer.flags & LayerFlag.FILM else y
            y = F.relu(y) if layer.flags & LayerFlag.RELU else y
            h = h + y if layer.flags & LayerFlag.RESIDUAL else y
        z = F.linear(h, decoder.head.weight, decoder.head.bias).squeeze(-1)
    z = z.float() if bf16 else z
    if not decoder.softplus:
        return z
    assert amplitude is not None
    return F.softplus(z) * amplitude[:, None]

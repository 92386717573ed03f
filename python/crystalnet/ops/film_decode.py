"""Densities at points from per-crystal FiLM parameters, registered with torch as `crystalnet::film_decode`.

Fourier features → position layers → FiLM → trunk → head, the shape that both coordinate networks of
`crystalnet.model.network` share. The position branch runs once for all crystals of a batch. Without gradients the
native kernel needs no memory that grows with points × width; its backward keeps nothing either and recomputes.

The reference is taken instead where it measured faster for such a decoder on this machine (crystalnet.ops.choice).
On the CPU the kernel takes the best of AMX, AVX-512-BF16, AVX-512, AVX2 and plain C++ that the processor has, no better
than what CRYSTALNET_CPU=avx512_bf16, avx512, avx2 or plain in the environment allows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from crystalnet.ops._native import native, native_cuda
from crystalnet.ops.choice import NATIVE, Calls, Choice, choose
from crystalnet.ops.decoder import Decoder, Layer, decoder_flop, torch_film_decode
from crystalnet.ops.film_decode_op import op_arguments

WORTH_A_CHOICE = 2e9  # operations, about 10 ms; what is smaller goes to the kernel
# What is timed of a call: parts of a map, long enough that packing the weights does not count.
TIMED_POINTS, TIMED_CRYSTALS, TIMED_FLOP = 3_000, 24, 12e9
ACTIVATION_BYTES, MOST_ACTIVATIONS = 16, 2 << 30  # kept by torch for the backward: each point and unit of a layer; all


def film_decode(
    points: Tensor, decoder: Decoder, film: Tensor, amplitude: Tensor | None = None, bf16: bool = False
) -> Tensor:
    """Densities (B, P) at fractional points (P, 3) shared by B crystals, or (B, P, 3), by the fastest way there is.

    film: (B, n, 2, W), scale then shift: the pair that conditions the position branch, then one for each FILM layer of
    the trunk. amplitude: (B,), needed where the decoder has a softplus. bf16: products in bfloat16, sums in float32;
    on a processor without such instructions the native kernel stays in float32.
    The kernels take float32, shared points, and gradients of all but the points where their backward knows the
    decoder's shape; the reference takes the rest. Raises ValueError where shapes do not fit.
    """
    training = _wants_gradients(points, decoder, film, amplitude)
    choose_from = (points, decoder, film, amplitude, bf16, training)
    if not _fits_kernel(points, decoder, training) or choose_film_decode(*choose_from).chosen == "reference":
        return torch_film_decode(points, decoder, film, amplitude, bf16)
    result: Tensor = torch.ops.crystalnet.film_decode(*op_arguments(points, decoder, film, amplitude, bf16))
    return result


def choose_film_decode(
    points: Tensor, decoder: Decoder, film: Tensor, amplitude: Tensor | None, bf16: bool, training: bool
) -> Choice:
    """The faster way to decode on this machine, for these layers, precision and need of gradients.

    Native unasked for small calls, and for training that would keep more activations than memory may have.
    """
    crystals, width = len(film), decoder.head.weight.shape[1]
    layers = len(decoder.position) + len(decoder.trunk)
    activations = ACTIVATION_BYTES * crystals * len(points) * width * layers
    small = decoder_flop(decoder, len(points), crystals) < WORTH_A_CHOICE
    if small or (training and activations > MOST_ACTIVATIONS) or torch.compiler.is_compiling():
        return NATIVE
    shape = "-".join(str(layer.weight.shape[1]) for layer in decoder.position) + f"-{len(decoder.trunk)}×{width}"
    purpose = "training" if training else "inference"
    case = f"film_decode {shape} {'bfloat16' if bf16 else 'float32'} {purpose}"
    return choose(case, points.device, lambda: _timed(points, decoder, film, amplitude, bf16, training))


def _timed(
    points: Tensor, decoder: Decoder, film: Tensor, amplitude: Tensor | None, bf16: bool, training: bool
) -> Calls:
    """A part of the call for each implementation, with the backward where `training`."""
    points = points.detach()[:TIMED_POINTS]
    most = TIMED_FLOP / decoder_flop(decoder, len(points), 1) / (3 if training else 1)  # a backward is two forwards
    crystals = max(1, min(len(film), TIMED_CRYSTALS, int(most)))
    film = film.detach()[:crystals].requires_grad_(training)
    amplitude = None if amplitude is None else amplitude.detach()[:crystals]

    def own(layer: Layer) -> Layer:
        weight, bias = (t.detach().requires_grad_(training) for t in (layer.weight, layer.bias))
        return Layer(weight, bias, layer.flags)

    part = replace(
        decoder,
        position=tuple(map(own, decoder.position)),
        trunk=tuple(map(own, decoder.trunk)),
        head=own(decoder.head),
    )

    def run(decode: Callable[[], Tensor]) -> Callable[[], object]:
        def work() -> None:
            with torch.set_grad_enabled(training):
                density = decode()
                if training:
                    leaves = [tensor for layer in part.layers for tensor in (layer.weight, layer.bias)]
                    torch.autograd.grad(density.mean(), [film, *leaves])

        return work

    return {
        "native": run(lambda: torch.ops.crystalnet.film_decode(*op_arguments(points, part, film, amplitude, bf16))),
        "reference": run(lambda: torch_film_decode(points, part, film, amplitude, bf16)),
    }


def _wants_gradients(points: Tensor, decoder: Decoder, film: Tensor, amplitude: Tensor | None) -> bool:
    leaves = [points, film, *(layer.weight for layer in decoder.layers), *(layer.bias for layer in decoder.layers)]
    leaves += [] if amplitude is None else [amplitude]
    return torch.is_grad_enabled() and any(leaf.requires_grad for leaf in leaves)


def _fits_kernel(points: Tensor, decoder: Decoder, training: bool) -> bool:
    """Whether a compiled kernel takes these arguments."""
    cuda = points.device.type == "cuda"
    if points.dim() != 2 or points.dtype != torch.float32 or (native_cuda() if cuda else native()) is None:
        return False
    return not training or (not cuda and not points.requires_grad and decoder.has_native_backward)

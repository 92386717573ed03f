"""Densities at points from per-crystal FiLM parameters, registered with torch as `crystalnet::film_decode`.

Fourier features → position layers → FiLM → trunk → head, the shape that both coordinate networks of
`crystalnet.model.network` share. The position branch runs once for all crystals of a batch. Without gradients the
native kernel needs no memory that grows with points × width; its backward keeps nothing either and recomputes.

The reference is taken instead where it measured faster for such a decoder on this machine (crystalnet.ops.choice).
On the CPU the kernel takes the best of AVX-512-BF16, AVX-512, AVX2 and plain C++ that the processor has, no better than
what CRYSTALNET_CPU=avx512, avx2 or plain in the environment allows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import IntFlag
from itertools import count
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from crystalnet.ops._native import native, native_cuda
from crystalnet.ops.choice import NATIVE, Calls, Choice, choose

REFERENCE_CHUNK = 5_000  # points at a time in the reference: a batch of them fits into memory
TORCH_ROWS = 2_000  # points × crystals at a time on the CPU: twice as fast as REFERENCE_CHUNK, for the caches hold them
WORTH_A_CHOICE = 2e9  # operations, about 10 ms; what is smaller goes to the kernel
# What is timed of a call: parts of a map, long enough that packing the weights does not count.
TIMED_POINTS, TIMED_CRYSTALS, TIMED_FLOP = 3_000, 24, 12e9
ACTIVATION_BYTES, MOST_ACTIVATIONS = 16, 2 << 30  # kept by torch for the backward: each point and unit of a layer; all


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


def decoder_flop(decoder: Decoder, points: int, crystals: int, shared: bool = True) -> float:
    """Operations of the matrix products of one forward pass, at points that the crystals share or not."""
    position = sum(layer.weight.numel() for layer in decoder.position)
    conditioned = sum(layer.weight.numel() for layer in (*decoder.trunk, decoder.head))
    return 2.0 * points * (position * (1 if shared else crystals) + conditioned * crystals)


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


def torch_film_decode(
    points: Tensor, decoder: Decoder, film: Tensor, amplitude: Tensor | None = None, bf16: bool = False
) -> Tensor:
    """`reference_film_decode` as fast as torch does it: on the CPU as many points at a time as the caches hold."""
    rows = max(1, TORCH_ROWS // max(1, len(film))) if points.device.type == "cpu" else REFERENCE_CHUNK
    parts = [reference_film_decode(part, decoder, film, amplitude, bf16) for part in torch.split(points, rows, dim=-2)]
    return torch.cat(parts, dim=1) if len(parts) != 1 else parts[0]


def op_arguments(
    points: Tensor, decoder: Decoder, film: Tensor, amplitude: Tensor | None = None, bf16: bool = False
) -> tuple[Any, ...]:
    """What `torch.ops.crystalnet.film_decode` takes for the same call."""
    return (
        points,
        film.float(),
        film.new_ones(len(film), dtype=torch.float32) if amplitude is None else amplitude.float(),
        decoder.rows,
        [layer.weight for layer in decoder.layers],
        [layer.bias for layer in decoder.layers],
        [int(layer.flags) for layer in decoder.layers],
        len(decoder.position),
        decoder.centre,
        decoder.junction_relu,
        decoder.softplus,
        bf16,
    )


def _wants_gradients(points: Tensor, decoder: Decoder, film: Tensor, amplitude: Tensor | None) -> bool:
    leaves = [points, film, *(layer.weight for layer in decoder.layers), *(layer.bias for layer in decoder.layers)]
    leaves += [] if amplitude is None else [amplitude]
    return torch.is_grad_enabled() and any(leaf.requires_grad for leaf in leaves)


def _fits_kernel(points: Tensor, decoder: Decoder, training: bool) -> bool:
    """Whether a compiled kernel takes these arguments."""
    cuda = points.device.type == "cuda"
    if points.dim() != 2 or points.dtype != torch.float32 or (native_cuda() if cuda else native()) is None:
        return False
    return not training or (not cuda and not points.requires_grad and _has_native_backward(decoder))


def _has_native_backward(decoder: Decoder) -> bool:
    (first, *others), trunk = decoder.position, decoder.trunk
    return not others and not first.flags and not any(layer.flags & LayerFlag.CONCAT for layer in trunk)


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


def _decoder(
    rows: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    flags: Sequence[int],
    n_position: int,
    centre: float,
    junction_relu: bool,
    softplus: bool,
) -> Decoder:
    layers = [Layer(w, b, LayerFlag(f)) for w, b, f in zip(weights, biases, flags, strict=True)]
    return Decoder(
        rows, tuple(layers[:n_position]), tuple(layers[n_position:-1]), layers[-1], centre, junction_relu, softplus
    )


def _check(points: Tensor, film: Tensor, amplitude: Tensor, decoder: Decoder) -> None:
    crystals, width = len(film), decoder.head.weight.shape[1]
    n_film = 1 + sum(bool(layer.flags & LayerFlag.FILM) for layer in decoder.trunk)
    expected = [
        ("points", points, (len(points), 3)),
        ("film", film, (crystals, n_film, 2, width)),
        ("amplitude", amplitude, (crystals,)),
        ("rows", decoder.rows, (len(decoder.rows), 3)),
        ("the head's weight", decoder.head.weight, (1, width)),
    ]
    inner = 2 * len(decoder.rows)
    for i, layer in enumerate(decoder.position):
        expected.append((f"the weight of position layer {i}", layer.weight, (len(layer.weight), inner)))
        inner = len(layer.weight)
    for i, layer in enumerate(decoder.trunk):
        inputs = 2 * width if layer.flags & LayerFlag.CONCAT else width
        expected.append((f"the weight of trunk layer {i}", layer.weight, (width, inputs)))
    expected += [("a bias", layer.bias, (len(layer.weight),)) for layer in decoder.layers]
    for name, tensor, shape in expected:
        if tuple(tensor.shape) != shape or tensor.dtype != torch.float32:
            raise ValueError(f"{name} must be float32 {shape}, not {tensor.dtype} {tuple(tensor.shape)}")
    if not decoder.position or inner != width:
        raise ValueError(f"the position layers end at width {inner}, the trunk has {width}")


class _Bound:
    """A decoder as the native module takes it, with the contiguous tensors that it points to."""

    def __init__(self, decoder: Decoder) -> None:
        module = native()
        assert module is not None
        self.tensors = [decoder.rows.contiguous()]
        position, trunk, (head,) = (
            [self._bind(layer) for layer in layers] for layers in (decoder.position, decoder.trunk, [decoder.head])
        )
        self.native = module.FilmDecoder(
            len(decoder.rows),
            self.tensors[0].data_ptr(),
            decoder.centre,
            position,
            decoder.junction_relu,
            trunk,
            decoder.head.weight.shape[1],
            *head[:2],
            decoder.softplus,
        )

    def _bind(self, layer: Layer) -> tuple[int, int, int, int, int]:
        weight, bias = layer.weight.contiguous(), layer.bias.contiguous()
        self.tensors += [weight, bias]
        return weight.data_ptr(), bias.data_ptr(), weight.shape[1], weight.shape[0], int(layer.flags)


torch.library.define(
    "crystalnet::film_decode",
    "(Tensor points, Tensor film, Tensor amplitude, Tensor rows, Tensor[] weights, Tensor[] biases, "
    "int[] flags, int n_position, float centre, bool junction_relu, bool softplus, bool bf16) -> Tensor",
)


@torch.library.impl("crystalnet::film_decode", ("cpu", "cuda"))
def _film_decode(
    points: Tensor,
    film: Tensor,
    amplitude: Tensor,
    rows: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    *settings: Any,
) -> Tensor:
    *shape, bf16 = settings
    decoder = _decoder(rows, weights, biases, *shape)
    _check(points, film, amplitude, decoder)
    module = native_cuda() if points.is_cuda else native()
    if module is None:
        return reference_film_decode(points, decoder, film, amplitude, bf16)
    bound = _Bound(decoder)
    points, film, amplitude = points.contiguous(), film.contiguous(), amplitude.contiguous()
    out = torch.empty(len(film), len(points), device=points.device)
    sizes = (bound.native, len(film), film.data_ptr(), amplitude.data_ptr(), len(points), points.data_ptr(), bf16)
    if points.is_cuda:
        size = module.film_decode_workspace(bound.native, bf16)
        workspace = torch.empty(size, dtype=torch.uint8, device=points.device)
        with torch.cuda.device(points.device):
            stream = torch.cuda.current_stream().cuda_stream
            module.film_decode_cuda(*sizes, workspace.data_ptr(), out.data_ptr(), stream)
    else:
        module.film_decode(*sizes, torch.get_num_threads(), out.data_ptr())
    return out


def _film_decode_fake(points: Tensor, film: Tensor, *rest: object) -> Tensor:
    return points.new_empty(film.shape[0], points.shape[0])


torch.library.register_fake("crystalnet::film_decode", _film_decode_fake)


# --- gradients ----------------------------------------------------------------------------------------------------


torch.library.define(
    "crystalnet::film_decode_backward",
    "(Tensor grad, Tensor points, Tensor film, Tensor amplitude, Tensor rows, Tensor[] weights, "
    "Tensor[] biases, int[] flags, int n_position, float centre, bool junction_relu, bool softplus, bool bf16)"
    " -> Tensor[]",
)


@torch.library.impl("crystalnet::film_decode_backward", "cpu")
def _film_decode_backward(
    grad: Tensor,
    points: Tensor,
    film: Tensor,
    amplitude: Tensor,
    rows: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    *settings: Any,
) -> list[Tensor]:
    """Gradients of film, amplitude, the weights and the biases, of decoders with a native backward."""
    module = native()
    assert module is not None
    *shape, bf16 = settings
    decoder = _decoder(rows, weights, biases, *shape)
    bound = _Bound(decoder)
    grad, points, film, amplitude = (t.contiguous() for t in (grad, points, film, amplitude))
    out = [torch.empty(t.shape) for t in (film, amplitude, *weights, *biases)]
    film_grad, amplitude_grad, *rest = (t.data_ptr() for t in out)
    *weight_grads, head_weight_grad = rest[: len(weights)]
    *bias_grads, head_bias_grad = rest[len(weights) :]
    module.film_decode_backward(
        bound.native,
        len(film),
        film.data_ptr(),
        amplitude.data_ptr(),
        len(points),
        points.data_ptr(),
        grad.data_ptr(),
        bf16,
        torch.get_num_threads(),
        [address for pair in zip(weight_grads, bias_grads, strict=True) for address in pair],
        head_weight_grad,
        head_bias_grad,
        film_grad,
        amplitude_grad,
    )
    return out


def _reference_backward(
    grad: Tensor, points: Tensor, decoder: Decoder, film: Tensor, amplitude: Tensor, bf16: bool
) -> list[Tensor]:
    leaves = [film, amplitude, *(layer.weight for layer in decoder.layers), *(layer.bias for layer in decoder.layers)]
    leaves = [leaf.detach().requires_grad_() for leaf in leaves]
    n = len(decoder.layers)
    again = _decoder(
        decoder.rows,
        leaves[2 : 2 + n],
        leaves[2 + n :],
        [int(layer.flags) for layer in decoder.layers],
        len(decoder.position),
        decoder.centre,
        decoder.junction_relu,
        decoder.softplus,
    )
    with torch.enable_grad():
        out = reference_film_decode(points, again, leaves[0], leaves[1], bf16)
        return list(torch.autograd.grad(out, leaves, grad, materialize_grads=True))


def _film_decode_backward_fake(
    grad: Tensor,
    points: Tensor,
    film: Tensor,
    amplitude: Tensor,
    rows: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    *rest: object,
) -> list[Tensor]:
    return [t.new_empty(t.shape) for t in (film, amplitude, *weights, *biases)]


torch.library.register_fake("crystalnet::film_decode_backward", _film_decode_backward_fake)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    points, film, amplitude, rows, weights, biases, *ctx.settings = inputs
    ctx.save_for_backward(points, film, amplitude, rows, *weights, *biases)


def _backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    points, film, amplitude, rows, *layers = ctx.saved_tensors
    n = len(layers) // 2
    weights, biases = layers[:n], layers[n:]
    *shape, bf16 = ctx.settings
    decoder = _decoder(rows, weights, biases, *shape)
    if points.device.type == "cpu" and native() is not None and _has_native_backward(decoder):
        grads = torch.ops.crystalnet.film_decode_backward(
            grad, points, film, amplitude, rows, weights, biases, *ctx.settings
        )
    else:
        grads = _reference_backward(grad, points, decoder, film, amplitude, bf16)
    return None, grads[0], grads[1], None, grads[2 : 2 + n], grads[2 + n :], *[None] * len(ctx.settings)


torch.library.register_autograd("crystalnet::film_decode", _backward, setup_context=_setup_context)

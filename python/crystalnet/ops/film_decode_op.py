"""`film_decode` and its gradients registered with torch as `crystalnet::film_decode`: schema, checks, native calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from crystalnet.ops._native import native, native_cuda
from crystalnet.ops.decoder import Decoder, Layer, LayerFlag, reference_film_decode


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
    if points.device.type == "cpu" and native() is not None and decoder.has_native_backward:
        grads = torch.ops.crystalnet.film_decode_backward(
            grad, points, film, amplitude, rows, weights, biases, *ctx.settings
        )
    else:
        grads = _reference_backward(grad, points, decoder, film, amplitude, bf16)
    return None, grads[0], grads[1], None, grads[2 : 2 + n], grads[2 + n :], *[None] * len(ctx.settings)


torch.library.register_autograd("crystalnet::film_decode", _backward, setup_context=_setup_context)

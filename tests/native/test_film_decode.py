"""The coordinate network's kernel against its reference in double precision, and the networks that use it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from crystalnet.model.base import CrystalNetwork
from crystalnet.model.config import PAPER, SMALL, Config
from crystalnet.model.network import build_network
from crystalnet.model.paper import PaperNetwork
from crystalnet.model.periodic import PeriodicNetwork
from crystalnet.ops._native import native, native_cuda
from crystalnet.ops.decoder import Decoder, Layer, LayerFlag, reference_film_decode
from crystalnet.ops.film_decode import film_decode
from crystalnet.ops.film_decode_op import op_arguments

FLOAT32, BFLOAT16 = 1e-5, 1e-2  # largest error over largest density, against double precision
PROCESSORS = ("", "avx512_bf16", "avx512", "avx2", "plain")

Case = tuple[Decoder, Tensor, Tensor]  # decoder, film, amplitude


def _layer(g: torch.Generator, out: int, inputs: int, flags: LayerFlag = LayerFlag.NONE, gain: float = 1.0) -> Layer:
    weight = torch.randn(out, inputs, generator=g) * (gain / inputs) ** 0.5
    return Layer(weight, 0.1 * torch.randn(out, generator=g), flags)


def _film(g: torch.Generator, crystals: int, pairs: int, width: int) -> Tensor:
    film = 0.3 * torch.randn(crystals, pairs, 2, width, generator=g)
    film[:, :, 0] += 1
    return film


def periodic(width: int = 64, frequencies: int = 40, crystals: int = 3, layers: int = 3) -> Case:
    """FiLM, ReLU and a residual in every layer, softplus at the end."""
    g = torch.Generator().manual_seed(width)
    flags = LayerFlag.FILM | LayerFlag.RELU | LayerFlag.RESIDUAL
    decoder = Decoder(
        rows=torch.randint(-7, 8, (frequencies, 3), generator=g).float(),
        position=(_layer(g, width, 2 * frequencies),),
        trunk=tuple(_layer(g, width, width, flags) for _ in range(layers)),
        head=_layer(g, 1, width),
        junction_relu=True,
        softplus=True,
    )
    return decoder, _film(g, crystals, layers + 1, width), torch.rand(crystals, generator=g) + 0.5


def paper(width: int = 64, frequencies: int = 40, crystals: int = 2) -> Case:
    """One FiLM, two position layers, blocks that see their condition again."""
    g = torch.Generator().manual_seed(width)
    relu = LayerFlag.RELU
    block = [(1, relu), (1, relu), (2, relu | LayerFlag.CONCAT), (1, relu), (2, relu | LayerFlag.CONCAT)]
    decoder = Decoder(
        rows=3 * torch.randn(frequencies, 3, generator=g),
        position=(_layer(g, width + 3, 2 * frequencies, relu, 2.0), _layer(g, width, width + 3)),
        trunk=tuple(_layer(g, width, times * width, flags, 2.0) for times, flags in block),
        head=_layer(g, 1, width),
        centre=0.5,
    )
    return decoder, _film(g, crystals, 1, width), torch.ones(crystals)


def mapped(decoder: Decoder, change: Callable[[Tensor], Tensor]) -> Decoder:
    """The decoder with every tensor changed."""

    def of(layer: Layer) -> Layer:
        return replace(layer, weight=change(layer.weight), bias=change(layer.bias))

    return replace(
        decoder,
        rows=change(decoder.rows),
        position=tuple(map(of, decoder.position)),
        trunk=tuple(map(of, decoder.trunk)),
        head=of(decoder.head),
    )


def exact(points: Tensor, case: Case) -> Tensor:
    decoder, film, amplitude = case
    return reference_film_decode(points.double(), mapped(decoder, Tensor.double), film.double(), amplitude.double())


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


def some_points(count: int) -> Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(count))


@pytest.fixture
def compiled() -> None:
    if native() is None:
        pytest.skip("the native module is not built")


SHAPES = [(periodic, 64), (periodic, 37), (periodic, 1), (paper, 64), (paper, 37)]


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize(("build", "width"), SHAPES)
def test_equals_the_reference(
    build: Callable[..., Case], width: int, processor: str, bf16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYSTALNET_CPU", processor)
    case = build(width, frequencies=13 if width == 37 else 40)
    points = some_points(203)
    expected = exact(points, case)
    for count in (1, 97, 203):
        ours = film_decode(points[:count], *case, bf16=bf16)
        assert ours.shape == (len(case[1]), count) and ours.dtype == torch.float32
        error = (ours - expected[:, :count]).abs().max() / expected.abs().max()
        assert error < (BFLOAT16 if bf16 else FLOAT32)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("processor", PROCESSORS)
def test_nan_is_not_hidden(processor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYSTALNET_CPU", processor)
    decoder, film, amplitude = periodic()
    film[1, 2, 1, 5] = torch.nan
    density = film_decode(some_points(20), decoder, film, amplitude)
    assert density[1].isnan().all() and density[[0, 2]].isfinite().all()


@pytest.mark.usefixtures("compiled")
def test_phases_of_far_points_are_exact() -> None:
    case = periodic()
    points = (some_points(50) * 64).round() / 64  # so that shifts by whole cells are exact in float32
    moved = points + torch.tensor([3.0, -5.0, 8.0])
    torch.testing.assert_close(film_decode(moved, *case), film_decode(points, *case))


@pytest.mark.parametrize("build", [periodic, paper])
def test_nothing_to_do(build: Callable[..., Case]) -> None:
    decoder, film, amplitude = build()
    assert film_decode(some_points(7), decoder, film[:0], amplitude[:0]).shape == (0, 7)
    assert film_decode(some_points(7)[:0], decoder, film, amplitude).shape == (len(film), 0)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("build", [periodic, paper])
def test_strides_do_not_matter(build: Callable[..., Case]) -> None:
    decoder, film, amplitude = build()
    points = some_points(60)

    def strided(t: Tensor) -> Tensor:
        return torch.stack([t, torch.full_like(t, torch.nan)], dim=-1)[..., 0]

    ours = film_decode(strided(points), mapped(decoder, strided), strided(film), strided(amplitude))
    assert torch.equal(ours, film_decode(points, decoder, film, amplitude))


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("bf16", [False, True])
def test_batch_is_its_crystals_and_threads_do_not_matter(bf16: bool) -> None:
    decoder, film, amplitude = case = periodic(crystals=5)
    points = some_points(500)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = film_decode(points, *case, bf16=bf16)
        torch.set_num_threads(2)
        two = film_decode(points, *case, bf16=bf16)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(one, two)
    each = [film_decode(points, decoder, film[i : i + 1], amplitude[i : i + 1], bf16=bf16) for i in range(len(film))]
    assert torch.equal(one, torch.cat(each))
    assert torch.equal(one[:, 123:124], film_decode(points[123:124], *case, bf16=bf16))


@pytest.mark.usefixtures("compiled")
def test_concurrent_calls() -> None:
    cases = [periodic(width) for width in (32, 48, 64, 80)]
    points = some_points(300)
    alone = [film_decode(points, *case) for case in cases]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for ours, expected in zip(pool.map(lambda case: film_decode(points, *case), cases), alone, strict=True):
                assert torch.equal(ours, expected)


# --- gradients ----------------------------------------------------------------------------------------------------


def gradients(
    function: Callable[..., Tensor], points: Tensor, case: Case, grad: Tensor, bf16: bool
) -> dict[str, Tensor]:
    """Of film, amplitude and every weight and bias."""
    decoder, film, amplitude = case
    leaves: dict[str, Tensor] = {}

    def leaf(name: str, t: Tensor) -> Tensor:
        leaves[name] = t.detach().clone().requires_grad_()
        return leaves[name]

    def of(name: str, layer: Layer) -> Layer:
        return replace(layer, weight=leaf(f"{name} weight", layer.weight), bias=leaf(f"{name} bias", layer.bias))

    decoder = replace(
        decoder,
        position=tuple(of(f"position {i}", layer) for i, layer in enumerate(decoder.position)),
        trunk=tuple(of(f"trunk {i}", layer) for i, layer in enumerate(decoder.trunk)),
        head=of("head", decoder.head),
    )
    out = function(points, decoder, leaf("film", film), leaf("amplitude", amplitude), bf16)
    out.backward(grad)
    return {name: torch.zeros_like(t) if t.grad is None else t.grad for name, t in leaves.items()}


def no_film_on_one(case: Case) -> Case:
    """As `periodic`, but a layer without FiLM and without a residual, and no softplus."""
    decoder, film, amplitude = case
    first, *others = decoder.trunk
    return (
        replace(decoder, trunk=(replace(first, flags=LayerFlag.RELU), *others), softplus=False),
        film[:, 1:],
        amplitude,
    )


@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize(
    "case", [periodic(), periodic(37, 13), no_film_on_one(periodic()), paper()], ids=["even", "odd", "mixed", "paper"]
)
def test_gradients_equal_autograd(case: Case, processor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYSTALNET_CPU", processor)
    for count in (1, 150):
        points = some_points(count)
        grad = torch.randn(len(case[1]), count, generator=torch.Generator().manual_seed(1))
        double = (mapped(case[0], Tensor.double), case[1].double(), case[2].double())
        expected = gradients(reference_film_decode, points.double(), double, grad.double(), False)
        ours = gradients(film_decode, points, case, grad, False)
        for name, theirs in expected.items():
            error = (ours[name] - theirs).norm() / theirs.norm().clamp_min(1e-12)
            assert ours[name].isfinite().all() and error < 1e-5, name


@pytest.mark.parametrize("processor", PROCESSORS)
def test_bf16_gradients_are_as_good_as_autocast(processor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYSTALNET_CPU", processor)
    case = periodic(128, 100, crystals=4)
    points, grad = some_points(300), torch.randn(4, 300, generator=torch.Generator().manual_seed(1))
    expected, torch_s, ours = (
        gradients(function, points, case, grad, bf16)
        for function, bf16 in ((reference_film_decode, False), (reference_film_decode, True), (film_decode, True))
    )
    for name, exact_grad in expected.items():
        error, torch_error = ((g[name] - exact_grad).norm() / exact_grad.norm() for g in (ours, torch_s))
        assert error < 1.5 * torch_error + 3e-3, name


@pytest.mark.usefixtures("compiled")
def test_gradients_are_reproducible() -> None:
    case = periodic(crystals=7)
    points, grad = some_points(150), torch.ones(7, 150)
    one, two = (gradients(film_decode, points, case, grad, True) for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


# --- registration -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [periodic, paper])
def test_opcheck(build: Callable[..., Case]) -> None:
    decoder, film, amplitude = build(32, 10)
    leaves = mapped(decoder, lambda t: t.clone().requires_grad_())
    case = (replace(leaves, rows=decoder.rows), film.requires_grad_(), amplitude.requires_grad_())
    torch.library.opcheck(torch.ops.crystalnet.film_decode.default, op_arguments(some_points(9), *case))


@pytest.mark.usefixtures("compiled")
def test_opcheck_of_the_backward() -> None:
    case = periodic(32, 10)
    arguments = (torch.ones(len(case[1]), 9), *op_arguments(some_points(9), *case))
    torch.library.opcheck(torch.ops.crystalnet.film_decode_backward.default, arguments)


@pytest.mark.parametrize("build", [periodic, paper])
def test_reference_serves_without_the_native_module(
    build: Callable[..., Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYSTALNET_OPS", "reference")
    case, points = build(), some_points(20)
    assert torch.equal(film_decode(points, *case), reference_film_decode(points, *case))
    assert torch.equal(
        torch.ops.crystalnet.film_decode(*op_arguments(points, *case)), reference_film_decode(points, *case)
    )


@pytest.mark.usefixtures("compiled")
def test_bad_input_is_refused() -> None:
    decoder, film, amplitude = periodic()
    points = some_points(5)
    with pytest.raises(ValueError, match="points"):
        film_decode(points[:, :2], decoder, film, amplitude)
    with pytest.raises(ValueError, match="film"):
        film_decode(points, decoder, film[:, 1:], amplitude)
    with pytest.raises(ValueError, match="amplitude"):
        film_decode(points, decoder, film, amplitude[1:])
    wrong = replace(decoder.trunk[0], weight=decoder.head.weight)
    with pytest.raises(ValueError, match="trunk layer 0"):
        film_decode(points, replace(decoder, trunk=(wrong, *decoder.trunk[1:])), film, amplitude)
    with pytest.raises(ValueError, match="float32"):
        film_decode(points, mapped(decoder, Tensor.double), film, amplitude)


# --- the networks -------------------------------------------------------------------------------------------------


def trained_looking(config: Config) -> CrystalNetwork:
    """A network whose BatchNorm statistics are not the initial ones."""
    torch.manual_seed(0)
    network = build_network(config)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
            torch.nn.init.uniform_(module.weight, 0.8, 1.2)
    return network.eval()


def modules_alone(network: CrystalNetwork, conditions: tuple[Tensor, ...], points: Tensor) -> Tensor:
    """The coordinate network from its modules, BatchNorm unfolded, FiLM spelled out."""
    film = conditions[0]
    if isinstance(network, PaperNetwork):
        phase = 2 * torch.pi * ((points - 0.5) @ network.rows.T)
        p = network.position(torch.cat([phase.sin(), phase.cos()], dim=-1))
        return torch.stack([network.regressor(pair[0, 0] * p + pair[0, 1]) for pair in film])
    assert isinstance(network, PeriodicNetwork)
    phase = 2 * torch.pi * (points @ network.rows.T)
    h = network.position(torch.cat([phase.sin(), phase.cos()], dim=-1))
    h = torch.relu(film[:, 0, 0, None] * h + film[:, 0, 1, None])
    for i, layer in enumerate(network.layers, 1):
        h = h + torch.relu(film[:, i, 0, None] * layer(h) + film[:, i, 1, None])
    return torch.nn.functional.softplus(network.head(h).squeeze(-1)) * conditions[1][:, None]


@pytest.mark.parametrize("config", [SMALL, PAPER], ids=["small", "paper"])
@pytest.mark.parametrize("kernels", ["native", "reference"])
def test_networks_decode_as_their_modules_do(config: Config, kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYSTALNET_OPS", kernels)
    network = trained_looking(config)
    z = torch.randn(2, 2 * config.model.latent, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        conditions = network.condition(z)
        points = some_points(40)
        expected = modules_alone(network, conditions, points)
        assert relative_error(network.decode(conditions, points), expected) < FLOAT32
        # Points of each crystal's own
        own = network.decode(conditions, points.expand(2, -1, -1))
        assert relative_error(own, expected) < FLOAT32


@pytest.mark.parametrize("kernels", ["native", "reference"])
def test_density_grid_under_autocast(kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYSTALNET_OPS", kernels)
    network = trained_looking(SMALL)
    z = torch.randn(2, 2 * SMALL.model.latent, generator=torch.Generator().manual_seed(3))
    expected = network.density_grid(z, grid=6)
    assert expected.shape == (2, 6, 6, 6) and expected.dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = network.density_grid(z, grid=6)
    assert 0 < relative_error(half, expected) < 5e-2  # the FiLM head is in bfloat16 too


@pytest.mark.parametrize("config", [SMALL, PAPER], ids=["small", "paper"])
def test_training_reaches_every_weight(config: Config) -> None:
    network = trained_looking(config).train()
    network.decode(network.condition(torch.randn(4, 2 * config.model.latent)), some_points(30)).sum().backward()
    for name, parameter in network.named_parameters():
        if not name.startswith(("pattern_", "composition_", "formula_")):
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("build", [periodic, paper])
def test_cuda_equals_cpu(build: Callable[..., Case], bf16: bool) -> None:
    if native_cuda() is None:
        pytest.skip("built without CUDA")
    decoder, film, amplitude = case = build()
    for count in (1, 97, 1000):
        points = some_points(count)
        ours = film_decode(points.cuda(), mapped(decoder, Tensor.cuda), film.cuda(), amplitude.cuda(), bf16).cpu()
        assert relative_error(ours, exact(points, case)) < (BFLOAT16 if bf16 else FLOAT32)

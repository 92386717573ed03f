"""Which implementation of a kernel runs: whichever measured faster, once a machine."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
import torch

from crystalnet.commands import info as about
from crystalnet.model.base import grid_points
from crystalnet.model.config import PAPER, SMALL
from crystalnet.model.network import build_network
from crystalnet.ops import choice, film_decode, film_decode_op, powder_pattern, sampling, ssim
from crystalnet.ops._native import native
from crystalnet.ops.choice import Calls, Choice, choose
from crystalnet.ops.decoder import Decoder, Layer, LayerFlag, reference_film_decode, torch_film_decode

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that has measured nothing, in a process that remembers nothing."""
    monkeypatch.delenv("CRYSTALNET_OPS", raising=False)
    monkeypatch.setenv("CRYSTALNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(choice, "_known", {})
    return tmp_path / "cache"


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a new process knows."""
    monkeypatch.setattr(choice, "_known", {})


def taking(native_s: float, reference_s: float, measured: list[str] | None = None) -> Callable[[], Calls]:
    """Two implementations of these durations; `measured` gets a line each time they are asked for."""

    def calls() -> Calls:
        if measured is not None:
            measured.append("measured")
        return {"native": lambda: time.sleep(native_s), "reference": lambda: time.sleep(reference_s)}

    return calls


@pytest.mark.parametrize(
    ("native_s", "reference_s", "expected"),
    [(0.01, 0.001, "reference"), (0.001, 0.01, "native"), (0.01, 0.01, "native")],
)
def test_the_faster_one_is_taken_and_a_tie_is_native(native_s: float, reference_s: float, expected: str) -> None:
    found = choose("op", CPU, taking(native_s, reference_s))
    assert found.chosen == expected
    assert found.seconds["native"] >= native_s and found.seconds["reference"] >= reference_s


def test_one_disturbed_turn_decides_nothing() -> None:
    turns = iter([0.1, 0.001, 0.1, 0.001, 0.001, 0.001, 0.001])
    calls: Calls = {"native": lambda: time.sleep(next(turns)), "reference": lambda: time.sleep(0.01)}
    assert choice.measured(calls).chosen == "native"


def test_measured_once_a_machine(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    measured: list[str] = []
    for _ in range(3):
        assert choose("op", CPU, taking(0.01, 0.001, measured)).chosen == "reference"
        forget(monkeypatch)
    assert len(measured) == 1
    choose("another", CPU, taking(0.001, 0.01, measured))
    assert len(measured) == 2
    kept = json.loads(choice.cache_file(CPU).read_text())["choices"]  # beside the first, not in its place
    assert {case: entry["chosen"] for case, entry in kept.items()} == {"op": "reference", "another": "native"}
    assert [path for path in cache.iterdir() if "partial" in path.name] == []


@pytest.mark.parametrize("changed", ["processor", "instructions", "torch", "crystalnet", "native", "threads", "limits"])
def test_another_machine_measures_for_itself(changed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[str] = []
    choose("op", CPU, taking(0.001, 0.002, measured))
    machine = dict(choice._machine(CPU))
    assert changed in machine
    monkeypatch.setattr(choice, "_machine", lambda device: tuple((machine | {changed: "other"}).items()))
    assert choose("op", CPU, taking(0.002, 0.001, measured)).chosen == "reference"
    assert len(measured) == 2


def test_threads_and_instruction_limits_are_part_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    before, threads = choice.cache_file(CPU), torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        assert choice.cache_file(CPU) != before
    finally:
        torch.set_num_threads(threads)
    monkeypatch.setenv("CRYSTALNET_CPU", "avx2")
    assert choice.cache_file(CPU) != before


DAMAGED = [
    "",
    "{",
    "[]",
    "null",
    "{}",
    '{"machine": {}, "choices": {}}',
    lambda text: text[: len(text) // 2],
    lambda text: text.replace('"reference"', '"fastest"', 1),
    lambda text: text.replace('"seconds": {', '"seconds": [{').replace("}", "}]", 1),
    lambda text: text.replace('"choices": {', '"choices": [{', 1) + "]",
    lambda text: "\0" * len(text),
    lambda text: text.replace('"reference",', '"native",').replace('"processor": "', '"processor": "another '),
]


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_cache_is_measured_again(damage: str | Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[str] = []
    choose("op", CPU, taking(0.01, 0.001, measured))
    path = choice.cache_file(CPU)
    path.write_text(damage if isinstance(damage, str) else damage(path.read_text()))
    for _ in range(2):  # and is whole again afterwards
        forget(monkeypatch)
        assert choose("op", CPU, taking(0.01, 0.001, measured)).chosen == "reference"
    assert len(measured) == 2


def test_without_a_place_to_keep_it_once_a_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("the user's")
    monkeypatch.setenv("CRYSTALNET_CACHE", str(tmp_path / "file"))
    measured: list[str] = []
    for _ in range(3):
        assert choose("op", CPU, taking(0.01, 0.001, measured)).chosen == "reference"
    assert len(measured) == 1 and (tmp_path / "file").read_text() == "the user's"


@pytest.mark.parametrize("wanted", choice.IMPLEMENTATIONS)
def test_asked_for(wanted: str, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setenv("CRYSTALNET_OPS", wanted)
    measured: list[str] = []
    assert choose("op", CPU, taking(0.001, 0.001, measured)) == Choice(wanted, {})  # type: ignore[arg-type]
    assert not measured and not cache.exists()


def test_threads_of_a_process_measure_once() -> None:
    measured: list[str] = []
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: choose("op", CPU, taking(0.002, 0.001, measured)), range(4)))
    assert len(measured) == 1 and len({id(one) for one in found}) == 1


WORKER = """
import sys, time, torch
from pathlib import Path
from crystalnet.ops.choice import choose
def calls():
    with open(sys.argv[1], "a") as file:
        file.write("measured\\n")
    return {"native": lambda: time.sleep(0.05), "reference": lambda: time.sleep(0.01)}
Path(sys.argv[1] + ".ready" + sys.argv[2]).touch()
while not Path(sys.argv[1] + ".go").exists():
    time.sleep(0.005)
print(choose("op", torch.device("cpu"), calls).chosen)
"""


def test_processes_at_once_measure_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    started = [
        subprocess.Popen([sys.executable, "-c", WORKER, str(log), str(number)], stdout=subprocess.PIPE, text=True)
        for number in range(3)
    ]
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("log.ready*"))) < len(started) and time.monotonic() < deadline:
        time.sleep(0.01)
    Path(f"{log}.go").touch()
    assert [process.communicate(timeout=60)[0] for process in started] == ["reference\n"] * 3
    assert log.read_text() == "measured\n"


def test_a_stopped_process_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setattr(choice, "PATIENCE", 0.05)
    cache.mkdir()
    with open(cache / "kernels.lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert choose("op", CPU, taking(0.01, 0.001)).chosen == "reference"


# --- the operations -----------------------------------------------------------------------------------------------


def _decode(training: bool, bf16: bool) -> None:
    g = torch.Generator().manual_seed(0)
    width, crystals, points = 32, 4, 200
    flags = LayerFlag.FILM | LayerFlag.RELU | LayerFlag.RESIDUAL

    def layer(out: int, inputs: int, flags: LayerFlag = LayerFlag.NONE) -> Layer:
        weight = (torch.randn(out, inputs, generator=g) / inputs**0.5).requires_grad_(training)
        return Layer(weight, torch.zeros(out).requires_grad_(training), flags)

    decoder = Decoder(
        rows=torch.randint(-7, 8, (64, 3), generator=g).float(),
        position=(layer(width, 128),),
        trunk=(layer(width, width, flags), layer(width, width, flags)),
        head=layer(1, width),
        junction_relu=True,
        softplus=True,
    )
    film = torch.ones(crystals, 3, 2, width)
    density = film_decode.film_decode(torch.rand(points, 3, generator=g), decoder, film, torch.ones(crystals), bf16)
    if training:
        density.mean().backward()  # type: ignore[no-untyped-call]
        assert all(layer.weight.grad is not None for layer in decoder.layers)


def _sample() -> None:
    sampling.stratified_sample([torch.rand(4, 9, 9, 9)], torch.arange(32) % 4, 10, 0)


def _compare() -> None:
    ssim.ssim3d_rotations(torch.rand(40, 40, 40), torch.rand(1, 40, 40, 40))


def _simulate() -> None:
    lattices, offsets = (3 * torch.eye(3, dtype=torch.float64)).repeat(20, 1, 1), torch.arange(21)
    powder_pattern.powder_pattern(lattices, offsets, torch.zeros(20, 3, dtype=torch.float64), torch.full((20,), 29))


OPERATIONS: dict[str, tuple[ModuleType, str, str, Callable[[], None]]] = {
    "film_decode float32 inference": (film_decode, "film_decode", "torch_film_decode", lambda: _decode(False, False)),
    "film_decode bfloat16 inference": (film_decode, "film_decode", "torch_film_decode", lambda: _decode(False, True)),
    "film_decode float32 training": (film_decode, "film_decode", "torch_film_decode", lambda: _decode(True, False)),
    "film_decode bfloat16 training": (film_decode, "film_decode", "torch_film_decode", lambda: _decode(True, True)),
    "stratified_sample": (sampling, "stratified_sample", "reference_stratified_sample", _sample),
    "ssim3d_rotations": (ssim, "ssim3d_rotations", "reference_ssim3d_rotations", _compare),
    "powder_pattern": (powder_pattern, "powder_pattern", "reference_pattern", _simulate),
}
SLOW = 0.2  # s, longer than either takes on a busy machine


class _Core:
    """The compiled module, one function of it slower and counted."""

    def __init__(self, function: str, delay: float) -> None:
        self.module, self.function, self.delay, self.calls = native(), function, delay, 0

    def __getattr__(self, name: str) -> object:
        found = getattr(self.module, name)
        return partial(self._slowly, found) if name == self.function else found

    def _slowly(self, found: Callable[..., object], *arguments: object) -> object:
        self.calls += 1
        time.sleep(self.delay)
        return found(*arguments)


@pytest.mark.skipif(native() is None, reason="the native module is not built")
@pytest.mark.parametrize("slow", choice.IMPLEMENTATIONS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_takes_the_faster_one(operation: str, slow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, function, reference, call = OPERATIONS[operation]
    core = _Core(function, SLOW if slow == "native" else 0.0)
    for place in (module, film_decode_op):  # which registers what film_decode calls
        monkeypatch.setattr(place, "native", lambda: core)
    monkeypatch.setattr(film_decode, "WORTH_A_CHOICE", 0)
    original, references = getattr(module, reference), []

    def counted(*arguments: object) -> object:
        references.append(None)
        time.sleep(SLOW if slow == "reference" else 0.0)
        return original(*arguments)

    monkeypatch.setattr(module, reference, counted)
    call()
    assert {found.chosen for found in choice._known.values()} == {"reference" if slow == "native" else "native"}
    (case,) = (case for _, case in choice._known)
    assert all(word in case for word in operation.split())
    core.calls, references[:] = 0, []
    call()  # nothing is measured any more
    assert (core.calls, len(references)) == ((0, 1) if slow == "native" else (1, 0))


def test_little_work_measures_nothing(cache: Path) -> None:
    sampling.stratified_sample([torch.rand(4, 9, 9, 9)], torch.arange(4), 3, 0)
    ssim.ssim3d_rotations(torch.rand(9, 9, 9), torch.rand(1, 9, 9, 9))
    one = torch.zeros(1, 3, dtype=torch.float64)
    _decode(True, True)
    powder_pattern.powder_pattern(
        3 * torch.eye(3, dtype=torch.float64)[None], torch.arange(2), one, torch.full((1,), 29)
    )
    assert not choice._known and not cache.exists()


@pytest.mark.skipif(native() is None, reason="the native module is not built")
def test_training_that_would_fill_memory_is_native(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(film_decode, "WORTH_A_CHOICE", 0)
    monkeypatch.setattr(film_decode, "MOST_ACTIVATIONS", 1000)
    monkeypatch.setattr(film_decode, "torch_film_decode", None)
    _decode(True, True)
    assert not choice._known
    with pytest.raises(TypeError):  # the reference is asked for inference, which keeps none
        _decode(False, True)


def test_torch_decodes_the_same_by_parts() -> None:
    torch.manual_seed(0)
    layer = Layer(torch.randn(8, 6), torch.randn(8))
    head = Layer(torch.randn(1, 8), torch.randn(1))
    decoder = Decoder(torch.randn(3, 3), (layer,), (), head)
    points, film = torch.rand(1_501, 3), torch.randn(3, 1, 2, 8)
    whole = reference_film_decode(points, decoder, film)
    torch.testing.assert_close(torch_film_decode(points, decoder, film), whole)
    own = points.expand(3, -1, -1)
    torch.testing.assert_close(torch_film_decode(own, decoder, film), whole)
    assert torch_film_decode(points[:0], decoder, film).shape == (3, 0)


def test_info_says_what_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[str] = []

    def quickly(calls: Calls, device: torch.device) -> Choice:
        measured.append("measured")
        return Choice("reference", {"native": 0.5, "reference": 0.25})

    monkeypatch.setattr(choice, "measured", quickly)
    said = "\n".join(about._kernels())
    for case in (
        "powder_pattern float64",
        "film_decode small bfloat16, forward and backward",
        "film_decode paper float32",
    ):
        assert f"{case}: reference (native 500.00 ms, reference 250.00 ms)" in said
    assert str(choice.cache_file(CPU)) in said
    count = len(measured)
    forget(monkeypatch)
    assert "\n".join(about._kernels()) == said and len(measured) == count
    monkeypatch.setenv("CRYSTALNET_OPS", "native")
    assert "film_decode small float32: native (asked for by CRYSTALNET_OPS)" in "\n".join(about._kernels())


@pytest.mark.benchmark
@pytest.mark.skipif(native() is None, reason="the native module is not built")
def test_the_default_is_never_slower_than_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole maps and batches as the commands ask for, in turn; the choice itself was measured on parts of them."""

    def seconds(call: Callable[[], object], ops: str | None) -> float:
        monkeypatch.setenv("CRYSTALNET_OPS", ops) if ops else monkeypatch.delenv("CRYSTALNET_OPS", raising=False)
        began = time.perf_counter()
        call()
        return time.perf_counter() - began

    slower = {}
    for name, call in work().items():
        seconds(call, None)  # chooses
        turns = [(seconds(call, None), seconds(call, "reference")) for _ in range(5)]
        default, reference = (min(side) for side in zip(*turns, strict=True))
        if default > 1.1 * reference:
            slower[name] = f"{default:.4f} s, reference {reference:.4f} s"
    assert not slower


def work() -> dict[str, Callable[[], object]]:
    """Calls of the sizes that solve, evaluate and train make."""
    points, calls = grid_points(50, "cpu"), {}
    for config, count in ((SMALL, 60_000), (PAPER, 12_000)):
        network = build_network(config).eval()
        with torch.no_grad():
            film, *amplitude = network.condition(torch.randn(5, 2 * config.model.latent))
        decoder, last = network.decoder(), (amplitude or [None])[0]
        crystals = 5 if config is SMALL else 1
        for bf16 in (True, False):
            arguments = (points[:count], decoder, film[:crystals], None if last is None else last[:crystals], bf16)
            calls[f"{config.preset} bf16={bf16}"] = torch.no_grad()(partial(film_decode.film_decode, *arguments))
    network, train = build_network(SMALL), SMALL.train
    with torch.no_grad():
        film, amplitude = network.condition(torch.randn(train.batch, 2 * SMALL.model.latent))

    def step(bf16: bool) -> None:
        network.zero_grad()
        some = torch.rand(train.samples**3, 3)
        leaf = film.detach().requires_grad_()
        film_decode.film_decode(some, network.decoder(), leaf, amplitude, bf16).mean().backward()

    calls |= {f"training bf16={bf16}": partial(step, bf16) for bf16 in (True, False)}
    return calls | {"sample": _sample, "compare": _compare, "simulate": _simulate}

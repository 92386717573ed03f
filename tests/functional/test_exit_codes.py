"""Exit codes: a bug of ours is 70 with one line, never 1; a model file that cannot be used is 2, whatever is wrong."""

from __future__ import annotations

import importlib
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from crystalnet.cli import main
from crystalnet.commands.samples import Options, Sample
from crystalnet.commands.solve import _solve_all
from crystalnet.model.checkpoint import load_model, load_tensors, save_model, save_tensors
from crystalnet.model.choice import shipped_model
from crystalnet.model.config import SMALL, Config, ModelConfig
from crystalnet.model.network import build_network
from crystalnet.records import InputError
from crystalnet.runtime.faults import FAULT, SHOW

EXAMPLES = Path(__file__).parents[2] / "examples"
TINY = replace(SMALL, model=ModelConfig(latent=16, width=32, layers=2, frequencies=32))


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["crystalnet", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


FAULTS: dict[str, tuple[BaseException, int, str]] = {
    "a bug": (ZeroDivisionError("division"), 70, "internal fault (ZeroDivisionError: division)"),
    "a bug that says much": (AssertionError("a\nb\n" + "c" * 999), 70, "internal fault (AssertionError: a b ccc"),
    "a bug that says nothing": (RecursionError(), 70, "internal fault (RecursionError:"),
    "no memory": (MemoryError(), 70, "internal fault (MemoryError:"),
    "bad input": (InputError("no such thing"), 2, "crystalnet: no such thing"),
    "a full disk": (OSError(28, "No space left on device", "x.npz"), 2, "x.npz: No space left on device"),
    "Ctrl-C": (KeyboardInterrupt(), 130, "interrupted"),
}


@pytest.mark.parametrize("case", FAULTS)
@pytest.mark.parametrize("shown", [False, True])
def test_what_stops_a_command(
    case: str, shown: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error, code, said = FAULTS[case]

    def broken(*arguments: object) -> str:
        raise error

    monkeypatch.setattr("crystalnet.commands.simulate.simulated_file", broken)
    monkeypatch.setenv(SHOW, str(int(shown)))
    assert run(monkeypatch, "simulate", EXAMPLES / "Zr3Sb4Pt3.cif") == code
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert lines[-1].startswith("crystalnet: ") and said in lines[-1]
    assert (len(lines) > 1) == (shown and code == FAULT)
    if code == FAULT:
        assert f"{SHOW}=1" in lines[-1] and len(lines[-1]) < 500


@pytest.mark.parametrize(
    "arguments", [("simulate",), ("simulate", "--colour", "x"), ("paint",), ("solve", "--jobs", "0", "x")]
)
def test_misuse_is_2(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *arguments) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_reader_that_has_gone_is_no_news() -> None:
    command = [sys.executable, "-c", "from crystalnet.cli import main; main()", "simulate", EXAMPLES / "Zr3Sb4Pt3.cif"]
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


WORKER = """
import os
def guarded(sample):
    if sample.pattern.name == "b.xy":
        os.abort()
    return 0, {}, ""
"""


def test_a_worker_that_dies_costs_its_pattern_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "worker_of_a_test.py").write_text(WORKER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("crystalnet.commands.solve._guarded", importlib.import_module("worker_of_a_test").guarded)
    samples = [Sample(Path(f"{name}.xy"), Path(name), Options()) for name in "abc"]
    results = list(_solve_all(samples, 2, None))
    assert [code for code, *_ in results] == [0, FAULT, 0]
    assert "b.xy: the process at work on it died" in results[1][2]


# --- model files --------------------------------------------------------------------------------------------------


def tiny(path: Path, change: Callable[[dict[str, torch.Tensor]], object] = lambda weights: None, **about: Any) -> None:
    """A model file with something wrong about it."""
    weights = build_network(TINY).state_dict()
    change(weights)
    save_tensors(path, weights, {"config": TINY.to_dict()} | about)


def config(**model: Any) -> dict[str, Any]:
    return TINY.to_dict() | {"model": TINY.to_dict()["model"] | model}


def spoilt(value: float) -> Callable[[dict[str, torch.Tensor]], object]:
    return lambda weights: weights["head.weight"].view(-1)[3:4].fill_(value)


def shipped_with(path: Path, start: int, content: bytes) -> None:
    whole = bytearray(shipped_model("cubic").read_bytes()[:200_000])
    whole[start : start + len(content)] = content
    path.write_bytes(whole)


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", b"\x80\x02}q\x00.")


MODELS: dict[str, tuple[Callable[[Path], object], str]] = {
    "NaN": (lambda path: tiny(path, spoilt(float("nan"))), "head.weight holds values that are not finite"),
    "infinity": (lambda path: tiny(path, spoilt(float("-inf"))), "head.weight holds values that are not finite"),
    "another shape": (lambda path: tiny(path, config=config(width=16)), "do not fit"),
    "another depth": (lambda path: tiny(path, config=config(layers=3)), "do not fit"),
    "an absurd width": (lambda path: tiny(path, config=config(width=10**12)), "width"),
    "an absurd depth": (lambda path: tiny(path, config=config(layers=10**9)), "layers"),
    "an absurd frequency": (lambda path: tiny(path, config=config(max_frequency=1e30)), "max_frequency"),
    "no frequency": (lambda path: tiny(path, config=config(max_frequency=float("nan"))), "max_frequency"),
    "a width in words": (lambda path: tiny(path, config=config(width="32")), "configuration"),
    "a width of a half": (lambda path: tiny(path, config=config(width=32.5)), "width"),
    "an unknown setting": (lambda path: tiny(path, config=config(depth=3)), "depth"),
    "an unknown system": (lambda path: tiny(path, config=config() | {"system": "square"}), "square"),
    "a configuration that is a list": (lambda path: tiny(path, config=[1, 2]), "configuration"),
    "no configuration": (lambda path: save_tensors(path, {"x": torch.ones(2)}, {}), "configuration"),
    "a weight missing": (lambda path: tiny(path, lambda weights: weights.pop("head.bias")), "head.bias"),
    "a header that is a list": (lambda path: save_tensors(path, {"x": torch.ones(2)}, [1]), "CrystalNet"),  # type: ignore[arg-type]
    "an absurd header": (lambda path: shipped_with(path, 0, struct.pack("<Q", 2**62)), "not a CrystalNet model"),
    "a long header": (lambda path: shipped_with(path, 0, struct.pack("<Q", 90_000_000)), "not a CrystalNet model"),
    "half a header": (lambda path: path.write_bytes(shipped_model("cubic").read_bytes()[:900]), "not a CrystalNet"),
    "half a file": (lambda path: shipped_with(path, 0, b""), "not a CrystalNet model"),
    "a broken header": (lambda path: shipped_with(path, 20, b'"}{]'), "not a CrystalNet model"),
    "nothing": (lambda path: path.write_bytes(b""), "not a CrystalNet model"),
    "a pickle": (lambda path: path.write_bytes(pickle.dumps({"x": 1})), "pickle"),
    "a torch file": (lambda path: torch.save({"x": torch.ones(2)}, path), "pickle"),
    "a zip": (zipped, "pickle"),
    "a folder": (lambda path: path.mkdir(), "no such model file"),
    "another program's": (
        lambda path: __import__("safetensors.torch").torch.save_file({"x": torch.ones(2)}, path), "another program"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MODELS)
def test_a_model_that_cannot_be_used_is_named_in_one_line(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make, said = MODELS[case]
    file = tmp_path / "model.safetensors"
    make(file)
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "solve", EXAMPLES / "Zr3Sb4Pt3.xy", "--elements", "Zr,Sb,Pt", "--model", file) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert len(lines) == 1 and str(file) in lines[0] and said in lines[0] and len(lines[0]) < 400
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


@pytest.mark.parametrize(("system", "said"), [("cubic", "cubic"), ("auto", "cubic")])
def test_a_model_of_another_system(
    system: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sample is cubic, the model was taught trigonal crystals."""
    monkeypatch.chdir(tmp_path)
    asked = ("solve", EXAMPLES / "Zr3Sb4Pt3.xy", "--elements", "Zr,Sb,Pt", "--wavelength", "CuKa", "--system", system)
    assert run(monkeypatch, *asked, "--model", shipped_model("trigonal")) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("crystalnet: ")]
    assert "is of the trigonal system" in line and said in line and not list(tmp_path.iterdir())


def test_a_model_is_loaded_for_its_system_only(tmp_path: Path) -> None:
    tiny(tmp_path / "m.safetensors")
    assert load_model(tmp_path / "m.safetensors", "cubic").config == TINY
    with pytest.raises(InputError, match="a model of the cubic system, not the trigonal one"):
        load_model(tmp_path / "m.safetensors", "trigonal")


CHECKPOINTS: dict[str, Callable[[Path], object]] = {
    "a model": lambda path: save_model(path, build_network(TINY).state_dict(), TINY, {}),
    "another state": lambda path: tiny(path, state={"colour": "blue"}),
    "a state that is a list": lambda path: tiny(path, state=[1]),
    "no optimiser's keys": lambda path: save_tensors(
        path,
        {f"network.{k}": v for k, v in build_network(TINY).state_dict().items()} | {"optimiser.x": torch.ones(1)},
        {"config": TINY.to_dict(), "state": {}},
    ),
}


@pytest.mark.parametrize("case", CHECKPOINTS)
def test_what_is_no_checkpoint_is_not_resumed(case: str, tmp_path: Path) -> None:
    from crystalnet.training.run import Run

    CHECKPOINTS[case](tmp_path / "last.safetensors")
    with pytest.raises(InputError, match="not the checkpoint of such a run"):
        Run(TINY).load(tmp_path / "last.safetensors")


def test_headers_survive_the_checks() -> None:
    tensors, about = load_tensors(shipped_model("cubic"))
    assert tensors and Config.from_dict(json.loads(json.dumps(about["config"]))).system == "cubic"

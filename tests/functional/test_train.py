"""Training as an engine: several processes that equal one, the log, and what happens when something goes wrong."""

from __future__ import annotations

import csv
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from crystalnet.commands.train import train_here
from crystalnet.crystal import types as crystal_types
from crystalnet.data.dataset import CrystalDataset
from crystalnet.data.generator import generate
from crystalnet.data.store import write_store
from crystalnet.data.structure_types import make_type
from crystalnet.model.checkpoint import load_tensors
from crystalnet.model.config import PAPER, SMALL, Config, ModelConfig
from crystalnet.model.losses import l1
from crystalnet.model.network import build_network
from crystalnet.ops.decoder import decoder_flop, reference_film_decode
from crystalnet.records import InputError
from crystalnet.training.log import Report, TrainingLog
from crystalnet.training.run import Run
from crystalnet.training.speed import Speed
from crystalnet.training.team import Team, together
from crystalnet.training.train import LAST, check_devices, train
from crystalnet.training.validation import validate

# Float32: the bfloat16 products of half a batch round otherwise than those of the whole.
TINY = replace(
    SMALL,
    model=ModelConfig(latent=16, width=32, layers=2, frequencies=32),
    train=replace(SMALL.train, batch=8, samples=4, epochs=1, warmup_steps=2, bf16=False),
)
STEPS = 3


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    types = [r for r in crystal_types.types_table("cubic") if r["protostructure"] == "AB_cF8_225_a_b"]
    made = list(generate([make_type(r) for r in types], 40))
    directory = tmp_path_factory.mktemp("data") / "cubic"
    train_split = (dict(r, split="train") for r in made[: STEPS * 8])
    write_store(directory, train_split, {"source": "test", "crystalnet": "0", "system": "cubic"})
    return directory


@pytest.fixture(scope="module")
def dataset(data: Path) -> CrystalDataset:
    return CrystalDataset(data)


@pytest.fixture(autouse=True)
def cheap_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crystalnet.training.train.validate", lambda network, dataset, oracle: 0.25)


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def total_loss(out: Path) -> float:
    """Of all steps: a row is the mean since the one before, and a slow machine writes more rows."""
    total, last = 0.0, 0
    for row in rows(out):
        total, last = total + float(row["loss"]) * (int(row["step"]) - last), int(row["step"])
    return total


def test_two_processes_take_the_steps_of_one(data: Path, tmp_path: Path) -> None:
    for count, name in ((1, "one"), (2, "two")):
        together(partial(train_here, TINY, data, tmp_path / name, False, None), "cpu", count)
    (one, about_one), (two, about_two) = (load_tensors(tmp_path / name / LAST) for name in ("one", "two"))
    assert about_one["state"]["step"] == about_two["state"]["step"] == STEPS
    assert total_loss(tmp_path / "one") == pytest.approx(total_loss(tmp_path / "two"), abs=1e-5)
    for name in one:  # Adam divides by the gradient's size, so where that is rounding the weights may part a little
        assert (one[name] - two[name]).norm() <= 1e-4 * one[name].norm() + 1e-7


def test_the_documented_commands_go_together(tmp_path: Path) -> None:
    """The first two of docs/training.md, with fewer crystals and less time."""
    page = Path(__file__).parents[2] / "docs" / "training.md"
    lines = [line for line in page.read_text().splitlines() if line.startswith("    crystalnet")]
    commands = [line.split("#")[0].split() for line in lines[:2]]
    assert [words[1] for words in commands] == ["fetch", "train"]
    made, trained = commands
    made[made.index("--limit") + 1] = "24"
    for words in (made, [*trained, "--max-minutes", "0.05"]):
        command = [str(Path(sys.executable).parent / words[0]), *words[1:]]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
    assert (tmp_path / "runs" / "cubic" / "model.safetensors").is_file()


def test_what_stops_one_process_stops_all_in_one_line(data: Path, tmp_path: Path) -> None:
    wild = replace(TINY, train=replace(TINY.train, epochs=9, learning_rate=1e30, warmup_steps=0))
    with pytest.raises(InputError, match="diverged at step") as caught:
        together(partial(train_here, wild, data, tmp_path, False, None), "cpu", 2)
    assert "\n" not in str(caught.value)


def test_torchrun_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    environment = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "localhost", "MASTER_PORT": port}
    for name, value in environment.items():
        monkeypatch.setenv(name, str(value))
    inside: list[tuple[str, bool]] = []
    together(lambda device: inside.append((device, torch.distributed.is_initialized())), "cpu", 7)
    assert inside == [("cpu", True)] and not torch.distributed.is_initialized()


@pytest.mark.parametrize(("config", "count"), [(TINY, 3), (replace(PAPER, system="cubic"), 2)])
def test_what_several_processes_cannot_train(config: Config, count: int) -> None:
    with pytest.raises(InputError, match=f"--devices {count}"):
        check_devices(config, "cpu", count)


def test_the_log_goes_on_where_the_checkpoint_does(
    dataset: CrystalDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crystalnet.training.log.ROW_SECONDS", 0)
    config = replace(TINY, train=replace(TINY.train, epochs=3))

    def stop_at(step: int, how: type[BaseException]) -> Callable[[Report], None]:
        def progress(report: Report) -> None:
            if report.step == step:
                raise how

        return progress

    with pytest.raises(KeyboardInterrupt):
        train(config, dataset, tmp_path, progress=stop_at(5, KeyboardInterrupt))
    with pytest.raises(ZeroDivisionError):  # a crash: the log is ahead of the checkpoint
        train(config, dataset, tmp_path, resume=True, progress=stop_at(8, ZeroDivisionError))
    assert [int(row["step"]) for row in rows(tmp_path)] == list(range(1, 9))
    train(config, dataset, tmp_path, resume=True)
    logged = rows(tmp_path)
    assert [int(row["step"]) for row in logged] == list(range(1, 10))
    assert [row["ssim"] for row in logged] == [""] * 8 + ["0.25"]
    assert all(float(row["points_per_second"]) > 0 and float(row["mfu"]) > 0 for row in logged)


def test_tensorboard_reads_each_step_once(dataset: CrystalDataset, tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with closing(TrainingLog(tmp_path, 0)) as log:
        for step in (1, 2, 3):
            log.add(Report(step, 9, 100.0 * step, step, 1e-3, 1.0, 0.5, -1), None)
    with closing(TrainingLog(tmp_path, 2)) as log:
        log.add(Report(3, 9, 300.0, 30.0, 1e-3, 1.0, 0.5, 0.7), 0.7)
    events = reader.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(1, 1.0), (2, 2.0), (3, 30.0)]
    assert [e.step for e in events.Scalars("ssim")] == [3]


def test_a_loss_that_is_not_finite_stops_the_run_and_spares_the_checkpoint(
    dataset: CrystalDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses: list[torch.Tensor] = []

    def broken(*arguments: Any) -> torch.Tensor:
        losses.append(l1(*arguments))
        return losses[-1] if len(losses) < 3 else losses[-1] * float("nan")

    with monkeypatch.context() as patched:
        patched.setattr("crystalnet.training.train.SAVE_SECONDS", -1)
        patched.setattr("crystalnet.training.run.l1", broken)
        with pytest.raises(InputError, match="diverged at step 2") as caught:
            train(TINY, dataset, tmp_path)
    assert "\n" not in str(caught.value)
    tensors, about = load_tensors(tmp_path / LAST)
    assert about["state"]["step"] == 2 and all(tensor.isfinite().all() for tensor in tensors.values())
    train(TINY, dataset, tmp_path, resume=True)


def test_a_signal_lets_the_step_end_and_saves(dataset: CrystalDataset, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def progress(report: Report) -> None:
        if report.step == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        train(TINY, dataset, tmp_path, progress=progress)
    assert load_tensors(tmp_path / LAST)[1]["state"]["step"] == 2  # it came after the first step
    assert signal.getsignal(signal.SIGTERM) == before


def test_synchronised_batchnorm_stays_in_the_training_network() -> None:
    run = Run(PAPER, team=Team(0, 2))
    assert any(isinstance(module, torch.nn.SyncBatchNorm) for module in run.network.modules())
    assert not any(isinstance(module, torch.nn.SyncBatchNorm) for module in run.averaged_network().modules())
    assert Speed(run).flop_per_second > 1e8


@pytest.mark.parametrize("preset", [SMALL, PAPER])
def test_the_operations_counted_are_those_that_torch_counts(preset: Config) -> None:
    network, paper = build_network(preset).eval(), preset is PAPER
    decoder, film = network.decoder(), torch.zeros(2, 1 if paper else 5, 2, preset.model.width)
    points = torch.rand(2, 10, 3) if paper else torch.rand(10, 3)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        reference_film_decode(points, decoder, film, torch.ones(2))
    assert decoder_flop(decoder, 10, 2, shared=not paper) == pytest.approx(counter.get_total_flops(), rel=0.01)


def slow_validation(seconds: float) -> Callable[..., float]:
    """Stands for the paper's, which takes minutes on a processor: so many seconds, in steps of a hundredth."""

    def validate(network: torch.nn.Module, dataset: CrystalDataset, oracle: bool, **limits: Any) -> float:
        end = min(time.monotonic() + seconds, limits.get("until") or math.inf)
        while time.monotonic() < end:
            time.sleep(0.01)
        return 0.5

    return validate


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("when", ["between epochs", "at the end"])
def test_a_signal_stops_a_validation(
    number: signal.Signals, when: str, dataset: CrystalDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(TINY, train=replace(TINY.train, epochs=2))
    train(config, dataset, tmp_path / "whole")
    with monkeypatch.context() as patched:
        patched.setattr("crystalnet.training.train.validate", slow_validation(60))
        if when == "between epochs":
            patched.setattr("crystalnet.training.train.VALIDATION_SECONDS", -1)
        saved = threading.Event()
        save, began = Run.save, time.monotonic()

        def save_and_signal(run: Run, path: Path) -> None:
            save(run, path)
            if not saved.is_set() and run.state.step == (STEPS if when == "between epochs" else 2 * STEPS):
                saved.set()  # what is validated next has been saved
                threading.Timer(0.3, os.kill, (os.getpid(), number)).start()

        patched.setattr(Run, "save", save_and_signal)
        with pytest.raises(KeyboardInterrupt):
            train(config, dataset, tmp_path / "parts")
        assert saved.is_set() and time.monotonic() - began < 20
    assert not (tmp_path / "parts" / "model.safetensors").exists()
    train(config, dataset, tmp_path / "parts", resume=True)
    assert (tmp_path / "parts" / "model.safetensors").exists() and rows(tmp_path / "parts")[-1]["ssim"] == "0.25"
    one, two = (load_tensors(tmp_path / name / LAST)[0] for name in ("whole", "parts"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_kill_within_the_last_validation_costs_nothing_but_it(
    dataset: CrystalDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(network: torch.nn.Module, dataset: CrystalDataset, oracle: bool) -> float:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr("crystalnet.training.train.validate", killed)
        with pytest.raises(ZeroDivisionError):
            train(TINY, dataset, tmp_path)
    monkeypatch.setattr(Run, "one_step", lambda *arguments: pytest.fail("a step was taken twice"))
    model = train(TINY, dataset, tmp_path, resume=True)
    assert load_tensors(model)[1]["validation"]["ssim"] == 0.25


def test_validation_counts_in_the_minutes(
    dataset: CrystalDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time is foreseen and left; where it takes longer all the same, the clock ends it."""
    asked: list[int] = []

    def validate(network: torch.nn.Module, dataset: CrystalDataset, oracle: bool, crystals: int, until: float) -> float:
        asked.append(crystals)
        return slow_validation(60)(network, dataset, oracle, until=until)

    monkeypatch.setattr("crystalnet.training.train.validate", validate)
    monkeypatch.setattr("crystalnet.training.speed.Speed.seconds_of_map", lambda speed: 0.1 if speed.steps else 0.0)
    minutes, began = 0.1, time.monotonic()
    train(replace(TINY, train=replace(TINY.train, epochs=10**6)), dataset, tmp_path, max_minutes=minutes)
    assert 60 * minutes - 1 < time.monotonic() - began < 60 * minutes + 5  # and what starting takes
    assert asked == [4]  # a tenth of six seconds, at 0.13 s each
    state = load_tensors(tmp_path / LAST)[1]["state"]
    assert state["reserve"] == pytest.approx(0.52) and state["seconds"] == pytest.approx(60 * minutes, abs=1)


def test_no_crystal_is_validated_after_the_time(dataset: CrystalDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the real validation
    decoded: list[int] = []
    network = build_network(TINY).eval()
    grid = network.density_grid

    def density_grid(z: torch.Tensor) -> torch.Tensor:
        decoded.append(len(z))
        return grid(z)

    monkeypatch.setattr(network, "density_grid", density_grid)
    assert -1 <= validate(network, dataset, until=time.monotonic() - 1) <= 1 and decoded == [1]
    assert -1 <= validate(network, dataset, oracle=True, crystals=3) <= 1 and decoded == [1] + [1] * 6

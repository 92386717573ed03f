"""Data sets survive kills and tell damage: `fetch`, the features, `data verify`, `train`."""

from __future__ import annotations

import json
import multiprocessing
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from crystalnet.cli import main
from crystalnet.crystal import types as crystal_types
from crystalnet.crystal.record_file import dump_json
from crystalnet.data.dataset import CrystalDataset
from crystalnet.data.fetch import fetch_prototypes
from crystalnet.data.generator import generate
from crystalnet.data.splits import Splits
from crystalnet.data.store import write_store
from crystalnet.data.structure_types import embedded_types
from crystalnet.records import InputError
from crystalnet.solving.from_catalogue import own_crystals

ALL_TYPES = crystal_types.types_table("cubic")


@pytest.fixture(autouse=True)
def few_types(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets of small cells: the tests are about files."""
    names = {"AB_cF8_225_a_b", "ABC3_cP5_221_a_b_c", "AB_cP2_221_a_b"}
    rows = tuple(r for r in ALL_TYPES if r["protostructure"] in names)
    monkeypatch.setattr("crystalnet.data.structure_types.types_table", lambda system: rows)
    monkeypatch.setattr("crystalnet.data.further_types.types_table", lambda system: rows)


@pytest.fixture
def dft_set(tmp_path: Path) -> Path:
    """Five crystals with stored maps."""
    types, types_row = embedded_types("cubic"), crystal_types.types_table("cubic")[0]
    records = list(generate(types, 5))
    rng = np.random.default_rng(0)
    for record in records:
        record["density"] = rng.random((50, 50, 50))
    about = {"source": "test", "crystalnet": "0", "system": "cubic", "density": "dft"}
    write_store(tmp_path / "dft", records, about, [{"id": "mp-1", "reason": "no charge density"}], [types_row])
    return tmp_path / "dft"


def contents(directory: Path) -> dict[str, str]:
    files = sorted(p for p in directory.rglob("*") if p.is_file())
    return {str(p.relative_to(directory)): sha256(p.read_bytes()).hexdigest() for p in files}


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["crystalnet", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def test_stored_maps_are_the_ones_trained_on(dft_set: Path) -> None:
    dataset = CrystalDataset(dft_set)
    shard = np.load(dft_set / "maps-00000.npy")  # numpy alone reads it
    assert shard.shape == (5, 125_000) and shard.dtype == np.float16
    expected = np.random.default_rng(0).random((5, 50, 50, 50))
    assert dataset.density(3) == pytest.approx(expected[3], abs=1e-3)
    assert not list((dft_set / "features").glob("maps*"))


@pytest.mark.parametrize(
    "file",
    [
        "maps-00000.npy",
        "lattices.npy",
        "records.jsonl",
        "offsets.npy",
        "failures.jsonl",
        "types.jsonl.gz",
        "manifest.json",
    ],
)
def test_a_flipped_byte_or_a_missing_file_is_named(
    file: str, dft_set: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "data", "verify", dft_set) == 0
    content = (dft_set / file).read_bytes()
    for damage in ("flipped", "missing"):
        if damage == "flipped":
            middle = content.index(b'"count": 5') + 9 if file == "manifest.json" else len(content) * 2 // 3
            (dft_set / file).write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
        else:
            (dft_set / file).unlink()
        for command in (("data", "verify", dft_set), ("train", "--data", dft_set, "--out", dft_set / "run")):
            capsys.readouterr()
            assert run(monkeypatch, *command) == 2
            lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
            assert len(lines) == 1 and file in lines[0]
            assert not (dft_set / "run").exists()


def test_a_damaged_feature_is_named_and_a_missing_one_made_again(tmp_path: Path) -> None:
    fetch_prototypes("cubic", tmp_path / "set", 12, jobs=1)
    CrystalDataset(tmp_path / "set")
    before = contents(tmp_path / "set")
    shard = tmp_path / "set" / "features" / "maps-00000.npy"
    content = bytearray(shard.read_bytes())
    content[999_999] ^= 4
    shard.write_bytes(content)
    with pytest.raises(InputError, match=r"maps-00000\.npy: damaged"):
        CrystalDataset(tmp_path / "set")
    shard.unlink()
    CrystalDataset(tmp_path / "set")
    assert contents(tmp_path / "set") == before


def test_many_shards_are_one_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch_prototypes("cubic", tmp_path / "set", 20, jobs=1)
    whole = CrystalDataset(tmp_path / "set")
    densities = [whole.density(i) for i in range(20)]
    shutil.rmtree(tmp_path / "set" / "features")
    monkeypatch.setattr("crystalnet.data.dataset.SHARD", 8)
    sharded = CrystalDataset(tmp_path / "set")
    assert [len(shard) for shard in sharded.maps] == [8, 8, 4]
    assert all(np.array_equal(sharded.density(i), densities[i]) for i in range(20))
    assert np.array_equal(sharded.patterns, whole.patterns)


def killed_at_random(work: Callable[[], object], seconds: float, kills: int) -> None:
    """Run the work in processes that are killed at random moments of the seconds that it takes, then to its end."""
    rng = random.Random(0)
    for _ in range(kills):
        process = multiprocessing.get_context("fork").Process(target=work)
        process.start()
        process.join(rng.uniform(0.05, 0.5) * seconds)
        process.kill()
        process.join()
        process.close()
    work()


def test_killed_anywhere_and_resumed_is_byte_identical(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    monkeypatch.setattr("crystalnet.data.generator.BATCH", 4)
    monkeypatch.setattr("crystalnet.data.dataset.SHARD", 8)

    started = time.monotonic()
    fetch_prototypes("cubic", whole, 50, jobs=1)
    killed_at_random(lambda: fetch_prototypes("cubic", parts, 50, jobs=1), time.monotonic() - started, 4)
    assert contents(parts) == contents(whole)
    assert {path.name for path in tmp_path.iterdir()} == {"whole", "parts"}

    started = time.monotonic()
    CrystalDataset(whole)
    killed_at_random(lambda: CrystalDataset(parts), time.monotonic() - started, 4)
    (parts / "features" / "maps-00001.4711.partial.npy").write_bytes(b"half")  # as a kill may leave it
    CrystalDataset(parts)
    assert len(contents(parts)) > 20 and contents(parts) == contents(whole)


def test_a_line_cut_short_is_made_again(tmp_path: Path) -> None:
    types = embedded_types("cubic")
    journal = tmp_path / "journal"
    made = [dump_json(r) for r in generate(types, 20, journal=journal)]
    journal.write_bytes(journal.read_bytes()[:-99])
    again = [dump_json(r) for r in generate(types, 20, journal=journal)]
    assert again == made


def test_types_are_left_out_whole(tmp_path: Path) -> None:
    names = {r["protostructure"] for r in crystal_types.types_table("cubic")}
    splits = Splits("type")
    fetch_prototypes("cubic", tmp_path / "set", 40, jobs=1, splits=splits)
    rows = [json.loads(line) for line in (tmp_path / "set" / "records.jsonl").read_text().splitlines()]
    for name in names:
        assert len({row["split"] for row in rows if row["type"] == name}) <= 1
    assert json.loads((tmp_path / "set" / "manifest.json").read_text())["split"]["by"] == "type"


def test_types_of_a_file_reach_the_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    salt, pyrite = (
        next(r for r in ALL_TYPES if r["protostructure"] == kind) for kind in ("AB_cF8_225_a_b", "AB2_cP12_205_a_c")
    )
    counts = Counter(pyrite["species"])
    reserved = pyrite | {"formula": "FeS2", "species": ["Fe" if counts[s] == 4 else "S" for s in pyrite["species"]]}
    rows = [salt, reserved, pyrite, pyrite | {"id": "again"}]
    (tmp_path / "types.jsonl").write_text("".join(dump_json(r) + "\n" for r in rows))
    monkeypatch.setenv("CRYSTALNET_DATA", str(tmp_path))
    options = ("--source", "prototypes", "--system", "cubic", "--limit", 3, "--types", tmp_path / "types.jsonl")
    assert run(monkeypatch, "fetch", *options) == 0
    assert run(monkeypatch, "data", "verify", tmp_path / "cubic") == 0
    (own,) = own_crystals()
    assert len(own) == 1 and set(own.counts[0]) == set(pyrite["species"])


def test_files_replace_only_the_sets_of_their_own_systems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CRYSTALNET_DATA", str(tmp_path / "sets"))
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(6.1), ["K", "S"], [[0, 0, 0], [0.5] * 3])
    tall = Structure.from_spacegroup("P4/mmm", Lattice.tetragonal(2.8, 3.7), ["Zn", "Pt"], [[0, 0, 0], [0.5] * 3])
    for name, structure in (("salt", salt), ("tall", tall)):
        structure.to(str(tmp_path / f"{name}.cif"))
        assert run(monkeypatch, "fetch", "--source", "files", tmp_path / f"{name}.cif") == 0
    assert "replaces" not in capsys.readouterr().out  # of another system
    assert {path.name for path in (tmp_path / "sets").iterdir()} == {"cubic", "tetragonal"}
    assert run(monkeypatch, "fetch", "--source", "files", tmp_path / "salt.cif") == 0
    assert f"{tmp_path / 'sets' / 'cubic'}: replaces" in capsys.readouterr().out

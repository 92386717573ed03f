"""`fetch --source materials-project` end to end against a local server with the interface's shapes and its bad days.

CRYSTALNET_TEST_MATERIALS=1000 makes it the full acceptance run (minutes).
"""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
import stamina

from crystalnet.cli import main
from crystalnet.crystal import types as crystal_types
from crystalnet.crystal.record_file import structure_of
from crystalnet.data.dataset import CrystalDataset
from crystalnet.data.generator import generate
from crystalnet.data.splits import may_train, split_of
from crystalnet.data.store import read_types
from crystalnet.data.structure_types import make_type
from crystalnet.density import promolecule

KEY = "0123456789abcdefSECRETSECRET4567"  # 32 characters, as the real ones
MATERIALS = int(os.environ.get("CRYSTALNET_TEST_MATERIALS", "24"))
FAULTS = ("429", "500", "truncated", "reset")  # each in a tenth of the answers
LONGEST_RUN = 4  # faulty answers to one question in a row, below the client's patience
SHAPES = {"AB_cF8_225_a_b", "ABC3_cP5_221_a_b_c", "AB_cP2_221_a_b", "AB_cF8_216_a_c"}


def chance(*what: object) -> float:
    """The same number in [0, 1) for the same arguments."""
    return int(sha256(repr(what).encode()).hexdigest()[:12], 16) / 16**12


class Materials:
    """A small Materials Project: rows of its lists, CHGCARs on demand."""

    def __init__(self, count: int) -> None:
        types = [make_type(r) for r in crystal_types.types_table("cubic") if r["protostructure"] in SHAPES]
        made = list(generate(types, count))
        self.records = {f"mp-{100 + i}": record for i, record in enumerate(made)}
        self.missing = {name for name in self.records if chance("missing", name) < 0.1}
        self.broken = {name for name in self.records if chance("broken", name) < 0.05} - self.missing

    def summary(self) -> list[dict[str, Any]]:
        return [
            {
                "material_id": name,
                "formula_pretty": record["formula"],
                "symmetry": {"number": record["space_group"]},
                "is_stable": chance("stable", name) < 0.5,
                "energy_above_hull": 0.0 if chance("stable", name) < 0.5 else 0.1,
                "deprecated": False,
            }
            for name, record in self.records.items()
        ]

    @staticmethod
    def task(name: str) -> str:
        return f"mp-{5000 + int(name[3:])}"

    def core(self) -> list[dict[str, Any]]:
        return [
            {"material_id": name, "calc_types": {self.task(name): "GGA Static", "mp-7": "GGA Structure Optimization"}}
            for name in self.records
        ]

    def tasks(self) -> list[dict[str, Any]]:
        return [{"task_id": self.task(name), "last_updated": "2024-01-01T00:00:00"} for name in self.records]

    def chgcar(self, name: str) -> bytes:
        """As in the bucket: another cell and origin than the canonical one, density of a 36³ grid."""
        from pymatgen.io.vasp import Chgcar, Poscar

        structure = structure_of(self.records[name])
        structure.translate_sites(list(range(len(structure))), [chance(name, i) for i in range(3)])
        structure.make_supercell([[1, 1, 0], [0, 1, 0], [0, 0, 1]])
        density = promolecule(structure, 36)
        chgcar = Chgcar(Poscar(structure), {"total": density * structure.volume}).as_dict()
        if name in self.broken:
            chgcar["data"]["total"] = np.asarray(chgcar["data"]["total"]) * 1.01
        document = {"fs_id": "0", "maggma_store_type": "S3Store", "data": chgcar}
        plain = json.dumps(document, default=lambda v: v.tolist() if hasattr(v, "tolist") else v.as_dict())
        return gzip.compress(plain.encode(), 1)


class Server(ThreadingHTTPServer):
    """Answers with faults; counts how often each question was asked and well answered."""

    daemon_threads = True

    def __init__(self, materials: Materials) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.materials, self.lock = materials, threading.Lock()
        self.asked, self.answered, self.faults = Counter[str](), Counter[str](), Counter[str]()
        self.keys: set[str | None] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def fault(self, question: str) -> str | None:
        with self.lock:
            self.asked[question] += 1
            draw = chance(question, self.asked[question])
            kind = FAULTS[int(draw * 10)] if draw < 0.1 * len(FAULTS) else None
            if kind is None or self.asked[question] > LONGEST_RUN:
                return None
            self.faults[kind] += 1
            return kind


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Silence."""

    def do_GET(self) -> None:  # noqa: N802
        fault = self.server.fault(self.path)
        if fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            return
        if fault in ("429", "500"):
            return self._send(int(fault), b'{"detail": "not now"}')
        status, content = self._content()
        if fault == "truncated" and len(content) > 2:
            half = content[: len(content) // 2]
            # Half of them say so (the length is that of the whole), half end in the middle of their content.
            return self._send(status, half, len(content) if chance(self.path, "length") < 0.5 else None)
        self._send(status, content)
        if status == 200:
            with self.server.lock:
                self.server.answered[self.path] += 1

    def _send(self, status: int, content: bytes, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length or len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = True

    def _content(self) -> tuple[int, bytes]:
        address = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        materials = self.server.materials
        if address.path.startswith("/chgcars/"):
            task = address.path.removeprefix("/chgcars/").removesuffix(".json.gz")
            name = f"mp-{int(task[3:]) - 5000}"
            return (404, b"") if name in materials.missing else (200, materials.chgcar(name))
        if address.path == "/heartbeat":
            beat = {"db_version": "2026_01_01", "version": "0.87.3", "access_controlled_batch_ids": []}
            return 200, json.dumps(beat).encode()
        self.server.keys.add(self.headers.get("x-api-key"))
        lists = {"summary": ("material_id", materials.summary), "core": ("material_id", materials.core)}
        lists["tasks"] = ("task_id", materials.tasks)
        key, make = lists[address.path.strip("/").split("/")[-1]]
        rows = make()
        if key + "s" in query:
            rows = [row for row in rows if row[key] in set(query[key + "s"].split(","))]
        elif key == "material_id":
            assert query["crystal_system"] == "Cubic" and query["has_props"] == "charge_density"
        size = int(query["_limit"])
        start = (int(query.get("_page", 1)) - 1) * size + int(query.get("_skip", 0))
        document = {"data": rows[start : start + size], "meta": {"total_doc": len(rows)}}
        return 200, json.dumps(document).encode()


@pytest.fixture(scope="module")
def materials() -> Materials:
    return Materials(MATERIALS)


@pytest.fixture
def server(materials: Materials, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server(materials) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("MP_API_KEY", KEY)
        monkeypatch.setenv("CRYSTALNET_MATERIALS_PROJECT_ENDPOINT", server.url)
        monkeypatch.setenv("CRYSTALNET_MATERIALS_PROJECT_DENSITIES", server.url)
        stamina.set_testing(True, attempts=8)  # no waiting between attempts
        yield server
        stamina.set_testing(False)
        server.shutdown()


def fetch(out: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    arguments = ["fetch", "--source", "materials-project", "--system", "cubic", "--out", str(out), *options]
    monkeypatch.setattr("sys.argv", ["crystalnet", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def reasons(out: Path) -> dict[str, str]:
    rows = map(json.loads, (out / "failures.jsonl").read_text().splitlines())
    return {row["id"]: row["reason"] for row in rows}


def contents(out: Path) -> dict[str, str]:
    return {p.name: sha256(p.read_bytes()).hexdigest() for p in sorted(out.iterdir()) if p.is_file()}


def test_everything_retrievable_is_retrieved_once(
    server: Server, materials: Materials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "set"
    monkeypatch.setattr("crystalnet.data.further_types.types_table", lambda system: ())  # every type is a further one
    assert fetch(out, monkeypatch) == 0
    wanted = {
        row["material_id"]
        for row in materials.summary()
        if row["is_stable"] or (may_train(row["formula_pretty"]) and split_of(row["formula_pretty"]) == "train")
    }
    rows = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    good = wanted - materials.missing - materials.broken
    assert [row["id"] for row in rows] == sorted(good, key=lambda name: int(name[3:]))
    failed = reasons(out)
    assert set(failed) == wanted - good
    assert all(failed[name] == "no charge density" for name in materials.missing & wanted)
    assert all("electrons a cell, no whole number" in failed[name] for name in materials.broken & wanted)

    assert sorted(row["protostructure"] for row in read_types(out)) == sorted(SHAPES)
    downloads = {q: n for q, n in server.answered.items() if q.startswith("/chgcars/")}
    assert set(downloads.values()) == {1} and len(downloads) == len(wanted - materials.missing)
    assert set(server.faults) == set(FAULTS) and server.keys == {KEY}
    spoken = "".join(capfd.readouterr())
    written = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    assert KEY not in spoken and KEY.encode() not in written
    assert "Traceback" not in spoken and not list(tmp_path.glob("*.partial")) and len(list(tmp_path.iterdir())) == 1

    dataset = CrystalDataset(out)
    for index in range(0, len(dataset), max(1, len(dataset) // 5)):
        sites = dataset.crystals.sites(index)
        assert dataset.density(index) == pytest.approx(promolecule(sites.structure()), abs=5e-3 * 40)
        electrons = dataset.density(index).mean(dtype=float) * sites.volume
        assert electrons == pytest.approx(round(electrons), abs=0.02)
    assert not (out / "features" / "maps-00000.npy").exists()  # the stored maps are used


def test_killed_and_resumed(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fetch(tmp_path / "whole", monkeypatch, "--limit", "12") == 0
    out, items = tmp_path / "parts", tmp_path / "parts.materials-project" / "items"
    program = "import stamina; stamina.set_testing(True, attempts=8); from crystalnet.cli import main; main()"
    options = "fetch --source materials-project --system cubic --limit 12 --out".split()
    process = subprocess.Popen([sys.executable, "-c", program, *options, str(out)], stderr=subprocess.DEVNULL)
    while len(list(items.glob("mp-*.npz"))) < 3 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists()
    had = {path.name for path in items.glob("mp-*.npz") if "partial" not in path.name}
    server.answered.clear()
    assert fetch(out, monkeypatch, "--limit", "12") == 0
    assert contents(out) == contents(tmp_path / "whole")
    again = {f"mp-{int(q.split('-')[1].split('.')[0]) - 5000}.npz" for q in server.answered if "chgcars" in q}
    assert had and not had & again


def test_lists_of_ids_are_reproduced_exactly(
    server: Server, materials: Materials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = [name for name in materials.records if name not in materials.missing | materials.broken]
    lists = {"train_stable": good[:3], "val": {name: "formula" for name in good[3:5]}, "test": [good[5], "mp-1"]}
    (tmp_path / "lists.json").write_text(json.dumps({"cubic": lists, "trigonal": {}}))
    (tmp_path / "extraTrain_data.json").write_text(json.dumps({good[6]: "formula"}))
    options = ("--split-file", str(tmp_path / "lists.json"), "--split-file", str(tmp_path / "extraTrain_data.json"))
    assert fetch(tmp_path / "set", monkeypatch, *options) == 0
    rows = map(json.loads, (tmp_path / "set" / "records.jsonl").read_text().splitlines())
    expected = dict.fromkeys([*good[:3], good[6]], "train") | dict.fromkeys(good[3:5], "validation")
    assert {row["id"]: row["split"] for row in rows} == expected | {good[5]: "test"}
    assert reasons(tmp_path / "set") == {"mp-1": "not in the Materials Project"}
    manifest = json.loads((tmp_path / "set" / "manifest.json").read_text())
    assert set(manifest["split"]["files"]) == {"lists.json", "extraTrain_data.json"}


def test_a_server_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MP_API_KEY", KEY)
    monkeypatch.setenv("CRYSTALNET_MATERIALS_PROJECT_ENDPOINT", "http://127.0.0.1:9/")
    stamina.set_testing(True, attempts=2)
    try:
        assert fetch(tmp_path / "set", monkeypatch) == 2
    finally:
        stamina.set_testing(False)
    lines = [line for line in capfd.readouterr().err.splitlines() if line.strip()]
    assert len(lines) == 1 and "Materials Project could not be read" in lines[0] and KEY not in lines[0]

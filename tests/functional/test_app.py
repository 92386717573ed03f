"""`crystalnet app`: the journey from a dropped file to a CIF, as a user of the page walks it."""

from __future__ import annotations

import asyncio
import io
import math
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nicegui")

from nicegui import ui
from nicegui.elements.upload_files import SmallFileUpload
from nicegui.testing import User
from nicegui.testing.user_simulation import user_simulation

from crystalnet.app.downloads import serve_results
from crystalnet.app.guard import Guard, Message, Receive, Send
from crystalnet.app.page import page
from crystalnet.app.queue import Queue
from crystalnet.cli import main
from patience import PATIENCE

EXAMPLE = Path(__file__).parents[2] / "examples" / "Zr3Sb4Pt3.xy"


class Desk:
    """A simulated user before the page of a session."""

    def __init__(self, user: User, queue: Queue) -> None:
        self.user, self.queue = user, queue

    async def drop(self, **files: bytes) -> None:
        (upload,) = self.user.find(ui.upload).elements
        await upload.handle_uploads([SmallFileUpload(f"{name}.xy", "", content) for name, content in files.items()])
        await until(lambda: len(self.queue.entries) and all(e.state != "reading" for e in self.queue.entries))

    def click(self, marker: str) -> None:
        self.user.find(marker=marker).click()

    def field(self, marker: str) -> ui.input:
        (element,) = self.user.find(marker=marker).elements
        assert isinstance(element, (ui.input, ui.number, ui.select))
        return element  # type: ignore[return-value]

    def text(self, marker: str) -> str:
        (element,) = self.user.find(marker=marker).elements
        assert isinstance(element, ui.label)
        return element.text

    def table(self, marker: str) -> ui.table:
        (element,) = self.user.find(marker=marker).elements
        assert isinstance(element, ui.table)
        return element

    def select(self, marker: str, number: int, on: bool) -> None:
        """Check or uncheck a row of a table, as the browser reports it."""
        row = self.table(marker).rows[number]
        self.user.find(marker=marker).trigger("selection", {"added": on, "rows": [row], "keys": [number]})

    async def get(self, address: str) -> bytes:
        answer = await self.user.http_client.get(address)
        assert answer.status_code == 200, answer.text
        return answer.content


async def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline, "too slow"
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.3)  # the page looks for changes four times a second


@asynccontextmanager
async def opened(tmp_path: Path) -> AsyncIterator[Desk]:
    (tmp_path / "scratch").mkdir()
    queue = Queue(tmp_path / "scratch", tmp_path / "results")
    async with user_simulation(lambda: page(queue)) as user:
        serve_results(queue)
        await user.open("/")
        failure = None
        try:
            yield Desk(user, queue)
        except BaseException as error:  # NiceGUI ends its own tasks only where nothing is raised, and waits for them
            failure = error
        queue.close()
    if failure is not None:
        raise failure


def example(low: float = 0.0) -> bytes:
    """The example from an angle on: another measurement of the same sample."""
    lines = EXAMPLE.read_text().splitlines()
    return "\n".join(line for line in lines if line.startswith("#") or float(line.split()[0]) >= low).encode()


def test_no_two_patterns_of_a_session_share_a_folder(tmp_path: Path) -> None:
    """Whatever their files are called, and also after some were removed: their results are still there."""

    async def journey() -> None:
        async with opened(tmp_path) as desk:
            names = ("a.xy", "a.dat", "a-2.xy", "A.xy")
            first, *_ = [desk.queue.add(name, example()) for name in names]
            desk.queue.remove(first)
            last = desk.queue.add("a.xye", example())
            labels = [first.label, *(entry.label for entry in desk.queue.entries)]
            assert labels[0] == "a" and last.label == labels[-1]
            assert len({label.casefold() for label in labels}) == 5

    asyncio.run(journey())


def test_from_a_dropped_file_to_a_cif(tmp_path: Path) -> None:
    """Drop, see, say the elements, reject a line, pick a cell, solve two in the queue, take the results away."""

    async def journey() -> None:
        async with opened(tmp_path) as desk:
            await desk.drop(first=example())
            assert desk.text("facts") == "λ 1.54059 Å · 4001 points · 10.00 to 90.00° 2θ"
            (plot,) = desk.user.find(ui.plotly).elements
            measured = plot.figure["data"][0]
            assert len(measured["x"]) == 4001 and max(measured["y"]) > 5000

            for symbol in ("Zr", "Sb", "Pt"):
                desk.click(f"element-{symbol}")
            assert desk.field("elements").value == "Zr, Sb, Pt"  # typed and clicked are one
            desk.user.find(marker="plot").trigger("plotly_selected", [85.0, 15.004])
            (first,) = desk.queue.entries
            assert (first.request.low, first.request.high) == (15.0, 85.0)

            desk.click("find")
            await until(lambda: first.found is not None)
            lines, cells = desk.table("lines"), desk.table("cells")
            angles = [float(row["two_theta"]) for row in lines.rows]
            assert min(angles) > 15 and max(angles) < 85 and lines.rows[0]["hkl"] == "2 1 1"
            assert cells.rows[0]["lattice"] == "cubic I" and "9.63" in cells.rows[0]["cell"]
            assert [trace["name"] for trace in plot.figure["data"]] == ["measured", "lines", "cell 1"]
            desk.select("lines", 2, False)
            desk.select("cells", 0, True)
            await until(lambda: "rejected" in [trace["name"] for trace in plot.figure["data"]])
            assert first.rejected == {2} and float(desk.field("cell").value.split(",")[0]) == pytest.approx(
                9.63, abs=0.002
            )

            await desk.drop(second=example(20.0))
            (_, second) = desk.queue.entries
            assert second.request.elements == "Zr, Sb, Pt" and not second.request.cell and second.request.low is None
            desk.click("solve-all")
            assert (first.state, second.state) == ("waiting", "waiting")
            seen: set[tuple[str, str]] = set()

            def first_done() -> bool:
                seen.add((first.stage, second.state))
                return first.state not in ("waiting", "solving")

            await until(first_done)
            assert ("refinement", "waiting") in seen, "one after another, with the stage of each"
            assert first.in_words().startswith("done: Zr3Sb4Pt3, confidence"), first.problem
            assert second.state == "solving"
            desk.click("choose-2")
            desk.click("cancel")
            await until(lambda: not (tmp_path / "results" / "second").exists())
            assert second.state == "ready"
            desk.click("choose-1")
            await desk.user.should_see(marker="candidates", retries=20)

            assert first.document is not None
            used = first.document["pattern"]
            assert (used["two_theta_min"], used["two_theta_max"]) == (15.0, 85.0)
            assert used["peaks"] == len(angles) - 1  # the solver went without the rejected line
            assert b"data_" in await desk.get("/results/1/files/candidate-1.cif")
            assert b"Plotly" in await desk.get("/results/1/files/report.html")
            packed = zipfile.ZipFile(io.BytesIO(await desk.get("/results/1/zip")))
            assert {"solution.json", "candidate-1.cif", "report.html"} <= set(packed.namelist())
            assert (tmp_path / "results" / "first" / "solution.json").is_file()
            project = zipfile.ZipFile(io.BytesIO(await desk.get("/results/1/export/fullprof/1")))
            assert "candidate-1.pcr" in project.namelist()
            kept = tmp_path / "results" / "first" / "notes.txt"
            kept.write_text("the user's own")
            assert (await desk.user.http_client.get("/results/1/files/notes.txt")).status_code == 404
            up = await desk.user.http_client.get("/results/1/files/..%2F..%2Fscratch%2F1%2Ffirst.xy")
            assert b"248.00" not in up.content

    asyncio.run(journey())


def test_two_hundred_files_are_queued_and_each_is_solved_once(tmp_path: Path) -> None:
    """Read for real; the solver is a stub, whose answers take no time."""
    count = 200

    async def journey() -> None:
        async with opened(tmp_path) as desk:
            asked: list[str] = []

            async def answer(work: Any, *asked_of: Any, say: Callable[[str], None] | None = None) -> Any:
                if say is None:  # imports ahead of the first pattern
                    return None
                say("peaks")
                await asyncio.sleep(0)
                asked.append(asked_of[0].name)
                return {"candidates": [], "pattern": {"points": 4001}}

            desk.queue._solves.ask = answer  # type: ignore[assignment, method-assign]
            small = b"\n".join(example().splitlines()[:800])
            started = time.monotonic()
            await desk.drop(**{f"scan{n:03d}": small for n in range(count)})
            assert len(desk.queue.entries) == count and {e.state for e in desk.queue.entries} == {"ready"}
            desk.click("solve-all")
            await until(lambda: all(e.state == "done" for e in desk.queue.entries))
            assert asked == [f"scan{n:03d}.xy" for n in range(count)]
            assert len({e.folder for e in desk.queue.entries}) == count
            assert time.monotonic() - started < PATIENCE
            desk.click(f"choose-{count}")
            await until(lambda: desk.text("facts").startswith("λ 1.54059 Å"))

    asyncio.run(journey())


def test_a_bad_file_shows_its_line_and_nothing_else(tmp_path: Path) -> None:
    async def journey() -> None:
        async with opened(tmp_path) as desk:
            await desk.drop(holiday=b"sun, sand and sea\n")
            (entry,) = desk.queue.entries
            assert entry.state == "refused" and entry.problem.startswith("holiday.xy: ")
            assert desk.text("problem") == entry.problem and "\n" not in entry.problem
            await desk.user.should_not_see(ui.plotly)
            await desk.user.should_not_see(marker="solve", retries=1)
            desk.click("solve-all")
            assert entry.state == "refused"

    asyncio.run(journey())


def test_a_first_column_in_doubt_is_asked_about(tmp_path: Path) -> None:
    rows = [line.split() for line in EXAMPLE.read_text().splitlines() if not line.startswith("#")]
    q = "\n".join(f"{4 * math.pi * math.sin(math.radians(float(x) / 2)) / 1.540593:.5f} {y}" for x, y in rows)

    async def journey() -> None:
        async with opened(tmp_path) as desk:
            await desk.drop(beamline=q.encode())
            (entry,) = desk.queue.entries
            assert entry.state == "refused" and "Q" in desk.text("problem")
            desk.field("axis").value = "q"
            await until(lambda: entry.state == "ready")
            assert "4001 points" in desk.text("facts")

    asyncio.run(journey())


def test_what_cannot_be_solved_says_so_and_the_next_is_solved(tmp_path: Path) -> None:
    """A wrong formula, a range without points, and a folder with a file of the user's, which stays."""
    kept = tmp_path / "results" / "second" / "report.html"
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")

    async def journey() -> None:
        async with opened(tmp_path) as desk:
            await desk.drop(first=example(), second=example())
            first, second = desk.queue.entries
            desk.click("choose-1")
            await asyncio.sleep(0.4)
            desk.field("formula").value = "Zr3Sb4Qq3"
            assert "Qq" in str(desk.field("formula").error)
            desk.click("solve-all")
            await until(lambda: second.state == "failed")
            assert first.state == "failed" and "Qq" in first.problem
            assert "report.html" in second.problem and kept.read_text() == "mine"
            desk.field("formula").value = ""
            desk.field("low").value = 89.9
            desk.click("find")
            await until(lambda: "range" in first.problem)
            assert desk.text("problem") == first.problem

    asyncio.run(journey())


# --- the server itself


def asked(port: int, path: str = "/", **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_serves_this_machine_alone(server: int) -> None:
    status, text = asked(server)
    assert status == 200 and "CrystalNet" in text
    assert asked(server, Host=f"localhost:{server}")[0] == 200
    assert asked(server, Host=f"rebound.example:{server}")[0] == 403
    assert asked(server, Host=f"127.0.0.1:{server}", Origin="http://evil.example")[0] == 403
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.2", server), 2)  # this machine too, but not the address that is bound


def test_a_page_of_another_server_opens_no_socket() -> None:
    """The page's own connection is a websocket, which browsers let any page open."""

    async def answers(origin: bytes) -> list[str]:
        said: list[str] = []

        async def behind(scope: Message, receive: Receive, send: Send) -> None:
            said.append("let in")

        async def send(message: Message) -> None:
            said.append(message["type"])

        headers = [(b"host", b"127.0.0.1:8642"), (b"origin", origin)]
        await Guard(behind, 8642)({"type": "websocket", "headers": headers}, receive=never, send=send)
        return said

    async def never() -> Message:
        raise AssertionError("asked before it was let in")

    assert asyncio.run(answers(b"http://127.0.0.1:8642")) == ["let in"]
    assert asyncio.run(answers(b"http://evil.example")) == ["websocket.close"]


def test_the_page_asks_no_other_server(server: int) -> None:
    _, text = asked(server)
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//[^"' >]+""", text)


def complaint(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    monkeypatch.setattr("sys.argv", ["crystalnet", "app", "--no-browser", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0), capsys.readouterr().err


def test_bad_ports_are_refused_in_one_line(
    server: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for port, word in ((str(server), "in use"), ("70000", "65535"), ("eighty", "integer")):
        code, said = complaint(["--port", port], monkeypatch, capsys)
        assert code == 2 and word in said and said.count("\n") == 1, said


def test_without_the_framework_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("crystalnet.app.find_spec", lambda name: None)
    code, said = complaint([], monkeypatch, capsys)
    assert code == 2 and "pip install 'crystalnet[app]'" in said and said.count("\n") == 1


def test_nothing_else_imports_the_framework() -> None:
    code = "import sys, crystalnet.cli, crystalnet.app.work, crystalnet.app.queue; sys.exit('nicegui' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""The patterns of a session, which are looked at as they come and solved one after another."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from shutil import rmtree
from typing import Any

from crystalnet.app import work
from crystalnet.app.entry import Entry
from crystalnet.app.request import Request
from crystalnet.app.worker import Stopped, Worker, warm_up
from crystalnet.records import InputError
from crystalnet.runtime.whole_folder import claimed
from crystalnet.xrd.excerpt import without

DIED = "the process that did this died (killed, or out of memory?)"


class Queue:
    """All patterns of the session, and the two processes that work for it: one solves, the other looks meanwhile.

    Parameters
    ----------
    scratch : Path
        A folder for the page's copies of the files and what its processes leave behind, removed in the end.
    out : Path
        Where results are written, a folder a pattern; the user may choose another.
    """

    def __init__(self, scratch: Path, out: Path) -> None:
        self.entries: list[Entry] = []
        self.out = out
        self._scratch = scratch
        self._numbers = 0
        self._labels: set[str] = set()  # also of patterns that were removed: their results stay
        self._looks, self._solves = Worker(scratch), Worker(scratch)
        self._solving = False
        self._tasks: set[asyncio.Task[Any]] = set()

    def warm_up(self) -> None:
        """Let the process that looks begin its imports before the first file comes."""
        self._go(self._looks.ask(warm_up))

    def close(self) -> None:
        """End the processes and remove the copies of the files."""
        for entry in self.entries:
            if entry.state == "waiting":
                entry.state = "ready"
        self._looks.stop()
        self._solves.stop()
        rmtree(self._scratch, ignore_errors=True)

    def place(self, folder: str) -> None:
        """Write further results under another folder."""
        self.out = Path(folder).expanduser() if folder.strip() else self.out

    def entry(self, number: int) -> Entry | None:
        """The entry of a number."""
        return next((entry for entry in self.entries if entry.number == number), None)

    def add(self, name: str, content: bytes, like: Entry | None = None) -> Entry:
        """Take a file into the queue and read it; like: the pattern whose chemistry and wavelength it is given."""
        self._numbers += 1
        folder = self._scratch / str(self._numbers)
        folder.mkdir()
        path = folder / (Path(name).name or "pattern")
        path.write_bytes(content)
        request = Request() if like is None else replace(like.request, low=None, high=None, cell="")
        entry = Entry(self._numbers, path, self._label(path.stem), request)
        self.entries.append(entry)
        self.read(entry)
        if self._numbers == 1:
            self._go(self._solves.ask(warm_up))
        return entry

    def _label(self, stem: str) -> str:
        """A folder's name that no pattern of the session had, on disks that do not tell capitals apart either."""
        names = (stem if n == 1 else f"{stem}-{n}" for n in count(1))
        label = next(name for name in names if name.casefold() not in self._labels)
        self._labels.add(label.casefold())
        return label

    def remove(self, entry: Entry) -> None:
        """Take a pattern off the queue; its results stay where they are."""
        self.cancel(entry)
        self.entries.remove(entry)

    # --- looking

    def read(self, entry: Entry) -> None:
        """Read the file, again where the request says so."""
        self._go(self._read(entry))

    def find(self, entry: Entry) -> None:
        """Lines and cells, without the lines that were rejected."""
        self._go(self._find(entry))

    async def _read(self, entry: Entry) -> None:
        request, entry.busy, entry.problem = entry.request, "reading", ""
        try:
            pattern = await self._looks.ask(work.look, entry.path, request)
        except (InputError, Stopped) as error:
            if request.reading == entry.request.reading:
                self._failed_to_look(entry, error)
                if not entry.is_open:
                    entry.state = "refused"
        else:
            if request.reading == entry.request.reading:  # else it is being read again
                entry.pattern = pattern
                if entry.state in ("reading", "refused"):
                    entry.state = "ready"
        finally:
            entry.busy = ""

    async def _find(self, entry: Entry) -> None:
        def say(stage: str) -> None:
            entry.busy = stage

        request, before, entry.busy, entry.problem = entry.request, entry.found, "peaks", ""
        lines = before.peaks if before else None
        try:
            found = await self._looks.ask(work.find, entry.path, request, lines, entry.rejected, say=say)
        except (InputError, Stopped) as error:
            self._failed_to_look(entry, error)
        else:
            if request.lines == entry.request.lines:  # else these are no longer its lines
                entry.found, entry.picked = found, None
        finally:
            entry.busy = ""

    def _failed_to_look(self, entry: Entry, error: Exception) -> None:
        entry.problem = str(error) or f"{entry.name}: {DIED}"

    async def export(self, entry: Entry, program: str, candidate: int) -> bytes:
        """A candidate as another program's project, zipped. InputError where it cannot be."""
        try:
            packed: bytes = await self._looks.ask(work.export, entry.folder, program, candidate)
        except Stopped:
            raise InputError(f"{entry.name}: {DIED}") from None
        return packed

    # --- solving

    def solve(self, entries: Iterable[Entry]) -> None:
        """Let patterns wait for their turn."""
        for entry in entries:
            if entry.is_open and not entry.is_at_work:
                entry.state, entry.stage, entry.problem = "waiting", "", ""
        if not self._solving:
            self._solving = True
            self._go(self._solve_all())

    def cancel(self, entry: Entry) -> None:
        """Stop solving a pattern, or waiting to."""
        if entry.state == "solving":
            entry.state = "ready"
            self._solves.stop()
        elif entry.state == "waiting":
            entry.state = "ready"

    async def _solve_all(self) -> None:
        try:
            while waiting := [entry for entry in self.entries if entry.state == "waiting"]:
                await self._solve(waiting[0])
        finally:
            self._solving = False

    async def _solve(self, entry: Entry) -> None:
        def say(stage: str) -> None:
            entry.stage = stage

        entry.state, entry.stage, folder = "solving", "starting", self.out / entry.label
        entry.document = None  # an earlier answer is not that to what is asked now
        lines = without(entry.found.peaks, entry.rejected) if entry.found and entry.rejected else None
        try:
            document = await self._solves.ask(work.solve, entry.path, entry.request, lines, folder, say=say)
        except (InputError, Stopped) as error:
            if isinstance(error, Stopped):
                _clear(folder)
            if entry.state == "solving":  # else it was cancelled
                entry.state, entry.problem = "failed", str(error) or f"{entry.name}: {DIED}"
        else:
            if entry.state == "solving":
                entry.state, entry.folder, entry.document = "done", folder, document
        finally:
            entry.stage = ""

    def _go(self, work: Coroutine[Any, Any, Any]) -> None:
        """Work that goes on when the page that asked for it is closed."""
        task = asyncio.get_running_loop().create_task(_quietly(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _clear(folder: Path) -> None:
    """Take away what stopped work left; results of earlier work stay."""
    with suppress(InputError, OSError):
        with claimed(folder):  # clears unfinished files away
            pass
        folder.rmdir()  # only an empty one can be


async def _quietly(work: Coroutine[Any, Any, Any]) -> None:
    with suppress(Stopped):  # at the end of the session
        await work

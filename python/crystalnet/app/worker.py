"""A process that works while the page stays alive, says its stages, and can be stopped in the middle of its work."""

from __future__ import annotations

import asyncio
import atexit
import multiprocessing
import os
import signal
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from crystalnet.records import InputError
from crystalnet.runtime.clock import Progress
from crystalnet.runtime.faults import fault_line

Answers = asyncio.Queue[tuple[str, Any]]


class Stopped(Exception):
    """The work was cancelled, or its process died."""


class Worker:
    """One process, started when it is first needed; a task at a time, in the order in which they come.

    The pools of `runtime.pool` hand back results alone; here stages come back too, and a task can be cancelled.

    Parameters
    ----------
    scratch : Path
        A folder for its temporary files: a process that is stopped in the middle of its work removes none.
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._turn = asyncio.Lock()
        self._process: SpawnProcess | None = None
        self._connection: Connection | None = None
        self._answers: Answers = asyncio.Queue()

    async def ask(self, work: Callable[..., Any], *arguments: Any, say: Progress = lambda stage: None) -> Any:
        """What `work(*arguments, say=...)` returns; it must be importable by name.

        Raises
        ------
        InputError
            What the work raised, or one line about a fault of ours.
        Stopped
            After `stop`, or where the process died.
        """
        async with self._turn:
            connection, answers = self._started()
            try:
                connection.send((work, arguments))
            except OSError:
                self._forget()
                raise Stopped from None
            while True:
                kind, answer = await answers.get()
                if kind == "stage":
                    say(answer)
                elif kind == "result":
                    return answer
                elif kind == "end":
                    self._forget()
                    raise Stopped
                else:
                    raise InputError(answer)

    def stop(self) -> None:
        """End the process, whatever it does; the next task starts another."""
        if self._process is not None:
            atexit.unregister(self._process.kill)
            self._process.kill()  # its helper ends when it finds its pipe closed, and the system frees folder locks
            self._process.join()

    def _started(self) -> tuple[Connection, Answers]:
        if self._process is None or not self._process.is_alive() or self._connection is None:
            self._forget()
            context = multiprocessing.get_context("spawn")  # torch's threads survive no fork
            self._connection, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(theirs, self._scratch))
            self._process.start()
            atexit.register(self._process.kill)  # Python would wait for it at its own end
            theirs.close()
            self._answers = asyncio.Queue()
            # A thread of its own, which nobody waits for: the event loop's are waited for when the session ends.
            listening = (self._connection, self._answers, asyncio.get_running_loop())
            threading.Thread(target=_listen, args=listening, daemon=True).start()
        return self._connection, self._answers

    def _forget(self) -> None:
        self.stop()
        self._process = self._connection = None


def _listen(connection: Connection, answers: Answers, loop: asyncio.AbstractEventLoop) -> None:
    """Hand on what a process says, and that it has ended."""
    with connection, suppress(RuntimeError):  # the loop was closed
        while True:
            try:
                said = connection.recv()
            except (EOFError, OSError):
                said = ("end", None)
            loop.call_soon_threadsafe(answers.put_nowait, said)
            if said[0] == "end":
                break


def _serve(connection: Connection, scratch: Path) -> None:
    """Do tasks until the page ends, also where that happens in the middle of one."""
    tempfile.tempdir = str(scratch)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's to answer
    tasks: SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...]]] = SimpleQueue()

    def receive() -> None:
        try:
            while True:
                tasks.put(connection.recv())
        except (EOFError, OSError):
            os._exit(1)

    threading.Thread(target=receive, daemon=True).start()
    send = connection.send
    while True:
        work, arguments = tasks.get()
        try:
            result = work(*arguments, say=lambda stage: send(("stage", stage)))
        except InputError as error:
            send(("refused", str(error)))
        except OSError as error:
            send(("refused", f"{error.filename}: {error.strerror or error}" if error.filename else str(error)))
        except Exception as error:
            send(("fault", fault_line(error)))
        else:
            send(("result", result))


def _import(names: tuple[str, ...], say: Progress) -> None:
    from importlib import import_module

    for name in names:
        import_module(name)


#: Work that does nothing but import what the work proper needs, which takes seconds.
warm_up = partial(_import, ("crystalnet.solving.solve", "crystalnet.commands.index", "rietx", "pybaselines"))

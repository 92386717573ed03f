"""Independent work shared among processes: patterns to solve, crystals to score.

Imports nothing heavy: a new process must know how to end before it spends seconds on loading torch.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any

from crystalnet.records import InputError

# As the built-in map: results in the order of the arguments, each as soon as it and those before it are there.
Map = Callable[..., Iterator[Any]]
THREADS = ("OMP_NUM_THREADS", "RIETX_COMPILED_THREADS")  # the first is torch's and numpy's


def cpus() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def workers(jobs: int | None, threads: int | None = None, chunk: int = 1) -> Iterator[Map]:
    """A map over new processes.

    The processes end with the block, however it ends, and with this process, even if that is killed.

    Parameters
    ----------
    jobs : int, optional
        How many processes; None works in this one.
    threads : int, optional
        Threads of each process; by default those of this process, divided among them.
    chunk : int
        Arguments that a process takes at a time: more than one where each takes only milliseconds.

    Yields
    ------
    Map
        Used like the built-in map. What is mapped must be importable by name (pickle), and a script must keep its own
        work below `if __name__ == "__main__"`, because a new process imports the script again.

    Raises
    ------
    InputError
        Where one of the processes dies.
    """
    if jobs is None:
        yield map
        return
    if threads is None:
        import torch

        threads = max(1, torch.get_num_threads() // jobs)
    context = multiprocessing.get_context("spawn")  # a fork would have torch's locks without the threads that hold them
    reader, writer = context.Pipe(duplex=False)
    executor = ProcessPoolExecutor(jobs, context, _end_with, (reader,))

    def mapped(work: Callable[..., Any], *arguments: Iterable[Any]) -> Iterator[Any]:
        with _inherited(threads):
            return executor.map(work, *arguments, chunksize=chunk)

    try:
        yield mapped
    except BrokenProcessPool:
        raise InputError("a worker process died (killed, or out of memory?); try again with fewer --jobs") from None
    finally:
        writer.close()
        executor.shutdown(cancel_futures=True)
        reader.close()


@contextmanager
def helped(modules: Sequence[str] = ()) -> Iterator[Map]:
    """A map whose tasks this process shares with one new process; the built-in map where there is one processor.

    The new process takes tasks from the front and this one takes them from the end. If the new process dies, this one
    does its tasks too. Results come in the order of the arguments and do not depend on who did which task.

    Parameters
    ----------
    modules : sequence of str
        What the new process begins to import at once, as imports take seconds.

    Yields
    ------
    Map
        Used like the built-in map; what is mapped must be importable by name (pickle).
    """
    if cpus() < 2:
        yield map
        return
    with workers(1, threads=1) as elsewhere:
        elsewhere(importlib.import_module, modules)

        def mapped(work: Callable[..., Any], *arguments: Iterable[Any]) -> Iterator[Any]:
            tasks = list(zip(*arguments, strict=True))
            results: dict[int, Any] = {}
            waiting = deque(range(len(tasks)))

            def work_off(take: Callable[[], int], through: Map) -> None:
                while waiting:
                    try:
                        number = take()
                    except IndexError:  # the other took the last
                        return
                    results[number] = next(through(work, *([argument] for argument in tasks[number])))

            waits = ThreadPoolExecutor(1)
            try:
                other = waits.submit(work_off, waiting.popleft, elsewhere) if len(tasks) > 1 else None
                work_off(waiting.pop, map)
                with suppress(BrokenProcessPool):
                    if other:
                        other.result()
            finally:  # after an error or Ctrl-C here, do not wait for the task that the other process is doing
                waiting.clear()
                waits.shutdown(wait=False)
            for number in set(range(len(tasks))) - set(results):  # those that the other process did not finish
                results[number] = work(*tasks[number])
            return iter([results[number] for number in range(len(tasks))])

        yield mapped


@contextmanager
def _inherited(threads: int) -> Iterator[None]:
    """Processes started in the block have so many threads and ignore Ctrl-C.

    A terminal sends Ctrl-C to all of them, but only this process answers it, by ending the others.
    """
    before = {name: os.environ.get(name) for name in THREADS}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.environ.update(dict.fromkeys(THREADS, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _end_with(parent: Connection) -> None:
    """End this worker when its parent ends: the parent never sends, so the pipe only ever reports that it closed."""

    def watch() -> None:
        with suppress(EOFError, OSError):
            parent.recv_bytes()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

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
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from multiprocessing.connection import Connection
from typing import Any

# As the built-in map: results in the order of the arguments, each as soon as it and those before it are there.
Map = Callable[..., Iterator[Any]]
THREADS = ("OMP_NUM_THREADS", "RIETX_COMPILED_THREADS")  # the first is torch's and numpy's


def cpus() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Lost:
    """Stands for the result of work whose process died twice."""

    why: str = "the process at work on it died twice (killed, or out of memory?)"


@contextmanager
def workers(jobs: int | None, threads: int | None = None, chunk: int = 1, cluster: str | None = None) -> Iterator[Map]:
    """A map over new processes, of this machine or of a cluster.

    The processes end with the block, however it ends, and with this process, even if that is killed. Of one that dies
    the work is done once more; if that kills a process again, `Lost` stands in its place, and the others go on.

    Parameters
    ----------
    jobs : int, optional
        How many processes; None works in this one, or on a cluster with as many as it has.
    threads : int, optional
        Threads of each process; by default those of this process, divided among them.
    chunk : int
        Arguments that a process takes at a time: more than one where each takes only milliseconds.
    cluster : str, optional
        As `runtime.cluster.on_cluster` takes it; by default processes of this one's own are begun.

    Yields
    ------
    Map
        Used like the built-in map. What is mapped must be importable by name (pickle), and a script must keep its own
        work below `if __name__ == "__main__"`, because a new process imports the script again.

    Raises
    ------
    InputError
        Where the cluster cannot be reached, or goes away.
    """
    if cluster is not None:
        from crystalnet.runtime.cluster import on_cluster

        with on_cluster(cluster, jobs, chunk) as mapped:
            yield mapped
        return
    if jobs is None:
        yield map
        return
    if threads is None:
        import torch

        threads = max(1, torch.get_num_threads() // jobs)
    pool = _Processes(jobs, threads)

    def mapped_here(work: Callable[..., Any], *arguments: Iterable[Any]) -> Iterator[Any]:
        nonlocal pool
        tasks = list(zip(*arguments, strict=True))
        results: dict[int, Any] = {}
        waiting, following = list(range(len(tasks))), 0
        while waiting:
            parts = [waiting[i : i + chunk] for i in range(0, len(waiting), chunk)]
            begun = [pool.submit(one_by_one, work, [tasks[number] for number in part]) for part in parts]
            undone = []
            for part, future in zip(parts, begun, strict=True):
                try:
                    results.update(zip(part, future.result(), strict=True))
                except BrokenProcessPool:
                    undone.append(part)
                while following in results:
                    yield results.pop(following)
                    following += 1
            if undone:
                pool.close()
                pool = _Processes(jobs, threads)
            # Parts are taken in their order: the process that died was at one of the first of those undone.
            for number in chain.from_iterable(undone[:jobs]):
                results[number] = _alone(work, tasks[number], threads)
            waiting = list(chain.from_iterable(undone[jobs:]))
        while following in results:
            yield results.pop(following)
            following += 1

    try:
        yield mapped_here
    finally:
        pool.close()


def one_by_one(work: Callable[..., Any], tasks: Sequence[tuple[Any, ...]]) -> list[Any]:
    """The results of tasks that a process takes together."""
    return [work(*task) for task in tasks]


def _alone(work: Callable[..., Any], task: tuple[Any, ...], threads: int) -> Any:
    """The result of a task in a process of its own."""
    with closing(_Processes(1, threads)) as pool:
        try:
            return pool.submit(work, *task).result()
        except BrokenProcessPool:
            return Lost()


class _Processes:
    """New processes that end when told to, and with this process."""

    def __init__(self, jobs: int, threads: int) -> None:
        context = multiprocessing.get_context("spawn")  # a fork has torch's locks without the threads that hold them
        self.reader, self.writer = context.Pipe(duplex=False)
        self.threads = threads
        self.executor = ProcessPoolExecutor(jobs, context, _end_with, (self.reader,))

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Begin work; after the death of a process BrokenProcessPool is its result."""
        try:
            with _inherited(self.threads):
                return self.executor.submit(work, *arguments)
        except BrokenProcessPool as error:
            nothing: Future[Any] = Future()
            nothing.set_exception(error)
            return nothing

    def close(self) -> None:
        """End the processes at once."""
        self.writer.close()
        self.executor.shutdown(cancel_futures=True)
        self.reader.close()


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
    with closing(_Processes(1, threads=1)) as elsewhere:
        for module in modules:
            elsewhere.submit(importlib.import_module, module)

        def there(work: Callable[..., Any], *arguments: Any) -> Any:
            return elsewhere.submit(work, *arguments).result()

        def here(work: Callable[..., Any], *arguments: Any) -> Any:
            return work(*arguments)

        def mapped(work: Callable[..., Any], *arguments: Iterable[Any]) -> Iterator[Any]:
            tasks = list(zip(*arguments, strict=True))
            results: dict[int, Any] = {}
            waiting = deque(range(len(tasks)))

            def work_off(take: Callable[[], int], done: Callable[..., Any]) -> None:
                while waiting:
                    try:
                        number = take()
                    except IndexError:  # the other took the last
                        return
                    results[number] = done(work, *tasks[number])

            waits = ThreadPoolExecutor(1)
            try:
                other = waits.submit(work_off, waiting.popleft, there) if len(tasks) > 1 else None
                work_off(waiting.pop, here)
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

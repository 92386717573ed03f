"""Independent work shared among processes: patterns to solve, crystals to score.

Imports nothing heavy: a new process must know how to end before it spends seconds on loading torch.
"""

from __future__ import annotations

import importlib
import multiprocessing.util
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from typing import Any

# As the built-in map: results in the order of the arguments, each as soon as it and those before it are there.
Map = Callable[..., Iterator[Any]]
THREADS = ("OMP_NUM_THREADS", "RIETX_COMPILED_THREADS")  # the first is torch's and numpy's
HELPERS = 2  # a laptop has two cores, and two crystals are refined at once
SOCKET_PATH, SOCKET_NAME = 107, "/listener-12345678"  # bytes that Linux allows; the fork server's in its folder
AHEAD = 4  # parts of the work that wait for each process: enough to keep it busy, few to do again


def cpus() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def own_threads() -> int:
    """How many threads kernels may use that torch does not run: OMP_NUM_THREADS, else one for each processor."""
    said = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return int(said) if said.isdigit() and int(said) else cpus()


@dataclass(frozen=True)
class Lost:
    """Stands for the result of work that killed its process."""

    why: str = "the process at work on it died each time (killed, or out of memory?)"


@contextmanager
def workers(jobs: int | None, threads: int | None = None, chunk: int = 1, cluster: str | None = None) -> Iterator[Map]:
    """A map over new processes, of this machine or of a cluster.

    The processes end with the block, however it ends, and with this process, even if that is killed. If a process dies,
    its work is done once more, in a process of its own. If that dies too, the result is `Lost`, and the other work goes
    on.

    Parameters
    ----------
    jobs : int, optional
        How many processes; None works in this one, or on a cluster with as many as it has.
    threads : int, optional
        Threads of each process; by default those of this process, divided among them. A cluster's have one.
    chunk : int
        Arguments that a process takes at a time: more than one where each takes only milliseconds.
    cluster : str, optional
        As `runtime.cluster.on_cluster` takes it; by default processes of this one's own are begun.

    Yields
    ------
    Map
        Used like the built-in map, but no more than AHEAD times as many arguments are taken as there are processes.
        What is mapped must be importable by name (pickle), and a script must keep its own work below
        `if __name__ == "__main__"`, because a new process imports the script again.

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
    each = max(1, own_threads() // jobs) if threads is None else threads
    with closing(_Workers(jobs, each, chunk)) as own:
        yield own.map


def one_by_one(work: Callable[..., Any], tasks: Sequence[tuple[Any, ...]]) -> list[Any]:
    """The results of tasks that a process takes together."""
    return [work(*task) for task in tasks]


def parts_of(arguments: Sequence[Iterable[Any]], chunk: int) -> Iterator[list[tuple[Any, ...]]]:
    """The arguments as tasks, `chunk` together, taken as they are asked for."""
    tasks = zip(*arguments, strict=True)
    return iter(lambda: list(islice(tasks, chunk)), [])


@dataclass(eq=False)
class _Part:
    """Tasks that a process takes together; aside: the only ones in their process, after one died."""

    work: Callable[..., Any]
    tasks: list[tuple[Any, ...]]
    result: Future[list[Any]]
    aside: bool = False


class _Workers:
    """Processes that work on a map, and one aside for the work that another process died at."""

    def __init__(self, jobs: int, threads: int, chunk: int) -> None:
        self.jobs, self.threads, self.chunk = jobs, threads, chunk
        self.many, self.one = _Processes(jobs, threads), _Processes(1, threads)

    def close(self) -> None:
        self.many.close()
        self.one.close()

    def map(self, work: Callable[..., Any], *arguments: Iterable[Any]) -> Iterator[Any]:
        """As the built-in map."""
        waiting: deque[_Part] = deque()
        try:
            for tasks in parts_of(arguments, self.chunk):
                waiting.append(_Part(work, tasks, self.many.submit(one_by_one, work, tasks)))
                if len(waiting) >= AHEAD * self.jobs:
                    yield from self._first(waiting)
            while waiting:
                yield from self._first(waiting)
        finally:
            for part in waiting:
                part.result.cancel()

    def _first(self, waiting: deque[_Part]) -> list[Any]:
        """Take the first part off, with its results."""
        while True:
            part = waiting[0]
            try:
                found = part.result.result()
            except BrokenProcessPool:
                if not part.aside:
                    self._renew(waiting)
                    continue
                found = self._each_alone(part)
                for other in waiting:
                    if other.aside and other is not part:
                        self._again(other)
            waiting.popleft()
            return found

    def _renew(self, waiting: deque[_Part]) -> None:
        """New processes after one died. Parts are taken in order: it was at one of the first that are not done."""
        self.many.close()
        self.many = _Processes(self.jobs, self.threads)
        undone = [part for part in waiting if not part.aside and _is_broken(part.result)]
        for number, part in enumerate(undone):
            part.aside = number < self.jobs
            self._again(part)

    def _again(self, part: _Part) -> None:
        processes = self.one if part.aside else self.many
        part.result = processes.submit(one_by_one, part.work, part.tasks)

    def _each_alone(self, part: _Part) -> list[Any]:
        """Results of a part whose process died when it had no other to do."""
        found: list[Any] = []
        for task in part.tasks:
            self.one.close()
            self.one = _Processes(1, self.threads)
            try:
                found.append(Lost() if len(part.tasks) == 1 else self.one.submit(part.work, *task).result())
            except BrokenProcessPool:
                found.append(Lost())
        self.one.close()
        self.one = _Processes(1, self.threads)
        return found


def _is_broken(result: Future[Any]) -> bool:
    """Whether the work was not done because a process died."""
    return not result.done() or result.cancelled() or isinstance(result.exception(), BrokenProcessPool)


class _Processes:
    """New processes that end when told to, and with this process.

    modules: what each imports when it begins. forked: they come from the fork server, which was begun with the threads
    and modules of its children; else each begins anew.
    """

    def __init__(self, jobs: int, threads: int, modules: Sequence[str] = (), forked: bool = False) -> None:
        # A fork of this process has torch's locks without the threads that hold them.
        context = multiprocessing.get_context("forkserver" if forked else "spawn")
        self.reader, self.writer = context.Pipe(duplex=False)
        self.threads, self.forked, self.closed = threads, forked, False
        self.executor = ProcessPoolExecutor(jobs, context, _begin, (self.reader, modules))

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Begin work; after the death of a process BrokenProcessPool is its result."""
        try:
            if self.closed:  # or the executor would begin the fork server anew
                raise BrokenProcessPool
            with nullcontext() if self.forked else _inherited(self.threads):
                return self.executor.submit(work, *arguments)
        except (BrokenProcessPool, EOFError, OSError) as error:  # the last two where the fork server died
            nothing: Future[Any] = Future()
            nothing.set_exception(BrokenProcessPool(str(error)))
            return nothing

    def close(self) -> None:
        """End the processes at once."""
        self.closed = True
        if self.forked:
            _end_fork_server()  # first: whoever waits for its imports need not any more
        self.writer.close()
        self.executor.shutdown(cancel_futures=True)
        self.reader.close()


@contextmanager
def helped(modules: Sequence[str] = ()) -> Iterator[Map]:
    """A map over HELPERS new processes for parts of one answer; the built-in map where there is one processor.

    Results come in the order of the arguments and do not depend on who worked. If a process dies, this one does the
    work.

    Parameters
    ----------
    modules : sequence of str
        What the work needs. It is imported at once, beside what this process does: by one process that imports it and
        forks the others where the system has such (Linux), else by each. All of them end with the block.

    Yields
    ------
    Map
        Used like the built-in map, but the work begins at once. What is mapped must be importable by name (pickle).
    """
    jobs = min(HELPERS, cpus())
    if jobs < 2:
        yield map
        return
    forks = _forks()
    if forks:
        multiprocessing.get_context("forkserver").set_forkserver_preload(list(modules))
        resource_tracker.ensure_running()  # its start unblocks Ctrl-C, and the fork server must start with it blocked
        with _inherited(threads=1):
            forkserver.ensure_running()
    elsewhere = _Processes(jobs, 1, () if forks else modules, forked=forks)
    hands = ThreadPoolExecutor(1)  # which wait for the first processes in place of this one
    for _ in range(jobs):
        hands.submit(elsewhere.submit, int)

    def mapped(work: Callable[..., Any], *arguments: Iterable[Any]) -> Iterator[Any]:
        tasks = list(zip(*arguments, strict=True))
        begun = hands.submit(lambda: [elsewhere.submit(work, *task) for task in tasks])

        def results() -> Iterator[Any]:
            futures = begun.result()
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:  # an error does not wait for the others' work
                if not _is_broken(future):
                    future.result()
            for future, task in zip(futures, tasks, strict=True):
                yield work(*task) if _is_broken(future) else future.result()

        return results()

    try:
        yield mapped
    finally:
        hands.shutdown(wait=False, cancel_futures=True)
        elsewhere.close()


def _forks() -> bool:
    """Whether helpers are forked: libraries survive it on Linux alone, and a long TMPDIR leaves no socket for it."""
    if sys.platform != "linux":
        return False
    return len(os.fsencode(multiprocessing.util.get_temp_dir() + SOCKET_NAME)) <= SOCKET_PATH


def _end_fork_server() -> None:
    """The standard library lets it live as long as this process; it is begun anew when it is needed."""
    server: Any = forkserver._forkserver
    pid = server._forkserver_pid
    if pid is not None:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGTERM)  # it may be importing, and would not hear otherwise
            server._stop()  # waits for its end: one about to die would be taken for one at work


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


def _begin(parent: Connection, modules: Sequence[str]) -> None:
    """Import modules, ready to end when the parent ends: it never sends, so the pipe only reports that it closed."""

    def watch() -> None:
        with suppress(EOFError, OSError):
            parent.recv_bytes()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    for module in modules:
        importlib.import_module(module)

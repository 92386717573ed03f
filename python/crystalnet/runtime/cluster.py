"""Independent work shared among the machines of a Dask cluster.

The scheduler knows every worker's death and gives its work to another; this module sends it no more than is soon done,
so that a million patterns need no more memory than a hundred.
"""

from __future__ import annotations

import importlib.metadata
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from crystalnet import __version__
from crystalnet.records import InputError
from crystalnet.runtime.pool import AHEAD, THREADS, Lost, Map, cpus, one_by_one, parts_of

if TYPE_CHECKING:
    from distributed import Client

LOCAL = "local"
PORT = 8786  # of a scheduler whose address names none
DEATHS = 1  # of workers, before a local cluster gives work up; a scheduler of the user's has its own number
PATIENCE = 20.0  # seconds to reach the scheduler, and for its first worker to come
LOOK = 1.0  # seconds after which workers are counted again: batch systems start them one by one


@contextmanager
def on_cluster(address: str, jobs: int | None = None, chunk: int = 1) -> Iterator[Map]:
    """A map over the workers of a Dask cluster.

    If a worker dies, another does its work. If that dies too, the work is tried once more with nothing else on the
    cluster; then `Lost` stands for its result.

    Parameters
    ----------
    address : str
        "local" for a cluster of this machine that ends with the block; else of a scheduler, as tcp://host:8786.
    jobs : int, optional
        Workers of a local cluster; by default one a processor.
    chunk : int
        Arguments that a worker takes at a time.

    Yields
    ------
    Map
        Used like the built-in map. Files are named to the workers, not sent: they must see the same folders.

    Raises
    ------
    InputError
        Where Dask is not installed, the cluster cannot be reached or goes away, or its workers are not fit: of another
        version of this package, or of several threads.
    """
    try:
        import distributed
    except ImportError:
        raise InputError("--cluster needs Dask: pip install 'crystalnet[cluster]'") from None
    if jobs is not None and address != LOCAL:
        raise InputError(f"--jobs goes with --cluster {LOCAL}: {address} has the workers that it has")
    with ExitStack() as stack:
        client = stack.enter_context(_local(jobs) if address == LOCAL else _connected(address))
        team = _Team(client, address)
        stack.callback(lambda: client.cancel(list(client.futures), force=True))

        def mapped(work: Callable[..., Any], *arguments: Iterable[Any]) -> Iterator[Any]:
            waiting: deque[tuple[list[tuple[Any, ...]], Any]] = deque()

            def results() -> list[Any]:
                part, future = waiting.popleft()
                try:
                    return list(future.result())
                except distributed.KilledWorker:  # or others did that it was queued behind
                    distributed.wait([other for _, other in waiting])
                    return [_alone(client, work, task) for task in part]

            try:
                for part in parts_of(arguments, chunk):
                    waiting.append((part, client.submit(one_by_one, work, part, pure=False)))
                    if len(waiting) >= AHEAD * team.size():
                        yield from results()
                while waiting:
                    yield from results()
            except (distributed.client.FutureCancelledError, distributed.comm.CommClosedError) as error:
                raise InputError(f"--cluster {address}: the scheduler went away ({error})") from None
            finally:
                if client.status == "running":  # else the block has ended, and its work with it
                    client.cancel([future for _, future in waiting], force=True)

        yield mapped


def _alone(client: Client, work: Callable[..., Any], task: tuple[Any, ...]) -> Any:
    """The result of a task with nothing else on the cluster."""
    from distributed import KilledWorker

    try:
        return client.submit(work, *task, pure=False).result()
    except KilledWorker:
        return Lost()


@contextmanager
def _local(jobs: int | None) -> Iterator[Client]:
    """A cluster of processes of this machine, with one thread each and no page of its own."""
    import dask
    from distributed import Client, LocalCluster

    settings = {
        "distributed.scheduler.allowed-failures": DEATHS,
        "distributed.nanny.environ": dict.fromkeys(THREADS, "1"),
    }
    with dask.config.set(settings):
        cluster = LocalCluster(jobs or cpus(), threads_per_worker=1, dashboard_address=None, silence_logs="CRITICAL")
        with cluster, Client(cluster) as client:
            yield client


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    from distributed import Client
    from distributed.comm.addressing import parse_address, parse_host_port

    try:
        # Asked before: a client that could not be made stops its threads when it is collected, be it in the midst of
        # another's start, which waits for ever.
        socket.create_connection(parse_host_port(parse_address(address)[1], PORT), PATIENCE).close()
        client = Client(address, timeout=PATIENCE)
    except (OSError, ValueError, TypeError) as error:
        said = f"--cluster {address}: no scheduler answers there ({error}); as tcp://host:8786, or local"
        raise InputError(said) from None
    with client:
        yield client


class _Team:
    """The workers of a cluster, which may come and go.

    Raises
    ------
    InputError
        Where none comes, or one is not fit for the work.
    """

    def __init__(self, client: Client, address: str) -> None:
        from distributed import TimeoutError as TooLong

        self.client, self.address = client, address
        self._known: set[str] = set()
        self._looked, self._size = -LOOK, 1
        try:
            client.wait_for_workers(1, PATIENCE)
        except TooLong:
            raise InputError(
                f"--cluster {address}: it has no workers; start some with `dask worker --nthreads 1`"
            ) from None
        self.size()

    def size(self) -> int:
        """How many there are, at least 1; new ones are looked at."""
        if time.monotonic() - self._looked < LOOK:
            return self._size
        workers = self.client.scheduler_info(n_workers=-1)["workers"]
        new = [worker for worker in workers if worker not in self._known]
        if any(workers[worker]["nthreads"] != 1 for worker in new):  # warnings and torch's threads are a process's
            raise InputError(f"--cluster {self.address}: start its workers with --nthreads 1, one for each processor")
        self._know(new)
        self._looked, self._size = time.monotonic(), max(1, len(workers))
        return self._size

    def _know(self, new: list[str]) -> None:
        """InputError where a worker has not this version; one that has died meanwhile is not asked."""
        # A function of the standard library: a worker without this package could not read one of ours.
        asked = self.client.run(importlib.metadata.version, "crystalnet", workers=new, on_error="return") if new else {}
        missing = any(isinstance(said, importlib.metadata.PackageNotFoundError) for said in asked.values())
        others = {said for said in asked.values() if isinstance(said, str)} - {__version__}
        if missing or others:
            theirs = ", ".join([*sorted(others), *["not installed"] * missing])
            raise InputError(f"--cluster {self.address}: crystalnet is {__version__} here, on its workers {theirs}")
        self._known |= asked.keys()

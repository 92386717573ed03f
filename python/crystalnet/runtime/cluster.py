"""Independent work shared among the machines of a Dask cluster.

The scheduler knows every worker's death and gives its work to another; this module sends it no more than is soon done,
so that a million patterns need no more memory than a hundred.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from crystalnet import __version__
from crystalnet.records import InputError
from crystalnet.runtime.pool import THREADS, Lost, Map, cpus, one_by_one

if TYPE_CHECKING:
    from distributed import Client

LOCAL = "local"
DEATHS = 1  # of workers, before a local cluster gives an argument up; a scheduler of the user's has its own number
AHEAD = 4  # parts of the work that wait for each worker: the scheduler's answer takes milliseconds, a pattern seconds
PATIENCE = 20.0  # seconds to reach the scheduler


@contextmanager
def on_cluster(address: str, jobs: int | None = None, chunk: int = 1) -> Iterator[Map]:
    """A map over the workers of a Dask cluster.

    Work of a worker that dies is done by another; if it kills that too, `Lost` stands for its result.

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
    with ExitStack() as stack:
        client = stack.enter_context(_local(jobs) if address == LOCAL else _connected(address))
        width = _fit_workers(client, address)
        stack.callback(lambda: client.cancel(list(client.futures), force=True))

        def mapped(work: Callable[..., Any], *arguments: Iterable[Any]) -> Iterator[Any]:
            tasks = zip(*arguments, strict=True)
            parts = iter(lambda: list(islice(tasks, chunk)), [])
            waiting: deque[tuple[int, Any]] = deque()
            try:
                for part in parts:
                    waiting.append((len(part), client.submit(one_by_one, work, part, pure=False)))
                    if len(waiting) >= AHEAD * width:
                        yield from _results(*waiting.popleft())
                while waiting:
                    yield from _results(*waiting.popleft())
            except (distributed.client.FutureCancelledError, distributed.comm.CommClosedError) as error:
                raise InputError(f"--cluster {address}: the scheduler went away ({error})") from None

        yield mapped


def _results(count: int, future: Any) -> list[Any]:
    """Of a part of the work; all of it is lost where it killed its workers."""
    from distributed import KilledWorker

    try:
        found: list[Any] = future.result()
    except KilledWorker:
        return [Lost()] * count
    return found


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
        cluster = LocalCluster(jobs or cpus(), threads_per_worker=1, dashboard_address=None, silence_logs="ERROR")
        with cluster, Client(cluster) as client:
            yield client


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    from distributed import Client

    try:
        client = Client(address, timeout=PATIENCE)
    except (OSError, ValueError, TypeError) as error:
        said = f"--cluster {address}: no scheduler answers there ({error}); as tcp://host:8786, or local"
        raise InputError(said) from None
    with client:
        yield client


def _fit_workers(client: Client, address: str) -> int:
    """How many workers there are; InputError where there are none, or they are not fit."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    if not workers:
        raise InputError(f"--cluster {address}: it has no workers; start some with `dask worker --nthreads 1`")
    if any(worker["nthreads"] != 1 for worker in workers.values()):  # warnings and torch's threads are a process's
        raise InputError(f"--cluster {address}: start its workers with --nthreads 1, one for each processor")
    versions = set(client.run(_version).values())
    if versions != {__version__}:
        raise InputError(
            f"--cluster {address}: its workers have crystalnet {', '.join(sorted(versions))}, here it is {__version__}"
        )
    return len(workers)


def _version() -> str:
    try:
        from crystalnet import __version__ as own
    except ImportError:
        return "not installed"
    return own

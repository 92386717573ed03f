"""Work on a Dask cluster: its order, its dead workers, and what is said where it cannot be used."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from crystalnet.records import InputError
from crystalnet.runtime.pool import Lost, workers

pytest.importorskip("distributed")

NOTED = "(open({path!r}, 'a').write('{n} %d\\n' % __import__('os').getpid()), __import__('time').sleep(0.01), {n})[-1]"


def test_every_item_once_though_a_worker_is_killed(tmp_path: Path) -> None:
    """As a thousand patterns: each result once and in its place; the dead worker's item is done by another."""
    notes = tmp_path / "notes"
    items = [NOTED.format(path=str(notes), n=n) for n in range(1000)]
    killed: list[int] = []

    def kill_one() -> None:
        while not notes.exists() or len(notes.read_text().splitlines()) < 300:
            time.sleep(0.05)
        killed.append(int(notes.read_text().splitlines()[-1].split()[1]))
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_one, daemon=True)
    with workers(2, cluster="local") as mapped:
        killer.start()
        assert list(mapped(eval, items)) == list(range(1000))
    killer.join(timeout=10)
    lines = [line.split() for line in notes.read_text().splitlines()]
    done = Counter(int(n) for n, _ in lines)
    assert set(done) == set(range(1000)) and killed
    # What the killed worker had done and not yet handed over may have been done again, and no more.
    assert sum(done.values()) - 1000 <= 10
    assert len({pid for _, pid in lines}) == 3  # the two, and one that took the dead one's place


def test_work_that_kills_every_worker_is_lost_and_costs_no_other() -> None:
    """Also none that waits behind it: Dask suspects all that a dead worker was to do."""
    suicide = "__import__('os')._exit(1)"
    with workers(2, chunk=2, cluster="local") as mapped:
        tasks = [suicide if n in (5, 20) else f"(__import__('time').sleep(0.02), {n})[1]" for n in range(40)]
        assert list(mapped(eval, tasks)) == [Lost() if n in (5, 20) else n for n in range(40)]
        with pytest.raises(ZeroDivisionError):
            list(mapped(eval, ["1 / 0"]))


def test_no_more_than_is_soon_done_waits() -> None:
    taken = []

    def endless() -> object:
        for n in range(10_000):
            taken.append(n)
            yield n

    with workers(1, cluster="local") as mapped:
        results = mapped(abs, endless())
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        assert len(taken) < 20


def test_a_cluster_that_cannot_be_used_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from distributed import LocalCluster

    monkeypatch.setattr("crystalnet.runtime.cluster.PATIENCE", 0.5)
    for address in ("tcp://127.0.0.1:1", "no address"):
        with (
            pytest.raises(InputError, match=f"--cluster {address}: no scheduler answers"),
            workers(None, cluster=address),
        ):
            pass
    with LocalCluster(1, threads_per_worker=2, dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        with pytest.raises(InputError, match="--nthreads 1"), workers(None, cluster=address):
            pass
    with LocalCluster(1, threads_per_worker=1, dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        with workers(None, cluster=address) as mapped:
            assert list(mapped(divmod, [7, 8], [3, 3])) == [(2, 1), (2, 2)]
        with pytest.raises(InputError, match="--jobs goes with --cluster local"), workers(2, cluster=address):
            pass
        monkeypatch.setattr("crystalnet.runtime.cluster.__version__", "another")
        with pytest.raises(InputError, match="crystalnet is another here"), workers(None, cluster=address):
            pass

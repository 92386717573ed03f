"""Worker processes: their order, their threads, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from crystalnet.runtime.pool import AHEAD, Lost, cpus, helped, own_threads, workers

PIDS = """
import time
from crystalnet.runtime.pool import workers

with workers(2, threads=1) as mapped:
    print(*mapped(eval, ["(__import__('time').sleep(0.2), __import__('os').getpid())[1]"] * 8), flush=True)
    list(mapped(time.sleep, [60, 60]))
"""


def test_results_are_in_order_and_threads_as_asked() -> None:
    before = dict(os.environ)
    with workers(2, threads=3) as mapped:
        assert list(mapped(divmod, range(20), [7] * 20)) == [divmod(i, 7) for i in range(20)]
        assert list(mapped(os.getenv, ["OMP_NUM_THREADS", "RIETX_COMPILED_THREADS"])) == ["3", "3"]
    assert os.environ == before
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert cpus() >= 1


@pytest.mark.parametrize("chunk", [1, 3])
def test_work_that_kills_its_process_is_lost_and_costs_no_other(chunk: int) -> None:
    suicide = "__import__('os')._exit(1)"
    with workers(2, threads=1, chunk=chunk) as mapped:
        found = list(mapped(eval, ["1", suicide, "3", "4", suicide, *map(str, range(20))]))
        assert found == [1, Lost(), 3, 4, Lost(), *range(20)]
        assert list(mapped(eval, ["1", "2"])) == [1, 2]


def test_results_come_while_a_suspect_is_tried_again() -> None:
    """The first result does not wait for the work beside the killer's, and what is not asked for is not begun."""
    taken: list[int] = []

    def asked() -> Iterator[str]:
        for n in range(1000):
            taken.append(n)
            yield f"{n}" if n != 1 else "__import__('os')._exit(1)"

    with workers(2, threads=1) as mapped:
        results = mapped(eval, asked())
        assert next(results) == 0 and len(taken) <= 2 * AHEAD
        assert [next(results) for _ in range(3)] == [Lost(), 2, 3]
        results.close()  # type: ignore[attr-defined]
        started = time.monotonic()
        assert list(mapped(eval, ["1"])) == [1] and time.monotonic() - started < 10


def test_many_killers_cost_themselves_alone() -> None:
    suicide = "__import__('os')._exit(1)"
    tasks = [suicide if n in (5, 6, 20) else f"(__import__('time').sleep(0.02), {n})[1]" for n in range(40)]
    with workers(3, threads=1) as mapped:
        assert list(mapped(eval, tasks)) == [Lost() if n in (5, 6, 20) else n for n in range(40)]


def test_work_whose_process_was_killed_is_done_once_more(tmp_path: Path) -> None:
    once = f"open({str(tmp_path / 'mark')!r}, 'x') and __import__('os')._exit(1)"
    survives = f"__import__('os').path.exists({str(tmp_path / 'mark')!r}) or {once}"
    with workers(2, threads=1) as mapped:
        assert list(mapped(eval, ["0", survives, "2"])) == [0, True, 2]


def test_an_error_ends_the_work_at_once() -> None:
    started = time.monotonic()
    with pytest.raises(ZeroDivisionError), workers(2, threads=1) as mapped:
        list(mapped(eval, ["1 / 0", "__import__('time').sleep(60)"]))
    assert time.monotonic() - started < 20


def test_helpers_share_the_work_and_change_no_result() -> None:
    tasks = ["(__import__('time').sleep(0.3), __import__('os').getpid())[1]"] * 6
    with helped(["json"]) as mapped:
        assert list(mapped(divmod, range(20), [7] * 20)) == [divmod(i, 7) for i in range(20)]
        assert list(mapped(divmod, [], [])) == []
        list(mapped(eval, ["1"] * 2))
        assert len(set(mapped(eval, tasks))) == min(2, cpus())
        with pytest.raises(ZeroDivisionError):
            list(mapped(eval, ["1 / 0", "1"]))
        with pytest.raises(ZeroDivisionError):
            list(mapped(eval, ["1", "1 / 0"]))


def test_an_error_does_not_wait_for_the_other_helper() -> None:
    slow = "__import__('multiprocessing').parent_process() and __import__('time').sleep(60)"
    started = time.monotonic()
    with pytest.raises(ZeroDivisionError), helped() as mapped:
        list(mapped(eval, [slow, "1 / 0"]))
    assert time.monotonic() - started < 20


def test_the_death_of_a_helper_costs_no_result() -> None:
    suicide = "__import__('multiprocessing').parent_process() and __import__('os')._exit(1)"
    with helped() as mapped:
        for _ in range(2):
            assert list(mapped(eval, [suicide, suicide])) == [None, None]
        assert list(mapped(eval, ["1", "2", "3"])) == [1, 2, 3]


def interruptible(script: str) -> subprocess.Popen[str]:
    """A script at work in a process group of its own, which Ctrl-C reaches as in a terminal."""
    return subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job would ignore it
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["interrupt", "kill"])
def test_workers_end_with_their_parent(number: signal.Signals) -> None:
    parent = interruptible(PIDS)
    assert parent.stdout is not None
    pids = set(map(int, parent.stdout.readline().split()))
    if number == signal.SIGINT:  # as Ctrl-C: to all of them
        os.killpg(parent.pid, number)
    else:
        parent.kill()
    _, said = parent.communicate(timeout=30)
    if number == signal.SIGINT:
        assert said.count("Traceback") == 1, said  # this test's own script's; the workers say nothing
    deadline = time.monotonic() + 10
    while any(_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert pids and not any(_alive(pid) for pid in pids)


def slow_module(folder: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> str:
    """The name of a module that helpers can import, new for each test."""
    name = f"slow_{folder.name}"
    (folder / f"{name}.py").write_text(content)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return name


def test_this_process_keeps_its_threads_while_helpers_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    with helped([slow_module(tmp_path, monkeypatch, "import time; time.sleep(2)")]) as mapped:
        begun = mapped(os.getenv, ["OMP_NUM_THREADS"] * 2)
        time.sleep(0.5)
        assert own_threads() == 7
        assert list(begun) == (["1", "1"] if cpus() > 1 else ["7", "7"])


@pytest.mark.parametrize("fault", ["raise RuntimeError", "import os; os._exit(1)"])
def test_helpers_that_cannot_begin_cost_no_result(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with helped([slow_module(tmp_path, monkeypatch, fault)]) as mapped:
        assert list(mapped(eval, ["1", "2", "3"])) == [1, 2, 3]


@pytest.mark.parametrize("length", [60, 120])
def test_a_long_folder_for_temporary_files_costs_no_result(length: int, tmp_path: Path) -> None:
    """A socket's path has an end: beyond it helpers begin without the fork server."""
    script = """
import os
from crystalnet.runtime.pool import helped

if __name__ == "__main__":
    with helped(["json"]) as mapped:
        print(*mapped(divmod, [7, 8], [3, 3]))
        print(len(set(mapped(eval, ["(__import__('time').sleep(0.3), __import__('os').getpid())[1]"] * 4))))
"""
    (tmp_path / "script.py").write_text(script)
    with tempfile.TemporaryDirectory(prefix="x" * length, dir="/tmp") as long:
        command = [sys.executable, str(tmp_path / "script.py")]
        said = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TMPDIR": long}, timeout=60)
    assert said.stdout.split("\n")[:2] == ["(2, 1) (2, 2)", str(min(2, cpus()))], said.stderr


def test_an_error_does_not_wait_for_helpers_to_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = time.monotonic()
    with pytest.raises(KeyError), helped([slow_module(tmp_path, monkeypatch, "import time; time.sleep(30)")]) as mapped:
        mapped(eval, ["1", "2"])
        time.sleep(0.5)
        raise KeyError
    assert time.monotonic() - started < 15


@pytest.mark.skipif(sys.platform != "linux", reason="helpers are not forked there")
def test_an_interrupt_while_the_helpers_import_is_said_once() -> None:
    script = """
import time
from crystalnet.runtime.pool import helped

with helped(["torch", "rietx"]):
    print("begun", flush=True)
    time.sleep(60)
"""
    parent = interruptible(script)
    assert parent.stdout is not None and parent.stdout.readline() == "begun\n"
    time.sleep(0.5)
    os.killpg(parent.pid, signal.SIGINT)
    _, said = parent.communicate(timeout=30)
    assert said.count("Traceback") == 1, said


def _alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]
    except OSError:
        return False

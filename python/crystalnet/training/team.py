"""Several processes that train one network: who they are, what they exchange, how they start and end.

Every process draws the random inputs of the whole batch and works on its share of it; the gradients are averaged. So N
processes take the steps that one would. torch's DistributedDataParallel would not make this shorter: it averages the
gradients of one call of `forward`, while a step here encodes, conditions and decodes, and the loss is averaged too.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import torch
from torch import Tensor, distributed, multiprocessing
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, start_processes

from crystalnet.records import InputError

PATIENCE = timedelta(hours=1)  # the others wait while the first makes the data set or validates
INTERRUPTED = 130  # a process's exit code


@dataclass(frozen=True)
class Team:
    """The processes that train together, as one of them sees them; a process alone exchanges nothing.

    Attributes
    ----------
    rank : int
        Number of this process, from 0.
    size : int
        How many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def share(self) -> slice:
        """The crystals of a batch that this process takes.

        Every size-th, because a step learns differently from the halves of a batch: each process has as many of either.
        """
        return slice(self.rank, None, self.size)

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over the processes, all in one exchange."""
        if self.size > 1:
            flat = torch.cat([tensor.ravel() for tensor in tensors])
            distributed.all_reduce(flat)
            means = (flat / self.size).split([tensor.numel() for tensor in tensors])
            for tensor, mean in zip(tensors, means, strict=True):
                tensor.copy_(mean.view_as(tensor))

    def as_first(self, *values: float) -> list[float]:
        """The first process's values: its clock and its interrupts are everyone's."""
        shared = torch.tensor(values, dtype=torch.float64)
        if self.size > 1:
            distributed.broadcast(shared, 0)
        return [float(value) for value in shared]


def team() -> Team:
    """The process group that this process is in, or itself alone."""
    if distributed.is_available() and distributed.is_initialized():
        return Team(distributed.get_rank(), distributed.get_world_size())
    return Team()


def together(work: Callable[[str], object], device: str, count: int) -> None:
    """Run a function in several new processes of this machine, or as one of those that torchrun has started.

    Parameters
    ----------
    work : callable
        Called with the device of its process; must be importable by name (pickle).
    device : str
        "cpu" or "cuda"; each process gets its own GPU.
    count : int
        How many processes; 1 works in this one.

    Raises
    ------
    InputError
        Where one process stops, which stops all.
    """
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        rank = int(os.environ["RANK"])
        _take_part(rank, int(os.environ["WORLD_SIZE"]), _local_rank(rank), "env://", work, device)
    elif count > 1:
        _start(work, device, count)
    else:
        work(device)


@contextmanager
def first_on_this_machine() -> Iterator[None]:
    """The first process of each machine runs the block before the others do: it makes what they find made."""
    here = team()
    first = _local_rank(here.rank) == 0
    if here.size > 1 and not first:
        distributed.barrier()
    yield
    if here.size > 1 and first:
        distributed.barrier()


class Interrupts:
    """Whether SIGINT or SIGTERM came. A second one ends the process at once."""

    def __init__(self) -> None:
        self.received: list[int] = []
        self.deferred = True

    def __call__(self) -> bool:
        return bool(self.received)

    def note(self, number: int, frame: FrameType | None) -> None:
        """The signals' handler."""
        self.received.append(number)
        signal.signal(number, signal.SIG_DFL)
        if not self.deferred:
            raise KeyboardInterrupt

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """While the block runs a signal raises KeyboardInterrupt where it comes: for work that leaves nothing behind.

        One that came before raises it too.
        """
        self.deferred = False
        try:
            if self.received:
                raise KeyboardInterrupt
            yield
        finally:
            self.deferred = True


@contextmanager
def deferred_interrupts() -> Iterator[Interrupts]:
    """Within the block SIGINT and SIGTERM are noted: the step at work ends first, then the run is saved."""
    interrupts = Interrupts()
    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, interrupts.note) for number in numbers}
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _local_rank(rank: int) -> int:
    return int(os.environ.get("LOCAL_RANK", rank))


def _take_part(
    rank: int, size: int, local_rank: int, meeting_point: str, work: Callable[[str], object], device: str
) -> None:
    cuda = device == "cuda"
    if cuda:
        device = f"cuda:{local_rank}"
        torch.cuda.set_device(device)
    # Gradients travel between GPUs; the clock between CPUs, so that no GPU waits for it.
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if cuda else "gloo",
        init_method=meeting_point,
        rank=rank,
        world_size=size,
        timeout=PATIENCE,
    )
    work(device)
    distributed.destroy_process_group()


def _start(work: Callable[[str], object], device: str, count: int) -> None:
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)  # that it ends the others is no news
    messages = multiprocessing.get_context("spawn").SimpleQueue()
    with TemporaryDirectory() as folder:
        meeting_point = (Path(folder) / "meeting-point").as_uri()
        processes: Any = start_processes(
            _started, (count, meeting_point, messages, work, device), nprocs=count, join=False
        )
        try:
            while not processes.join():
                pass
        except KeyboardInterrupt:  # which they have got too
            for process in processes.processes:
                process.join()
            raise
        except (ProcessRaisedException, ProcessExitedException) as error:
            if getattr(error, "exit_code", None) == INTERRUPTED:
                raise KeyboardInterrupt from None
            if not messages.empty():
                raise InputError(messages.get()) from None
            why = f"training process {error.error_index} of {count} failed: {str(error).strip().splitlines()[-1]}"
            if isinstance(error, ProcessRaisedException):  # a fault of ours; the other is a kill, for memory or so
                raise RuntimeError(why) from error
            raise InputError(why) from error


def _started(
    rank: int, size: int, meeting_point: str, messages: Any, work: Callable[[str], object], device: str
) -> None:
    if device == "cpu":
        torch.set_num_threads(max(1, torch.get_num_threads() // size))
    try:
        _take_part(rank, size, rank, meeting_point, work, device)
    except InputError as error:
        messages.put(str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)

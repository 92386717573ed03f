"""Embedded crystals: decorated structure types, and random crystals.

Crystal number i of a seed is always the same, whatever was generated before it.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain, islice
from pathlib import Path

import numpy as np

from crystalnet.crystal.record_file import Record, dump_json
from crystalnet.crystal.systems import system_of
from crystalnet.data.decoration import decorate, original_crystal
from crystalnet.data.random_crystals import random_crystal
from crystalnet.data.splits import may_train
from crystalnet.data.structure_types import StructureType

BATCH = 128  # crystals on a line of the journal: what a kill loses at most


def generate(
    types: Sequence[StructureType],
    limit: int,
    seed: int = 0,
    jobs: int = 1,
    random_share: float = 0.0,
    journal: Path | None = None,
) -> Iterator[Record]:
    """Different crystals: first the real crystals of the types that may be trained on, then decorations.

    No two have the same formula, space group and type. A type is decorated in proportion to the square root of its
    number of known crystals.

    Parameters
    ----------
    types : sequence of StructureType
        Types of one crystal system.
    limit : int
        Number of crystals at most.
    seed : int
        The crystals depend on types, limit, seed and random_share only.
    jobs : int
        Processes that work at a time.
    random_share : float
        Share of the crystals that have random Wyckoff positions instead of a known type's.
    journal : Path or None
        A file that keeps what is made: after a kill the same call goes on from it.

    Yields
    ------
    Record
        A crystal in its canonical cell.
    """
    seen: set[tuple[str, int, str]] = set()
    emitted = 0
    originals = (original_crystal(kind) for kind in types if may_train(kind.formula))
    for record in chain(originals, _decorations(types, limit, seed, jobs, random_share, journal)):
        key = (record["formula"], record["space_group"], record["type"])
        if key not in seen:
            seen.add(key)
            emitted += 1
            yield record
            if emitted == limit:
                return


def _decorations(
    types: Sequence[StructureType], limit: int, seed: int, jobs: int, random_share: float, journal: Path | None
) -> Iterator[Record]:
    """Decorations and random crystals in the order of their numbers; they may repeat."""
    known, examples = Counter[str](), Counter[str]()
    for kind in types:
        known[kind.label] += kind.count
        examples[kind.label] += 1
    weight = np.array([np.sqrt(known[kind.label]) / examples[kind.label] for kind in types])
    rng = np.random.default_rng(seed)
    picks = rng.choice(len(types), size=3 * limit, p=weight / weight.sum())
    random = rng.random(len(picks)) < random_share
    system = system_of(types[0].space_group).name
    tasks = (
        (system if at_random else types[pick], number, seed)
        for number, (pick, at_random) in enumerate(zip(picks.tolist(), random, strict=True))
    )
    batches = iter(lambda: list(islice(tasks, BATCH)), [])
    with _Journal(journal) as kept, _mapper(jobs) as mapper:
        for batch in batches:
            records = kept.next()
            if records is None:
                records = [record for record in mapper(_decorate_task, batch) if record is not None]
                kept.append(records)
            yield from records


@contextmanager
def _mapper(jobs: int) -> Iterator[Callable[..., Iterable[Record | None]]]:
    """map, on one or several processes."""
    if jobs == 1:
        yield map
        return
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(jobs, initializer=_end_with, initargs=(os.getpid(),)) as pool:
        yield partial(pool.map, chunksize=8)


def _end_with(parent: int) -> None:
    """End this worker soon after its parent: one that was killed cannot tell it to, and it would wait for ever."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class _Journal:
    """Batches of records as lines of a file. A line that a kill cut short is made again."""

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def __enter__(self) -> _Journal:
        self.file = None
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.file = open(self.path, "a+b")
            self.file.seek(0)
        return self

    def __exit__(self, *error: object) -> None:
        if self.file is not None:
            self.file.close()

    def next(self) -> list[Record] | None:
        """The next batch kept; None when the rest is to be made."""
        if self.file is None:
            return None
        start = self.file.tell()
        line = self.file.readline()
        if line.endswith(b"\n"):
            return list(json.loads(line))
        self.file.truncate(start)
        return None

    def append(self, records: list[Record]) -> None:
        """Keep a batch."""
        if self.file is not None:
            self.file.write(dump_json(records).encode() + b"\n")
            self.file.flush()


def _decorate_task(task: tuple[StructureType | str, int, int]) -> Record | None:
    kind, number, seed = task
    return random_crystal(kind, number, seed) if isinstance(kind, str) else decorate(kind, number, seed)

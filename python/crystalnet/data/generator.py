"""Embedded crystals: decorated structure types, and random crystals.

Crystal number i of a seed is always the same, whatever was generated before it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

import numpy as np

from crystalnet.crystal.record_file import Record
from crystalnet.crystal.systems import system_of
from crystalnet.data.decoration import decorate, original_crystal
from crystalnet.data.random_crystals import random_crystal
from crystalnet.data.splits import may_train
from crystalnet.data.structure_types import StructureType
from crystalnet.records import InputError
from crystalnet.runtime.journal import Journal
from crystalnet.runtime.pool import Lost, workers

BATCH = 128  # crystals on a line of the journal: what a kill loses at most
CHUNK = 8  # crystals that a process takes at a time: a message costs as much as a small one


def generate(
    types: Sequence[StructureType],
    limit: int,
    seed: int = 0,
    jobs: int = 1,
    random_share: float = 0.0,
    journal: Path | None = None,
    cluster: str | None = None,
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
    cluster : str or None
        As `workers` takes it, instead of processes of this machine.

    Yields
    ------
    Record
        A crystal in its canonical cell.
    """
    seen: set[tuple[str, int, str]] = set()
    emitted = 0
    originals = (original_crystal(kind) for kind in types if may_train(kind.formula))
    for record in chain(originals, _decorations(types, limit, seed, jobs, random_share, journal, cluster)):
        key = (record["formula"], record["space_group"], record["type"])
        if key not in seen:
            seen.add(key)
            emitted += 1
            yield record
            if emitted == limit:
                return


def _decorations(
    types: Sequence[StructureType],
    limit: int,
    seed: int,
    jobs: int,
    random_share: float,
    journal: Path | None,
    cluster: str | None,
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
    made_of = {"types": len(types), "limit": limit, "seed": seed, "random_share": random_share}
    # The caller deletes the journal: what was made is kept until the data set is written.
    processes = jobs if jobs > 1 and cluster is None else None
    with Journal(journal, made_of, keep=True) as kept, workers(processes, 1, CHUNK, cluster) as mapped:
        while (records := kept.next()) is not None:
            deque(islice(tasks, BATCH), maxlen=0)  # these are made
            yield from records
        made = map(_made, mapped(_decorate_task, tasks))
        while batch := list(islice(made, BATCH)):
            records = [record for record in batch if record is not None]
            kept.append(records)
            yield from records


def _made(record: Record | Lost | None) -> Record | None:
    if isinstance(record, Lost):  # without it the set would be another one
        raise InputError(f"a crystal was not made: {record.why}; the same command goes on from here")
    return record


def _decorate_task(task: tuple[StructureType | str, int, int]) -> Record | None:
    kind, number, seed = task
    return random_crystal(kind, number, seed) if isinstance(kind, str) else decorate(kind, number, seed)

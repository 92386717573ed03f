"""How long each stage of an answer took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from crystalnet.runtime.log import log

Progress = Callable[[str], None]
Stage = Callable[[str], AbstractContextManager[None]]  # times what is done in it


def unclocked(stage: str) -> AbstractContextManager[None]:
    return nullcontext()


class Clock:
    """Seconds of each stage, told to the progress display as they begin."""

    def __init__(self, progress: Progress = lambda stage: None) -> None:
        self.seconds: dict[str, float] = {}
        self.progress = progress

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        self.progress(stage)
        started = time.perf_counter()
        yield
        taken = time.perf_counter() - started
        self.seconds[stage] = round(self.seconds.get(stage, 0.0) + taken, 3)
        log.info("%s: %.2f s", stage, taken)

"""A file of rows that a run which was killed goes on from."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crystalnet.records import InputError
from crystalnet.runtime.pool import Lost, Map


class Journal:
    """The rows of a run as lines of a file, its settings first. A line that a kill cut short is made again.

    Parameters
    ----------
    path : Path, optional
        The file; None keeps nothing.
    settings : dict
        All that the rows follow from, as JSON has it. Rows of other settings are not gone on with.
    keep : bool
        Whether the file stays when the run ends well.

    Raises
    ------
    InputError
        On entry, where the file holds something else, or the rows of other settings.
    """

    def __init__(self, path: Path | None, settings: dict[str, Any], keep: bool) -> None:
        self.path, self.settings, self.keep = path, settings, keep

    def __enter__(self) -> Journal:
        self.file = None
        if self.path is None:
            return self
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.file = open(self.path, "a+b")
        self.file.seek(0)
        try:
            self._refuse_foreign(self.file.readline())
            begun = self._line()
            if begun is None:
                self.append(self.settings)
            elif begun != json.loads(_line_of(self.settings)):
                differing = [key for key, value in self.settings.items() if begun.get(key) != value]
                raise InputError(
                    f"{self.path}: an unfinished run with another {', '.join(differing) or 'version'};"
                    " repeat its options, or delete it"
                )
        except BaseException:
            self.file.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if self.file is not None and self.path is not None:
            self.file.close()
            if kind is None and not self.keep:
                self.path.unlink()

    def _refuse_foreign(self, first: bytes) -> None:
        """InputError where the file's first line is not the settings of a run, nor, cut short, of this one."""
        assert self.file is not None
        self.file.seek(0)
        if first.endswith(b"\n"):
            try:
                ours = isinstance(json.loads(first), dict)
            except ValueError:
                ours = False
        else:
            ours = _line_of(self.settings).startswith(first)
        if not ours:
            raise self._foreign()

    def _foreign(self) -> InputError:
        return InputError(f"{self.path}: not the journal of a run; move it away")

    def _line(self) -> Any:
        assert self.file is not None
        start = self.file.tell()
        line = self.file.readline()
        if line.endswith(b"\n"):
            try:
                return json.loads(line)
            except ValueError:
                raise self._foreign() from None
        self.file.truncate(start)
        return None

    def next(self) -> Any:
        """The next row kept; None when the rest is to be made."""
        return None if self.file is None else self._line()

    def rows(
        self,
        items: Sequence[Any],
        score: Callable[..., Any],
        mapped: Map = map,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> tuple[list[Any], float | None]:
        """A row of each item, those kept before among them, and the seconds that one made now took; None: none was.

        score(item) makes a row, score(item, failure=why) that of an item whose process died. progress gets how many are
        done, and of how many.
        """
        started = time.perf_counter()
        rows = list(iter(self.next, None))
        before = len(rows)
        for item, made_of in zip(items[before:], mapped(score, items[before:]), strict=True):
            row = score(item, failure=made_of.why) if isinstance(made_of, Lost) else made_of
            self.append(row)
            rows.append(row)
            progress(len(rows), len(items))
        made = len(rows) - before
        return rows, (time.perf_counter() - started) / made if made else None

    def append(self, row: Any) -> None:
        """Keep a row: anything that JSON can hold, and arrays, which come back as lists."""
        if self.file is not None:
            self.file.write(_line_of(row))
            self.file.flush()


def _line_of(row: Any) -> bytes:
    return json.dumps(row, default=lambda value: np.asarray(value).tolist()).encode() + b"\n"

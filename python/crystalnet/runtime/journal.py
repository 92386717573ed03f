"""A file of rows that a run which was killed goes on from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from crystalnet.records import InputError


class Journal:
    """The rows of a run as lines of a file, its settings first. A line that a kill cut short is made again."""

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
            elif begun != json.loads(json.dumps(self.settings)):
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
        if not first.endswith(b"\n") and not json.dumps(self.settings).encode().startswith(first):
            raise InputError(f"{self.path}: not the journal of an evaluation; move it away")

    def _line(self) -> dict[str, Any] | None:
        assert self.file is not None
        start = self.file.tell()
        line = self.file.readline()
        if line.endswith(b"\n"):
            try:
                return dict(json.loads(line))
            except ValueError:
                raise InputError(f"{self.path}: not the journal of an evaluation; move it away") from None
        self.file.truncate(start)
        return None

    def next(self) -> dict[str, Any] | None:
        """The next row kept; None when the rest is to be made."""
        return None if self.file is None else self._line()

    def append(self, row: dict[str, Any]) -> None:
        """Keep a row."""
        if self.file is not None:
            self.file.write(json.dumps(row).encode() + b"\n")
            self.file.flush()

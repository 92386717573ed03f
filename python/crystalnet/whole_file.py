"""Files written whole or not at all: a reader, or the next run after a kill, sees the old file or the new one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; what was written takes the place of `path` when the block ends.

    After an error it is removed and `path` stays as it was. It bears the suffix of `path`, by which writers tell the
    format, and the process's number, for several may write the same file. `NAME.*.partial*` is what a kill leaves.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder, "notes.txt")
    ...     with replacing(file) as partial:
    ...         _ = partial.write_text("whole")
    ...     [(path.name, path.read_text()) for path in Path(folder).iterdir()]
    [('notes.txt', 'whole')]
    """
    partial = path.with_name(f"{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)

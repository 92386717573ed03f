"""Files written whole or not at all: a reader, or the next run after a kill, sees the old file or the new one.

A file of the user's is never replaced: `refuse_foreign` asks before the work begins.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import file_digest
from pathlib import Path

from crystalnet.records import InputError

PICTURE = {"Software": "CrystalNet"}  # written into a PNG file by which a later run knows it for ours
PARTIAL = ".partial"  # in the names of files that are being written
PICTURE_HEAD = 4096  # bytes of a PNG file before the pixels, with room to spare


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
    partial = path.with_name(f"{path.stem}.{os.getpid()}{PARTIAL}{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def refuse_foreign(path: Path, is_ours: Callable[[Path], bool], reads: Path | None = None) -> bool:
    """Whether the file to be written is there already. InputError where it is the user's own.

    is_ours: says of a file whether an earlier run of ours wrote it. reads: the input, which is never written to.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give a file name with --out")
    if reads is not None and path.exists() and reads.exists() and path.samefile(reads):
        raise InputError(f"{path}: is the input itself; choose another file with --out")
    there = os.path.lexists(path)
    if there and not (path.is_file() and is_ours(path)):
        raise InputError(f"{path}: was not written by this command; move it away, or choose another file with --out")
    return there


def begins_with(*starts: str) -> Callable[[Path], bool]:
    """A rule for `refuse_foreign`: files that begin with one of the texts."""
    heads = [start.encode() for start in starts]

    def is_ours(path: Path) -> bool:
        with path.open("rb") as file:
            return file.read(max(map(len, heads))).startswith(tuple(heads))

    return is_ours


def is_our_picture(path: Path) -> bool:
    """A rule for `refuse_foreign`: PNG files saved with the metadata PICTURE."""
    with path.open("rb") as file:
        return b"tEXtSoftware\0" + PICTURE["Software"].encode() in file.read(PICTURE_HEAD)


def file_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    with open(path, "rb") as file:
        return file_digest(file, "sha256").hexdigest()

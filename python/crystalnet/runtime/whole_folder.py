"""Folders that a command writes into: nothing there is lost but what an earlier run of ours left and listed.

A folder may be the working directory, a mount point or behind a link, so that it is never renamed or deleted itself.
New files are made in a hidden folder inside it. One rename commits them; from then on they replace the old files, and
whoever comes next finishes what a kill left.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from crystalnet.records import InputError
from crystalnet.runtime.whole_file import file_sha256

SCRATCH = ".crystalnet-unfinished-"  # what is being made
COMMITTED = ".crystalnet-committed"  # what is whole and replaces the old files
PLAN = ".plan.json"  # in it: the old files to remove
PATIENCE = 3.0  # seconds to wait for a lock: workers of a killed run end within two
_held: set[tuple[int, int]] = set()  # folders that this process has claimed: (device, inode)


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """The folder, made where it is absent, is this process's own while the block runs; blocks may be nested.

    What a killed run left there is finished or cleared away first. A folder that is made and stays empty is removed.
    InputError where it cannot be written, or where another run is writing into it.
    """
    absent = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        with _locked(folder):
            _heal(folder)
            yield
    finally:
        for place in absent:
            with suppress(OSError):
                place.rmdir()


@contextmanager
def refilling(folder: Path, owned: Collection[str], last: str) -> Iterator[Path]:
    """A hidden folder to write files into; when the block ends they take the place of the files `owned` in `folder`.

    owned: names relative to the folder, of files that an earlier run of ours wrote. last: the file that stands for the
    whole, removed first and put in place last. After an error, or a kill before all is made, everything is as it was.
    InputError where a file to be written is there and not owned.
    """
    with claimed(folder):
        scratch = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=folder))
        try:
            yield scratch
            made = {path.name for path in scratch.iterdir()}
            refuse_names(folder, made, owned)
            plan = {"remove": sorted(set(owned) - made), "last": last}
            (scratch / PLAN).write_text(json.dumps(plan), encoding="utf-8")
            os.rename(scratch, folder / COMMITTED)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        _finish(folder)


def heal(folder: Path) -> None:
    """Finish what a kill interrupted, so that the folder holds the new files, whole."""
    if (folder / COMMITTED).is_dir():
        with claimed(folder):
            pass


def refuse_names(folder: Path, names: Iterable[str], owned: Collection[str]) -> None:
    """InputError where one of the names exists in the folder and is not owned."""
    foreign = sorted(name for name in set(names) - set(owned) if os.path.lexists(folder / name))
    if foreign:
        raise InputError(
            f"{folder}: {foreign[0]} there is not what an earlier run left and would be overwritten; move it away, "
            "or choose another --out"
        )


def entries(folder: Path) -> list[str]:
    """Names of what a folder holds, hidden files left out; empty where there is no folder."""
    return sorted(p.name for p in folder.iterdir() if not p.name.startswith(".")) if folder.is_dir() else []


def remove_files(folder: Path, names: Iterable[str]) -> None:
    """Remove files of a folder by their relative names, and what folders between become empty.

    A link is removed itself; nothing is reached through one.
    """
    for name in names:
        path = folder / name
        between = [folder / part for part in PurePosixPath(name).parents if part.name]
        if not is_inside(name) or any(place.is_symlink() for place in between):
            continue
        with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
            path.unlink()
        for place in between:
            with suppress(OSError):
                place.rmdir()


def beside(folder: Path, ending: str) -> Path:
    """A path beside a folder, of its name with an ending; the folder may be the working directory."""
    whole = Path(os.path.abspath(folder))
    return whole.with_name(whole.name + ending)


def unchanged(folder: Path, listed: Mapping[str, str | None]) -> set[str]:
    """Of the files that a run of ours listed with their SHA-256 those which are in the folder as it left them.

    None for a hash stands for any content: runs before there were hashes.
    """
    return {
        name
        for name, sha256 in listed.items()
        if is_inside(name)
        and "/" not in name
        and (folder / name).is_file()
        and sha256 in (None, file_sha256(folder / name))
    }


def is_inside(name: str) -> bool:
    """Whether a relative name stays within its folder."""
    path = PurePosixPath(name)
    return bool(path.name) and not path.is_absolute() and ".." not in path.parts


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """The folder's lock (flock), which the system takes back from a process that ends, however it ends."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise InputError(
                f"cannot write to the folder {folder} ({error.strerror}): choose another with --out"
            ) from error
        status = os.fstat(handle)
        key = status.st_dev, status.st_ino
        nested = key in _held
        if nested or (_try_lock(handle) and _is_same(status, folder)):
            break
        os.close(handle)
        if time.monotonic() > deadline:
            raise InputError(
                f"{folder}: another run of crystalnet is writing there; let it end, or choose another --out"
            )
        time.sleep(0.05)
    _held.add(key)
    try:
        yield
    finally:
        if not nested:
            _held.discard(key)
        os.close(handle)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks; what is made is still put in place whole
        return True
    return True


def _is_same(status: os.stat_result, folder: Path) -> bool:
    """Whether the opened folder is still there: its last owner may have removed it meanwhile."""
    try:
        return os.path.samestat(status, os.stat(folder))
    except FileNotFoundError:
        return False


def _heal(folder: Path) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"cannot write to the folder {folder} (Permission denied): choose another with --out")
    _finish(folder)
    for place in folder.glob(SCRATCH + "*"):
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place, ignore_errors=True)


def _finish(folder: Path) -> None:
    """Put committed files in place; may be interrupted anywhere and called again."""
    committed = folder / COMMITTED
    if not committed.is_dir() or committed.is_symlink():
        return
    try:
        plan = json.loads((committed / PLAN).read_text(encoding="utf-8"))
    except FileNotFoundError:  # all but the empty folder is done
        plan = {"remove": [], "last": ""}
    last = plan["last"]
    if (committed / last).is_file():
        remove_files(folder, [last])
    remove_files(folder, plan["remove"])
    names = [path.name for path in committed.iterdir() if path.name != PLAN]
    for name in sorted(names, key=lambda name: (name == last, name)):
        os.replace(committed / name, folder / name)
    (committed / PLAN).unlink(missing_ok=True)
    committed.rmdir()

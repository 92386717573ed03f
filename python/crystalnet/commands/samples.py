"""The samples of one `crystalnet solve`: pattern files, and sheets that list them with what is known of each."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crystalnet.defaults import EFFORT, GUESSES
from crystalnet.records import InputError
from crystalnet.runtime.log import log
from crystalnet.xrd.reader import text_of

PATTERN, NAME = "pattern", "name"  # columns of a sheet beside those of OPTIONS; NAME is the results folder's
SEPARATORS = ",;\t"
HEAD = 4096  # bytes that hold a sheet's first line


@dataclass(frozen=True)
class Options:
    """What `crystalnet solve` offers, by the names of `solving.solve.solve`."""

    elements: str | None = None
    formula: str | None = None
    wavelength: str | None = None
    monochromator: str | None = None
    scan: int | None = None
    axis: str = "auto"
    two_theta_range: str | None = None
    system: str = "auto"
    cell: str | None = None
    guesses: int = GUESSES
    seed: int = 0
    model: Path | None = None
    candidates: str = "all"
    effort: float = EFFORT
    distances: tuple[str, ...] = ()
    coordination: tuple[str, ...] = ()


OPTIONS = {  # columns of a sheet, and how their text becomes an option
    **dict.fromkeys(
        ("elements", "formula", "wavelength", "monochromator", "axis", "system", "cell", "two_theta_range"), str
    ),
    "scan": int,
    "effort": float,
}


@dataclass(frozen=True)
class Sample:
    """A pattern to solve, the folder of its results, and what is known of it."""

    pattern: Path
    folder: Path
    options: Options


def samples_of(files: Sequence[Path], options: Options, out: Path | None) -> list[Sample]:
    """Every sample, in order.

    Parameters
    ----------
    files
        Patterns, and sheets (`is_sheet`) that name patterns, relative to themselves.
    options
        Of all; a sheet's own values go before them.
    out
        The results' folder. Of a single pattern that is no sheet's it holds the files themselves.

    Raises
    ------
    InputError
        Where a sheet cannot be read, or two samples would share a folder, also on a disk that takes upper and lower
        case for one.
    """
    if len(files) == 1 and not is_sheet(files[0]):
        return [Sample(files[0], out or Path(files[0].stem + ".crystalnet"), options)]
    samples: list[Sample] = []
    for file in files:
        if is_sheet(file):
            samples += _rows(file, options, out or Path())
        else:
            samples.append(Sample(file, (out or Path()) / (file.stem + ".crystalnet"), options))
    shared: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        shared[str(sample.folder).casefold()].append(sample)
    for alike in shared.values():
        if len(alike) > 1:
            raise InputError(
                f"{alike[0].pattern} and {alike[1].pattern} have the same name and would share the results folder"
                f" {alike[1].folder}; solve them one by one, each with its own --out, or give a sheet's rows a name"
            )
    return samples


def is_sheet(path: Path) -> bool:
    """Whether a file is a table whose first line names a column `pattern`."""
    try:
        with path.open("rb") as file:
            text = text_of(file.read(HEAD))
    except OSError:
        return False
    first = next(iter((text or "").splitlines()), "")
    return PATTERN in _columns(first.split(_separator(first)))


def _separator(first: str) -> str:
    return max(SEPARATORS, key=first.count)


def _columns(cells: Iterable[str]) -> list[str]:
    return [cell.strip().strip('"').lower() for cell in cells]


def _rows(sheet: Path, options: Options, out: Path) -> Iterator[Sample]:
    """A sheet's samples. An empty cell leaves the option as it is for all."""
    lines = (text_of(sheet.read_bytes()) or "").splitlines(keepends=True)
    reader = csv.reader(lines, delimiter=_separator(lines[0]))
    columns = _columns(next(reader))
    unused = [column for column in columns if column not in (PATTERN, NAME, *OPTIONS)]
    if unused:
        log.warning(f"{sheet}: the columns {', '.join(unused)} are not used; known are {', '.join(OPTIONS)}")
    empty = True
    for cells in reader:
        values = {column: cell.strip() for column, cell in zip(columns, cells, strict=False) if cell.strip()}
        if not values:
            continue
        where = f"{sheet}, line {reader.line_num}"
        if len(cells) > len(columns):
            raise InputError(f"{where}: more cells than columns; put elements with commas in quotes")
        if PATTERN not in values:
            raise InputError(f"{where}: names no pattern")
        empty = False
        pattern = sheet.parent / values[PATTERN]
        name = values.get(NAME, pattern.stem)
        if Path(name).name != name:
            raise InputError(f"{where}: the name {name!r} is not that of a folder")
        yield Sample(pattern, out / f"{name}.crystalnet", replace(options, **_own(values, where)))
    if empty:
        raise InputError(f"{sheet}: lists no pattern")


def _own(values: dict[str, str], where: str) -> dict[str, Any]:
    own: dict[str, Any] = {}
    for column, convert in OPTIONS.items():
        if column in values:
            try:
                own[column] = convert(values[column])
            except ValueError:
                raise InputError(f"{where}: {column} is {values[column]!r}, which is no number") from None
    return own

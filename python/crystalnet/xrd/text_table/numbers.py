"""Numbers as pattern files write them."""

from __future__ import annotations

import re
from io import StringIO
from itertools import islice

HEAD = 100  # lines; headers are shorter


def number(cell: str) -> float | None:
    """The number in a cell, None for anything else ("1_000", digits of other scripts); Fortran's 1.5D+3 is one."""
    if "_" in cell or not cell.isascii():
        return None
    try:
        return float(cell)
    except ValueError:
        pass
    if not ("d" in cell or "D" in cell) or cell.strip("0123456789.+-dD"):
        return None
    try:
        return float(cell.replace("d", "e").replace("D", "e"))
    except ValueError:
        return None


def numbers(line: str) -> list[float] | None:
    """The numbers of a line that holds nothing else, blanks, tabs, commas or semicolons between them."""
    cells = line.replace(",", " ").replace(";", " ").split()
    values = [number(cell) for cell in cells]
    return None if None in values else [v for v in values if v is not None]


def are_numbers(text: str) -> bool:
    """Whether the first HEAD lines hold numbers and "#" remarks alone: then no vendor's header stands above them."""
    head = islice((line for line in StringIO(text) if line.strip()), HEAD)
    return all(line.lstrip().startswith("#") or numbers(line) is not None for line in head)


def run_together(line: str) -> list[float] | None:
    """As `numbers`, of fixed columns that a minus sign alone separates ("12345-6")."""
    return numbers(re.sub(r"(?<=[0-9.])-", " -", line))


def fixed_width(line: str) -> list[float] | None:
    """As `numbers`, of full columns of 8 characters, as Fortran's 10F8.0 writes them."""
    line = line.rstrip()
    return numbers(" ".join(line[i : i + 8] for i in range(0, len(line), 8)))

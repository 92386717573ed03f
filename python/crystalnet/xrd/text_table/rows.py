"""The lines of a file that look alike and hold numbers, and the names above their columns."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from crystalnet.records import InputError
from crystalnet.xrd.scans import EXPORT
from crystalnet.xrd.text_table.dialect import Dialect, dialect_of
from crystalnet.xrd.text_table.labels import LONGEST_LABEL, axis_of, is_intensity, is_sigma, is_weight, plain_label
from crystalnet.xrd.text_table.numbers import number, run_together

COMMENT = "#!%'/;*\"\\"


@dataclass(frozen=True)
class Rows:
    """Numbers (n, m), the names above their columns ([] where there are none), and the lines that are not rows."""

    table: np.ndarray
    names: list[str]
    header: list[str]


def rows_of(name: str, text: str, lines: list[str]) -> Rows:
    """The lines that look alike and hold numbers; columns of words (dates, times, flags) are left out."""
    dialect = dialect_of(lines)
    parsed: list[list[float | None]] = []
    for line in lines:
        try:
            values: list[float | None] = [float(cell) for cell in line.split()] if "_" not in line else []
        except ValueError:
            values = []
        if not values or not line.isascii():
            values = [dialect.value(cell) if cell else None for cell in dialect.cells(line)]
        parsed.append(values)
    kinds = [tuple(v is not None for v in values) for values in parsed]
    seen = Counter(kind for kind in kinds if any(kind))
    if not seen:
        if sum(c.isprintable() or c.isspace() for c in text) < 0.9 * len(text):
            raise InputError(f"{name}: is binary data in no format known here; {EXPORT}")
        raise InputError(f"{name}: holds no columns of numbers; {EXPORT}")
    several = [kind for kind in seen if sum(kind) > 1]
    last = next(kind for kind in reversed(kinds) if any(kind))
    kind = max(several or seen, key=lambda k: (seen[k], all(k), k == last))
    if not several or seen[kind] < max(seen.values()) / 20:
        if max(seen, key=lambda k: seen[k]) != (True,):
            raise InputError(f"{name}: holds no columns of numbers; {EXPORT}")
        raise InputError(f"{name}: has one column; a pattern needs 2θ and intensity")
    if all(kind):  # fixed columns may run together
        for i, line in enumerate(lines):
            if kinds[i] != kind and "-" in line and (split := run_together(line)) and len(split) == len(kind):
                parsed[i], kinds[i] = list(split), kind
    at = [i for i, k in enumerate(kinds) if k == kind]
    keep = [c for c, is_number in enumerate(kind) if is_number]
    table = np.array([[parsed[i][c] for c in keep] for i in at], dtype=float)
    rows = set(at)
    if len(table) > 1 and table[0, 0] in (len(table) - 1, len(lines) - 1):  # the count line of .chi and its kin
        table, at = table[1:], at[1:]
    above = [line for i, line in enumerate(lines[: at[0]]) if i not in rows]
    header = [line for i, line in enumerate(lines) if i not in rows]
    names = _column_names(above, dialect, len(kind), keep)
    return Rows(table, names, above if above else header)


def _column_names(above: list[str], dialect: Dialect, width: int, keep: list[int]) -> list[str]:
    """The names of the columns that are kept, [] where no line above has them."""
    for line in reversed(above[-5:]):
        body = line.strip().lstrip(COMMENT).strip()
        if body[:2] in ("L ", "l "):  # SPEC's "#L 2theta  counts"
            body = body[2:]
        if len(body) > 40 * LONGEST_LABEL:
            continue
        marks = [mark for mark in ";\t|," if mark in body and (mark != "," or dialect.comma == "separator")]
        ways = [[c.strip(' "') for c in body.split(marks[0])]] if marks else []
        ways += [[c.strip() for c in body.replace("\t", "  ").split("  ") if c.strip()], _words(body)]
        for cells in ways:
            while cells and not cells[-1]:
                cells.pop()
            if len(cells) == width:
                labels = [cells[c] for c in keep]
            elif len(cells) == len(keep) or (len([c for c in cells if c]) == len(keep)):
                labels = [c for c in cells if c]
            else:
                continue
            if len(labels) == len(keep) and _names_columns(labels):
                return labels
    return []


def _words(body: str) -> list[str]:
    """The words of a line, a unit in brackets with the name before it: q (1/A) is one."""
    words: list[str] = []
    for word in body.split():
        if words and word[0] in "([" and len(words[-1]) < LONGEST_LABEL:
            words[-1] += word
        else:
            words.append(word)
    return words


def _names_columns(labels: list[str]) -> bool:
    """Is this a line of names, not prose of as many words?"""
    if any(number(label) is not None for label in labels):
        return False
    if any(axis_of(label) is not None for label in labels):
        return True
    recognised = sum(is_intensity(c) or is_sigma(c) or is_weight(c) or plain_label(c) == "x" for c in labels)
    return recognised > 1

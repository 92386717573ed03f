"""Counts in rows under a line that says where their scan starts, its step and where it stops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from crystalnet.records import InputError
from crystalnet.xrd.header.sources import radiation_of_header
from crystalnet.xrd.scans import EXPORT, MIN_POINTS, Scan
from crystalnet.xrd.text_table.numbers import fixed_width, number, numbers, run_together

HEADER_LINES = 20  # above the numbers, in which a line "start step stop" may stand


def start_step_stop(name: str, lines: list[str]) -> Scan | None:
    """Intensities in rows under their range: "start step stop" (FullProf INSTRM=0, DBWS, LHPM, RIET7), "start stop
    step", "start step count" or "count start step", on one line or on three, which titles may stand above and behind.
    """
    for k, line in enumerate(lines[:HEADER_LINES]):
        head, first = _leading(line), k + 1
        if len(head) == 1:
            three = [_leading(one) for one in lines[k : k + 3]]
            head, first = [v for one in three for v in one], k + 3
        if len(head) >= 3 and np.all(np.isfinite(head)):
            found = _block(name, lines[first:], head)
            if found is not None:
                return replace(found, radiation=radiation_of_header(lines[:first]))
    return None


def _leading(line: str) -> list[float]:
    """The numbers that a line begins with, at most 7."""
    values = []
    for cell in line.replace(",", " ").split(maxsplit=7)[:7]:
        value = number(cell)
        if value is None:
            break
        values.append(value)
    return values


def _ranges(head: Sequence[float]) -> list[tuple[float, float, int]]:
    """(start, step, count) of every reading of three neighbouring numbers that is a range of 2θ."""
    found = []
    for a, b, c in zip(head, head[1:], head[2:], strict=False):
        for low, step, high in ((a, b, c), (a, c, b), (a, b, a + (c - 1) * b), (b, c, b + (a - 1) * c)):
            if 0 < step and -180 < low < high <= 180 and (high - low) / step > MIN_POINTS - 2:
                found.append((low, step, round((high - low) / step) + 1))
    return found


def _block(name: str, lines: list[str], head: list[float]) -> Scan | None:
    ranges, refused = _ranges(head), ""
    if not ranges:
        return None
    for parse in (numbers, run_together, fixed_width):
        values: list[float] = []
        widths: Counter[int] = Counter()
        for line in lines:
            row = parse(line)
            if row is None:
                break
            widths[len(row)] += 1
            values += row
        width = max(widths, key=lambda w: widths[w], default=1)
        for low, step, count in ranges:
            # The last row may be filled up with zeros; the stop may be meant without its point.
            if count - 1 <= len(values) <= count + max(width - 1, 1):
                intensity = np.array(values[:count])
                return Scan(low + step * np.arange(len(intensity)), intensity)
        if not refused and len(head) == 3 and width >= 5 and widths[width] > 0.8 * sum(widths.values()):
            low, step, count = ranges[0]
            said = f"{low:g} to {low + step * (count - 1):g} in steps of {step:g}, which are {count} points, and"
            refused = f"{name}: its header says {said} {len(values)} follow; {EXPORT}"
    if refused:
        raise InputError(refused)
    return None

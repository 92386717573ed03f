"""MDI JADE's text files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crystalnet.xrd.emission_lines import TUBES
from crystalnet.xrd.formats.base import Format
from crystalnet.xrd.formats.ranges import range_positions
from crystalnet.xrd.header.sources import radiation_of_fields
from crystalnet.xrd.scans import Listed, Scan, listed
from crystalnet.xrd.text_table.numbers import number, numbers


class Jade(Format):
    """JADE's .mdi files."""

    name = "MDI JADE (.mdi)"
    carries = "anode, wavelength, counting time"

    def recognises(self, lines: Sequence[str]) -> bool:
        return _jade_header(lines) is not None

    def read(self, name: str, lines: list[str]) -> list[Listed]:
        """A title, a line of start, step, seconds, anode, wavelength, stop and count, then the counts, ended by -1."""
        found = _jade_header(lines)
        assert found is not None  # it was recognised
        at, words = found
        start, step, seconds = (number(word) for word in words[:3])
        count = number(words[6]) if len(words) > 6 else None
        values: list[float] = []
        for line in lines[at + 1 :]:
            row = numbers(line)
            if row is None:
                break
            values += row
        if count and 0 < count < len(values):
            values = values[: int(count)]
        if values and values[-1] == -1:
            values.pop()
        radiation = radiation_of_fields({"anode": words[3], "wavelength": words[4]})
        x = range_positions(name, start, step, len(values), number(words[5]))
        return [listed(1, Scan(x, np.array(values), None, radiation, seconds=seconds))]


def _jade_header(lines: Sequence[str]) -> tuple[int, list[str]] | None:
    """(its line, its words): start step seconds ANODE wavelength stop count."""
    for i, line in enumerate(lines[:4]):
        words = line.replace(",", " ").split()
        if len(words) < 6 or words[3].capitalize() not in TUBES:
            continue
        if all(number(word) is not None for word in (*words[:3], *words[4:7])):
            return i, words
    return None

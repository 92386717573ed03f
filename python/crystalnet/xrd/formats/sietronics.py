"""Sietronics' text files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crystalnet.records import InputError
from crystalnet.xrd.formats.base import Format
from crystalnet.xrd.formats.ranges import range_positions
from crystalnet.xrd.header.sources import radiation_of_fields
from crystalnet.xrd.scans import Listed, Scan, listed
from crystalnet.xrd.text_table.numbers import number, numbers


class Sietronics(Format):
    """Sietronics' .cpi files."""

    name = "Sietronics (.cpi)"
    carries = "anode, wavelength"

    def recognises(self, lines: Sequence[str]) -> bool:
        return any(line.strip().upper().startswith("SIETRONICS") for line in lines[:3])

    def read(self, name: str, lines: list[str]) -> list[Listed]:
        """Start, stop, step, anode and wavelength on lines of their own; the counts follow SCANDATA."""
        at = next((i for i, line in enumerate(lines) if line.strip().upper().startswith("SCANDATA")), None)
        first = next(i for i, line in enumerate(lines) if line.strip().upper().startswith("SIETRONICS"))
        head = [line.strip().replace(",", ".") for line in lines[first + 1 : at]]
        if at is None or len(head) < 3:
            raise InputError(f"{name}: this Sietronics file lacks its start, stop, step or SCANDATA; export it again")
        start, stop, step = (number(cell.split()[0] if cell else "") for cell in head[:3])
        values: list[float] = []
        for line in lines[at + 1 :]:
            row = numbers(line.replace(",", "."))
            if row is None:
                break
            values += row
        x = range_positions(name, start, step, len(values), stop)
        stated = {"anode": head[3]} if len(head) > 3 else {}
        if len(head) > 4 and number(head[4]) is not None:
            stated["wavelength"] = head[4]
        return [listed(1, Scan(x, np.array(values), radiation=radiation_of_fields(stated)))]

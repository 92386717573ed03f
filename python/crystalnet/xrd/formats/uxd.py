"""Bruker's and Siemens' text files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from crystalnet.records import InputError, Radiation
from crystalnet.xrd.formats.base import Format
from crystalnet.xrd.formats.keys import key_and_value, number_of
from crystalnet.xrd.formats.ranges import check_drive, range_positions
from crystalnet.xrd.header.sources import radiation_of_fields
from crystalnet.xrd.scans import Listed, Scan, listed
from crystalnet.xrd.text_table.numbers import numbers


class Uxd(Format):
    """DIFFRAC's .uxd files."""

    name = "Bruker/Siemens text (.uxd)"
    carries = "anode, wavelengths, counting time, several ranges"

    def recognises(self, lines: Sequence[str]) -> bool:
        return any(_block_marker(line) for line in lines[:400])

    def read(self, name: str, lines: list[str]) -> list[Listed]:
        """_KEY = value or _KEY value lines, which hold until said otherwise; a marker opens the counts of a range.

        Read here, not by rietx, which wants _FILEVERSION first and an equals sign in every key.
        """
        fields: dict[str, str] = {}
        ranges: list[_Range] = []
        for line in lines:
            body = line.strip()
            if body.startswith(";"):
                continue
            if marker := _block_marker(body):
                ranges.append(_Range(marker, dict(fields)))
            elif (found := key_and_value(body, "_")) is not None:
                fields[found[0]] = found[1]
            elif ranges:
                row = numbers(body)
                if row is None:
                    raise InputError(f"{name}: a line of this Bruker UXD file is no counts; export it again")
                ranges[-1].rows.append(row)
        radiation = _radiation(fields)
        return [one.listed(name, i + 1, radiation) for i, one in enumerate(ranges)]


@dataclass
class _Range:
    """One range: the marker that opens its counts, the fields that hold for it, its rows of numbers."""

    marker: str
    fields: dict[str, str]
    rows: list[list[float]] = field(default_factory=list)

    def listed(self, name: str, number: int, radiation: Radiation | None) -> Listed:
        scan = self._scan(name, radiation)

        def load() -> Scan:
            check_drive(name, self.fields.get("DRIVE", ""))
            return scan

        label = f"{scan.seconds:g} s a step" if scan.seconds else ""
        return replace(listed(number, scan, label), load=load)

    def _scan(self, name: str, radiation: Radiation | None) -> Scan:
        seconds = number_of(self.fields, "STEPTIME", "COUNTTIME")
        if self.marker.startswith("2THETA"):
            width = max(min((len(row) for row in self.rows), default=0), 2)
            full = [row[:width] for row in self.rows if len(row) >= width]
            table = np.array(full, dtype=float).reshape(-1, width)
            x, y = table[:, 0], table[:, 1]
        else:
            y = np.array([value for row in self.rows for value in row])
            start, step = number_of(self.fields, "START", "2THETA"), number_of(self.fields, "STEPSIZE")
            x = range_positions(name, start, step, len(y)) if len(y) else np.zeros(0)
        sigma = None
        if "CPS" in self.marker and seconds:
            sigma = np.sqrt(np.maximum(y * seconds, 1.0)) / seconds
        return Scan(x, y, sigma, radiation, seconds=seconds)


def _radiation(fields: dict[str, str]) -> Radiation | None:
    stated = {"anode": fields.get("ANODE", "")}
    if number_of(fields, "WL1", "WL"):
        stated["wavelength"] = str(number_of(fields, "WL1", "WL"))
    if number_of(fields, "WL2") is not None:
        stated["wavelength_alpha2"] = str(number_of(fields, "WL2"))
    return radiation_of_fields(stated)


def _block_marker(line: str) -> str:
    """The marker that opens counts ("2THETACOUNTS", "CPS", "2THETACOUNTSTIME"), "" for other lines."""
    body = line.strip().upper()
    if not body.startswith("_"):
        return ""
    body = body[1:].rstrip("= ")
    return body if body.removeprefix("2THETA").removesuffix("TIME") in ("COUNTS", "CPS") else ""

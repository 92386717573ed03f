"""Bruker's and Siemens' text files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

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
        ranges: list[tuple[str, dict[str, str], list[list[float]]]] = []
        for line in lines:
            body = line.strip()
            if body.startswith(";"):
                continue
            if marker := _block_marker(body):
                ranges.append((marker, dict(fields), []))
            elif (found := key_and_value(body, "_")) is not None:
                fields[found[0]] = found[1]
            elif ranges:
                row = numbers(body)
                if row is None:
                    raise InputError(f"{name}: a line of this Bruker UXD file is no counts; export it again")
                ranges[-1][2].append(row)
        told = {"anode": fields.get("ANODE", "")}
        if number_of(fields, "WL1", "WL"):
            told["wavelength"] = str(number_of(fields, "WL1", "WL"))
        if number_of(fields, "WL2") is not None:
            told["wavelength_alpha2"] = str(number_of(fields, "WL2"))
        radiation = radiation_of_fields(told)
        scans: list[Listed] = []
        for i, (marker, own, rows) in enumerate(ranges):
            scans.append(_range(name, i + 1, marker, own, rows, radiation))
        return scans


def _block_marker(line: str) -> str:
    """The marker that opens counts ("2THETACOUNTS", "CPS", "2THETACOUNTSTIME"), "" for other lines."""
    body = line.strip().upper()
    if not body.startswith("_"):
        return ""
    body = body[1:].rstrip("= ")
    return body if body.removeprefix("2THETA").removesuffix("TIME") in ("COUNTS", "CPS") else ""


def _range(
    name: str, n: int, marker: str, fields: dict[str, str], rows: list[list[float]], radiation: Radiation | None
) -> Listed:
    seconds = number_of(fields, "STEPTIME", "COUNTTIME")
    if marker.startswith("2THETA"):
        width = max(min((len(row) for row in rows), default=0), 2)
        table = np.array([row[:width] for row in rows if len(row) >= width], dtype=float).reshape(-1, width)
        x, y = table[:, 0], table[:, 1]
    else:
        y = np.array([value for row in rows for value in row])
        start, step = number_of(fields, "START", "2THETA"), number_of(fields, "STEPSIZE")
        x = range_positions(name, start, step, len(y)) if len(y) else np.zeros(0)
    sigma = None
    if "CPS" in marker and seconds:
        sigma = np.sqrt(np.maximum(y * seconds, 1.0)) / seconds
    scan = Scan(x, y, sigma, radiation, seconds=seconds)
    drive = fields.get("DRIVE", "")

    def load() -> Scan:
        check_drive(name, drive)
        return scan

    label = f"{seconds:g} s a step" if seconds else ""
    return replace(listed(n, scan, label), load=load)

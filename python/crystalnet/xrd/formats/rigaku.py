"""Rigaku's text export."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crystalnet.records import InputError, Radiation
from crystalnet.xrd.formats.base import Format
from crystalnet.xrd.formats.keys import key_and_value, number_of
from crystalnet.xrd.formats.ranges import check_drive, range_positions
from crystalnet.xrd.header.sources import radiation_of_fields, radiation_of_header
from crystalnet.xrd.scans import Listed, Scan, listed
from crystalnet.xrd.text_table.numbers import numbers


class RigakuText(Format):
    """Rigaku's lines `*KEY = value`."""

    name = "Rigaku text export (.asc, .dat)"
    carries = "wavelength, several groups"

    def recognises(self, lines: Sequence[str]) -> bool:
        head = [line.strip().upper() for line in lines[:200]]
        return any(line.startswith("*START") for line in head) and any(
            line.startswith(("*TYPE", "*BEGIN", "*STEP", "*COUNT")) for line in head
        )

    def read(self, name: str, lines: list[str]) -> list[Listed]:
        """*KEY = value lines; after *COUNT (or whatever key is last) a block of counts; *BEGIN opens the next group."""
        fields: dict[str, str] = {}
        groups: list[tuple[dict[str, str], list[float]]] = []
        values: list[float] = []
        for line in (*lines, "*EOF"):
            found = key_and_value(line, "*")
            if found is None:
                row = numbers(line)
                if row is None:
                    raise InputError(f"{name}: this Rigaku text export has a line that is no counts; export it again")
                values += row
                continue
            if values:
                groups.append((dict(fields), values))
                values = []
                fields.pop("COUNT", None)
            fields[found[0]] = found[1]
        if not groups:
            raise InputError(f"{name}: this Rigaku text export holds no counts; export it again")
        radiation = _radiation(lines, groups[0][0])
        scans: list[Listed] = []
        for fields, values in groups:
            check_drive(name, fields.get("SCAN_AXIS", ""))
            start, stop, step = (number_of(fields, key) for key in ("START", "STOP", "STEP"))
            count = number_of(fields, "COUNT")
            y = np.array(values)
            if count is not None and len(y) == 2 * int(count):  # pairs of angle and intensity
                x, y = y[::2], y[1::2]
            else:
                y = y[: int(count)] if count is not None and 0 < count < len(y) else y
                x = range_positions(name, start, step, len(y), stop)
            if fields.get("XUNIT", "").lower().startswith("rad"):
                x = np.degrees(x)
            scan = Scan(x, y, radiation=radiation, seconds=number_of(fields, "SEC_COUNT"))
            scans.append(listed(len(scans) + 1, scan))
        return scans


def _radiation(lines: list[str], fields: dict[str, str]) -> Radiation | None:
    """From the wavelengths, else from the target (an atomic number or a symbol)."""
    first, second = number_of(fields, "WAVE_LENGTH1"), number_of(fields, "WAVE_LENGTH2")
    stated = {} if first is None else {"wavelength": str(first)}
    if second is not None and first is not None and second > first:
        stated["wavelength_alpha2"] = str(second)
    stated["anode"] = fields.get("TARGET", "")
    return radiation_of_fields(stated) or radiation_of_header([line for line in lines[:200] if numbers(line) is None])

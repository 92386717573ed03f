"""The vendors' binary and XML files, through the libraries: rietx, which knows esds, wavelengths and scans, and geddes
for what rietx declines. What they complain of is stated in our words."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crystalnet.records import InputError
from crystalnet.xrd.formats.unread import other_by_name, refusal
from crystalnet.xrd.header.sources import radiation_of_fields
from crystalnet.xrd.scans import EXPORT, Listed, Scan, listed

TEXT_TABLES = ("xy", "chi")  # formats of rietx that `text_table` reads
BINARY = ("bruker_raw", "philips_rd")  # which no text is
TITLES = {
    "bruker_raw": "Bruker .raw file",
    "philips_rd": "Philips .rd or .sd file",
    "rasx": "Rigaku .rasx file",
    "brml": "Bruker .brml file",
    "ras": "Rigaku .ras file",
    "xrdml": "PANalytical .xrdml file",
    "udf": "Philips .udf file",
    "gsas": "GSAS data file",
}


def known_format(path: Path) -> str | None:
    """The name of rietx's reader for a file, None where it has none."""
    from rietx.io.readers import identify_format

    try:
        return str(identify_format(path).name)
    except Exception:  # nothing of rietx claims it; binary may still be geddes'
        return None


def read_vendor(path: Path, known: str | None) -> list[Listed]:
    """The scans of a vendor's file. Raises InputError, in one line, for one that cannot be read."""
    try:
        return _banks(path) if known == "gsas" else _scans(path)
    except InputError:
        raise
    except Exception as error:
        pattern = _by_geddes(path)
        if pattern is not None:
            return [listed(1, pattern)]
        raise _refused(path, known, error) from error


def _scans(path: Path) -> list[Listed]:
    from rietx.io.readers import identify_format, list_scans

    if identify_format(path).scans is None:
        return [listed(1, _read(path))]
    infos = list_scans(path)
    if len(infos) == 1:
        return [listed(1, _read(path))]

    def entry(number: int) -> Listed:
        info = infos[number]
        low, high = info.two_theta_range
        warmth = "" if info.temperature_k is None else f"{info.temperature_k:g} K"
        return Listed(number + 1, low, high, info.n_points, lambda: _one(path, number), warmth, info.label)

    return [entry(number) for number in range(len(infos))]


def _one(path: Path, number: int) -> Scan:
    try:
        return _read(path, scan=number)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path.name}: scan {number + 1} is no 2θ scan that can be read; {EXPORT}") from error


def _banks(path: Path) -> list[Listed]:
    """A GSAS file's banks are different detectors: each is a scan of its own."""
    from rietx.io.formats import gsas_banks

    banks = gsas_banks(path)
    if banks and all(bank.axis == "tof" for bank in banks):
        raise InputError(_NEUTRONS.format(path.name))
    usable = [bank for bank in banks if bank.axis == "two_theta" and bank.refused is None]
    if not usable:
        kinds = ", ".join(dict.fromkeys(f"{bank.bintype} {bank.type_flag}" for bank in banks))
        raise InputError(f"{path.name}: its GSAS banks ({kinds}) are of no kind read here; export it as .xye or FXYE")
    found = [_read(path, bank=bank.number) if len(banks) > 1 else _read(path) for bank in usable]
    named = [f"bank {bank.number}" for bank in usable]
    return [listed(i + 1, scan, name, name) for i, (scan, name) in enumerate(zip(found, named, strict=True))]


def _read(path: Path, **options: int) -> Scan:
    from rietx import read_pattern

    data = read_pattern(path, **options)
    if data.axis == "tof":
        raise InputError(_NEUTRONS.format(path.name))
    stated = data.metadata
    seconds = float(stated["count_time_s"]) if "count_time_s" in stated else None
    sigma = None if data.sigma is None else np.asarray(data.sigma, float)
    return Scan(data.tt(), data.y(), sigma, radiation_of_fields(stated), seconds=seconds)


_NEUTRONS = "{}: holds a neutron time-of-flight pattern; give an X-ray pattern on a 2θ, d or q axis"


def _by_geddes(path: Path) -> Scan | None:
    import geddes

    try:
        pattern = geddes.read(str(path))
    except Exception:  # rietx's refusal stands
        return None
    return Scan(np.asarray(pattern.x, float), np.asarray(pattern.y, float))


def _refused(path: Path, known: str | None, error: Exception) -> InputError:
    """Which kind of file it is and what to do, not what the library thinks of it."""
    if known == "bruker_raw" and path.read_bytes()[:4] in (b"RAW ", b"RAW2"):
        return InputError(
            f"{path.name}: is a Bruker RAW file of version 1 or 2; export it from DIFFRAC.EVA, or use PowDLL"
        )
    if known in TITLES:
        unsuited = "scan" if "not a powder pattern" in str(error) else ""
        if unsuited:
            return InputError(f"{path.name}: this {TITLES[known]} holds no 2θ scan; give the θ-2θ scan")
        return InputError(
            f"{path.name}: this {TITLES[known]} is damaged, incomplete or of a variant not known here; {EXPORT},"
            " or convert it with PowDLL"
        )
    other = other_by_name(path)
    if other is not None:
        return refusal(path.name, other)
    return InputError(f"{path.name}: is in no format known here; {EXPORT}, or convert it with PowDLL")

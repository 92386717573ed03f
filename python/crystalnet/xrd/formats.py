"""The formats of pattern files: one row of `FORMATS` each for those read here, one of `OTHERS` for those that are not.

rietx reads the vendors' binary and XML files (`vendor.py`). Here stand the text formats that it declines or reads as
columns, and the powder CIF, of which it knows no ranges and one block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from crystalnet.records import InputError, Radiation
from crystalnet.xrd.header import radiation_of_cif, radiation_of_fields, radiation_of_header
from crystalnet.xrd.radiation import TUBES
from crystalnet.xrd.scans import TWO_THETA, Axis, Listed, Scan, listed
from crystalnet.xrd.text_table import EXPORT, number, numbers


@dataclass(frozen=True)
class Format:
    """A text format: how it is recognised by its lines, and what reads it. `carries` is for the documentation."""

    name: str
    carries: str
    recognises: Callable[[Sequence[str]], bool]
    read: Callable[[str, list[str]], list[Listed]]


@dataclass(frozen=True)
class Other:
    """A kind of file that is not read: what it is, what to do with it, and how it begins or is named.

    sure: no text of another kind begins so; else only binary files are taken for it.
    """

    what: str
    instead: str
    magic: tuple[bytes, ...] = ()
    endings: tuple[str, ...] = ()
    sure: bool = False


ROUNDED_STEP = 0.01  # relative: "0.02" for 0.0198 is rounded, not wrong


# --- keys and values ---------------------------------------------------------------------------------------------


def _field(line: str, mark: str) -> tuple[str, str] | None:
    """(KEY, value) of "*KEY = value", "_KEY=value", "*KEY value"; None for other lines."""
    body = line.strip()
    if not body.startswith(mark) or len(body) < 2:
        return None
    body = body[len(mark) :]
    for sign in ("=", "\t", " "):
        key, found, value = body.partition(sign)
        key = key.strip()
        if found and key and " " not in key and "\t" not in key:
            return key.rstrip(":").upper(), value.strip().lstrip("=: ").strip("'\" ")
    return body.upper(), ""


def _value(fields: dict[str, str], *keys: str) -> float | None:
    for key in keys:
        words = fields.get(key, "").replace(",", " ").split()
        if words and (value := number(words[0])) is not None and np.isfinite(value):
            return value
    return None


def _check_drive(name: str, drive: str) -> None:
    """InputError where the axis that moved is not 2θ."""
    plain = "".join(c for c in drive.lower() if c.isalnum())
    if plain in ("theta", "omega", "phi", "chi", "khi", "psi", "x", "y", "z", "rockingcurve", "alpha", "beta"):
        raise InputError(f"{name}: scans {drive}, not 2θ; give the θ-2θ scan")


def _positions(
    name: str,
    start: float | None,
    step: float | None,
    count: int,
    stop: float | None = None,
    may_be_aborted: bool = True,
) -> np.ndarray:
    """(count,) angles from a start, a step and, where it is told, a stop.

    The limits and the count are believed before the step, which is often rounded; a stop that is one step off means
    the end, not the last point; a scan may have been aborted before it. Raises InputError where they contradict one
    another.
    """
    if start is not None and stop is not None and stop > start and count > 1:
        points = (stop - start) / step + 1 if step and step > 0 else count
        more = points - count
        one_off = abs(abs(more) - 1) < 0.02
        if abs(more) < 0.5 or (not one_off and abs(more) < ROUNDED_STEP * count):
            return np.linspace(start, stop, count)
        if not one_off and not (may_be_aborted and more > 0):
            raise InputError(
                f"{name}: its range {start:g} to {stop:g} in steps of {step:g} has {points:.0f} points, and {count}"
                f" intensities follow; {EXPORT}"
            )
    if start is None or not step or step < 0:
        raise InputError(f"{name}: a range gives counts without its start or step; {EXPORT}")
    return np.asarray(start + step * np.arange(count))


# --- Rigaku .asc -------------------------------------------------------------------------------------------------


def _is_rigaku_text(lines: Sequence[str]) -> bool:
    head = [line.strip().upper() for line in lines[:200]]
    return any(line.startswith("*START") for line in head) and any(
        line.startswith(("*TYPE", "*BEGIN", "*STEP", "*COUNT")) for line in head
    )


def _rigaku_text(name: str, lines: list[str]) -> list[Listed]:
    """*KEY = value lines; after *COUNT (or whatever key is last) a block of counts; *BEGIN opens the next group."""
    fields: dict[str, str] = {}
    groups: list[tuple[dict[str, str], list[float]]] = []
    values: list[float] = []
    for line in (*lines, "*EOF"):
        found = _field(line, "*")
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
    radiation = _rigaku_radiation(lines, groups[0][0])
    scans: list[Listed] = []
    for fields, values in groups:
        _check_drive(name, fields.get("SCAN_AXIS", ""))
        start, stop, step = (_value(fields, key) for key in ("START", "STOP", "STEP"))
        count = _value(fields, "COUNT")
        y = np.array(values)
        if count is not None and len(y) == 2 * int(count):  # pairs of angle and intensity
            x, y = y[::2], y[1::2]
        else:
            y = y[: int(count)] if count is not None and 0 < count < len(y) else y
            x = _positions(name, start, step, len(y), stop)
        if fields.get("XUNIT", "").lower().startswith("rad"):
            x = np.degrees(x)
        scan = Scan(x, y, radiation=radiation, seconds=_value(fields, "SEC_COUNT"))
        scans.append(listed(len(scans) + 1, scan))
    return scans


def _rigaku_radiation(lines: list[str], fields: dict[str, str]) -> Radiation | None:
    """From the wavelengths, else from the target (an atomic number or a symbol)."""
    first, second = _value(fields, "WAVE_LENGTH1"), _value(fields, "WAVE_LENGTH2")
    told = {} if first is None else {"wavelength": str(first)}
    if second is not None and first is not None and second > first:
        told["wavelength_alpha2"] = str(second)
    target = fields.get("TARGET", "")
    told["anode"] = _SYMBOLS.get(target, target)
    return radiation_of_fields(told) or radiation_of_header([line for line in lines[:200] if numbers(line) is None])


_SYMBOLS = {"24": "Cr", "26": "Fe", "27": "Co", "29": "Cu", "42": "Mo", "47": "Ag"}  # of tubes


# --- Sietronics .cpi, JADE .mdi ----------------------------------------------------------------------------------


def _is_sietronics(lines: Sequence[str]) -> bool:
    return any(line.strip().upper().startswith("SIETRONICS") for line in lines[:3])


def _sietronics(name: str, lines: list[str]) -> list[Listed]:
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
    x = _positions(name, start, step, len(values), stop)
    told = {"anode": head[3]} if len(head) > 3 else {}
    if len(head) > 4 and number(head[4]) is not None:
        told["wavelength"] = head[4]
    return [listed(1, Scan(x, np.array(values), radiation=radiation_of_fields(told)))]


def _jade_header(lines: Sequence[str]) -> tuple[int, list[str]] | None:
    """(its line, its words): start step seconds ANODE wavelength stop count."""
    for i, line in enumerate(lines[:4]):
        words = line.replace(",", " ").split()
        if len(words) < 6 or words[3].capitalize() not in TUBES:
            continue
        if all(number(word) is not None for word in (*words[:3], *words[4:7])):
            return i, words
    return None


def _is_jade(lines: Sequence[str]) -> bool:
    return _jade_header(lines) is not None


def _jade(name: str, lines: list[str]) -> list[Listed]:
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
    x = _positions(name, start, step, len(values), number(words[5]))
    return [listed(1, Scan(x, np.array(values), None, radiation, seconds=seconds))]


# --- Bruker .uxd -------------------------------------------------------------------------------------------------


def _block_marker(line: str) -> str:
    """The marker that opens counts ("2THETACOUNTS", "CPS", "2THETACOUNTSTIME"), "" for other lines."""
    body = line.strip().upper()
    if not body.startswith("_"):
        return ""
    body = body[1:].rstrip("= ")
    return body if body.removeprefix("2THETA").removesuffix("TIME") in ("COUNTS", "CPS") else ""


def _is_uxd(lines: Sequence[str]) -> bool:
    return any(_block_marker(line) for line in lines[:400])


def _uxd(name: str, lines: list[str]) -> list[Listed]:
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
        elif (found := _field(body, "_")) is not None:
            fields[found[0]] = found[1]
        elif ranges:
            row = numbers(body)
            if row is None:
                raise InputError(f"{name}: a line of this Bruker UXD file is no counts; export it again")
            ranges[-1][2].append(row)
    told = {"anode": fields.get("ANODE", "")}
    if _value(fields, "WL1", "WL"):
        told["wavelength"] = str(_value(fields, "WL1", "WL"))
    if _value(fields, "WL2") is not None:
        told["wavelength_alpha2"] = str(_value(fields, "WL2"))
    radiation = radiation_of_fields(told)
    scans: list[Listed] = []
    for i, (marker, own, rows) in enumerate(ranges):
        scans.append(_uxd_range(name, i + 1, marker, own, rows, radiation))
    return scans


def _uxd_range(
    name: str, n: int, marker: str, fields: dict[str, str], rows: list[list[float]], radiation: Radiation | None
) -> Listed:
    seconds = _value(fields, "STEPTIME", "COUNTTIME")
    if marker.startswith("2THETA"):
        width = max(min((len(row) for row in rows), default=0), 2)
        table = np.array([row[:width] for row in rows if len(row) >= width], dtype=float).reshape(-1, width)
        x, y = table[:, 0], table[:, 1]
    else:
        y = np.array([value for row in rows for value in row])
        start, step = _value(fields, "START", "2THETA"), _value(fields, "STEPSIZE")
        x = _positions(name, start, step, len(y)) if len(y) else np.zeros(0)
    sigma = None
    if "CPS" in marker and seconds:
        sigma = np.sqrt(np.maximum(y * seconds, 1.0)) / seconds
    scan = Scan(x, y, sigma, radiation, seconds=seconds)
    drive = fields.get("DRIVE", "")

    def load() -> Scan:
        _check_drive(name, drive)
        return scan

    label = f"{seconds:g} s a step" if seconds else ""
    return replace(listed(n, scan, label), load=load)


# --- powder CIF --------------------------------------------------------------------------------------------------

_CIF_X = (
    ("_pd_proc_2theta_corrected", TWO_THETA),
    ("_pd_meas_2theta_scan", TWO_THETA),
    ("_pd_meas_2theta_corrected", TWO_THETA),
    ("_pd_meas_angle_2theta", TWO_THETA),
    ("_pd_proc_recip_len_q", Axis("q")),
    ("_pd_proc_d_spacing", Axis("d")),
)
_CIF_Y = (
    *("_pd_proc_intensity_total", "_pd_meas_intensity_total", "_pd_meas_counts_total"),
    *("_pd_proc_intensity_net", "_pd_meas_intensity_net"),
)


def _is_pdcif(lines: Sequence[str]) -> bool:
    return any(line.lstrip().lower().startswith(("data_", "_pd_")) for line in lines[:400]) and any(
        line.lstrip().lower().startswith(("_pd_meas", "_pd_proc", "_pd_calc")) for line in lines
    )


def _pdcif(name: str, lines: list[str]) -> list[Listed]:
    """Every block with a measured intensity, its 2θ from a loop or from ranges."""
    import gemmi

    text = "\n".join(lines)
    try:
        document = gemmi.cif.read_string(text)
    except Exception as error:  # its message names positions in a string that the user does not see
        raise InputError(f"{name}: breaks the rules of CIF; check its loops and quotes, or {EXPORT}") from error
    radiation = radiation_of_cif(name, text)
    scans: list[Listed] = []
    for block in document:
        tag, y = next(((t, v) for t in _CIF_Y if (v := _column(block, t)) is not None), ("", None))
        if y is None or len(y) < 2:
            continue
        if any(len(block.find_loop(t)) for t in ("_pd_meas_time_of_flight", "_pd_proc_wavelength")):
            raise InputError(f"{name}: holds a time-of-flight pattern; give an X-ray pattern on a 2θ, d or q axis")
        found = _cif_abscissa(name, block, len(y))
        if found is None:
            continue
        x, axis = found
        scans.append(
            listed(len(scans) + 1, Scan(x, y, _cif_esds(block, tag, len(y)), radiation, axis), label=block.name)
        )
    if not scans:
        raise InputError(f"{name}: holds no measured intensities with their 2θ; {EXPORT}")
    return scans


def _column(block: object, tag: str) -> np.ndarray | None:
    import gemmi

    assert isinstance(block, gemmi.cif.Block)
    column = block.find_loop(tag)
    values = np.array([gemmi.cif.as_number(v) for v in column], dtype=float)
    return values if len(values) and np.isfinite(values).any() else None


def _cif_abscissa(name: str, block: object, count: int) -> tuple[np.ndarray, Axis] | None:
    import gemmi

    assert isinstance(block, gemmi.cif.Block)
    for tag, axis in _CIF_X:
        x = _column(block, tag)
        if x is not None and len(x) == count:
            return x, axis
    for kind in ("proc", "meas"):
        low, high, step = (
            gemmi.cif.as_number(block.find_value(f"_pd_{kind}_2theta_range_{end}") or "?")
            for end in ("min", "max", "inc")
        )
        if np.isfinite(low) and (np.isfinite(high) or np.isfinite(step)):
            known = [float(v) if np.isfinite(v) else None for v in (step, high)]
            return _positions(name, float(low), known[0], count, known[1], False), TWO_THETA
    return None


def _cif_esds(block: object, tag: str, count: int) -> np.ndarray | None:
    """From a column of standard uncertainties, those in parentheses, or least-squares weights."""
    import gemmi

    assert isinstance(block, gemmi.cif.Block)
    for ending in ("_su", "_esd"):
        column = _column(block, tag + ending)
        if column is not None and len(column) == count:
            return column
    inside = [_uncertainty(v) for v in block.find_loop(tag)]
    if all(v is not None for v in inside):
        return np.array(inside, dtype=float)
    weight = _column(block, "_pd_proc_ls_weight")
    if weight is None or len(weight) != count or not np.all(weight > 0):
        return None
    return np.asarray(1 / np.sqrt(weight))


def _uncertainty(value: str) -> float | None:
    """The esd in "12.5(3)": 0.3."""
    head, bracket, tail = value.partition("(")
    digits = tail.partition(")")[0]
    if not bracket or not digits.isdigit() or not digits.isascii():
        return None
    return int(digits[:12]) * 10.0 ** -len(head.partition(".")[2])


# --- the tables --------------------------------------------------------------------------------------------------

FORMATS: tuple[Format, ...] = (
    Format("Rigaku text export (.asc, .dat)", "wavelength, several groups", _is_rigaku_text, _rigaku_text),
    Format("Sietronics (.cpi)", "anode, wavelength", _is_sietronics, _sietronics),
    Format("MDI JADE (.mdi)", "anode, wavelength, counting time", _is_jade, _jade),
    Format("Bruker/Siemens text (.uxd)", "anode, wavelengths, counting time, several ranges", _is_uxd, _uxd),
    Format("powder CIF (.cif)", "wavelengths, esds, several blocks", _is_pdcif, _pdcif),
)
_POWDLL = "convert it with PowDLL, or export the scan from the vendor's program as two columns of text (.xy)"
_INTEGRATE = "integrate the image with pyFAI or GSAS-II and give the result (.xye or .dat)"
OTHERS: tuple[Other, ...] = (
    Other("a PNG image", EXPORT, (b"\x89PNG",)),
    Other("a JPEG image", EXPORT, (b"\xff\xd8\xff",)),
    Other("a GIF image", EXPORT, (b"GIF8",)),
    Other("a bitmap image", EXPORT, (b"BM",), (".bmp",)),
    Other("a TIFF image", _INTEGRATE, (b"II*\x00", b"MM\x00*"), (".tif", ".tiff")),
    Other("a CBF detector image", _INTEGRATE, (b"###CBF",), (".cbf",), sure=True),
    Other(
        "an EDF detector image",
        _INTEGRATE,
        (b"{\nEDF_", b"{\nHeaderID", b"{\r\nEDF_", b"\n{\r\nEDF_"),
        (".edf",),
        sure=True,
    ),
    Other("an SMV detector image", _INTEGRATE, (b"{\nHEADER_BYTES",), (".img",), sure=True),
    Other("a detector image", _INTEGRATE, (b"FORMAT :",), (".mccd", ".gfrm", ".sfrm", ".mar3450")),
    Other("a PDF document", EXPORT, (b"%PDF-",), (".pdf",), sure=True),
    Other("a gzip archive", "unpack it first", (b"\x1f\x8b",), (".gz", ".tgz")),
    Other("a 7z archive", "unpack it first", (b"7z\xbc\xaf",), (".7z",)),
    Other("an xz or bzip2 archive", "unpack it first", (b"\xfd7zXZ", b"BZh"), (".xz", ".bz2")),
    Other("a zip archive", "unpack it first", (), (".zip",)),
    Other("a RAR archive", "unpack it first", (b"Rar!",), (".rar",)),
    Other("a program", EXPORT, (b"\x7fELF", b"MZ")),
    Other(
        "an HDF5 or NeXus file",
        "export the integrated scan as text, from DAWN, pyFAI or h5py (.dat or .xy)",
        (b"\x89HDF",),
        (".h5", ".hdf5", ".hdf", ".nxs", ".nexus"),
    ),
    Other("an Office document", "export it as CSV", (b"\xd0\xcf\x11\xe0",), (".xls", ".doc")),
    Other("a workbook", "export the sheet as CSV", (), (".xlsx", ".ods", ".xlsm")),
    Other("a NumPy array", "write it as two columns of text (numpy.savetxt)", (b"\x93NUMPY",), (".npy", ".npz")),
    Other("a GSAS-II project", "export the histogram from GSAS-II as .xye or CSV", (), (".gpx",)),
    Other("a GSAS project", "give the data file (.gsas, .raw, .fxye) that it was made with", (), (".exp",)),
    Other("a refinement's listing", "give the measured scan", (), (".lst", ".out", ".pcr", ".inp")),
    Other("a FullProf plot file", "give the measured scan, or export it as .xy", (), (".prf",)),
    Other("a Bruker RAW file of version 1 or 2", _POWDLL, (b"RAW2", b"RAW \x00", b"RAW ")),
    Other("a STOE raw file", f"export it from WinXPOW as .xy, or {_POWDLL}", (b"RAW_1", b"RAW_")),
    Other("a Rigaku binary raw file", f"export it from the Rigaku program as .ras or .txt, or {_POWDLL}", (b"FI",)),
    Other("a Philips PC-APD file", _POWDLL, (b"V3RD", b"V5RD", b"V3DI", b"V5DI"), (".rd", ".sd", ".di")),
    Other("a Scintag file", _POWDLL, (), (".ard", ".nda", ".rd")),
    Other("a Bruker container", "export the scan from DIFFRAC.EVA as .xy", (), (".bsml", ".eva", ".dql")),
    Other("a binary raw file (STOE, Rigaku, Scintag and Shimadzu each have their own)", _POWDLL, (), (".raw",)),
    Other("a list of peaks", "give the measured profile", (), (".dif", ".pks", ".udi", ".hkl", ".peak")),
    Other("a STOE file", f"export it from WinXPOW as .xy, or {_POWDLL}", (), (".pow", ".pwd")),
)


def other_by_content(raw: bytes) -> Other | None:
    """What a binary file is by its first bytes, None for text and for kinds that are read or not known."""
    return next((other for other in OTHERS if other.magic and raw.startswith(other.magic)), None)


def other_by_name(path: Path) -> Other | None:
    """What a file is by the ending of its name."""
    return next((other for other in OTHERS if path.suffix.lower() in other.endings), None)


def refusal(name: str, other: Other) -> InputError:
    return InputError(f"{name}: is {other.what}, which is not a powder pattern that can be read here; {other.instead}")

"""Measured pattern files to `Pattern`: one door for every format, nothing but `InputError` comes out of it.

Vendor and exchange formats go through libraries: rietx, which also knows esds and wavelengths, geddes for the
variants rietx declines, gemmi for the wavelengths of a pdCIF. Plain columns of text are parsed here, because both
libraries silently misread some (a q or d axis, an index column, a fit column taken as an esd) and decline others
(semicolons, decimal commas, Fortran D exponents, unsorted or repeated angles).
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from crystalnet.records import InputError, Pattern, Radiation
from crystalnet.xrd.radiation import TUBES, WAVELENGTH_RANGE, assumed_cu, doublet, parse_wavelength

MAX_BYTES = 200_000_000  # a long scan is 5 MB; an area-detector image is not a pattern
MIN_POINTS = 50  # fewer is a peak list, not a profile
MIN_SPAN = 5.0  # degrees 2θ: less cannot hold the lines that indexing needs
LEAST_MAXIMUM = 1e-30  # of the intensities, and the inverse the largest: further off their squares are 0 or infinite

_NOT_PATTERNS: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"BM", "a bitmap image"),
    (b"II*\x00", "a TIFF image"),
    (b"MM\x00*", "a TIFF image"),
    (b"%PDF", "a PDF document"),
    (b"\x1f\x8b", "a gzip archive (unpack it first)"),
    (b"7z\xbc\xaf", "a 7z archive (unpack it first)"),
    (b"\x7fELF", "a program"),
    (b"\x89HDF", "an HDF5 file (export the scan as text)"),
    (b"\xd0\xcf\x11\xe0", "an Office document (export it as CSV)"),
)
_EXPORT = "export the 2θ scan as two columns of text (.xy)"


@dataclass(frozen=True)
class _Scan:
    """What a file says: x (n,) with its axis, intensity (n,), esd (n,) or None, radiation or None."""

    x: np.ndarray
    intensity: np.ndarray
    sigma: np.ndarray | None = None
    radiation: Radiation | None = None
    axis: str = "2theta"


def read_pattern(path: str | Path, radiation: Radiation | None = None) -> Pattern:
    """The measured pattern in a file, 2θ ascending in degrees, with esds and radiation.

    Formats: two or more columns of text (.xy .xye .dat .csv .txt .chi; any separator, comments, headers; axes 2θ, d
    or q by the column's name; a third column as the esd where it can be one), PANalytical .xrdml .udf, Rigaku .ras
    .rasx, Bruker .raw .brml .uxd, GSAS .gsas .gsa .fxye, pdCIF.
    radiation: overrides the file's; where neither says, Cu Kα is assumed (`pattern.radiation.assumed`).
    sigma: the file's esds, else √counts (`counting_esd` for intensities that are not counts).

    Raises InputError, one line naming the file, whatever the file holds.

    >>> pattern = read_pattern("examples/Zr3Sb4Pt3.xy")
    >>> len(pattern.two_theta), float(pattern.two_theta[0]), float(pattern.two_theta[-1])
    (4001, 10.0, 90.0)
    >>> pattern.radiation.wavelength  # of CuKa, as a comment of the file says
    1.540593
    """
    path = Path(path)
    raw = _bytes(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the libraries' remarks on oddities; what matters is checked below
            scan = _scan(path, raw)
            return _pattern(path, scan, radiation or scan.radiation or assumed_cu())
    except InputError:
        raise
    # Vendor formats are parsed from untrusted bytes: zlib.error, struct.error, RecursionError and more leak out.
    except (Exception, MemoryError) as error:
        raise InputError(f"{path.name}: cannot be read as a powder pattern ({_short(error)}); {_EXPORT}") from error


def counting_esd(intensity: np.ndarray) -> np.ndarray:
    """(n,) esds of intensities that came without: √max(I, 1) for counts, else √(gain·I) at the level of the scatter.

    Counts multiplied by a factor g (counts per second, normalised patterns) have the variance g·I. The gain is the
    median, over the less intense points, of (variance from a point's distance to the mean of two neighbours) / I.
    The neighbours are three steps away, because many files are smoothed and adjacent points then agree too well.
    Where the background was subtracted, I says nothing about the noise, which is then taken from the scatter itself.
    """
    whole = bool(np.all(intensity == np.round(intensity)))
    few = np.median(intensity) < 5  # too few counts for a scatter
    if whole and (few or 0.5 < _scatter(intensity, 1)[1] < 2):
        return np.asarray(np.sqrt(np.maximum(intensity, 1.0)))
    floor, gain = _scatter(intensity, 3)
    least = (1e-5 * float(np.max(np.abs(intensity)))) ** 2  # no detector beats this; simulated patterns would
    if np.median(intensity) > 5 * np.sqrt(floor):
        variance = gain * np.maximum(intensity, np.quantile(intensity, 0.01))
    else:  # the scale of the counts went with the background: let the strong points be known to 1%, or as the gain says
        strong = intensity[intensity > 20 * np.sqrt(floor)]
        gain = min(gain, 1e-4 * float(strong.max())) if len(strong) else 0.0
        variance = floor + gain * np.maximum(intensity, 0)
    return np.asarray(np.sqrt(np.maximum(variance, least)))


def _scatter(intensity: np.ndarray, lag: int) -> tuple[float, float]:
    """(variance, variance / intensity) of the noise, medians over the 40% least intense points."""
    chi2_median = 0.4549  # median of χ² with one degree of freedom
    level = (intensity[: -2 * lag] + intensity[2 * lag :]) / 2
    squared = (intensity[lag:-lag] - level) ** 2 / 1.5  # var(y_i − (y_{i−k} + y_{i+k})/2) = 1.5 σ²
    quiet = level <= np.quantile(level, 0.4)
    bright = quiet & (level > 0)
    gain = float(np.median(squared[bright] / level[bright])) / chi2_median if bright.any() else 1.0
    return float(np.median(squared[quiet])) / chi2_median, gain


# --- the file as bytes -------------------------------------------------------------------------------------------


def _bytes(path: Path) -> bytes:
    name = path.name or str(path)
    try:
        if path.is_dir():
            raise InputError(f"{name}: is a folder; give the pattern file in it")
        if not path.exists():
            raise InputError(f"{path}: no such file")
        if not path.is_file():
            raise InputError(f"{name}: is not a regular file; {_EXPORT}")
        size = path.stat().st_size
        if size == 0:
            raise InputError(f"{name}: the file is empty")
        if size > MAX_BYTES:
            raise InputError(f"{name}: {size / 1e6:.0f} MB is too large for a powder pattern; {_EXPORT}")
        raw = path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name}: cannot be opened ({_short(error)})") from error
    for magic, what in _NOT_PATTERNS:
        if raw.startswith(magic):
            raise InputError(f"{name}: is {what}, not a powder pattern; {_EXPORT}")
    return raw


def _text(raw: bytes) -> str | None:
    """The file as text, None for binary."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", errors="replace")
    if b"\x00" in raw[:65536]:
        return None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")  # degree and µ signs of Windows exports


def _short(error: BaseException) -> str:
    """The first sentence of a library's complaint, on one line."""
    words = " ".join(str(error).split()) or type(error).__name__
    sentence = re.split(r"(?<=[^.]{20})\. |; ", words)[0]
    return sentence if len(sentence) <= 160 else sentence[:157] + "..."


# --- formats -----------------------------------------------------------------------------------------------------


def _scan(path: Path, raw: bytes) -> _Scan:
    from rietx.io.readers import identify_format

    text = _text(raw)
    try:
        known = identify_format(path).name
    except Exception:  # nothing of rietx claims it; plain text may still be a table, binary may still be geddes'
        known = None
    if text is not None and known in (None, "xy", "chi"):
        return _table(path.name, text)
    scan = _library(path)
    if text is None:
        return scan
    if known == "pdcif" or path.suffix.lower() == ".cif":
        return replace(scan, radiation=_cif_radiation(path.name, text) or scan.radiation)
    if re.search(r'usedWavelength[^>]*intended="K-?Alpha ?1"', text, re.IGNORECASE) and scan.radiation:
        return replace(scan, radiation=replace(scan.radiation, lines=scan.radiation.lines[:1], kalpha2_known=True))
    return scan


def _library(path: Path) -> _Scan:
    """rietx, which brings esds and wavelength; geddes for what it declines."""
    import geddes
    from rietx import read_pattern as rietx_read

    try:
        data = rietx_read(path)
    except Exception as rietx_error:
        try:
            pattern = geddes.read(str(path))
        except Exception:
            raise rietx_error from None  # its messages say more
        return _Scan(np.asarray(pattern.x, float), np.asarray(pattern.y, float))
    if data.axis == "tof":
        raise InputError(
            f"{path.name}: holds a neutron time-of-flight pattern; give an X-ray pattern on a 2θ, d or q axis"
        )
    sigma = None if data.sigma is None else np.asarray(data.sigma, float)
    return _Scan(data.tt(), data.y(), sigma, _header_radiation(data.metadata))


def _header_radiation(header: dict[str, str]) -> Radiation | None:
    """From the fields vendors write. Their Kα2 is often the tube's, whatever the optics: the data decide."""
    wavelength, second = _number(header.get("wavelength")), _number(header.get("wavelength_alpha2"))
    low, high = WAVELENGTH_RANGE
    if wavelength is not None and low <= wavelength <= high:
        if second == 0:  # the file says that the doublet was not used
            return replace(parse_wavelength(wavelength), lines=((wavelength, 1.0),), kalpha2_known=True)
        if second is not None and wavelength < second < 1.01 * wavelength:
            return doublet(wavelength, second, known=False)
        return parse_wavelength(wavelength)
    anode = header.get("anode", "").strip().capitalize()
    return doublet(*TUBES[anode], known=False) if anode in TUBES else None


def _cif_radiation(name: str, text: str) -> Radiation | None:
    import gemmi

    for block in gemmi.cif.read_string(text):
        if any("neutron" in str(block.find_value(tag)).lower() for tag in ("_diffrn_radiation_probe",)):
            raise InputError(f"{name}: holds neutron data; give an X-ray pattern")
        for prefix in ("_diffrn_radiation_wavelength", "_diffrn_radiation_wavelength.value"):
            values = [gemmi.cif.as_number(v) for v in block.find_values(prefix)]
            values = [v for v in values if WAVELENGTH_RANGE[0] <= v <= WAVELENGTH_RANGE[1]]
            if not values:
                continue
            if len(values) == 1:
                return parse_wavelength(values[0])
            weights = [gemmi.cif.as_number(v) for v in block.find_values("_diffrn_radiation_wavelength_wt")]
            if len(weights) != len(values) or not all(w > 0 for w in weights):
                weights = [2.0, 1.0] + [0.0] * (len(values) - 2)
            lines = sorted(zip(values, weights, strict=True), key=lambda line: -line[1])
            # Authors list the tube's doublet behind a Kα1 monochromator too: the data decide.
            return Radiation(tuple((v, w / lines[0][1]) for v, w in lines if w > 0), kalpha2_known=False)
    return None


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


# --- columns of text ---------------------------------------------------------------------------------------------

_FLOAT = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|[-+]?nan|[-+]?inf(?:inity)?"
_ROW = re.compile(rf"\s*(?:{_FLOAT})(?:\s+(?:{_FLOAT}))*\s*", re.IGNORECASE)
_COMMENT = "#!%'/;*\"\\"
_AXES: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "2theta",
        re.compile(r"2[\s_*-]*(?:theta|θ|ϑ|th)|two[\s_-]*theta|t+w?o?th(?:eta)?\b|ttheta|°\s*2|angle|2th_deg", re.I),
    ),
    ("q/nm", re.compile(r"q[\s_]*[\[(]?\s*(?:nm|1/nm)", re.I)),
    ("q", re.compile(r"q(?:[\s_]*[\[(]?\s*(?:a|å|1/a|1/å|ang).*)?$|momentum\s*transfer|scattering\s*vector", re.I)),
    ("d", re.compile(r"d(?:[\s_-]*spacings?|[\s_-]*values?)?(?:[\s_]*[\[(]?\s*(?:a|å|ang).*)?$", re.I)),
)
_INTENSITY = re.compile(r"i(?:nt|_?obs|meas|\b)|y(?:obs|_?meas|\b)|counts?|cps|obs|meas|signal|detector", re.I)
_SIGMA = re.compile(r"sig|esd|e\.s\.d|err|std|s\.?u\.?\b|unc|σ|dy\b|di\b", re.I)


def _table(name: str, text: str) -> _Scan:
    """Columns of numbers in whatever dialect, with the axis and the esd found by name or by plausibility."""
    lines = [line for line in text.splitlines() if line.strip()]
    rows, header, split = _dialect(lines)
    if not rows:
        if len(text) and sum(c.isprintable() or c.isspace() for c in text) < 0.9 * len(text):
            raise InputError(f"{name}: is binary data in no format known here; {_EXPORT}")
        raise InputError(f"{name}: holds no columns of numbers; {_EXPORT}")
    widths = Counter(len(row) for row in rows)
    width = max(widths, key=lambda w: (widths[w], w == len(rows[-1])))
    stepped = _start_step_stop(rows)
    if stepped is not None:
        return replace(stepped, radiation=_text_radiation(header))
    if width == 1:
        raise InputError(f"{name}: has one column; a pattern needs 2θ and intensity")
    table = np.array([row for row in rows if len(row) == width], dtype=float)
    if len(table) > 1 and table[0, 0] in (len(table) - 1, len(rows) - 1):  # the count line of .chi and its kin
        table = table[1:]
    names = _column_names(header, split, width)
    x_column, axis = _axis(names, header)
    if not names and width > 2 and _is_counter(table[:, 0]):
        x_column = 1
    rest = [*range(x_column + 1, width), *range(x_column)]
    y_column = next((c for c in rest if names and _INTENSITY.match(names[c])), rest[0])
    sigma_column = next((c for c in rest if names and c != y_column and _SIGMA.search(names[c])), None)
    if sigma_column is None and not names and y_column + 1 < width:
        column = table[:, y_column + 1]
        if _is_esd(table[:, y_column], column):
            sigma_column = y_column + 1
    sigma = table[:, sigma_column] if sigma_column is not None else None
    return _Scan(table[:, x_column], table[:, y_column], sigma, _text_radiation(header), axis)


def _dialect(lines: list[str]) -> tuple[list[list[float]], list[str], Callable[[str], list[str]]]:
    """(rows of numbers, the other lines, how to split a line of names)."""
    # "10,5 200,3" has decimal commas, "10.5,200" and "10,200" separators: a comma is decimal only where something
    # else separates and no point appears.
    sample = "\n".join(lines[len(lines) // 2 :][:200])
    decimal_commas = "." not in sample and bool(re.search(r"\d,\d+[ \t;|]+[-+]?\d", sample))

    def numbers(line: str) -> str:
        if decimal_commas:
            line = re.sub(r"[;\t|\"]|,(?=\s|$)", " ", line).replace(",", ".")
        else:
            line = re.sub(r"[,;\t|\"]", " ", line)
        return re.sub(r"(?<=[\d.])[dD](?=[-+]?\d)", "e", line)  # Fortran's double precision

    def names(line: str) -> list[str]:
        body = line.strip().lstrip(_COMMENT).strip()
        separator = r"[;\t|]" if decimal_commas else r"[,;\t|]"
        return [c.strip(' "') for c in re.split(separator if re.search(separator, body) else r"\s+", body)]

    rows, others = [], []
    for line in lines:
        candidate = numbers(line)
        if _ROW.fullmatch(candidate):
            rows.append([float(value) for value in candidate.split()])
        else:
            others.append(line)
    return rows, others, names


def _start_step_stop(rows: list[list[float]]) -> _Scan | None:
    """Intensities in rows under a line "start step stop" (FullProf INSTRM=0, DBWS, LHPM)."""
    if len(rows) < 3 or len(rows[0]) < 3:
        return None
    start, step, stop = rows[0][:3]
    intensity = np.array([value for row in rows[1:] for value in row])
    if not (step > 0 and stop > start) or abs((stop - start) / step + 1 - len(intensity)) > 1:
        return None
    return _Scan(start + step * np.arange(len(intensity)), intensity)


def _column_names(header: list[str], split: Callable[[str], list[str]], width: int) -> list[str]:
    """The names above the columns, [] where the header has none."""
    for line in reversed(header[-5:]):
        for cells in (split(line), re.split(r"\s{2,}|\t", line.strip().lstrip(_COMMENT).strip())):
            named = [c for c in cells if c]
            if len(named) == width and any(p.match(c) for c in named for _, p in _AXES):
                return named
    return []


def _axis(names: list[str], header: list[str]) -> tuple[int, str]:
    """(column, "2theta" | "d" | "q" | "q/nm"): 2θ wherever it is named, else the first of the others, else 2θ."""
    for axis, pattern in _AXES:
        for column, label in enumerate(names):
            if pattern.match(label):
                return column, axis
    if not names:
        for line in header[-5:]:  # a label on a line of its own (.chi), or "X-axis unit: q (1/A)"
            label = re.sub(r"^.*\b(?:x[-\s]?axis|x)\b[^:=]*[:=]", "", line.strip().lstrip(_COMMENT)).strip()
            for axis, pattern in _AXES:
                if len(label) < 60 and pattern.match(label):
                    return 0, axis
    return 0, "2theta"


def _is_counter(column: np.ndarray) -> bool:
    """0, 1, 2, ... or 1, 2, 3, ...: a row number, not an angle (no scan has a step of exactly 1°)."""
    return len(column) >= MIN_POINTS and column[0] in (0, 1) and bool(np.all(np.diff(column) == 1))


def _is_esd(intensity: np.ndarray, column: np.ndarray) -> bool:
    """Can this column be the esd of the intensity? It must be positive, of the size of the scatter between
    neighbouring points, and grow slower than the intensity (a calculated pattern grows with it)."""
    good = np.isfinite(intensity) & np.isfinite(column)
    intensity, column = intensity[good], column[good]
    if len(column) < MIN_POINTS or np.any(column < 0) or np.mean(column > 0) < 0.9:
        return False
    scatter = np.median(np.abs(intensity[1:-1] - (intensity[:-2] + intensity[2:]) / 2)) / 0.6745 / np.sqrt(1.5)
    ratio = np.median(column) / scatter if scatter > 0 else np.inf
    if not 0.2 <= ratio <= 5:
        return False
    both = (intensity > 0) & (column > 0)
    log_i, log_s = np.log(intensity[both]), np.log(column[both])
    return len(log_i) < 2 or np.ptp(log_i) < 0.1 or float(np.polyfit(log_i, log_s, 1)[0]) < 0.8


_WAVELENGTH = re.compile(
    r"(?:wave\s*-?length|lambda|λ)[^\d\n]{0,30}?(\d*[.,]\d+(?:e-?\d+)?)\s*\]?\s*(nm|m)?\b", re.IGNORECASE
)
_TUBE = re.compile(r"\b(Cu|Mo|Co|Fe|Cr|Ag)[\s_-]*K[\s_-]*(?:a(?:lpha)?|α)[\s_-]*(1(?!\s*[+,/&]|2))?", re.IGNORECASE)
_ANODE = re.compile(r"anode[^\n,:=]*[\s,:=]+(Cu|Mo|Co|Fe|Cr|Ag)\b", re.IGNORECASE)


def _text_radiation(header: list[str]) -> Radiation | None:
    """The wavelength, the tube's line or the anode named in comments."""
    text = "\n".join(header)
    values = []
    for number, unit in _WAVELENGTH.findall(text):
        value = float(number.replace(",", "."))
        value *= 10 if unit.lower() == "nm" else 1e10 if unit.lower() == "m" or value < 1e-8 else 1
        if WAVELENGTH_RANGE[0] <= value <= WAVELENGTH_RANGE[1]:
            values.append(value)
    if values:
        second = next((v for v in values if values[0] < v < 1.01 * values[0]), None)
        return parse_wavelength(values[0]) if second is None else doublet(values[0], second, known=False)
    if named := _TUBE.search(text):
        return parse_wavelength(named[1] + "Ka" + (named[2] or ""))
    if named := _ANODE.search(text):
        return doublet(*TUBES[named[1].capitalize()], known=False)
    return None


# --- from a scan to a Pattern ------------------------------------------------------------------------------------


def _pattern(path: Path, scan: _Scan, radiation: Radiation) -> Pattern:
    name = path.name
    x, y = np.asarray(scan.x, float), np.asarray(scan.intensity, float)
    sigma = scan.sigma if scan.sigma is not None else np.full(len(x), np.nan)
    finite = np.isfinite(x) & np.isfinite(y)
    if len(x) and not finite.any():
        raise InputError(f"{name}: every point is NaN; {_EXPORT}")
    two_theta = _two_theta(name, x[finite], scan.axis, radiation.wavelength)
    y, sigma = y[finite], sigma[finite]
    positive = two_theta > 0  # scans through the beam start below 0; d or q beyond reach are NaN here
    two_theta, y, sigma = _sorted_unique(two_theta[positive], y[positive], sigma[positive])
    if len(y) < MIN_POINTS and finite.sum() >= MIN_POINTS and scan.axis != "2theta":
        raise InputError(
            f"{name}: its header names a column {scan.axis[0]}, of which {len(y)} points are in reach of"
            f" {radiation.wavelength:g} Å; check the header and --wavelength"
        )
    if len(y) < MIN_POINTS:
        points = "1 point" if len(y) == 1 else f"{len(y)} points"
        raise InputError(f"{name}: only {points} with 2θ > 0; give a profile of at least {MIN_POINTS}, not a peak list")
    span = two_theta[-1] - two_theta[0]
    if span < MIN_SPAN:
        raise InputError(
            f"{name}: covers {span:.3g}° 2θ ({two_theta[0]:.4g} to {two_theta[-1]:.4g}); give at least {MIN_SPAN:g}°"
        )
    if np.ptp(y) == 0:
        raise InputError(f"{name}: the intensity is {y[0]:g} everywhere; there is nothing to solve")
    if y.max() < LEAST_MAXIMUM or np.abs(y).max() > 1 / LEAST_MAXIMUM:
        raise InputError(f"{name}: the intensities ({y.min():g} to {y.max():g}) are not a diffraction pattern's")
    known = np.isfinite(sigma) & (sigma > 0)
    # A few zero esds (empty channels) would weigh infinitely: they get the typical one. Mostly zero: not esds.
    sigma = np.where(known, sigma, np.median(sigma[known])) if known.mean() > 0.5 else counting_esd(y)
    return Pattern(two_theta, y, sigma, radiation, file=str(path))


def _two_theta(name: str, x: np.ndarray, axis: str, wavelength: float) -> np.ndarray:
    """Degrees 2θ (NaN out of reach of the wavelength) of a 2θ, d or q axis."""
    if axis == "2theta":
        if x.size and x.max() <= 0:
            raise InputError(f"{name}: 2θ runs from {x.min():g} to {x.max():g}; it must be positive degrees")
        if x.size and x.max() > 180:
            raise InputError(
                f"{name}: 2θ reaches {x.max():g}, beyond 180°; give degrees in the first column, or name it d or q"
            )
        return x
    scale = 10.0 if axis == "q/nm" else 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        d = x if axis == "d" else 2 * np.pi * scale / x
        sine = wavelength / (2 * d)
        return np.where((d > 0) & (sine <= 1), 2 * np.degrees(np.arcsin(sine)), np.nan)


def _sorted_unique(x: np.ndarray, y: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ascending x; points at one angle averaged (their esds as those of a mean)."""
    order = np.argsort(x, kind="stable")
    x, first, count = np.unique(x[order], return_index=True, return_counts=True)
    if not len(x):
        return x, y[:0], sigma[:0]
    y = np.add.reduceat(y[order], first) / count
    sigma = np.sqrt(np.add.reduceat(sigma[order] ** 2, first)) / count
    return x, y, sigma

"""Measured pattern files to `Pattern`: one door for every format, nothing but `InputError` comes out of it.

`formats` holds a class for each text format, reads the vendors' binary files through libraries and knows what other
files are; `text_table` reads columns of numbers; `scans` chooses among several. Here the chosen scan becomes a Pattern.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from crystalnet.records import InputError, Pattern, Radiation, short_reason
from crystalnet.xrd.abscissa import doubt_about_axis, on_axis, radiation_for_spacings, two_theta_of
from crystalnet.xrd.esd import counting_esd
from crystalnet.xrd.faults import without_faults
from crystalnet.xrd.formats import FORMATS
from crystalnet.xrd.formats.unread import other_by_content, other_by_name, refusal
from crystalnet.xrd.formats.vendor import BINARY, TEXT_TABLES, known_format, read_vendor
from crystalnet.xrd.header.sources import radiation_of_xml
from crystalnet.xrd.radiation import assumed_cu
from crystalnet.xrd.scans import EXPORT, MIN_POINTS, Listed, Scan, chosen
from crystalnet.xrd.text_table.numbers import are_numbers
from crystalnet.xrd.text_table.table import read_table

MAX_BYTES = 200_000_000  # a long scan is 5 MB; an area-detector image is not a pattern
SAME_WAVELENGTH = 0.01  # relative: two tubes differ by 5% at least
MIN_SPAN = 5.0  # degrees 2θ: less cannot hold the lines that indexing needs
LEAST_MAXIMUM = 1e-30  # of the intensities, and the inverse the largest: further off their squares are 0 or infinite
AXES = ("auto", "two-theta", "q", "d")


def read_pattern(
    path: str | Path,
    radiation: Radiation | None = None,
    *,
    scan: int | None = None,
    axis: str = "auto",
    otherwise: Radiation | None = None,
) -> Pattern:
    """The measured pattern in a file, with esds and radiation.

    Parameters
    ----------
    path : str or Path
        Two or more columns of text (.xy .xye .dat .csv .txt .chi; any separator, comments, headers; axes 2θ, θ, d or q
        by the column's name; a third column as the esd where it can be one), one of `formats.FORMATS`, PANalytical
        .xrdml .udf, Rigaku .ras .rasx, Bruker .raw .brml, Philips .rd .sd, GSAS .gsas .gsa .fxye.
    radiation : Radiation, optional
        Overrides the file's. Where neither says, Cu Kα is assumed (`pattern.radiation.assumed`).
    otherwise : Radiation, optional
        Taken where neither says: that of the user's diffractometer.
    scan : int, optional
        Number of the scan in a file of several, 1 the first. Without it the longest, its repeats added.
    axis : {"auto", "two-theta", "q", "d"}
        What the first column is, where the file does not say.

    Returns
    -------
    Pattern
        2θ ascending in degrees. sigma: the file's esds, else √counts (`counting_esd` for intensities that are not
        counts). remarks: what was chosen or left out.

    Raises
    ------
    InputError
        In one line that names the file, whatever the file holds.

    Examples
    --------
    >>> pattern = read_pattern("examples/Zr3Sb4Pt3.xy")
    >>> len(pattern.two_theta), float(pattern.two_theta[0]), float(pattern.two_theta[-1])
    (4001, 10.0, 90.0)
    >>> pattern.radiation.wavelength  # of CuKa, as a comment of the file says
    1.540593
    """
    path = Path(path)
    if axis not in AXES:
        raise InputError(f"--axis {axis!r}: choose one of {', '.join(AXES)}")
    raw = file_bytes(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the libraries' remarks on oddities; what matters is checked below
            taken, remarks = chosen(path.name, _scans(path, raw, axis), scan)
            beam = _with_own_optics(radiation, taken.radiation) or otherwise
            if axis == "auto" and not taken.axis_named:
                remarks += doubt_about_axis(path.name, taken, beam is None)
            elif axis != "auto":
                taken = on_axis(taken, axis)
            if beam is None and taken.axis.quantity in ("q", "d"):
                beam = radiation_for_spacings(taken)
            return _pattern(path.name, str(path), taken, beam or assumed_cu(), remarks)
    except InputError:
        raise
    # Vendor formats are parsed from untrusted bytes: zlib.error, struct.error, RecursionError and more leak out.
    except (Exception, MemoryError) as error:
        raise InputError(f"{path.name}: cannot be read as a powder pattern; {EXPORT}") from error


def pattern_of_arrays(
    two_theta: ArrayLike, intensity: ArrayLike, sigma: ArrayLike | None, radiation: Radiation | None, name: str
) -> Pattern:
    """Arrays as the pattern that `read_pattern` would make of the same numbers in a file; see `Pattern.from_arrays`."""
    try:
        x, y = np.asarray(two_theta, float), np.asarray(intensity, float)
        esd = None if sigma is None else np.asarray(sigma, float)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: two_theta, intensity and sigma must be arrays of numbers") from error
    shapes = [a.shape for a in (x, y, esd) if a is not None]
    if x.ndim != 1 or len(set(shapes)) > 1:
        raise InputError(f"{name}: the arrays must have one dimension and equal length; their shapes are {shapes}")
    return _pattern(name, None, Scan(x, y, esd), radiation or assumed_cu(), ())


def file_bytes(path: Path) -> bytes:
    """The content of a file; InputError where it is none or too large."""
    name = path.name or str(path)
    try:
        if path.is_dir():
            raise InputError(f"{name}: is a folder; give the pattern file in it")
        if not path.exists():
            raise InputError(f"{path}: no such file")
        if not path.is_file():
            raise InputError(f"{name}: is not a regular file; {EXPORT}")
        size = path.stat().st_size
        if size == 0:
            raise InputError(f"{name}: the file is empty")
        if size > MAX_BYTES:
            raise InputError(f"{name}: {size / 1e6:.0f} MB is too large for a powder pattern; {EXPORT}")
        raw = path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name}: cannot be opened ({short_reason(error)})") from error
    return raw


def text_of(raw: bytes) -> str | None:
    """The file as text, None for binary."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", errors="replace")
    head = raw[:4096]
    if b"\x00" in raw[:65536]:
        for nul, codec in ((1, "utf-16-le"), (0, "utf-16-be")):  # a Windows export without its byte-order mark
            if len(head) > 3 and not any(head[nul::2]) and all(head[1 - nul :: 2]):
                return raw.decode(codec, errors="replace")
        return None
    try:
        return raw.decode("utf-8-sig").replace("\u2212", "-")
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")  # degree and µ signs of Windows exports


def _is_binary(raw: bytes) -> bool:
    """Control characters where text has none."""
    head = raw[:65536]
    return b"\x00" in head or sum(c < 32 and c not in b"\t\n\r\x0b\x0c\x1a" for c in head) > len(head) / 100


def _scans(path: Path, raw: bytes, axis: str) -> list[Listed]:
    """What the file holds, by the first of the formats that recognises it."""
    text = text_of(raw)
    content = other_by_content(raw)
    # A plain table needs none of the libraries, one of which takes a second to import.
    known = None if text is not None and are_numbers(text) else known_format(path)
    if content is not None and known not in BINARY and (content.sure or text is None or _is_binary(raw)):
        raise refusal(path.name, content)  # "BM..." and "RAW ..." as text are text
    if text is None:
        if raw.startswith(b"PK\x03\x04") and b"[Content_Types].xml" in raw[:4096]:
            raise InputError(f"{path.name}: is an Office document; export the sheet as CSV")
        return read_vendor(path, known)
    lines = text.splitlines()
    for form in FORMATS:
        if form.recognises(lines):
            return form.read(path.name, [line for line in lines if line.strip()])
    if path.suffix.lower() == ".cif":
        raise InputError(f"{path.name}: holds no powder pattern (a structure is read by `simulate`); {EXPORT}")
    if known is None or known in (*TEXT_TABLES, *BINARY, "pdcif", "uxd", "raw_unknown"):
        return _table(path, text, axis)
    scans = read_vendor(path, known)
    if known != "xrdml":
        return scans
    return [replace(one, load=partial(_panalytical, one, text)) for one in scans]


def _panalytical(one: Listed, text: str) -> Scan:
    """With the monochromator and the anode that rietx leaves out."""
    scan = one.load()
    return replace(scan, radiation=radiation_of_xml(text) or scan.radiation)


def _table(path: Path, text: str, axis: str) -> list[Listed]:
    """Columns of text; where there are none, the ending of the file's name may say what it is instead."""
    try:
        return read_table(path.name, text, axis)
    except InputError:
        if (other := other_by_name(path)) is not None:
            raise refusal(path.name, other) from None
        raise


def _with_own_optics(given: Radiation | None, of_file: Radiation | None) -> Radiation | None:
    """The radiation given, else the file's. A wavelength given leaves the file's monochromator where it is."""
    if given is None or of_file is None or given.polarisation != 1.0:
        return given or of_file
    same_tube = abs(given.wavelength / of_file.wavelength - 1) < SAME_WAVELENGTH
    return replace(given, polarisation=of_file.polarisation) if same_tube and of_file.polarisation else given


def _pattern(name: str, file: str | None, scan: Scan, radiation: Radiation, remarks: tuple[str, ...]) -> Pattern:
    """The chosen scan on 2θ, ascending, finite, without faults and with esds; InputError where it is no pattern."""
    x, y = np.asarray(scan.x, float), np.asarray(scan.intensity, float)
    sigma = scan.sigma if scan.sigma is not None else np.full(len(x), np.nan)
    finite = np.isfinite(x) & np.isfinite(y)
    if len(x) and not finite.any():
        raise InputError(f"{name}: every point is NaN; {EXPORT}")
    two_theta = two_theta_of(name, x[finite], scan.axis, radiation.wavelength)
    y, sigma = y[finite], sigma[finite]
    positive = two_theta > 0  # scans through the beam start below 0; d or q beyond reach are NaN here
    two_theta, y, sigma = _sorted_unique(two_theta[positive], y[positive], sigma[positive])
    if len(y) < MIN_POINTS and finite.sum() >= MIN_POINTS and scan.axis.quantity != "2theta":
        raise InputError(
            f"{name}: its header or --axis names a column {scan.axis.quantity}, of which {len(y)} points are in reach"
            f" of {radiation.wavelength:g} Å; check these and --wavelength"
        )
    if len(y) < MIN_POINTS:
        points = "1 point" if len(y) == 1 else f"{len(y)} points"
        raise InputError(f"{name}: only {points} with 2θ > 0; give a profile of at least {MIN_POINTS}, not a peak list")
    two_theta, y, sigma, left_out = without_faults(two_theta, y, sigma)
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
    return Pattern(two_theta, y, sigma, radiation, file=file, remarks=remarks + left_out)


def _sorted_unique(x: np.ndarray, y: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ascending x; points at one angle averaged (their esds as those of a mean)."""
    order = np.argsort(x, kind="stable")
    x, first, count = np.unique(x[order], return_index=True, return_counts=True)
    if not len(x):
        return x, y[:0], sigma[:0]
    y = np.add.reduceat(y[order], first) / count
    sigma = np.sqrt(np.add.reduceat(sigma[order] ** 2, first)) / count
    return x, y, sigma

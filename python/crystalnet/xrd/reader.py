"""Measured pattern files to `Pattern`: one door for every format, nothing but `InputError` comes out of it.

`formats` says which text formats there are and what other files are, `vendor` reads what the libraries know,
`text_table` columns of numbers, `scans` chooses among several. Here the chosen scan becomes a Pattern.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from crystalnet.bragg import d_of_q, q_of_d, two_theta_of_d, wavelength_of_q
from crystalnet.records import InputError, Pattern, Radiation, short_reason
from crystalnet.xrd.esd import counting_esd
from crystalnet.xrd.formats import FORMATS, other_by_content, other_by_name, refusal
from crystalnet.xrd.header import radiation_of_xml
from crystalnet.xrd.radiation import WAVELENGTH_RANGE, assumed_cu
from crystalnet.xrd.scans import Axis, Listed, Scan, chosen
from crystalnet.xrd.text_table import EXPORT, MIN_POINTS, read_table
from crystalnet.xrd.vendor import BINARY, TEXT_TABLES, known_format, read_vendor

MAX_BYTES = 200_000_000  # a long scan is 5 MB; an area-detector image is not a pattern
SAME_WAVELENGTH = 0.01  # relative: two tubes differ by 5% at least
MIN_SPAN = 5.0  # degrees 2θ: less cannot hold the lines that indexing needs
LEAST_MAXIMUM = 1e-30  # of the intensities, and the inverse the largest: further off their squares are 0 or infinite
AXES = ("auto", "two-theta", "q", "d")
BEAM = 10.0  # times the strongest line: more, falling from the first angles, is the direct beam
BEAM_START, BEAM_END = 5.0, 15.0  # degrees: where its maximum and its foot may lie at the latest
SPIKE = 10.0  # times its neighbours: a line has flanks
MOST_SPIKES = 5  # more are lines, measured in coarse steps
Q_END = 32.0  # 1/Å or Å: an unnamed axis that ends below may be Q or d; a laboratory 2θ scan does not
Q_ANGLE = 40.0  # degrees 2θ for the end of a q axis without wavelength: as at the beamlines that measure on q
Q_START = 1.5  # and begins here at the latest: a 2θ scan begins behind the beam stop


def read_pattern(
    path: str | Path, radiation: Radiation | None = None, *, scan: int | None = None, axis: str = "auto"
) -> Pattern:
    """The measured pattern in a file, 2θ ascending in degrees, with esds and radiation.

    Formats: two or more columns of text (.xy .xye .dat .csv .txt .chi; any separator, comments, headers; axes 2θ, θ, d
    or q by the column's name; a third column as the esd where it can be one), those of `formats.FORMATS`, PANalytical
    .xrdml .udf, Rigaku .ras .rasx, Bruker .raw .brml, Philips .rd .sd, GSAS .gsas .gsa .fxye.
    radiation: overrides the file's; where neither says, Cu Kα is assumed (`pattern.radiation.assumed`).
    scan: number of the scan in a file of several, 1 the first; else the longest, its repeats added (`remarks` say so).
    axis: what the first column is ("two-theta", "q", "d"), where the file does not say ("auto").
    sigma: the file's esds, else √counts (`counting_esd` for intensities that are not counts).

    Raises InputError, one line naming the file, whatever the file holds.

    >>> pattern = read_pattern("examples/Zr3Sb4Pt3.xy")
    >>> len(pattern.two_theta), float(pattern.two_theta[0]), float(pattern.two_theta[-1])
    (4001, 10.0, 90.0)
    >>> pattern.radiation.wavelength  # of CuKa, as a comment of the file says
    1.540593
    """
    path = Path(path)
    if axis not in AXES:
        raise InputError(f"--axis {axis!r}: choose one of {', '.join(AXES)}")
    raw = _bytes(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the libraries' remarks on oddities; what matters is checked below
            taken, remarks = chosen(path.name, _scans(path, raw, axis), scan)
            told = _given(radiation, taken.radiation)
            if axis == "auto" and not taken.axis_named:
                remarks += _asked(path.name, taken, told is None)
            elif axis != "auto":
                taken = _renamed(taken, axis)
            if told is None and taken.axis.quantity in ("q", "d"):
                told = _any_radiation(taken)
            return _pattern(path, taken, told or assumed_cu(), remarks)
    except InputError:
        raise
    # Vendor formats are parsed from untrusted bytes: zlib.error, struct.error, RecursionError and more leak out.
    except (Exception, MemoryError) as error:
        raise InputError(f"{path.name}: cannot be read as a powder pattern; {EXPORT}") from error


def _bytes(path: Path) -> bytes:
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


def _text(raw: bytes) -> str | None:
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


# --- the scans in it ---------------------------------------------------------------------------------------------


def _scans(path: Path, raw: bytes, axis: str) -> list[Listed]:
    """What the file holds, by the first of the formats that recognises it."""
    text = _text(raw)
    content = other_by_content(raw)
    known = known_format(path)
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
    try:
        return read_table(path.name, text, axis)
    except InputError:
        if (other := other_by_name(path)) is not None:
            raise refusal(path.name, other) from None
        raise


def _renamed(scan: Scan, axis: str) -> Scan:
    """The scan with the axis that the user names, in the unit that the file names."""
    quantity = {"two-theta": "2theta", "q": "q", "d": "d"}[axis]
    return scan if scan.axis.quantity == quantity else replace(scan, axis=Axis(quantity))


def _asked(name: str, scan: Scan, assumed: bool) -> tuple[str, ...]:
    """A remark where an unnamed first column may be Q or d; a refusal where no wavelength speaks for 2θ either."""
    x = scan.x[np.isfinite(scan.x)]
    if len(x) < MIN_POINTS or x.max() > Q_END or x.max() <= 0:
        return ()
    change = np.abs(np.diff(np.sort(x)))
    change = change[change > 0]
    uneven = len(change) > 2 and np.quantile(change, 0.95) > 2 * np.quantile(change, 0.05)
    if not uneven and not (0 <= x.min() < Q_START):
        return ()
    kind, unit = ("d", "Å") if uneven and _widens(np.sort(x)) else ("Q", "1/Å")
    what = (
        f"the first column runs from {x.min():.3g} to {x.max():.3g} and has no name: it may be {kind} in {unit};"
        f" give --axis {kind.lower()}"
    )
    if assumed:
        raise InputError(f"{name}: {what}, or --axis two-theta with --wavelength")
    return (f"{what[0].upper()}{what[1:]} if it is. It was read as 2θ.",)


def _given(given: Radiation | None, told: Radiation | None) -> Radiation | None:
    """The radiation given, else the file's. A wavelength given leaves the file's monochromator where it is."""
    if given is None or told is None or given.polarisation != 1.0:
        return given or told
    same_tube = abs(given.wavelength / told.wavelength - 1) < SAME_WAVELENGTH
    return replace(given, polarisation=told.polarisation) if same_tube and told.polarisation else given


def _any_radiation(scan: Scan) -> Radiation:
    """One line that brings the whole of a q or d axis to below Q_ANGLE: lattice and atoms do not depend on it."""
    x = scan.x[np.isfinite(scan.x) & (scan.x > 0)] * scan.axis.factor
    if not len(x):
        return assumed_cu()
    largest = x.max() if scan.axis.quantity == "q" else q_of_d(x.min())
    if largest > Q_END:  # no beamline measures it: the axis is something else
        return assumed_cu()
    wavelength = wavelength_of_q(largest, Q_ANGLE)
    low, high = WAVELENGTH_RANGE
    return Radiation(((float(np.clip(wavelength, low, high)), 1.0),), polarisation=0.0)


def _widens(x: np.ndarray) -> bool:
    """Do the steps grow along the axis, as those of d do?"""
    half = len(x) // 2
    return bool(np.median(np.diff(x[half:])) > 1.5 * np.median(np.diff(x[: half + 1])))


# --- from a scan to a Pattern ------------------------------------------------------------------------------------


def _pattern(path: Path, scan: Scan, radiation: Radiation, remarks: tuple[str, ...]) -> Pattern:
    name = path.name
    x, y = np.asarray(scan.x, float), np.asarray(scan.intensity, float)
    sigma = scan.sigma if scan.sigma is not None else np.full(len(x), np.nan)
    finite = np.isfinite(x) & np.isfinite(y)
    if len(x) and not finite.any():
        raise InputError(f"{name}: every point is NaN; {EXPORT}")
    two_theta = _two_theta(name, x[finite], scan.axis, radiation.wavelength)
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
    two_theta, y, sigma, left_out = _without_faults(two_theta, y, sigma)
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
    return Pattern(two_theta, y, sigma, radiation, file=str(path), remarks=remarks + left_out)


def _two_theta(name: str, x: np.ndarray, axis: Axis, wavelength: float) -> np.ndarray:
    """Degrees 2θ (NaN out of reach of the wavelength) of a 2θ, d or q axis."""
    x = x * axis.factor
    if axis.quantity == "2theta":
        if x.size and x.max() <= 0:
            raise InputError(f"{name}: 2θ runs from {x.min():g} to {x.max():g}; it must be positive degrees")
        if x.size and x.max() > 180:
            raise InputError(
                f"{name}: 2θ reaches {x.max():g}, beyond 180°; give degrees in the first column, or name it d or q"
            )
        return x
    if axis.quantity not in ("q", "d"):
        raise InputError(f"{name}: its abscissa is {axis.quantity}; give an X-ray pattern on a 2θ, d or q axis")
    with np.errstate(divide="ignore", invalid="ignore"):
        d = x if axis.quantity == "d" else d_of_q(x)
        return np.where(d > 0, two_theta_of_d(d, wavelength), np.nan)


def _without_faults(
    two_theta: np.ndarray, y: np.ndarray, sigma: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
    """(2θ, intensity, esds, remarks) without the direct beam and without single points that outshine every line.

    Both would set the scale by which lines are found and the smallest esd.
    """
    remarks: tuple[str, ...] = ()
    foot = _foot_of_beam(two_theta, y)
    if foot and len(y) - foot >= MIN_POINTS:
        remarks = (f"The points below {two_theta[foot]:.2f}° hold the direct beam and were left out.",)
        two_theta, y, sigma = two_theta[foot:], y[foot:], sigma[foot:]
    spikes = _spikes(y)
    if 0 < len(spikes) <= MOST_SPIKES:
        places = ", ".join(f"{two_theta[i]:.2f}°" for i in spikes)
        remarks += (f"Single points without flanks that outshine every line were left out, at {places}.",)
        keep = np.ones(len(y), bool)
        keep[spikes] = False
        two_theta, y, sigma = two_theta[keep], y[keep], sigma[keep]
    return two_theta, y, sigma, remarks


def _foot_of_beam(two_theta: np.ndarray, y: np.ndarray) -> int:
    """Index of the first point behind the direct beam, 0 where there is none."""
    top = int(np.argmax(y))
    if two_theta[top] > BEAM_START:
        return 0
    low = np.flatnonzero(y[top:] < 0.05 * y[top])
    if not len(low):
        return 0
    foot = top + int(low[0])
    rising = np.flatnonzero(np.diff(y[foot:]) >= 0)
    foot += int(rising[0]) if len(rising) else len(y) - foot - 1
    if two_theta[foot] > BEAM_END or len(y) - foot < MIN_POINTS or y[top] < BEAM * np.max(y[foot:]):
        return 0
    return foot


def _spikes(y: np.ndarray) -> np.ndarray:
    """Indices of points SPIKE times higher than their neighbours and than everything that has flanks."""
    from scipy.ndimage import median_filter

    flanked = float(np.max(median_filter(y, 3)))
    neighbours = np.maximum.reduce([np.roll(y, k) for k in (-2, -1, 1, 2)])
    return np.flatnonzero((y > SPIKE * np.maximum(neighbours, 0)) & (y > SPIKE * max(flanked, 0)) & (y > 0))


def _sorted_unique(x: np.ndarray, y: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ascending x; points at one angle averaged (their esds as those of a mean)."""
    order = np.argsort(x, kind="stable")
    x, first, count = np.unique(x[order], return_index=True, return_counts=True)
    if not len(x):
        return x, y[:0], sigma[:0]
    y = np.add.reduceat(y[order], first) / count
    sigma = np.sqrt(np.add.reduceat(sigma[order] ** 2, first)) / count
    return x, y, sigma

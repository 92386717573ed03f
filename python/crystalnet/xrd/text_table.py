"""Columns of numbers in whatever dialect: `.xy .xye .dat .csv .txt .chi` and the exports of many programs.

Parsed here, because the libraries silently misread some (a q or d axis, an index column, a fit column taken as an
esd) and decline others (semicolons, decimal commas, Fortran exponents, dates beside the numbers). Every line is split
and each cell given to `float`, so the time is linear in the file whatever stands in it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from crystalnet.bragg import Q_OF_STOL
from crystalnet.records import InputError
from crystalnet.xrd.header import radiation_of_header
from crystalnet.xrd.scans import TWO_THETA, Axis, Listed, Scan, listed, parted

MIN_POINTS = 50  # fewer is a peak list, not a profile
EXPORT = "export the 2θ scan as two columns of text (.xy)"
LONGEST_LABEL = 60  # characters; a longer text names no column
HEADER_LINES = 20  # above the numbers, in which a line "start step stop" may stand
_COMMENT = "#!%'/;*\"\\"
_SAMPLE = 400  # lines that decide what separates the columns


# --- numbers -----------------------------------------------------------------------------------------------------


def number(cell: str) -> float | None:
    """The number in a cell, None for anything else ("1_000", digits of other scripts); Fortran's 1.5D+3 is one."""
    if "_" in cell or not cell.isascii():
        return None
    try:
        return float(cell)
    except ValueError:
        pass
    if not ("d" in cell or "D" in cell) or cell.strip("0123456789.+-dD"):
        return None
    try:
        return float(cell.replace("d", "e").replace("D", "e"))
    except ValueError:
        return None


def numbers(line: str) -> list[float] | None:
    """The numbers of a line that holds nothing else, blanks, tabs, commas or semicolons between them."""
    cells = line.replace(",", " ").replace(";", " ").split()
    values = [number(cell) for cell in cells]
    return None if None in values else [v for v in values if v is not None]


def _run_together(line: str) -> list[float] | None:
    """As `numbers`, of fixed columns that a minus sign alone separates ("12345-6")."""
    return numbers(re.sub(r"(?<=[0-9.])-", " -", line))


def _fixed(line: str, width: int) -> list[float] | None:
    """As `numbers`, of full columns of `width` characters, as Fortran's 10F8.0 writes them."""
    line = line.rstrip()
    return numbers(" ".join(line[i : i + width] for i in range(0, len(line), width)))


def _grouped(cell: str, mark: str) -> bool:
    """Do the marks group thousands: 7,393 or 1,134,930.5?"""
    head, *groups = cell.lstrip("+-").split(mark)
    if not groups or not (head.isdigit() and len(head) <= 3):
        return False
    groups[-1] = groups[-1].partition("." if mark == "," else ",")[0]
    return all(len(group) == 3 and group.isdigit() for group in groups)


@dataclass(frozen=True)
class _Dialect:
    """What separates columns besides blanks, and what commas and points are: `comma` and `quoted` (of commas within
    quotes) are "separator", "decimal" or "thousands"; `points`: points group thousands (1.393,5).
    """

    separators: str = ",;|\t"
    comma: str = "separator"
    quoted: str = "thousands"
    points: bool = False

    def cells(self, line: str) -> list[str]:
        """The cells of a line, empty ones included but not at its end."""
        if '"' in line:
            line = self._unquoted(line)
        for mark in self.separators:
            line = line.replace(mark, "\x1f")
        cells: list[str] = []
        for part in line.split("\x1f"):
            cells += part.split() or [""]
        while cells and not cells[-1]:
            cells.pop()
        return cells

    def value(self, cell: str) -> float | None:
        """The number in a cell."""
        if self.points and "." in cell and (_grouped(cell, ".") or "," in cell):
            cell = cell.replace(".", "")
        if "," in cell:
            cell = cell.replace(",", "." if self.comma == "decimal" else "")
        return number(cell)

    def _unquoted(self, line: str) -> str:
        """Without quotes; what stood within them is one cell, its commas and blanks gone."""
        parts = line.split('"')
        for i in range(1, len(parts), 2):
            inner = parts[i].strip()
            if "," in inner:
                inner = inner.replace(",", "." if self.quoted == "decimal" else "")
            parts[i] = "_".join(inner.replace(";", " ").replace("|", " ").split())
        return "".join(parts)


def _dialect(lines: list[str]) -> _Dialect:
    """From lines in the middle of the file: "10,5 200,3" has decimal commas, "10.5,200" separators, "10.5;7,393"
    thousands."""
    sample = lines[len(lines) // 2 :][:_SAMPLE]
    inner = [p.strip() for line in sample for p in line.split('"')[1::2] if "," in p]
    outer = ["".join(line.split('"')[::2]) for line in sample]
    points = any("." in line for line in sample)
    quoted = "thousands" if points and all(_grouped(p, ",") for p in inner) else "decimal"
    if inner and not points and all(_grouped(p, ",") for p in inner):  # "10,020";"893": a column that needs none
        quoted = "decimal" if len(inner) > len(sample) else "thousands"
    other = sum(any(mark in line for mark in ";|\t") for line in outer) > len(outer) / 2
    separators = ";|\t"
    tokens = [t for line in outer for t in line.replace(";", " ").replace("|", " ").split()]
    with_comma = [t.rstrip(",") for t in tokens if "," in t.rstrip(",")]
    alone = other or not any(", " in line or " ," in line or "\t," in line for line in outer)
    inside = [t for t in with_comma if all(part.lstrip("+-")[:1].isdigit() for part in t.split(",")[:2])]
    if not with_comma or len(inside) < len(with_comma) or not alone or not (other or _columns_by_blanks(outer)):
        return _Dialect(quoted=quoted)
    if all(_grouped(t, ",") for t in with_comma) and any("." in t for t in tokens):
        return _Dialect(separators, "thousands", quoted)
    if all(t.count(",") == 1 for t in with_comma):
        dotted = [t for t in tokens if "." in t]
        if not dotted:
            return _Dialect(separators, "decimal", quoted)
        if all(_grouped(t, ".") for t in dotted):
            return _Dialect(separators, "decimal", quoted, points=True)
    return _Dialect(quoted=quoted)


def _columns_by_blanks(lines: list[str]) -> bool:
    return sum(len(line.split()) > 1 for line in lines) > len(lines) / 2


# --- names of columns --------------------------------------------------------------------------------------------

_DEGREES = r"(?:/?(?:°|o|in°|deg|degs|degree|degrees|indeg|indegrees))?"
_RADIANS = r"/?(?:in)?rad(?:ian)?s?"
_TWO = (
    r"(?:pos|position|x|scan|angle|xaxis|°)*(?:2theta|2th|twotheta|twoth|ttheta|tth|2t|2q)"
    r"(?:angle|axis|scan|meas|obs|theta|/theta|corrected|corr|positions?|omega|values?)*"
)
_INVERSE_A = r"(?:/?(?:1/a|a\^?1|inva|perinva|pera|/a|inverseangstroms?|a))?"
_INVERSE_NM = r"/?(?:1/nm|nm\^?1|invnm|pernm|inversenm|inversenanometers?|nm)"
_Q = r"(?:q|qspace|qvector|qvalues?|qmod|absq|momentumtransferq?|scatteringvectorq?|wavevectortransfer|qtransfer)"
_D = r"(?:d|ds|dspacings?|dvalues?|dhkl|dspac)"
_AXES: tuple[tuple[re.Pattern[str], Axis], ...] = (
    (re.compile(_TWO + _RADIANS), Axis("2theta", 180 / np.pi)),
    (re.compile(_TWO + _DEGREES), TWO_THETA),
    (re.compile(r"(?:diffraction|scattering|bragg)?angle" + _DEGREES), TWO_THETA),
    (re.compile(r"(?:angle)?(?:theta|th|braggangletheta)(?:angle|obs)?" + _RADIANS), Axis("2theta", 360 / np.pi)),
    (re.compile(r"(?:angle)?(?:theta|th|braggangletheta)(?:angle|obs)?" + _DEGREES), Axis("2theta", 2.0)),
    (re.compile(_Q + _INVERSE_NM), Axis("q", 0.1)),
    (re.compile(_Q + _INVERSE_A), Axis("q")),
    (re.compile(r"(?:1/d|dstar|d\*)" + _INVERSE_A), Axis("q", 2 * np.pi)),
    (re.compile(r"(?:sinthet?a?/lambda|sinth/lambda|stol)" + _INVERSE_A), Axis("q", Q_OF_STOL)),
    (re.compile(_D + r"/?(?:in)?nm"), Axis("d", 10.0)),
    (re.compile(_D + r"(?:/?(?:in)?(?:a|angstroms?))?"), Axis("d")),
    (re.compile(r"(?:r|radius|radial|radialdistance)/?mm"), Axis("radius")),
    (re.compile(r"(?:r|radius|radial|radialdistance)/?m"), Axis("radius", 1000.0)),
    (re.compile(r"(?:r|radius|radialdistance|distance)/?(?:px|pix|pixels?)|pixels?|channels?"), Axis("a pixel number")),
    (re.compile(r"(?:photon)?energy/?(?:kev|ev)?|kev"), Axis("an energy")),
    (re.compile(r"r/?(?:a|nm)?"), Axis("a distance r, as of a pair distribution function")),
    (re.compile(r"tof|timeofflight(?:us|microseconds?)?"), Axis("a time of flight")),
    (re.compile(r"chi/?(?:deg|°)?|azimuth(?:alangle)?/?(?:deg|°)?"), Axis("an azimuth")),
)
_INTENSITY = (
    *("int", "count", "cps", "cts", "obs", "meas", "signal", "det", "psd", "mean", "value", "yobs", "ymeas"),
    *("iobs", "imeas", "totalcounts", "rawcounts", "y/", "i/"),
)
_CALCULATED = ("calc", "bkg", "bck", "back", "diff", "fit", "mon", "time", "resid", "width", "model")
_SIGMA = re.compile(r"sig|esd|err|std|unc|dev\b|σ|^su$|^s\.u|^e\.s\.d|^dy$|^di$|^ey$|^ei$")
_WEIGHT = re.compile(r"^(?:w|wt|weights?|lsweight)$")


def _plain(label: str) -> str:
    """A column's name without case, blanks and brackets, θ and Å spelled out: "2θ (°)" is 2theta°, "q_A^-1" qa^1."""
    label = label.lower()
    for sign, word in (
        ("θ", "theta"),
        ("ϑ", "theta"),
        ("ångström", "a"),
        ("angstrom", "a"),
        ("å", "a"),
        ("\u212b", "a"),
    ):
        label = label.replace(sign, word)
    label = label.replace("⁻¹", "^-1").replace("º", "°").replace("λ", "lambda")
    return label.translate(_SKIPPED)


_SKIPPED = str.maketrans("", "", " _-.[](){}\"'#:,\t")


def axis_of(label: str) -> Axis | None:
    """What a column of this name holds, where it can be an abscissa."""
    if not 0 < len(label) <= LONGEST_LABEL:
        return None
    plain = _plain(label)
    return next((axis for pattern, axis in _AXES if pattern.fullmatch(plain)), None)


def _is_intensity(label: str) -> bool:
    plain = _plain(label)
    if any(word in plain for word in _CALCULATED) or _is_sigma(label):
        return False
    return plain in ("i", "y", "iau", "ycounts", "icounts", "icps") or plain.startswith(_INTENSITY)


def _is_sigma(label: str) -> bool:
    return len(label) <= LONGEST_LABEL and bool(_SIGMA.search(label.lower().strip(" _")))


# --- the table ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Rows:
    """Numbers (n, m), the names above their columns ([] where there are none), and the lines that are not rows."""

    table: np.ndarray
    names: list[str]
    header: list[str]


def read_table(name: str, text: str, wanted: str = "auto") -> list[Listed]:
    """The scans in columns of text.

    wanted: "q", "d" or "two-theta" where the user says what the first column is. Raises InputError for text without
    columns of numbers.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    stepped = _start_step_stop(name, lines)
    if stepped is not None:
        return [listed(1, stepped)]
    rows = _rows(name, text, lines)
    radiation = radiation_of_header(rows.header)
    x_column, axis = _abscissa(rows, wanted)
    named = axis is not None
    axis = axis or TWO_THETA
    x = rows.table[:, x_column]
    y_column, sigma = _ordinate(rows, x_column)
    if axis.quantity == "radius":
        x, axis = _angle_of_radius(name, x * axis.factor, rows.header), TWO_THETA
    factor_x, factor_y = _xydata_factors(lines)
    scan = Scan(
        factor_x * x,
        factor_y * rows.table[:, y_column],
        None if sigma is None else factor_y * sigma,
        radiation,
        axis,
        axis_named=named,
    )
    return [listed(i + 1, part) for i, part in enumerate(parted(scan))]


def _rows(name: str, text: str, lines: list[str]) -> _Rows:
    """The lines that look alike and hold numbers; columns of words (dates, times, flags) are left out."""
    dialect = _dialect(lines)
    parsed: list[list[float | None]] = []
    for line in lines:
        try:
            values: list[float | None] = [float(cell) for cell in line.split()] if "_" not in line else []
        except ValueError:
            values = []
        if not values or not line.isascii():
            values = [dialect.value(cell) if cell else None for cell in dialect.cells(line)]
        parsed.append(values)
    kinds = [tuple(v is not None for v in values) for values in parsed]
    seen = Counter(kind for kind in kinds if any(kind))
    if not seen:
        if sum(c.isprintable() or c.isspace() for c in text) < 0.9 * len(text):
            raise InputError(f"{name}: is binary data in no format known here; {EXPORT}")
        raise InputError(f"{name}: holds no columns of numbers; {EXPORT}")
    several = [kind for kind in seen if sum(kind) > 1]
    last = next(kind for kind in reversed(kinds) if any(kind))
    kind = max(several or seen, key=lambda k: (seen[k], all(k), k == last))
    if not several or seen[kind] < max(seen.values()) / 20:
        if max(seen, key=lambda k: seen[k]) != (True,):
            raise InputError(f"{name}: holds no columns of numbers; {EXPORT}")
        raise InputError(f"{name}: has one column; a pattern needs 2θ and intensity")
    if all(kind):  # fixed columns may run together
        for i, line in enumerate(lines):
            if kinds[i] != kind and "-" in line and (split := _run_together(line)) and len(split) == len(kind):
                parsed[i], kinds[i] = list(split), kind
    at = [i for i, k in enumerate(kinds) if k == kind]
    keep = [c for c, is_number in enumerate(kind) if is_number]
    table = np.array([[parsed[i][c] for c in keep] for i in at], dtype=float)
    rows = set(at)
    if len(table) > 1 and table[0, 0] in (len(table) - 1, len(lines) - 1):  # the count line of .chi and its kin
        table, at = table[1:], at[1:]
    above = [line for i, line in enumerate(lines[: at[0]]) if i not in rows]
    header = [line for i, line in enumerate(lines) if i not in rows]
    names = _column_names(above, dialect, len(kind), keep)
    return _Rows(table, names, above if above else header)


def _column_names(above: list[str], dialect: _Dialect, width: int, keep: list[int]) -> list[str]:
    """The names of the columns that are kept, [] where no line above has them."""
    for line in reversed(above[-5:]):
        body = line.strip().lstrip(_COMMENT).strip()
        if body[:2] in ("L ", "l "):  # SPEC's "#L 2theta  counts"
            body = body[2:]
        if len(body) > 40 * LONGEST_LABEL:
            continue
        marks = [mark for mark in ";\t|," if mark in body and (mark != "," or dialect.comma == "separator")]
        ways = [[c.strip(' "') for c in body.split(marks[0])]] if marks else []
        ways += [[c.strip() for c in body.replace("\t", "  ").split("  ") if c.strip()], _words(body)]
        for cells in ways:
            while cells and not cells[-1]:
                cells.pop()
            if len(cells) == width:
                labels = [cells[c] for c in keep]
            elif len(cells) == len(keep) or (len([c for c in cells if c]) == len(keep)):
                labels = [c for c in cells if c]
            else:
                continue
            if len(labels) == len(keep) and _names_columns(labels):
                return labels
    return []


def _words(body: str) -> list[str]:
    """The words of a line, a unit in brackets with the name before it: q (1/A) is one."""
    words: list[str] = []
    for word in body.split():
        if words and word[0] in "([" and len(words[-1]) < LONGEST_LABEL:
            words[-1] += word
        else:
            words.append(word)
    return words


def _names_columns(labels: list[str]) -> bool:
    """Is this a line of names, not prose of as many words?"""
    if any(number(label) is not None for label in labels):
        return False
    if any(axis_of(label) is not None for label in labels):
        return True
    told = sum(_is_intensity(c) or _is_sigma(c) or bool(_WEIGHT.match(_plain(c))) or _plain(c) == "x" for c in labels)
    return told > 1


_WANTED = {"two-theta": "2theta", "q": "q", "d": "d"}


def _abscissa(rows: _Rows, wanted: str) -> tuple[int, Axis | None]:
    """(column, what it holds or None if nothing says so): the axis asked for, else 2θ wherever it is named, else the
    first of the others, else the first column that can be one."""
    axes = [axis_of(label) for label in rows.names]
    if wanted in _WANTED:
        for column, axis in enumerate(axes):
            if axis is not None and axis.quantity == _WANTED[wanted]:
                return column, axis
        spoken = _axis_of_header(rows.header) if not rows.names else None
        if spoken is not None and spoken.quantity == _WANTED[wanted]:
            return _unnamed(rows), spoken
        first = next((i for i, label in enumerate(rows.names) if _plain(label) == "x"), None)
        return (_unnamed(rows) if first is None else first), Axis(_WANTED[wanted])
    plain = [_plain(label) for label in rows.names]
    if "x" in plain and axes[plain.index("x")] is None:  # GSAS-II: x is 2θ, Q a further column
        return plain.index("x"), TWO_THETA if len(plain) > 2 else None
    for kinds in (("2theta",), ("q", "d", "radius"), {axis.quantity for axis in axes if axis is not None}):
        for column, axis in enumerate(axes):
            if axis is not None and axis.quantity in kinds:
                return column, axis
    if rows.names:
        return _unnamed(rows), None
    return _unnamed(rows), _axis_of_header(rows.header)


def _axis_of_header(header: list[str]) -> Axis | None:
    """From a label on a line of its own (.chi), or "X-axis unit: q (1/A)"."""
    for line in header[-5:]:
        label = line.strip().lstrip(_COMMENT).strip()
        head, colon, tail = label.replace("=", ":").partition(":")
        if colon and len(head) < LONGEST_LABEL and head.lower().startswith(("x", "the x", "axis", "abscissa", "unit")):
            label = tail.strip()
        axis = axis_of(label)
        if axis is not None:
            return axis
    return None


def _unnamed(rows: _Rows) -> int:
    """The first column that runs in one direction within 180 and is no row number, clock or date."""
    table = rows.table
    if table.shape[1] < 3 or len(table) < 3:
        return 0
    for column in range(table.shape[1] - 1):
        values = table[:, column]
        finite = values[np.isfinite(values)]
        if _is_counter(values) or (len(finite) and finite.min() > 360):
            continue
        if len(finite) and np.ptp(finite) == 0:
            continue
        return column
    return 0


def _ordinate(rows: _Rows, x_column: int) -> tuple[int, np.ndarray | None]:
    """(column of the intensity, its esds (n,) or None)."""
    width = rows.table.shape[1]
    rest = [*range(x_column + 1, width), *range(x_column)]
    names = rows.names
    y_column = next((c for c in rest if names and _is_intensity(names[c])), None)
    if y_column is None:
        told = [c for c in rest if names and (axis_of(names[c]) or _is_sigma(names[c]) or _is_other(names[c]))]
        y_column = next((c for c in rest if c not in told), rest[0])
    if not names:
        column = rows.table[:, y_column + 1] if y_column + 1 < width else None
        if column is not None and _is_esd(rows.table[:, y_column], column):
            return y_column, column
        return y_column, None
    for column in rest:
        if column != y_column and _is_sigma(names[column]):
            return y_column, rows.table[:, column]
        if column != y_column and _WEIGHT.match(_plain(names[column])):
            weight = rows.table[:, column]
            with np.errstate(divide="ignore", invalid="ignore"):
                return y_column, np.where(weight > 0, 1 / np.sqrt(weight), np.nan)
    return y_column, None


def _is_other(label: str) -> bool:
    """Is it a clock, a monitor, a calculated curve: anything but what was measured?"""
    plain = _plain(label)
    words = (*_CALCULATED, "epoch", "sec", "date", "temp", "i0", "index", "point", "weight", "live", "dead", "current")
    return plain in ("n", "no", "nr", "t", "h", "k", "l") or any(word in plain for word in words)


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


def _angle_of_radius(name: str, radius: np.ndarray, header: Sequence[str]) -> np.ndarray:
    """2θ in degrees of distances in mm from the beam centre, as pyFAI writes them: r = distance · tan 2θ.

    The distance is that along the beam (Fit2D's), for a tilted detector the orthogonal one over the cosines of its
    rotations. Raises InputError where the header says none.
    """
    direct, orthogonal, rotations = None, None, [0.0, 0.0]
    for line in header:
        low = line.lower()
        if len(low) > 200 or not ("distance" in low or "rotations" in low):
            continue
        words = low.replace("=", ":").partition(":")[2].replace(",", " ").split()
        values = [v for v in map(number, words) if v is not None]
        if "rotations" in low:
            rotations = values[:2] if len(values) >= 2 else rotations
        elif values and "beamcent" in low.replace(" ", "").replace("-", ""):
            direct = values[0] * (1 if "mm" in words else 1000)
        elif values:
            orthogonal = values[0] * (1 if "mm" in words else 1000)
    if direct is None and orthogonal is not None:
        direct = orthogonal / (np.cos(rotations[0]) * np.cos(rotations[1]))
    if not direct:
        raise InputError(
            f"{name}: its first column is a radius on the detector, and no sample-detector distance stands in the"
            " header; integrate again with 2θ as the radial unit (pyFAI: unit='2th_deg')"
        )
    return np.asarray(np.degrees(np.arctan2(radius, direct)))


def _xydata_factors(lines: list[str]) -> tuple[float, float]:
    """(of x, of y and its esd): what FullProf's XYDATA heading says to multiply by."""
    if lines and lines[0].lstrip("\ufeff ").upper().startswith("XYDATA"):
        for line in lines[1:6]:
            if line.strip().upper().startswith("INTER"):
                factors = [v for v in map(number, line.split()[1:3]) if v]
                if len(factors) == 2:
                    return factors[0], factors[1]
    return 1.0, 1.0


# --- counts under "start step stop" ------------------------------------------------------------------------------


def _start_step_stop(name: str, lines: list[str]) -> Scan | None:
    """Intensities in rows under their range: "start step stop" (FullProf INSTRM=0, DBWS, LHPM, RIET7), "start stop
    step", "start step count" or "count start step", on one line or on three, which titles may stand above and behind.
    """
    for k, line in enumerate(lines[:HEADER_LINES]):
        head, first = _leading(line), k + 1
        if len(head) == 1:
            three = [_leading(one) for one in lines[k : k + 3]]
            head, first = [v for one in three for v in one], k + 3
        if len(head) >= 3 and np.all(np.isfinite(head)):
            found = _block(name, lines[first:], head)
            if found is not None:
                return replace(found, radiation=radiation_of_header(lines[:first]))
    return None


def _leading(line: str) -> list[float]:
    """The numbers that a line begins with, at most 7."""
    values = []
    for cell in line.replace(",", " ").split(maxsplit=7)[:7]:
        value = number(cell)
        if value is None:
            break
        values.append(value)
    return values


def _ranges(head: Sequence[float]) -> list[tuple[float, float, int]]:
    """(start, step, count) of every reading of three neighbouring numbers that is a range of 2θ."""
    found = []
    for a, b, c in zip(head, head[1:], head[2:], strict=False):
        for low, step, high in ((a, b, c), (a, c, b), (a, b, a + (c - 1) * b), (b, c, b + (a - 1) * c)):
            if 0 < step and -180 < low < high <= 180 and (high - low) / step > MIN_POINTS - 2:
                found.append((low, step, round((high - low) / step) + 1))
    return found


def _block(name: str, lines: list[str], head: list[float]) -> Scan | None:
    ranges, refused = _ranges(head), ""
    if not ranges:
        return None
    for parse in (numbers, _run_together, lambda line: _fixed(line, 8)):
        values: list[float] = []
        widths: Counter[int] = Counter()
        for line in lines:
            row = parse(line)
            if row is None:
                break
            widths[len(row)] += 1
            values += row
        width = max(widths, key=lambda w: widths[w], default=1)
        for low, step, count in ranges:
            # The last row may be filled up with zeros; the stop may be meant without its point.
            if count - 1 <= len(values) <= count + max(width - 1, 1):
                intensity = np.array(values[:count])
                return Scan(low + step * np.arange(len(intensity)), intensity)
        if not refused and len(head) == 3 and width >= 5 and widths[width] > 0.8 * sum(widths.values()):
            low, step, count = ranges[0]
            said = f"{low:g} to {low + step * (count - 1):g} in steps of {step:g}, which are {count} points, and"
            refused = f"{name}: its header says {said} {len(values)} follow; {EXPORT}"
    if refused:
        raise InputError(refused)
    return None

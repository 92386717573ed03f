"""Lists of lines: the d values or 2θ of a pattern whose profile is not at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crystalnet.bragg import at_other_wavelength, d_of_two_theta
from crystalnet.records import InputError, Peaks, Radiation
from crystalnet.xrd.abscissa import two_theta_of
from crystalnet.xrd.formats import FORMATS
from crystalnet.xrd.formats.vendor import TEXT_TABLES, known_format
from crystalnet.xrd.header.sources import radiation_of_header
from crystalnet.xrd.radiation import parse_wavelength
from crystalnet.xrd.reader import AXES, file_bytes, text_of
from crystalnet.xrd.scans import MIN_POINTS, Axis
from crystalnet.xrd.text_table.columns import abscissa, ordinate
from crystalnet.xrd.text_table.dialect import dialect_of
from crystalnet.xrd.text_table.labels import axis_of
from crystalnet.xrd.text_table.rows import COMMENT, rows_of
from crystalnet.xrd.text_table.start_step_stop import start_step_stop

FEWEST_LINES = 3  # a metal's on a short range
MOST_LINES = 2000  # a longer table of numbers is a profile
JUMPY = 0.2  # |log| of the ratio of neighbouring steps, which one in ten exceeds: those of a profile are alike
ROUNDED = 4  # units of the last decimal: smaller steps are uneven by rounding
LEAST_ANGLE = 12.0  # an unnamed ascending column that ends below is no list of 2θ in degrees
ESD = 0.015  # degrees 2θ: what positions in published lists are good to, beside their rounding
RESOLVED = 0.02  # degrees: lines closer than this are one line
FIRST_ANGLE = 5.0  # degrees at Cu Kα: where a list begins that does not say so
LARGEST_SINE = 0.9  # of θ, to which the smallest d of a list without wavelength is brought
CU_KALPHA1, D_IN_REACH = "CuKa1", 0.86  # Å: smallest d that Cu Kα1 brings there


def read_line_list(path: str | Path, radiation: Radiation | None = None, axis: str = "auto") -> Peaks | None:
    """The lines that a text file lists; None for a file that holds something else, such as a profile.

    Parameters
    ----------
    path : str or Path
        One column (d, 2θ or q) or several, an intensity among them.
    radiation : Radiation, optional
        Overrides the file's; without either Cu Kα1, which for d and q is a choice of scale.
    axis : {"auto", "two-theta", "q", "d"}
        What the first column is. A column without a name that descends is d, one that ascends 2θ.

    Raises
    ------
    InputError
        For a list that may be either, and for fewer than three lines.
    """
    path = Path(path)
    if axis not in AXES:
        raise InputError(f"--axis {axis!r}: choose one of {', '.join(AXES)}")
    text = text_of(file_bytes(path))
    if text is None:
        return None
    lines = [line for line in text.splitlines() if line.strip()]
    known = known_format(path)
    if (known is not None and known not in TEXT_TABLES) or any(form.recognises(lines) for form in FORMATS):
        return None
    if start_step_stop(path.name, lines) is not None:
        return None
    table = _single_column(lines, axis) or _columns(path.name, text, lines, axis)
    if table is None:
        return None
    x, area, named, header = table
    unit = _last_decimal(lines, x)
    if not _is_list(x, unit):
        return None
    if len(x) < FEWEST_LINES:
        raise InputError(f"{path.name}: lists {len(x)} line{'s'[: len(x) != 1]}; a cell needs at least {FEWEST_LINES}")
    found = named or _unnamed_axis(path.name, x)
    beam = radiation or radiation_of_header(header) or _usual(x * found.factor, found)
    two_theta = two_theta_of(path.name, x, found, beam.wavelength)
    shifted = two_theta_of(path.name, x + unit / 2, found, beam.wavelength)  # by rounding
    use = np.isfinite(two_theta) & np.isfinite(shifted) & (two_theta > 0) & (area > 0)
    if use.sum() < FEWEST_LINES:
        raise InputError(
            f"{path.name}: {use.sum()} of {len(x)} lines have an intensity and are in reach of {beam.wavelength:g} Å;"
            " check --axis and --wavelength"
        )
    return _peaks(two_theta[use], area[use], np.hypot(ESD, np.abs(shifted - two_theta)[use]), beam)


def _last_decimal(lines: list[str], x: np.ndarray) -> float:
    """Unit of the last decimal with which the numbers x are written."""
    dialect = dialect_of(lines)
    mark = "," if dialect.comma == "decimal" else "."
    listed = set(x.tolist())
    written = [cell for line in lines for cell in dialect.cells(line) if dialect.value(cell) in listed]
    return float(10.0 ** -max((len(cell.partition(mark)[2]) for cell in written), default=0))


def _single_column(lines: list[str], axis: str) -> tuple[np.ndarray, np.ndarray, Axis | None, list[str]] | None:
    """A column of numbers and nothing else, with what is written above it."""
    dialect = dialect_of(lines)
    cells = [dialect.cells(line) for line in lines]
    parsed = [[dialect.value(cell) for cell in row] for row in cells]
    rows = [values for values in parsed if values and None not in values]
    if not rows or any(len(values) != 1 for values in rows):
        return None
    header = [line for line, values in zip(lines, parsed, strict=True) if None in values]
    names = [named for line in header if (named := axis_of(line.strip().lstrip(COMMENT).strip())) is not None]
    wanted = {"two-theta": Axis("2theta"), "d": Axis("d"), "q": Axis("q")}.get(axis)
    x = np.array([values[0] for values in rows], dtype=float)
    return x, np.ones(len(x)), wanted or (names[0] if names else None), header


def _columns(
    name: str, text: str, lines: list[str], axis: str
) -> tuple[np.ndarray, np.ndarray, Axis | None, list[str]] | None:
    try:
        rows = rows_of(name, text, lines)
        column, found = abscissa(rows, axis)
        intensity, _ = ordinate(rows, column)
    except InputError:
        return None  # `read_pattern` says what is wrong with it
    return rows.table[:, column], rows.table[:, intensity], found, rows.header


def _is_list(x: np.ndarray, unit: float) -> bool:
    """Too few for a profile, or steps without order. unit: of the last decimal."""
    if len(x) < MIN_POINTS or len(x) > MOST_LINES:
        return len(x) < MIN_POINTS
    step = np.abs(np.diff(x))
    step = step[step > 0]
    if len(step) < 3 or np.median(step) < ROUNDED * unit:
        return False
    return float(np.quantile(np.abs(np.diff(np.log(step))), 0.9)) > JUMPY


def _unnamed_axis(name: str, x: np.ndarray) -> Axis:
    if x[0] > x[-1]:
        return Axis("d")
    if x.max() < LEAST_ANGLE:
        raise InputError(f"{name}: lists numbers up to {x.max():g}; say with --axis whether they are two-theta, d or q")
    return Axis("2theta")


def _usual(x: np.ndarray, axis: Axis) -> Radiation:
    """Cu Kα1, or for d and q that it does not reach a wavelength that does."""
    copper = parse_wavelength(CU_KALPHA1)
    smallest = {"d": x.min(), "q": 2 * np.pi / x.max()}.get(axis.quantity, np.inf)
    if smallest >= D_IN_REACH:
        return copper
    return Radiation(((float(2 * smallest * LARGEST_SINE), 1.0),))


def _peaks(two_theta: np.ndarray, area: np.ndarray, esd: np.ndarray, radiation: Radiation) -> Peaks:
    """Ascending, lines that no diffractometer would resolve as one."""
    order = np.argsort(two_theta)
    two_theta, area, esd = two_theta[order], area[order], esd[order]
    group = np.concatenate([[0], np.cumsum(np.diff(two_theta) > RESOLVED)])
    total = np.bincount(group, area)
    position = np.bincount(group, area * two_theta) / total
    width = np.bincount(group, area * esd) / total
    precision = 0.25
    first = at_other_wavelength(FIRST_ANGLE, radiation.wavelength / parse_wavelength(CU_KALPHA1).wavelength)
    return Peaks(
        two_theta=position,
        d_spacing=d_of_two_theta(position, radiation.wavelength),
        area=total,
        fwhm=width / precision,
        background=np.zeros(0),
        two_theta_min=min(float(first), float(position[0]) - 0.1),
        two_theta_max=float(position[-1]) + 0.1,
        radiation=radiation,
        noise=0.0,
        precision=precision,
    )

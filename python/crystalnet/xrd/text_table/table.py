"""Columns of numbers in whatever dialect: `.xy .xye .dat .csv .txt .chi` and the exports of many programs.

Parsed here, because the libraries silently misread some (a q or d axis, an index column, a fit column taken as an
esd) and decline others (semicolons, decimal commas, Fortran exponents, dates beside the numbers). Every line is split
and each cell given to `float`, so the time is linear in the file whatever stands in it.
"""

from __future__ import annotations

from crystalnet.xrd.header.sources import radiation_of_header
from crystalnet.xrd.scans import TWO_THETA, Listed, Scan, listed, parted
from crystalnet.xrd.text_table.columns import abscissa, angle_of_radius, ordinate
from crystalnet.xrd.text_table.numbers import number
from crystalnet.xrd.text_table.rows import rows_of
from crystalnet.xrd.text_table.start_step_stop import start_step_stop


def read_table(name: str, text: str, wanted: str = "auto") -> list[Listed]:
    """The scans in columns of text.

    Parameters
    ----------
    name : str
        Of the file, for messages.
    text : str
        The whole file.
    wanted : {"auto", "two-theta", "q", "d"}
        What the user says that the first column is.

    Raises
    ------
    InputError
        For text without columns of numbers.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    stepped = start_step_stop(name, lines)
    if stepped is not None:
        return [listed(1, stepped)]
    rows = rows_of(name, text, lines)
    radiation = radiation_of_header(rows.header)
    x_column, axis = abscissa(rows, wanted)
    named = axis is not None
    axis = axis or TWO_THETA
    x = rows.table[:, x_column]
    y_column, sigma = ordinate(rows, x_column)
    if axis.quantity == "radius":
        x, axis = angle_of_radius(name, x * axis.factor, rows.header), TWO_THETA
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


def _xydata_factors(lines: list[str]) -> tuple[float, float]:
    """(of x, of y and its esd): what FullProf's XYDATA heading says to multiply by."""
    if lines and lines[0].lstrip("\ufeff ").upper().startswith("XYDATA"):
        for line in lines[1:6]:
            if line.strip().upper().startswith("INTER"):
                factors = [v for v in map(number, line.split()[1:3]) if v]
                if len(factors) == 2:
                    return factors[0], factors[1]
    return 1.0, 1.0

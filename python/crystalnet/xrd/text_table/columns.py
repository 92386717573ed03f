"""Which column is the abscissa, which the intensity, which its esd."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crystalnet.records import InputError
from crystalnet.xrd.scans import MIN_POINTS, TWO_THETA, Axis
from crystalnet.xrd.text_table.labels import (
    LONGEST_LABEL,
    axis_of,
    is_intensity,
    is_other,
    is_sigma,
    is_weight,
    plain_label,
)
from crystalnet.xrd.text_table.numbers import number
from crystalnet.xrd.text_table.rows import COMMENT, Rows

_WANTED = {"two-theta": "2theta", "q": "q", "d": "d"}


def abscissa(rows: Rows, wanted: str) -> tuple[int, Axis | None]:
    """The column of the abscissa.

    It is the axis asked for, else 2θ wherever it is named, else the first of the others, else the first column that
    can be one.

    Parameters
    ----------
    rows : Rows
    wanted : {"auto", "two-theta", "q", "d"}

    Returns
    -------
    column : int
    axis : Axis or None
        None where nothing says what the column holds.
    """
    axes = [axis_of(label) for label in rows.names]
    if wanted in _WANTED:
        for column, axis in enumerate(axes):
            if axis is not None and axis.quantity == _WANTED[wanted]:
                return column, axis
        in_header = _axis_of_header(rows.header) if not rows.names else None
        if in_header is not None and in_header.quantity == _WANTED[wanted]:
            return _unnamed(rows), in_header
        first = next((i for i, label in enumerate(rows.names) if plain_label(label) == "x"), None)
        return (_unnamed(rows) if first is None else first), Axis(_WANTED[wanted])
    plain = [plain_label(label) for label in rows.names]
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
        label = line.strip().lstrip(COMMENT).strip()
        head, colon, tail = label.replace("=", ":").partition(":")
        if colon and len(head) < LONGEST_LABEL and head.lower().startswith(("x", "the x", "axis", "abscissa", "unit")):
            label = tail.strip()
        axis = axis_of(label)
        if axis is not None:
            return axis
    return None


def _unnamed(rows: Rows) -> int:
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


def ordinate(rows: Rows, x_column: int) -> tuple[int, np.ndarray | None]:
    """The column of the intensity, and its esds.

    Parameters
    ----------
    rows : Rows
    x_column : int
        The abscissa's.

    Returns
    -------
    column : int
    sigma : ndarray, shape (n,), or None
    """
    width = rows.table.shape[1]
    rest = [*range(x_column + 1, width), *range(x_column)]
    names = rows.names
    y_column = next((c for c in rest if names and is_intensity(names[c])), None)
    if y_column is None:
        named_otherwise = [c for c in rest if names and (axis_of(names[c]) or is_sigma(names[c]) or is_other(names[c]))]
        y_column = next((c for c in rest if c not in named_otherwise), rest[0])
    if not names:
        column = rows.table[:, y_column + 1] if y_column + 1 < width else None
        if column is not None and _is_esd(rows.table[:, y_column], column):
            return y_column, column
        return y_column, None
    for column in rest:
        if column != y_column and is_sigma(names[column]):
            return y_column, rows.table[:, column]
        if column != y_column and is_weight(names[column]):
            weight = rows.table[:, column]
            with np.errstate(divide="ignore", invalid="ignore"):
                return y_column, np.where(weight > 0, 1 / np.sqrt(weight), np.nan)
    return y_column, None


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


def angle_of_radius(name: str, radius: np.ndarray, header: Sequence[str]) -> np.ndarray:
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

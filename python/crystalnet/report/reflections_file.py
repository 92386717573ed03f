"""The table of reflections of a candidate: candidate-K.hkl.csv, and the rows that the page shows."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from crystalnet.records import Candidate, Lines
from crystalnet.report.esds import same_axes

COLUMNS = ("h", "k", "l", "multiplicity", "d_angstrom", "two_theta", "I_obs", "I_calc", "F_squared_calc")


def reflections(candidate: Candidate) -> Lines | None:
    """The reflections in the axes of the reported cell, the strongest calculated intensity 100; None without any."""
    lines = candidate.fit.lines
    if lines is None or not len(lines) or not same_axes(candidate):
        return None
    scale = 100 / max(float(lines.calculated.max()), np.finfo(float).tiny)
    return Lines(
        lines.hkl,
        lines.multiplicity,
        lines.d_spacing,
        lines.two_theta,
        lines.f_squared,
        lines.calculated * scale,
        lines.observed * scale,
    )


def rows(lines: Lines) -> list[tuple[str, ...]]:
    """A row of text for each reflection, in the order of COLUMNS; an intensity that cannot be told is empty."""
    columns = (lines.hkl, lines.multiplicity, lines.d_spacing, lines.two_theta, lines.observed, lines.calculated)
    listed = [column.tolist() for column in (*columns, lines.f_squared)]
    return [
        (*map(str, hkl), str(m), f"{d:.5f}", f"{t:.4f}", f"{o:.3f}" if np.isfinite(o) else "", f"{c:.3f}", f"{f:.2f}")
        for hkl, m, d, t, o, c, f in zip(*listed, strict=True)
    ]


def write_reflections(lines: Lines, path: Path) -> None:
    """Write the table as CSV.

    Parameters
    ----------
    lines
        As `reflections` gives them.
    path
        The file, written over.
    """
    with path.open("w", newline="", encoding="ascii") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows(lines))

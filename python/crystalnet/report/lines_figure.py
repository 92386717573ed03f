"""A picture of indexed lines: the pattern or the list of lines, and where the lines of the best cells lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from crystalnet.records import Pattern, Peaks
from crystalnet.report.view import ACCENT, DIFFERENCE, INK, MUTED, TICKS
from crystalnet.runtime.whole_file import PICTURE
from crystalnet.xrd.indexing.assignment import Assignment
from crystalnet.xrd.indexing.lattices import LATTICES, line_positions, row_of
from crystalnet.xrd.indexing.lines import Lines

SHOWN = 4  # cells


def draw_lines(
    name: str, pattern: Pattern | None, peaks: Peaks, every: Lines, cells: Sequence[Assignment], path: Path
) -> None:
    """Write a PNG file.

    Parameters
    ----------
    name : str
        Of the file, for the title.
    pattern : Pattern, optional
        The profile, where there is one.
    peaks : Peaks
    every : Lines
        Those that were indexed.
    cells : sequence of Assignment
        Best first; lines that the first does not explain are drawn in another colour.
    path : Path
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2 + 0.25 * min(len(cells), SHOWN)), dpi=130, facecolor="white", layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 0.4 + 0.6 * max(1, min(len(cells), SHOWN))))
    if pattern is not None:
        above.plot(pattern.two_theta, pattern.intensity, lw=0.6, color=INK)
        top = float(np.nanmax(pattern.intensity))
        above.plot(peaks.two_theta, np.interp(peaks.two_theta, pattern.two_theta, pattern.intensity) + 0.02 * top,
                   "v", ms=3, color=MUTED, label="lines found")  # fmt: skip
    else:
        above.vlines(peaks.two_theta, 0, 100 * peaks.area / peaks.area.max(), lw=1.0, color=INK, label="lines listed")
    if cells:
        left = every.two_theta[~cells[0].hkl.any(axis=1)]
        for x in left:
            above.axvline(x, lw=0.8, ls=":", color=DIFFERENCE)
        if len(left):
            above.plot([], [], ls=":", color=DIFFERENCE, label="not explained by cell 1")
    above.set_ylabel("intensity")
    above.legend(frameon=False, fontsize=8)
    above.set_title(name, loc="left", fontsize=10, color=INK)
    below.set_yticks([])
    for place, one in enumerate(cells[:SHOWN]):
        cell = one.cell
        positions = line_positions(cell, peaks)
        below.vlines(positions, -place - 0.38, -place + 0.22, lw=0.8, color=ACCENT if place == 0 else TICKS)
        row = LATTICES[row_of(cell.system, cell.centring)]
        text = f"{place + 1}  {row.lattice_system} {row.centring}  " + "  ".join(
            f"{parameter} {getattr(cell, parameter):.{3 if parameter in 'abc' else 2}f}" for parameter in cell.free
        )
        below.text(1.0, -place + 0.25, text, transform=below.get_yaxis_transform(), ha="right", va="bottom", fontsize=7)
    below.set_ylim(-max(1, min(len(cells), SHOWN)) + 0.5, 0.65)
    below.set_xlabel("2θ (°)")
    figure.savefig(path, format="png", metadata=PICTURE)

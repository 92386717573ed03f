"""`crystalnet index`: the cells that explain the lines of a pattern, or of a list of lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from crystalnet.crystal.formula import parse_elements
from crystalnet.crystal.setting_symbol import setting_symbol
from crystalnet.crystal.systems import SYSTEMS
from crystalnet.records import InputError, Pattern, Peaks
from crystalnet.runtime.log import log
from crystalnet.runtime.pool import own_threads
from crystalnet.runtime.settings import settings
from crystalnet.runtime.whole_file import is_our_picture, refuse_foreign, replacing
from crystalnet.solving.extinction import ExtinctionClass, extinction_classes
from crystalnet.xrd.excerpt import parse_range, within
from crystalnet.xrd.indexing.assignment import Assignment, assigned
from crystalnet.xrd.indexing.index import Indexed, indexed
from crystalnet.xrd.indexing.lattices import LATTICES
from crystalnet.xrd.indexing.lines import Lines
from crystalnet.xrd.line_list import read_line_list
from crystalnet.xrd.peaks import find_peaks
from crystalnet.xrd.radiation import parse_wavelength
from crystalnet.xrd.reader import read_pattern

CLASSES, UNLIKELY = 4, 0.01  # extinction classes listed, and the probability of those that are not
CERTAIN = 0.99  # no such probability is known better
NO_CELL = 1  # the exit code where none explains the lines
PARAMETERS = ("a", "b", "c", "alpha", "beta", "gamma")


@dataclass(frozen=True)
class Answer:
    """The lines of a file (those that took part in indexing, and every one) and the lattices that explain them, best
    first, each with the lines indexed.
    """

    file: Path
    pattern: Pattern | None
    peaks: Peaks
    lines: Lines
    every: Lines
    lattices: list[Indexed]
    assignments: list[Assignment]

    @cached_property
    def classes(self) -> list[ExtinctionClass]:
        """The space groups that the first lattice's absent lines speak for."""
        return extinction_classes(self.assignments[0].cell, self.peaks) if self.assignments else []


def index_file(
    path: Path,
    *,
    wavelength: str | None,
    elements: str | None,
    system: str,
    axis: str,
    scan: int | None,
    limit: int,
    two_theta_range: str | None = None,
) -> Answer:
    """Index the pattern or the list of lines in a file.

    Raises
    ------
    InputError
        For a file or options that cannot be used.
    """
    if system != "auto" and system not in SYSTEMS:
        raise InputError(f"--system {system!r}: choose auto or one of {', '.join(SYSTEMS)}")
    symbols = parse_elements(elements) if elements else None
    given = parse_wavelength(wavelength) if wavelength else None
    usual = parse_wavelength(own) if (own := settings().wavelength) else None
    pattern = None
    peaks = read_line_list(path, given, axis)
    if peaks is None:
        low, high = parse_range(two_theta_range) if two_theta_range else (None, None)
        pattern = within(read_pattern(path, given, scan=scan, axis=axis, otherwise=usual), low, high)
        peaks = find_peaks(pattern)
    return index_lines(path, pattern, peaks, symbols, system, limit)


def index_lines(
    path: Path, pattern: Pattern | None, peaks: Peaks, symbols: Sequence[str] | None, system: str, limit: int
) -> Answer:
    """Index lines that are known, of a file; system: "auto" or one of the seven."""
    systems = SYSTEMS if system == "auto" else (system,)
    lattices = indexed(peaks, systems, limit, symbols, own_threads())
    lines = Lines.of(peaks)
    every = Lines.of(peaks, len(peaks), faint=True)
    assignments = [assigned(lines, one, every) for one in lattices]
    return Answer(path, pattern, peaks, lines, every, lattices, assignments)


def printed(answer: Answer, as_json: bool, figure: Path | None) -> int:
    """Print the answer, draw it where asked, and return the exit code."""
    if answer.pattern is not None and answer.pattern.radiation.assumed:
        log.warning("the wavelength is not in the file; Cu Kα was assumed (--wavelength)")
    for remark in answer.pattern.remarks if answer.pattern else ():
        log.warning(remark)
    if figure is not None:
        from crystalnet.report.lines_figure import draw_lines

        refuse_foreign(figure, is_our_picture, reads=answer.file)
        with replacing(figure) as partial:
            draw_lines(answer.file.name, answer.pattern, answer.peaks, answer.every, answer.assignments, partial)
    print(json.dumps(document(answer), indent=1) if as_json else "\n".join(table(answer)))
    if not answer.lattices:
        log.error(
            f"{answer.file.name}: no cell explains the {len(answer.lines)} lines: a mixture, or too few or too broad"
            " lines; leave foreign ones out of a list of lines, or measure a longer range"
        )
        return NO_CELL
    return 0


def document(answer: Answer) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "file": str(answer.file),
        "wavelength_angstrom": answer.peaks.radiation.wavelength,
        "wavelength_assumed": answer.pattern is not None and answer.pattern.radiation.assumed,
        "cells": [
            _cell_entry(rank, one, lines)
            for rank, (one, lines) in enumerate(zip(answer.lattices, answer.assignments, strict=True), 1)
        ],
        "space_groups": _space_groups(answer),
        "lines": [
            {"two_theta": float(x), "d": float(d), "area": float(area), "hkl": hkl} for x, d, area, hkl in _rows(answer)
        ],
    }


def _cell_entry(rank: int, one: Indexed, lines: Assignment) -> dict[str, Any]:
    cell, row = lines.cell, LATTICES[int(one.state["lattice"])]
    return {
        "rank": rank,
        "system": row.lattice_system,
        "centring": row.centring,
        "lattice": {name: float(getattr(cell, name)) for name in PARAMETERS},
        "lattice_esd": lines.esd,
        "volume": float(abs(np.linalg.det(cell.conventional_lattice))),
        "m20": lines.m20,
        "f_n": lines.f_n,
        "score": one.score,
        "zero_shift": cell.zero_shift,
        "n_indexed": cell.n_indexed,
        "n_lines": cell.n_lines,
        "metric_also": [
            f"{LATTICES[int(other.state['lattice'])].lattice_system} {LATTICES[int(other.state['lattice'])].centring}"
            for other in one.others
        ],
    }


def _space_groups(answer: Answer) -> list[dict[str, Any]]:
    """The extinction classes of the first cell worth a word, the likeliest first."""
    return [
        {
            "symbols": [setting_symbol(group, answer.assignments[0].cell.centring) for group in one.groups],
            "numbers": [group.number for group in one.groups],
            "probability": one.probability,
        }
        for one in answer.classes[:CLASSES]
        if one.probability >= UNLIKELY
    ]


def _rows(answer: Answer) -> list[tuple[float, float, float, list[int] | None]]:
    """2θ, d, area and indices by the first cell of every line, those too faint to be lines included."""
    indices: dict[float, list[int]] = {}
    if answer.assignments:
        for x, hkl in zip(answer.every.two_theta, answer.assignments[0].hkl, strict=True):
            if hkl.any():
                indices[float(x)] = [int(i) for i in hkl]
    peaks = answer.peaks
    return [
        (float(x), float(s), float(y), indices.get(float(x)))
        for x, s, y in zip(peaks.two_theta, peaks.d_spacing, peaks.area, strict=True)
    ]


def table(answer: Answer) -> list[str]:
    """The cells and the lines of the first as text."""
    rows = [
        f"{answer.file.name}: {len(answer.peaks)} lines, {len(answer.lines)} of them indexed with"
        f" λ = {answer.peaks.radiation.wavelength:.6g} Å"
    ]
    if answer.lattices:
        rows.append(
            "   lattice          a/Å      b/Å      c/Å      α/°     β/°     γ/°"
            "     V/Å³   M20   F_N score  lines  zero/°"
        )
    for rank, (one, lines) in enumerate(zip(answer.lattices, answer.assignments, strict=True), 1):
        entry = _cell_entry(rank, one, lines)
        cell = lines.cell
        rows.append(
            f"{rank:2d} {entry['system'] + ' ' + entry['centring']:14s}{cell.a:9.4f}{cell.b:9.4f}{cell.c:9.4f}"
            f"{cell.alpha:8.2f}{cell.beta:8.2f}{cell.gamma:8.2f}{entry['volume']:9.2f}{lines.m20:6.0f}{lines.f_n:6.0f}"
            f"{one.score:6.0f}{cell.n_indexed:4d}/{cell.n_lines:<3d}{cell.zero_shift:7.3f}"
        )
    for number, listed in enumerate(_space_groups(answer)):
        head = "space groups of cell 1 by systematic absences:" if number == 0 else ""
        share = min(listed["probability"], CERTAIN)
        rows.append(f"{head:46s} {'>' * (share == CERTAIN):1s}{share:3.0%}  {', '.join(listed['symbols'])}")
    rows.append("       2θ/°        d/Å       area     h   k   l   Δ2θ/°")
    strongest = answer.peaks.area.max()
    difference = {}
    if answer.assignments:
        difference = dict(zip(answer.every.two_theta.tolist(), answer.assignments[0].difference, strict=True))
    for x, d, area, hkl in _rows(answer):
        indices = "".join(f"{i:4d}" for i in hkl) + f"{difference[x]:9.3f}" if hkl else "   –"
        rows.append(f"{x:11.4f}{d:11.5f}{100 * area / strongest:10.2f}  {indices}")
    return rows

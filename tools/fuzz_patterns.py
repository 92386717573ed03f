"""What `solve` and `density` do with damaged files: an answer or one clear line, in bounded time and memory.

    python tools/fuzz_patterns.py DATA_DIR COUNT OUT.jsonl [--until indexing] [--processes 2] [--seed 0]

File number k is one of the measured patterns (DATA_DIR/index.json) damaged by rule k of `RULES`, some by a second one,
all from the seed: its scan, the bytes of its file, the header or the table of a format that it is written in, and the
CIF of its structure, which goes through `density`. Each is solved in this process with the elements of the sample,
random ones or none, and a line is noted: what came out, seconds, peak memory. It can be interrupted and called again;
`--processes 2` divides the files between two processes (`--share 0/2` is one of them). Ends with a summary; exit code 1
where anything but InputError escaped, a file took more than SECONDS, or memory went above MEGABYTES.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

SECONDS, MEGABYTES = 60.0, 2048.0
GIVE_UP = 120  # seconds after which a file is stopped
STAGES = ("reading", "peaks", "indexing", "solving", "report")
SECOND_RULE = 0.25  # share of the files that another rule of the text damages too
EFFORT = 5.0  # seconds of search: it keeps its time whatever a file holds, and thousands are to be tried
ELEMENTS = 0.7, 0.15  # share of files solved with the sample's elements, and with random ones

Scan = tuple[np.ndarray, np.ndarray]
Rng = np.random.Generator


# --- damage to the scan: (2θ, intensity, scan of another sample, random numbers) → (2θ, intensity)


def not_numbers(x: np.ndarray, y: np.ndarray, other: Scan, rng: Rng) -> Scan:
    at = rng.choice(len(y), max(3, len(y) // int(rng.choice([3, 30, 300]))), replace=False)
    y = y.copy()
    y[at] = rng.choice([np.nan, np.inf, -np.inf, -1e9, -y.max()], len(at))
    return x, y


def nan_angles(x: np.ndarray, y: np.ndarray, other: Scan, rng: Rng) -> Scan:
    x = x.copy()
    x[rng.choice(len(x), len(x) // 50)] = rng.choice([np.nan, np.inf, -1.0, 0.0])
    return x, y


def repeated_angles(x: np.ndarray, y: np.ndarray, other: Scan, rng: Rng) -> Scan:
    return np.round(x, int(rng.choice([0, 1]))), y


def same_angle(x: np.ndarray, y: np.ndarray, other: Scan, rng: Rng) -> Scan:
    return np.full_like(x, x[len(x) // 2]), y


def descending(x: np.ndarray, y: np.ndarray, other: Scan, rng: Rng) -> Scan:
    return x[::-1], y[::-1]


def shuffled(x: np.ndarray, y: np.ndarray, other: Scan, rng: Rng) -> Scan:
    order = rng.permutation(len(x))
    return x[order], y[order]


def twice(x: np.ndarray, y: np.ndarray, other: Scan, rng: Rng) -> Scan:
    return np.concatenate([x, x + rng.choice([0, 0.005])]), np.concatenate([y, rng.uniform(0.1, 3) * y])


def few_points(x: np.ndarray, y: np.ndarray, other: Scan, rng: Rng) -> Scan:
    n = int(rng.choice([1, 2, 3, 49, 50, 51, 60, 120]))
    at = np.sort(rng.choice(len(x), min(n, len(x)), replace=False))
    return x[at], y[at]


def flat(x: np.ndarray, y: np.ndarray, other: Scan, rng: Rng) -> Scan:
    level = rng.choice([0.0, 1.0, -3.0, 1e5])
    return x, np.full_like(y, level) + rng.choice([0, 1e-9, 1e-3]) * rng.standard_normal(len(y))


def scaled(x: np.ndarray, y: np.ndarray, other: Scan, rng: Rng) -> Scan:
    return x, y * rng.choice([1e-300, 1e-30, 1e-9, 1e9, 1e30, 1e150, 1e200, 1e296, -1.0])


def noise_only(x: np.ndarray, y: np.ndarray, other: Scan, rng: Rng) -> Scan:
    return x, rng.poisson(rng.choice([0.05, 3.0, 500.0]), len(x)).astype(float)


def wild_noise(x: np.ndarray, y: np.ndarray, other: Scan, rng: Rng) -> Scan:
    return x, np.exp(rng.normal(3, rng.choice([1.0, 3.0]), len(x)))


def few_counts(x: np.ndarray, y: np.ndarray, other: Scan, rng: Rng) -> Scan:
    return x, rng.poisson(np.clip(np.nan_to_num(y), 0, None) / y.max() * rng.choice([2, 10, 40])).astype(float)


def dense(x: np.ndarray, y: np.ndarray, other: Scan, rng: Rng) -> Scan:
    fine = np.linspace(x[0], x[-1], 10 * len(x))
    counts = np.interp(fine, x, y)
    return fine, rng.poisson(np.clip(counts, 0, 1e15)).astype(float) if rng.random() < 0.5 else counts


def coarse(x: np.ndarray, y: np.ndarray, other: Scan, rng: Rng) -> Scan:
    step = int(rng.choice([3, 7, 20]))
    return x[::step], y[::step]


def cropped(x: np.ndarray, y: np.ndarray, other: Scan, rng: Rng) -> Scan:
    first = rng.uniform(x[0], x[-1])
    keep = (x >= first) & (x <= first + rng.choice([3, 6, 15, 40]))
    return x[keep], y[keep]


def gaps(x: np.ndarray, y: np.ndarray, other: Scan, rng: Rng) -> Scan:
    keep = np.sin(x * rng.uniform(0.3, 3) + rng.uniform(0, 6)) > rng.choice([-0.7, 0.0, 0.9])
    return x[keep], y[keep]


def spikes(x: np.ndarray, y: np.ndarray, other: Scan, rng: Rng) -> Scan:
    y = y.copy()
    at = rng.choice(len(y), min(len(y), int(rng.choice([1, 20, 400]))), replace=False)
    y[at] += y.max() * rng.choice([1, 50, 1e6])
    return x, y


def merged(x: np.ndarray, y: np.ndarray, other: Scan, rng: Rng) -> Scan:
    second = np.interp(x, *other)
    return x, y / y.max() + rng.choice([0.03, 0.3, 1.0]) * second / max(second.max(), 1e-9)


def another_axis(x: np.ndarray, y: np.ndarray, other: Scan, rng: Rng) -> Scan:
    """θ, radians, d, a large zero error, an offset beyond 180°."""
    d = 1.5406 / (2 * np.sin(np.radians(np.clip(x, 0.1, None) / 2)))
    axes = [x / 2, np.radians(x), d, x + rng.choice([-1.5, 1.5]), x + 120, 1000 * x, -x]
    return axes[rng.integers(len(axes))], y


def saturated(x: np.ndarray, y: np.ndarray, other: Scan, rng: Rng) -> Scan:
    return x, np.minimum(y, np.quantile(y, rng.choice([0.5, 0.9, 0.98])))


def subtracted(x: np.ndarray, y: np.ndarray, other: Scan, rng: Rng) -> Scan:
    y = y - np.quantile(y, rng.choice([0.3, 0.6, 0.99]))
    return x, np.maximum(y, 0) if rng.random() < 0.5 else y


def hump(x: np.ndarray, y: np.ndarray, other: Scan, rng: Rng) -> Scan:
    middle, width = rng.uniform(x[0], x[-1]), rng.uniform(1, 20)
    return x, y + y.max() * rng.choice([1, 10, 1000]) * np.exp(-(((x - middle) / width) ** 2))


def steep(x: np.ndarray, y: np.ndarray, other: Scan, rng: Rng) -> Scan:
    return x, y + y.max() * np.exp(rng.choice([-40, -5, 5]) * (x - x[0]) / np.ptp(x)) * rng.choice([1, 1000])


def broad(x: np.ndarray, y: np.ndarray, other: Scan, rng: Rng) -> Scan:
    from scipy.ndimage import gaussian_filter1d

    return x, gaussian_filter1d(y, rng.choice([0.3, 1, 3]) / np.median(np.diff(x)))


def one_line(x: np.ndarray, y: np.ndarray, other: Scan, rng: Rng) -> Scan:
    places = rng.uniform(x[0], x[-1], int(rng.choice([1, 2, 3, 4])))
    return x, 100 + 1e4 * sum(np.exp(-(((x - place) / 0.1) ** 2)) for place in places)


def many_lines(x: np.ndarray, y: np.ndarray, other: Scan, rng: Rng) -> Scan:
    count = int(rng.choice([100, 400, 1500]))
    edges = np.append(x, x[-1] + 1)
    heights, _ = np.histogram(rng.uniform(x[0], x[-1], count), edges, weights=rng.exponential(1e4, count))
    return broad(x, heights, other, np.random.default_rng(0))[0], 50 + np.convolve(
        heights, [0.2, 0.6, 1, 0.6, 0.2], "same"
    )


def comb(x: np.ndarray, y: np.ndarray, other: Scan, rng: Rng) -> Scan:
    """Lines at equal distances, and every other point zero."""
    if rng.random() < 0.5:
        return x, np.where(np.arange(len(y)) % 2, y, 0)
    return x, 100 + 1e4 * np.exp(-(((x % rng.choice([0.5, 2, 5]) - 0.2) / 0.05) ** 2))


SCAN_RULES: tuple[Callable[[np.ndarray, np.ndarray, Scan, Rng], Scan], ...] = (
    *(not_numbers, nan_angles, repeated_angles, same_angle, descending, shuffled, twice, few_points, flat, scaled),
    *(noise_only, wild_noise, few_counts, dense, coarse, cropped, gaps, spikes, merged, another_axis, saturated),
    *(subtracted, hump, steep, broad, one_line, many_lines, comb),
)


# --- damage to the file: (scan, random numbers) → (ending of the name, bytes)


def _rows(scan: Scan, separator: str = " ", extra: str = "") -> str:
    return "\n".join(f"{a:.6g}{separator}{b:.10g}{extra}" for a, b in zip(*scan, strict=True))


def plain(scan: Scan, rng: Rng) -> tuple[str, bytes]:
    return ".xy", _rows(scan).encode()


def truncated(scan: Scan, rng: Rng) -> tuple[str, bytes]:
    raw = _rows(scan).encode()
    return ".xy", raw[: int(rng.integers(1, len(raw) + 1))]


def flipped_bytes(scan: Scan, rng: Rng) -> tuple[str, bytes]:
    raw = np.frombuffer(_rows(scan).encode(), np.uint8).copy()
    at = rng.choice(len(raw), max(1, len(raw) // int(rng.choice([20, 1000, 20000]))))
    raw[at] = rng.integers(0, 256, len(at))
    return ".xy", raw.tobytes()


def swapped_columns(scan: Scan, rng: Rng) -> tuple[str, bytes]:
    return ".xy", _rows((scan[1], scan[0])).encode()


def decimal_commas(scan: Scan, rng: Rng) -> tuple[str, bytes]:
    return ".csv", _rows(scan, str(rng.choice([" ", ";", "\t", ", "]))).replace(".", ",").encode()


def strange_separator(scan: Scan, rng: Rng) -> tuple[str, bytes]:
    return ".dat", _rows(scan, str(rng.choice([",", ";", "|", "\t\t", " , ", ":", "/", "\u00a0"]))).encode()


def esd_column(scan: Scan, rng: Rng) -> tuple[str, bytes]:
    return ".xye", _rows(scan, " ", str(rng.choice([" 0", " nan", " 1e300", " -1", " 1e-12", " 5 6 7"]))).encode()


def unicode_comments(scan: Scan, rng: Rng) -> tuple[str, bytes]:
    head = (
        "# 測定 2θ Å — Cu Kα\n; température 20 °C\n! λ = "
        + str(rng.choice(["1.54", "abc", "9e9", "0,71", "-1"]))
        + "\n"
    )
    return ".txt", (head + _rows(scan)).encode(str(rng.choice(["utf-8", "utf-8-sig", "utf-16"])))


def odd_header(scan: Scan, rng: Rng) -> tuple[str, bytes]:
    heads = [
        "q (1/A) I",
        "d counts",
        "2theta,Iobs,sigma",
        "0 0.02 90",
        "[Data]",
        "*RAS_DATA_START",
        "data_x\nloop_\n_pd",
    ]
    return ".txt", (str(rng.choice(heads)) + "\n" + _rows(scan)).encode()


def other_line_ends(scan: Scan, rng: Rng) -> tuple[str, bytes]:
    return ".xy", _rows(scan).replace("\n", str(rng.choice(["\r\n", "\r", "\n\n", " ", "\x0b"]))).encode()


def wrong_ending(scan: Scan, rng: Rng) -> tuple[str, bytes]:
    endings = ".raw .brml .xrdml .ras .rasx .cif .gsas .fxye .udf .uxd .chi .csv .xls .hdf5 .sqd .rd .cpi".split()
    return str(rng.choice(endings)), _rows(scan).encode()


def empty(scan: Scan, rng: Rng) -> tuple[str, bytes]:
    return ".xy", bytes(rng.choice([b"", b"\n", b"\n" * 5000, b"\xef\xbb\xbf"]))


def binary(scan: Scan, rng: Rng) -> tuple[str, bytes]:
    heads = [b"", b"RAW1.01", b"RAW4.00", b"RAW2", b"PK\x03\x04", b"\x1f\x8b", b"<?xml version='1.0'?>", b"FI\x00\x00"]
    ending = str(rng.choice([".raw", ".xy", ".brml", ".xrdml", ".rasx", ".ras", ".sqd"]))
    return ending, bytes(rng.choice(np.array(heads, object))) + rng.integers(0, 256, 20000, np.uint8).tobytes()


def raw_floats(scan: Scan, rng: Rng) -> tuple[str, bytes]:
    return ".raw", np.asarray(scan[1], rng.choice(np.array(["<f4", "<f8", "<i4"]))).tobytes()


# --- damage to what a format says: its keys and values, its table, its loops

STRANGE = (
    *(
        "",
        "0",
        "-1",
        "nan",
        "inf",
        "1e308",
        "-1e-308",
        "1_000",
        "1,54",
        "١.٥",
        "99999999999999999999",
        "?",
        ".",
        "'",
        '"',
    ),
    *("Cu", "Kα", "\u00b5", "x" * 5000, "1 " * 3000, "12345 " * 25 + "word", "-", "2theta", "1.5406(1)", "[]", "={}"),
)


def _of(rng: Rng, values: Sequence[Any]) -> Any:
    return values[int(rng.integers(len(values)))]


def _mutated(items: list[tuple[str, str]], rng: Rng) -> list[tuple[str, str]]:
    """Keys and values with one to three of them dropped, doubled, swapped, or given another's or a strange value."""
    items = list(items)
    for _ in range(int(rng.integers(1, 4))):
        if not items:
            break
        at = int(rng.integers(len(items)))
        key, value = items[at]
        way = int(rng.integers(6))
        if way == 0:
            items.pop(at)
        elif way == 1:
            items.insert(int(rng.integers(len(items) + 1)), (key, value))
        elif way == 2:
            items[at] = (key, str(_of(rng, STRANGE)))
        elif way == 3:
            items[at] = (key, items[int(rng.integers(len(items)))][1])
        elif way == 4:
            items[at] = (str(_of(rng, [key.lower(), key[::-1], key + key, ""])), value)
        else:
            rng.shuffle(items)
    return items


def _counts(y: np.ndarray, rng: Rng, separator: str = " ", width: int = 8) -> str:
    """Counts in rows; now and then one of them strange, or some missing."""
    cells = [f"{v:.0f}" for v in np.clip(np.nan_to_num(y), 0, 1e12)]
    luck = rng.random()
    if luck < 0.3 and cells:
        cells[int(rng.integers(len(cells)))] = str(_of(rng, STRANGE))
    elif luck < 0.5:
        cells = cells[: int(rng.integers(len(cells) + 1))]
    return "\n".join(separator.join(cells[i : i + width]) for i in range(0, len(cells), width))


def header(scan: Scan, rng: Rng) -> tuple[str, bytes]:
    """A format with a header of keys, one to three of which are damaged."""
    x, y = scan
    step = float(np.median(np.diff(x))) if len(x) > 1 else 0.0
    first, last = (f"{x[0]:.4f}", f"{x[-1]:.4f}") if len(x) else ("0", "0")
    core = [("START", first), ("STOP", last), ("STEP", f"{step:.6f}"), ("COUNT", str(len(x)))]
    kind = int(rng.integers(8))
    if kind == 0:  # Rigaku
        head = _mutated([("TYPE", "Raw"), ("TARGET", "29"), ("WAVE_LENGTH1", "1.54059"), ("BEGIN", ""), *core], rng)
        text = "".join(f"*{k} = {v}\n" for k, v in head) + _counts(y, rng, ", ", 4) + "\n*END\n*EOF\n"
        return ".asc", text.encode()
    if kind == 1:  # Bruker
        keys = [("FILEVERSION", "2"), ("ANODE", "'Cu'"), ("WL1", "1.5406"), ("STEPTIME", "1"), ("DRIVE", "'COUPLED'")]
        head = _mutated([*keys, ("START", first), ("STEPSIZE", f"{step:.6f}")], rng)
        marker = str(_of(rng, ["_COUNTS", "_CPS", "_2THETACOUNTS", "_2THETACOUNTSTIME"]))
        rows = _rows(scan) if "2THETA" in marker else _counts(y, rng)
        return ".uxd", ("".join(f"_{k}={v}\n" for k, v in head) + marker + "\n" + rows).encode()
    if kind == 2:  # JADE
        line = [("", v) for v in (first, f"{step:.4f}", "1.0", "CU", "1.540598", last, str(len(x)))]
        return ".mdi", ("title\n" + " ".join(v for _, v in _mutated(line, rng)) + "\n" + _counts(y, rng)).encode()
    if kind == 3:  # Sietronics
        line = [("", v) for v in ("SIETRONICS XRD SCAN", first, last, f"{step:.4f}", "Cu", "1.54056", "1-1-1900", "1")]
        text = "\n".join(v for _, v in _mutated(line, rng)) + "\nSCANDATA\n" + _counts(y, rng, "\n", 1)
        return ".cpi", text.encode()
    if kind == 4:  # FullProf
        line = [("", v) for v in (first, f"{step:.6f}", last, "LaB6 Cu Ka")]
        return ".dat", (" ".join(v for _, v in _mutated(line, rng)) + "\n" + _counts(y, rng, " ", 10)).encode()
    if kind == 5:  # pyFAI
        keys = [("Distance Sample to Detector", "0.1 m"), ("Rotations", "0 0 0 rad"), ("Wavelength", "1.5406e-10 m")]
        unit = str(_of(rng, ["2th_deg", "2th_rad", "q_nm^-1", "q_A^-1", "r_mm", "chi_deg", "I"]))
        comments = "".join(f"# {k}: {v}\n" for k, v in _mutated(keys, rng))
        return ".dat", (comments + f"#   {unit}   I\n" + _rows(scan, "   ")).encode()
    if kind == 6:  # powder CIF
        ends = [(f"_pd_meas_2theta_range_{k}", v) for k, v in (("min", first), ("max", last), ("inc", f"{step:.5f}"))]
        head = _mutated([("_diffrn_radiation_wavelength", "1.5406"), *ends], rng)
        text = "data_a\n" + "".join(f"{k} {v}\n" for k, v in head) + "loop_\n_pd_meas_counts_total\n"
        return ".cif", (text + _counts(y, rng, "\n", 1)).encode()
    head = _mutated([("HW_XG_WAVE_LENGTH_ALPHA1", "1.54059"), ("MEAS_SCAN_AXIS_X", "TwoThetaTheta")], rng)
    text = "*RAS_DATA_START\n*RAS_HEADER_START\n" + "".join(f'*{k} "{v}"\n' for k, v in head)
    return ".ras", (text + "*RAS_HEADER_END\n*RAS_INT_START\n" + _rows(scan, " ", " 1.0") + "\n*RAS_INT_END\n").encode()


def csv(scan: Scan, rng: Rng) -> tuple[str, bytes]:
    """A table with names, further columns, quotes and a preamble, some of them damaged."""
    x, y = scan
    names = ["2Theta", "theta", "q_inv_angstrom", "d (A)", "x", "date", "time", "n", "Q", "", "weight", "Iobs", "y_obs"]
    labels = [str(_of(rng, ["2Theta", *names])), str(_of(rng, ["Intensity", *names]))]
    columns = [[f"{v:.6g}" for v in x], [f"{v:.10g}" for v in y]]
    if rng.random() < 0.3:
        columns[1] = [f'"{v:,.0f}"' for v in np.nan_to_num(y)]
    for _ in range(int(rng.integers(0, 4))):
        at = int(rng.integers(len(columns) + 1))
        labels.insert(at, str(_of(rng, names)))
        cell = str(_of(rng, ["2018-01-22", "10:00:01", "ok", "0", "", "nan", *STRANGE[:12]]))
        columns.insert(at, [cell] * len(x) if rng.random() < 0.5 else [str(i) for i in range(len(x))])
    separator = str(_of(rng, [",", ";", "\t", ", ", "|"]))
    rows = [separator.join(row) for row in zip(*columns, strict=True)]
    for _ in range(int(rng.integers(0, 4))):  # a cell too many, too few, a strange one
        if rows:
            at = int(rng.integers(len(rows)))
            rows[at] = str(_of(rng, [rows[at] + separator + "7", rows[at].partition(separator)[0], *STRANGE]))
    preamble = "".join(f"{k}{separator}{v}\n" for k, v in _mutated([("Anode", "Cu"), ("Wavelength", "1.5406")], rng))
    text = (preamble if rng.random() < 0.5 else "") + separator.join(labels) + "\n" + "\n".join(rows)
    return str(_of(rng, [".csv", ".txt", ".dat"])), text.encode()


def structure_cif(text: str, rng: Rng) -> str:
    """The CIF of a structure with lines dropped, doubled and moved, and cells of its loops made strange."""
    lines = text.splitlines()
    for _ in range(int(rng.integers(1, 6))):
        at = int(rng.integers(len(lines)))
        words = lines[at].split()
        way = int(rng.integers(5))
        if way == 0 and len(lines) > 1:
            lines.pop(at)
        elif way == 1:
            lines.insert(int(rng.integers(len(lines))), lines[at])
        elif way == 2 and words:
            words[int(rng.integers(len(words)))] = str(_of(rng, [*STRANGE, "'F d -3 m :1'", "R", "Xx", "Fe3+", "1.2"]))
            lines[at] = " ".join(words)
        elif way == 3:
            lines[at] = lines[at][: int(rng.integers(len(lines[at]) + 1))]
        elif words and words[-1].replace(".", "").isdigit():
            lines[at] = " ".join([*words[:-1], f"{float(words[-1]) * _of(rng, [-1, 0, 0.1, 10, 1000]):g}"])
    return "\n".join(lines) + "\n"


FILE_RULES: tuple[Callable[[Scan, Rng], tuple[str, bytes]], ...] = (
    *(truncated, flipped_bytes, swapped_columns, decimal_commas, strange_separator, esd_column, unicode_comments),
    *(odd_header, other_line_ends, wrong_ending, empty, binary, raw_floats, header, csv),
)
STRUCTURE = "structure_cif"  # the rule that makes no pattern
RULES: tuple[Callable[..., Any], ...] = (*SCAN_RULES, *FILE_RULES)
# By turns, so that each has a quarter of the files.
KINDS: tuple[tuple[Callable[..., Any], ...], ...] = (RULES, (header,), (csv,), (structure_cif,))


def damaged(number: int, scans: list[Scan], seed: int, structures: Sequence[str] = ()) -> tuple[str, int, str, bytes]:
    """(names of the rules, which scan, ending of the file's name, its bytes) of file `number`.

    structures: the CIFs of the scans' samples; with them the files are by turns scans, headers, tables and CIFs.
    """
    whole = len(structures) > 0
    rng = np.random.default_rng((seed, number))
    kind = KINDS[number % len(KINDS)] if whole else RULES
    rule = kind[number // len(KINDS) % len(kind)] if whole else kind[number % len(kind)]
    which = int(rng.integers(len(scans)))
    if rule is structure_cif:
        return STRUCTURE, which, ".cif", structure_cif(structures[which], rng).encode()
    scan = scans[which]
    write: Callable[..., tuple[str, bytes]] = plain
    with np.errstate(all="ignore"):
        if rule in SCAN_RULES:
            scan = rule(*scan, scans[int(rng.integers(len(scans)))], rng)
            if rng.random() < SECOND_RULE and len(scan[0]):
                write = FILE_RULES[int(rng.integers(len(FILE_RULES)))]
        else:
            write = rule
        ending, raw = write(scan, rng)
    return "+".join(dict.fromkeys((rule.__name__, write.__name__))), which, ending, raw


# --- solving


class TooSlow(BaseException):
    """Not an Exception, so that no fallback swallows it."""


def _stop(*_: object) -> None:
    raise TooSlow


def memory() -> float:
    """Peak resident MB of this process since `forget_memory`."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024


def forget_memory() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def outcome(path: Path, until: str, wavelength: float | None, options: dict[str, Any]) -> dict[str, Any]:
    """What the stages up to `until` ("density" for a CIF) make of the file.

    {"outcome": "answer" | "refused" | "fault" | "too slow", ...}
    """
    from crystalnet.commands.density import density_file
    from crystalnet.records import InputError
    from crystalnet.report import write_solution
    from crystalnet.solving.solve import solve
    from crystalnet.xrd.indexing.index import index_peaks
    from crystalnet.xrd.peaks import find_peaks
    from crystalnet.xrd.radiation import parse_wavelength
    from crystalnet.xrd.reader import read_pattern

    last = STAGES.index(until) if until in STAGES else -1
    said: dict[str, Any] = {"outcome": "answer"}
    forget_memory()
    started = time.perf_counter()
    signal.signal(signal.SIGALRM, _stop)
    signal.setitimer(signal.ITIMER_REAL, GIVE_UP, 5)  # again and again: one raised in a callback of C is lost
    try:
        if until == "density":
            said["line"] = density_file(path, 50, "primitive", path.with_suffix(".npz"))
        elif last >= STAGES.index("solving"):
            found = solve(path, wavelength=wavelength, effort=EFFORT, **options)
            said |= {"stages": found.seconds, "candidates": len(found.candidates)}
            if found.candidates:
                best = found.candidates[0]
                said |= {"best": best.formula, "confidence": best.confidence}
                strange = [best.confidence, best.score, best.fit.rwp]
                if not all(v is not None and np.isfinite(v) for v in strange):
                    said |= {"outcome": "fault", "message": f"confidence, score, Rwp = {strange}"}
            if until == "report":
                write_solution(found, path.parent / "report")
        else:
            pattern = read_pattern(path, None if wavelength is None else parse_wavelength(wavelength))
            peaks = find_peaks(pattern) if last >= 1 else None
            if peaks is not None:
                said["peaks"] = len(peaks)
                if last >= 2:
                    said["cells"] = len(index_peaks(peaks, ("cubic", "trigonal")))
    except InputError as error:
        message = str(error)
        # What no reader has foreseen is refused so: a fault of ours behind a polite line.
        unforeseen = not message or "\n" in message or "cannot be read as a powder pattern" in message
        said |= {"outcome": "fault" if unforeseen else "refused", "message": message}
    except TooSlow:
        said |= {"outcome": "too slow", "message": "".join(traceback.format_exc()[-1500:])}
    except Exception:
        said |= {"outcome": "fault", "message": traceback.format_exc()[-3000:]}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return said | {"seconds": round(time.perf_counter() - started, 2), "megabytes": round(memory())}


def read_scans(data: Path) -> tuple[list[dict[str, Any]], list[Scan]]:
    """(records of index.json, their scans)."""
    records = json.loads((data / "index.json").read_text())
    return records, [tuple(np.loadtxt(data / r["pattern"], usecols=(0, 1)).T) for r in records]


def choices(number: int, record: dict[str, Any], seed: int) -> tuple[float | None, dict[str, Any]]:
    """(wavelength, options) that file `number` is solved with."""
    from crystalnet.density.promolecule import element_table

    rng = np.random.default_rng((seed, number, 1))
    known, luck = list(element_table()), rng.random()
    elements = None
    if luck < ELEMENTS[0]:
        elements = record["elements"]
    elif luck < sum(ELEMENTS):
        elements = [str(e) for e in rng.choice(known, int(rng.integers(1, 5)), replace=False)]
    wavelength = record["wavelength"]
    if rng.random() < 0.2:  # a wrong one, or none
        wavelength = [None, 0.7093, 1.5406, 2.2897, 0.2, 4.0][int(rng.integers(6))]
    return wavelength, {"elements": elements, "seed": number}


def run(data: Path, count: int, out: Path, until: str, share: str, seed: int) -> None:
    part, parts = map(int, share.split("/"))
    records, scans = read_scans(data)
    structures = [(data / record["truth"]).read_text() for record in records]
    known = {json.loads(line)["number"] for line in out.open()} if out.exists() else set()
    for number in range(part, count, parts):
        if number in known:
            continue
        rules, which, ending, raw = damaged(number, scans, seed, structures)
        wavelength, options = choices(number, records[which], seed)
        head = {"number": number, "rules": rules, "pattern": records[which]["name"], "ending": ending}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{number}{ending}"
            path.write_bytes(raw)
            said = outcome(path, "density" if rules == STRUCTURE else until, wavelength, options)
        with out.open("a") as file:
            file.write(json.dumps(head | {"wavelength": wavelength, "elements": options["elements"]} | said) + "\n")
        print(number, rules, head["pattern"], said["outcome"], said["seconds"], said["megabytes"], flush=True)


def summary(out: Path) -> bool:
    """Print what came out; True where all is well."""
    lines = [json.loads(line) for line in out.open()]
    seconds, megabytes = (np.array([line[key] for line in lines]) for key in ("seconds", "megabytes"))
    print(f"{len(lines)} files: {dict(Counter(line['outcome'] for line in lines))}")
    print(
        f"seconds: median {np.median(seconds):.2f}, largest {seconds.max():.1f}; memory: largest {megabytes.max()} MB"
    )
    bad = [
        line
        for line in lines
        if line["outcome"] in ("fault", "too slow") or line["seconds"] > SECONDS or line["megabytes"] > MEGABYTES
    ]
    for line in bad:
        end = line.get("message", "").strip().splitlines()[-1:]
        print(line["number"], line["rules"], line["pattern"], line["outcome"], line["seconds"], line["megabytes"], *end)
    return not bad


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("count", type=int)
    parser.add_argument("out", type=Path)
    parser.add_argument("--until", choices=STAGES, default="report")
    parser.add_argument("--processes", type=int, default=1, help="how many of them share the files")
    parser.add_argument("--share", default="0/1", help="every so-manieth file: 0/2 and 1/2 for two processes")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.processes > 1:
        shares = [f"{part}/{options.processes}" for part in range(options.processes)]
        own = [sys.executable, __file__, str(options.data), str(options.count), str(options.out)]
        own += ["--until", options.until, "--seed", str(options.seed), "--share"]
        for process in [subprocess.Popen([*own, share]) for share in shares]:
            process.wait()
    else:
        run(options.data, options.count, options.out, options.until, options.share, options.seed)
    sys.exit(0 if summary(options.out) else 1)


if __name__ == "__main__":
    main()

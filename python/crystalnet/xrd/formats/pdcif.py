"""Powder CIF, of which rietx knows no ranges and one block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from crystalnet.records import InputError
from crystalnet.xrd.formats.base import Format
from crystalnet.xrd.formats.ranges import range_positions
from crystalnet.xrd.header.cif import radiation_of_cif
from crystalnet.xrd.scans import EXPORT, TWO_THETA, Axis, Listed, Scan, listed

if TYPE_CHECKING:
    import gemmi

ABSCISSAS = (
    ("_pd_proc_2theta_corrected", TWO_THETA),
    ("_pd_meas_2theta_scan", TWO_THETA),
    ("_pd_meas_2theta_corrected", TWO_THETA),
    ("_pd_meas_angle_2theta", TWO_THETA),
    ("_pd_proc_recip_len_q", Axis("q")),
    ("_pd_proc_d_spacing", Axis("d")),
)
INTENSITIES = (
    *("_pd_proc_intensity_total", "_pd_meas_intensity_total", "_pd_meas_counts_total"),
    *("_pd_proc_intensity_net", "_pd_meas_intensity_net"),
)


class PowderCif(Format):
    """The powder dictionary's data blocks."""

    name = "powder CIF (.cif)"
    carries = "wavelengths, esds, several blocks"

    def recognises(self, lines: Sequence[str]) -> bool:
        return any(line.lstrip().lower().startswith(("data_", "_pd_")) for line in lines[:400]) and any(
            line.lstrip().lower().startswith(("_pd_meas", "_pd_proc", "_pd_calc")) for line in lines
        )

    def read(self, name: str, lines: list[str]) -> list[Listed]:
        """Every block with a measured intensity, its 2θ from a loop or from ranges."""
        import gemmi

        text = "\n".join(lines)
        try:
            document = gemmi.cif.read_string(text)
        except Exception as error:  # its message names positions in a string that the user does not see
            raise InputError(f"{name}: breaks the rules of CIF; check its loops and quotes, or {EXPORT}") from error
        radiation = radiation_of_cif(name, text)
        scans: list[Listed] = []
        for block in document:
            tag, y = next(((t, v) for t in INTENSITIES if (v := _column(block, t)) is not None), ("", None))
            if y is None or len(y) < 2:
                continue
            if any(len(block.find_loop(t)) for t in ("_pd_meas_time_of_flight", "_pd_proc_wavelength")):
                raise InputError(f"{name}: holds a time-of-flight pattern; give an X-ray pattern on a 2θ, d or q axis")
            found = _abscissa(name, block, len(y))
            if found is None:
                continue
            x, axis = found
            scans.append(
                listed(len(scans) + 1, Scan(x, y, _esds(block, tag, len(y)), radiation, axis), label=block.name)
            )
        if not scans:
            raise InputError(f"{name}: holds no measured intensities with their 2θ; {EXPORT}")
        return scans


def _column(block: gemmi.cif.Block, tag: str) -> np.ndarray | None:
    """The numbers of a loop's column, None where it holds none."""
    import gemmi

    column = block.find_loop(tag)
    values = np.array([gemmi.cif.as_number(v) for v in column], dtype=float)
    return values if len(values) and np.isfinite(values).any() else None


def _abscissa(name: str, block: gemmi.cif.Block, count: int) -> tuple[np.ndarray, Axis] | None:
    """(x, what it is) of a column as long as the intensities, else of the limits of a range."""
    import gemmi

    for tag, axis in ABSCISSAS:
        x = _column(block, tag)
        if x is not None and len(x) == count:
            return x, axis
    for kind in ("proc", "meas"):
        low, high, step = (
            gemmi.cif.as_number(block.find_value(f"_pd_{kind}_2theta_range_{end}") or "?")
            for end in ("min", "max", "inc")
        )
        if np.isfinite(low) and (np.isfinite(high) or np.isfinite(step)):
            known = [float(v) if np.isfinite(v) else None for v in (step, high)]
            return range_positions(name, float(low), known[0], count, known[1], False), TWO_THETA
    return None


def _esds(block: gemmi.cif.Block, tag: str, count: int) -> np.ndarray | None:
    """From a column of standard uncertainties, those in parentheses, or least-squares weights."""
    for ending in ("_su", "_esd"):
        column = _column(block, tag + ending)
        if column is not None and len(column) == count:
            return column
    inside = [_uncertainty(v) for v in block.find_loop(tag)]
    if all(v is not None for v in inside):
        return np.array(inside, dtype=float)
    weight = _column(block, "_pd_proc_ls_weight")
    if weight is None or len(weight) != count or not np.all(weight > 0):
        return None
    return np.asarray(1 / np.sqrt(weight))


def _uncertainty(value: str) -> float | None:
    """The esd in "12.5(3)": 0.3."""
    head, bracket, tail = value.partition("(")
    digits = tail.partition(")")[0]
    if not bracket or not digits.isdigit() or not digits.isascii():
        return None
    return int(digits[:12]) * 10.0 ** -len(head.partition(".")[2])

"""The radiation that a pattern file states: in comments, in a vendor's fields, in a CIF."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from crystalnet.records import InputError, Radiation
from crystalnet.xrd.radiation import TUBES, WAVELENGTH_RANGE, doublet, parse_wavelength


def radiation_of_fields(fields: Mapping[str, str]) -> Radiation | None:
    """From the fields vendors write. Their Kα2 is often the tube's, whatever the optics: the data decide."""
    wavelength, second = _number(fields.get("wavelength")), _number(fields.get("wavelength_alpha2"))
    low, high = WAVELENGTH_RANGE
    if wavelength is not None and low <= wavelength <= high:
        if second == 0:  # the file says that the doublet was not used
            return replace(parse_wavelength(wavelength), lines=((wavelength, 1.0),), kalpha2_known=True)
        if second is not None and wavelength < second < 1.01 * wavelength:
            return doublet(wavelength, second, known=False)
        return parse_wavelength(wavelength)
    anode = fields.get("anode", "").strip().capitalize()
    return doublet(*TUBES[anode], known=False) if anode in TUBES else None


def radiation_of_cif(name: str, text: str) -> Radiation | None:
    import gemmi

    for block in gemmi.cif.read_string(text):
        if any("neutron" in str(block.find_value(tag)).lower() for tag in ("_diffrn_radiation_probe",)):
            raise InputError(f"{name}: holds neutron data; give an X-ray pattern")
        for prefix in ("_diffrn_radiation_wavelength", "_diffrn_radiation_wavelength.value"):
            values = [gemmi.cif.as_number(v) for v in block.find_values(prefix)]
            values = [v for v in values if WAVELENGTH_RANGE[0] <= v <= WAVELENGTH_RANGE[1]]
            if not values:
                continue
            if len(values) == 1:
                return parse_wavelength(values[0])
            weights = [gemmi.cif.as_number(v) for v in block.find_values("_diffrn_radiation_wavelength_wt")]
            if len(weights) != len(values) or not all(w > 0 for w in weights):
                weights = [2.0, 1.0] + [0.0] * (len(values) - 2)
            lines = sorted(zip(values, weights, strict=True), key=lambda line: -line[1])
            # Authors list the tube's doublet behind a Kα1 monochromator too: the data decide.
            return Radiation(tuple((v, w / lines[0][1]) for v, w in lines if w > 0), kalpha2_known=False)
    return None


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


_WAVELENGTH = re.compile(
    r"(?:wave\s*-?length|lambda|λ)[^\d\n]{0,30}?(\d*[.,]\d+(?:e-?\d+)?)\s*\]?\s*(nm|m)?\b", re.IGNORECASE
)
_TUBE = re.compile(r"\b(Cu|Mo|Co|Fe|Cr|Ag)[\s_-]*K[\s_-]*(?:a(?:lpha)?|α)[\s_-]*(1(?!\s*[+,/&]|2))?", re.IGNORECASE)
_ANODE = re.compile(r"anode[^\n,:=]*[\s,:=]+(Cu|Mo|Co|Fe|Cr|Ag)\b", re.IGNORECASE)


def radiation_of_header(lines: Sequence[str]) -> Radiation | None:
    """The wavelength, the tube's line or the anode named in comments."""
    text = "\n".join(lines)
    values = []
    for number, unit in _WAVELENGTH.findall(text):
        value = float(number.replace(",", "."))
        value *= 10 if unit.lower() == "nm" else 1e10 if unit.lower() == "m" or value < 1e-8 else 1
        if WAVELENGTH_RANGE[0] <= value <= WAVELENGTH_RANGE[1]:
            values.append(value)
    if values:
        second = next((v for v in values if values[0] < v < 1.01 * values[0]), None)
        return parse_wavelength(values[0]) if second is None else doublet(values[0], second, known=False)
    if named := _TUBE.search(text):
        return parse_wavelength(named[1] + "Ka" + (named[2] or ""))
    if named := _ANODE.search(text):
        return doublet(*TUBES[named[1].capitalize()], known=False)
    return None

"""Numbers with the units that wavelengths and energies are written in."""

from __future__ import annotations

import math
import re

from crystalnet.xrd.emission_lines import KALPHA1_TOLERANCE, WAVELENGTH_RANGE, tube_of

KEV_ANGSTROM = 12.398420  # hc in keV·Å (CODATA 2018)
ANGSTROM_PER_UNIT = {"å": 1.0, "nm": 10.0, "pm": 0.01, "m": 1e10}
ENERGY_UNITS = {"kev": 1.0, "ev": 1e-3}  # in keV
_UNIT_NAMES = {
    **dict.fromkeys(("å", "a", "ang", "angs", "angstrom", "angstroms", "ångström", "ångstrom", "ångströms"), "å"),
    **dict.fromkeys(("nm", "nanometer", "nanometers", "nanometre", "nanometres"), "nm"),
    **dict.fromkeys(("pm", "picometer", "picometers"), "pm"),
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), "m"),
    "kev": "kev",
    "ev": "ev",
}
_NUMBER_AND_UNIT = re.compile(
    r"(?P<number>-?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:e[-+]?\d+)?)\s*(?P<unit>[^\W\d_]+)?", re.IGNORECASE
)


def unit_of(word: str) -> str | None:
    """ "å", "nm", "pm", "m", "kev" or "ev", however it is spelt; None for no unit of a wavelength or energy."""
    return _UNIT_NAMES.get(word.lower())


def in_angstrom(number: str, unit: str) -> tuple[float, float]:
    """The wavelength of a number in any unit, and how precisely it was given.

    Parameters
    ----------
    number : str
        Digits with a point or a comma, perhaps an exponent.
    unit : str
        As `unit_of` gives it.

    Returns
    -------
    wavelength, half_digit : float
        Å; half a unit of the last digit. Zeros at the end are no digits: programs write 1.540000 for 1.54.
    """
    mantissa, _, exponent = number.lower().replace(",", ".").replace("d", "e").partition("e")
    value = float(number.lower().replace(",", ".").replace("d", "e"))
    decimals = len(mantissa.partition(".")[2].rstrip("0"))
    half_digit = float(f"5e{int(exponent[:6] or 0) - decimals - 1}")  # of no real number more digits; inf, no overflow
    if unit in ENERGY_UNITS:
        energy = value * ENERGY_UNITS[unit]
        wavelength = KEV_ANGSTROM / energy if energy > 0 else math.nan
        half_digit = wavelength * half_digit * ENERGY_UNITS[unit] / energy if energy > 0 else math.nan
        # Energies are set, not rounded from a tube's: "17.5 keV" is no molybdenum, "8.05 keV" is copper.
        return wavelength, half_digit if half_digit <= 2 * KALPHA1_TOLERANCE else 0.0
    return float(f"{value * ANGSTROM_PER_UNIT[unit]:.12g}"), half_digit * ANGSTROM_PER_UNIT[unit]


def meant_angstrom(number: str) -> tuple[float, str] | None:
    """(Å, unit) that a number most likely stands for where it cannot be, or hardly is, in Å; None for no idea."""
    low, high = WAVELENGTH_RANGE
    value = in_angstrom(number, "å")[0]
    if not value > 0 or not math.isfinite(value):
        return None
    units = [unit for unit in ("nm", "kev", "pm", "m", "ev") if low <= in_angstrom(number, unit)[0] <= high]
    if low <= value <= high:  # in Å it can be: only a tube's number in nm with its decimals speaks against that
        units = [u for u in units if u == "nm" and len(number.replace(",", ".").partition(".")[2]) >= 3]
    tubes = [unit for unit in units if tube_of(in_angstrom(number, unit)[0]) is not None]
    chosen = next(iter(tubes or units), None)
    names = {"kev": "keV", "ev": "eV"}
    return None if chosen is None else (in_angstrom(number, chosen)[0], names.get(chosen, chosen))


def number_and_unit(text: str) -> tuple[str | None, str | None]:
    """("1.5406", "å") of "1.5406 Å". The unit is None where there is none, both where the text is not understood."""
    found = _NUMBER_AND_UNIT.fullmatch(text) if len(text) <= 64 else None
    if found is None:
        return None, None
    unit = None if found["unit"] is None else unit_of(found["unit"])
    return (None, None) if found["unit"] is not None and unit is None else (found["number"], unit)

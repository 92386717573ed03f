"""What the user, or a file, says about the X-rays, as a `Radiation`."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace

from crystalnet.records import InputError, Radiation
from crystalnet.xrd.emission_lines import (
    FOURTH_DECIMAL,
    KALPHA1_TOLERANCE,
    KALPHA2_WEIGHT,
    LINE_NAME,
    MEAN_TOLERANCE,
    NEAR,
    RARE_TUBES,
    SINGLE_LINES,
    TUBES,
    WAVELENGTH_RANGE,
    kalpha,
    mean_of_doublet,
    tube_of,
)
from crystalnet.xrd.units import in_angstrom, meant_angstrom, number_and_unit

_ACCEPTED = (
    "CuKa (doublet), CuKa1 (single line), the same for Mo, Co, Fe, Cr, Ag, Ga, Ni, Zn and Mn, CuKb and other Kβ, WLa, "
    f"or a number from {WAVELENGTH_RANGE[0]:g} to {WAVELENGTH_RANGE[1]:g} in Å"
)


def parse_wavelength(text: str | float, *, exact: bool = False) -> Radiation:
    """The radiation meant by `CuKa`, `Mo Kα1`, `CuKb`, `1.5406`, `1.54`, `0.15406 nm`, `17.4 keV` ...

    A tube's name means its doublet (weights 2:1), with `1` only Kα1. A number carries its precision in its digits:
    where it is a tube's Kα1, or the mean of its doublet, as far as its digits go (1.54, 1.5418, 0.711), it means that
    tube, and the data decide whether Kα2 is there (`kalpha2_known=False`). A number within 0.0005 Å of Kα1 is kept as
    Kα1; any other within 0.005 Å of a tube's lines is kept too, the tube's split beside it, and the data decide. All
    further numbers are a synchrotron's single line (polarisation 0).

    Parameters
    ----------
    text : str or float
        A number without a unit is in Å.
    exact : bool
        The number is the wavelength itself, as for a calculated pattern: never replaced by a tube's, and a doublet
        only within 0.0005 Å of Kα1.

    Raises
    ------
    InputError
        It names what is accepted, and what a number in another unit would be.

    Examples
    --------
    >>> parse_wavelength("CuKa").lines
    ((1.540593, 1.0), (1.544427, 0.5))
    >>> parse_wavelength("Mo Kα1").lines
    ((0.709317, 1.0),)
    >>> parse_wavelength(1.54).lines, parse_wavelength(1.54).kalpha2_known  # copper; the data will tell
    (((1.540593, 1.0), (1.544427, 0.5)), False)
    >>> parse_wavelength("0.4127")
    Radiation(lines=((0.4127, 1.0),), assumed=False, kalpha2_known=True, polarisation=0.0)
    """
    plain = unicodedata.normalize("NFKC", text if isinstance(text, str) else f"{float(text):.12g}").strip()
    named = radiation_of_name(plain)
    if named is not None:
        return named
    number, unit = number_and_unit(plain)
    if number is None:
        raise InputError(f"wavelength {text!r} is not understood: give {_ACCEPTED}")
    wavelength, half_digit = in_angstrom(number, unit or "å")
    low, high = WAVELENGTH_RANGE
    # 80 keV beams of 0.15 Å exist, but who names no unit and writes a tube's number in nm has meant the tube.
    meant = meant_angstrom(number) if unit is None else None
    if meant is not None and (not low <= wavelength <= high or tube_of(meant[0]) is not None):
        value, unit_meant = meant
        raise InputError(
            f"wavelength {plain} Å: did you mean {value:.5g} Å ({plain} {unit_meant})?"
            f" Write the unit, or give {_ACCEPTED}"
        )
    if not low <= wavelength <= high:  # also refuses nan
        raise InputError(f"wavelength {wavelength:g} Å is out of range: give {_ACCEPTED}")
    return radiation_of_number(wavelength, 0.0 if exact else half_digit, exact=exact)


def radiation_of_name(text: str) -> Radiation | None:
    """`CuKa`, `Cu`, `mo-kalpha1`, `Cu Kβ`, `W Lα1` ... ; None where the text is no name of a line."""
    compact = "".join(c for c in text.lower() if c not in " \t_-")
    element = compact.capitalize()
    if element in TUBES or element in RARE_TUBES:
        return doublet(*kalpha(element))
    found = LINE_NAME.fullmatch(compact.replace("1+2", "12").replace("1,2", "12").replace("1,3", "13"))
    return None if found is None else radiation_of_line(found)


def radiation_of_line(found: re.Match[str]) -> Radiation | None:
    """Of a match of LINE_NAME; None where no such line is known."""
    element, number = found["element"].capitalize(), found["number"]
    alpha = found["line"][0] in "aα"
    if found["shell"] == "k" and alpha and (element in TUBES or element in RARE_TUBES):
        kalpha1, kalpha2 = kalpha(element)
        if number in ("1", "2"):
            return Radiation(((kalpha1 if number == "1" else kalpha2, 1.0),))
        return doublet(kalpha1, kalpha2)
    single = SINGLE_LINES.get(f"{element}{found['shell'].upper()}{'a' if alpha else 'b'}")
    return None if single is None or number == "2" else Radiation(((single, 1.0),))


def radiation_of_number(wavelength: float, half_digit: float, *, exact: bool = False) -> Radiation:
    """The radiation that a number means, see `parse_wavelength`.

    Parameters
    ----------
    wavelength, half_digit : float
        Å, and half a unit of the last digit given.
    exact : bool
        As in `parse_wavelength`.
    """
    if exact:
        return _exactly(wavelength)
    to_fourth = half_digit <= FOURTH_DECIMAL
    for element, (kalpha1, kalpha2) in {**TUBES, **RARE_TUBES}.items():
        if element in RARE_TUBES and not to_fourth:
            continue
        mean = mean_of_doublet(kalpha1, kalpha2)
        rounded = half_digit if half_digit <= NEAR else 0.0
        if to_fourth and abs(wavelength - kalpha2) <= MEAN_TOLERANCE:
            return Radiation(((wavelength, 1.0),))
        if to_fourth and abs(wavelength - kalpha1) <= KALPHA1_TOLERANCE:
            return _split_like(wavelength, element)
        if abs(wavelength - kalpha1) <= rounded or abs(wavelength - mean) <= max(rounded, MEAN_TOLERANCE):
            return doublet(kalpha1, kalpha2, known=False)
        if element in TUBES and kalpha1 - NEAR <= wavelength <= kalpha2 + NEAR:
            return _split_like(wavelength, element)
    of_tube = to_fourth and any(abs(wavelength - line) <= MEAN_TOLERANCE for line in SINGLE_LINES.values())
    return Radiation(((wavelength, 1.0),), polarisation=1.0 if of_tube else 0.0)


def _exactly(wavelength: float) -> Radiation:
    """This wavelength: with Kα2 at a tube's Kα1, else alone."""
    for element, (kalpha1, kalpha2) in TUBES.items():
        if abs(wavelength - kalpha1) <= KALPHA1_TOLERANCE:
            return _split_like(wavelength, element)
        if kalpha1 - NEAR <= wavelength <= kalpha2 + NEAR:
            return Radiation(((wavelength, 1.0),))
    return Radiation(((wavelength, 1.0),), polarisation=0.0)


def _split_like(wavelength: float, element: str) -> Radiation:
    """A doublet at this Kα1 with the relative split of the anode's; the data decide on Kα2."""
    kalpha1, kalpha2 = kalpha(element)
    return doublet(wavelength, wavelength * kalpha2 / kalpha1, known=False)


def with_kalpha2(radiation: Radiation) -> Radiation | None:
    """A tube's single Kα1 with Kα2 beside it; None where the line is no tube's Kα1, or a synchrotron's."""
    for element in (*TUBES, *RARE_TUBES):
        if radiation.polarisation > 0 and abs(radiation.wavelength - kalpha(element)[0]) <= KALPHA1_TOLERANCE:
            return replace(_split_like(radiation.wavelength, element), polarisation=radiation.polarisation)
    return None


def doublet(kalpha1: float, kalpha2: float, *, known: bool = True) -> Radiation:
    """Kα1 + Kα2 at 2:1; `known=False` leaves the presence of Kα2 to the data."""
    return Radiation(((kalpha1, 1.0), (kalpha2, KALPHA2_WEIGHT)), kalpha2_known=known)


def assumed_cu() -> Radiation:
    """Cu Kα, taken because nobody said: `assumed=True`, so that the caller warns. The data decide on Kα2."""
    return replace(doublet(*TUBES["Cu"], known=False), assumed=True)

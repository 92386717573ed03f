"""What the user, or a file, says about the X-rays, as a `Radiation`."""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import replace

from crystalnet.bragg import reflection_angle, sine_of_d
from crystalnet.records import InputError, Radiation

# Kα1, Kα2 in Å. Hölzer et al., Phys. Rev. A 56, 4554 (1997) for Cr to Cu (Cu rounded as in NIST certificates);
# Deslattes et al., Rev. Mod. Phys. 75, 35 (2003) for Mo and Ag. Both as in International Tables C, 4.2.2.
TUBES: dict[str, tuple[float, float]] = {
    "Cr": (2.289726, 2.293651),
    "Fe": (1.936041, 1.939973),
    "Co": (1.788996, 1.792835),
    "Cu": (1.540593, 1.544427),
    "Mo": (0.709317, 0.713607),
    "Ag": (0.559422, 0.563813),
}
# Anodes seldom met (Ga: liquid-metal jets), Kα1 and Kα2 in Å: International Tables C, 4.2.2. Understood by name, and
# as a number only where it is theirs to the fourth decimal, because a round number so near is chance.
RARE_TUBES: dict[str, tuple[float, float]] = {
    "Mn": (2.101854, 2.105822),
    "Ni": (1.657930, 1.661756),
    "Zn": (1.435184, 1.439029),
    "Ga": (1.340127, 1.344026),
}
# Single lines, Å: Kβ1 (with Kβ3, where these are not resolved) and W Lα1. International Tables C, 4.2.2.
SINGLE_LINES: dict[str, float] = {
    "CrKb": 2.084881,
    "MnKb": 1.910216,
    "FeKb": 1.756604,
    "CoKb": 1.620826,
    "NiKb": 1.500152,
    "CuKb": 1.392234,
    "ZnKb": 1.295276,
    "GaKb": 1.207930,
    "MoKb": 0.632303,
    "AgKb": 0.497082,
    "WLa": 1.476311,
}
KALPHA2_WEIGHT = 0.5
# People quote Kα1 to four decimals and from older tables; the gap to the mean of the doublet is at least 0.0013 Å.
KALPHA1_TOLERANCE = 0.0005
# "1.5418", "0.7107": quotes of the weighted mean scatter by 0.00015 Å.
MEAN_TOLERANCE = 0.0002
# Who writes 1.54 may mean 1.5406: half a unit of the second decimal. A number this near to a tube's lines is never
# taken for a synchrotron's; "1.5" or "0.7" are further off, and beamlines do set such wavelengths.
NEAR = 0.005
FOURTH_DECIMAL = 0.00005001  # Å: half a unit of it
WAVELENGTH_RANGE = (0.1, 3.0)  # Å, what powder diffractometers and beamlines use
KEV_ANGSTROM = 12.398420  # hc in keV·Å (CODATA 2018)
# Crystals of monochromators: spacing in Å, and whether they are perfect (dynamical theory: |cos 2θ_M|) or mosaic
# (cos²2θ_M): International Tables C, 6.2.2. Spacings from a = 5.6579 (Ge), 5.4310 (Si), 4.0270 (LiF) and 3.5671 Å (C).
MONOCHROMATORS: dict[str, tuple[float, bool]] = {
    "graphite": (3.354, False),  # 002
    "Ge": (3.2666, True),  # 111
    "Ge220": (2.0004, True),
    "Si": (3.1356, True),  # 111
    "Si220": (1.9201, True),
    "LiF": (2.0135, False),  # 200
    "quartz": (3.3434, True),  # 10-11
    "diamond": (2.0595, True),  # 111
}
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
LINE_NAME = re.compile(r"(?P<element>[a-z]{1,2})(?P<shell>[kl])(?P<line>a|α|alpha|b|β|beta)(?P<number>1|2|3|12|13)?")
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

    exact: the number is the wavelength itself, as for a calculated pattern: never replaced by a tube's, and a doublet
    only within 0.0005 Å of Kα1.

    Raises InputError naming what is accepted, and what a number in another unit would be.

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
    number, unit = _number_and_unit(plain)
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
    """The radiation that a wavelength in Å means, known to ± half_digit (half a unit of its last digit).

    See `parse_wavelength`.
    """
    if exact:
        return _exactly(wavelength)
    to_fourth = half_digit <= FOURTH_DECIMAL
    for element, (kalpha1, kalpha2) in {**TUBES, **RARE_TUBES}.items():
        if element in RARE_TUBES and not to_fourth:
            continue
        mean = _mean(kalpha1, kalpha2)
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


def _mean(kalpha1: float, kalpha2: float) -> float:
    return (kalpha1 + KALPHA2_WEIGHT * kalpha2) / (1 + KALPHA2_WEIGHT)


def kalpha(element: str) -> tuple[float, float]:
    """Kα1 and Kα2 of an anode, Å."""
    return TUBES.get(element) or RARE_TUBES[element]


def tube_of(wavelength: float) -> str | None:
    """The tube to whose Kα1, or mean of Kα1 and Kα2, a wavelength in Å belongs; None for none."""
    for element, (kalpha1, kalpha2) in {**TUBES, **RARE_TUBES}.items():
        mean = _mean(kalpha1, kalpha2)
        if abs(wavelength - kalpha1) <= 2 * KALPHA1_TOLERANCE or abs(wavelength - mean) <= KALPHA1_TOLERANCE:
            return element
    return None


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


# --- numbers and units -------------------------------------------------------------------------------------------


def unit_of(word: str) -> str | None:
    """ "å", "nm", "pm", "m", "kev" or "ev", however it is spelt; None for no unit of a wavelength or energy."""
    return _UNIT_NAMES.get(word.lower())


def in_angstrom(number: str, unit: str) -> tuple[float, float]:
    """(wavelength, half a unit of the last digit given), both Å. unit: as `unit_of` gives it.

    Zeros at the end say nothing: programs write 1.540000 for 1.54.
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


_NUMBER_AND_UNIT = re.compile(
    r"(?P<number>-?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:e[-+]?\d+)?)\s*(?P<unit>[^\W\d_]+)?", re.IGNORECASE
)


def _number_and_unit(text: str) -> tuple[str | None, str | None]:
    """("1.5406", "å") of "1.5406 Å"; no unit: None; no number, or an unknown unit: (None, None)."""
    found = _NUMBER_AND_UNIT.fullmatch(text) if len(text) <= 64 else None
    if found is None:
        return None, None
    unit = None if found["unit"] is None else unit_of(found["unit"])
    return (None, None) if found["unit"] is not None and unit is None else (found["number"], unit)


# --- monochromators ----------------------------------------------------------------------------------------------


def behind_monochromator(radiation: Radiation, monochromator: str | float) -> Radiation:
    """The tube's radiation with the polarisation that a crystal monochromator leaves, before or behind the sample.

    monochromator: a crystal (graphite, Ge, Ge220, Si, Si220, LiF, quartz, diamond), its 2θ_M in degrees, or none.
    K = cos²2θ_M for a mosaic crystal and for an angle, |cos 2θ_M| for a perfect one (International Tables C, 6.2.2).
    A perfect crystal may have taken away Kα2: the data decide.

    Raises InputError for another crystal, an angle outside 0 to 180°, or a wavelength out of the crystal's reach.

    >>> round(behind_monochromator(parse_wavelength("CuKa"), "graphite").polarisation, 3)
    0.8
    """
    plain = unicodedata.normalize("NFKC", str(monochromator)).strip().rstrip("°").strip()
    if plain.lower() in ("none", "no"):
        return radiation
    crystal = crystal_named(plain)
    perfect = crystal is not None and MONOCHROMATORS[crystal][1]
    if crystal is not None:
        spacing = MONOCHROMATORS[crystal][0]
        if sine_of_d(spacing, radiation.wavelength) >= 1:
            raise InputError(f"a {crystal} monochromator (d = {spacing:g} Å) cannot reflect {radiation.wavelength:g} Å")
        angle = reflection_angle(spacing, radiation.wavelength)
    else:
        number, unit = _number_and_unit(plain)
        if number is None or unit is not None:
            known = ", ".join(MONOCHROMATORS)
            raise InputError(f"monochromator {monochromator!r} is not known: give {known}, its 2θ in degrees, or none")
        angle = in_angstrom(number, "å")[0]
    if not 0 < angle < 180:
        raise InputError(f"monochromator angle {angle:g}: give 2θ of the crystal, between 0 and 180 degrees")
    cosine = abs(math.cos(math.radians(angle)))
    open_question = perfect and len(radiation.lines) > 1
    return replace(
        radiation,
        polarisation=cosine if perfect else cosine**2,
        kalpha2_known=radiation.kalpha2_known and not open_question,
    )


def monochromated(radiation: Radiation, given: str | None, own: str | None) -> Radiation:
    """With the monochromator given for this pattern, else the file's, else that of the user's own diffractometer.

    Raises InputError where one is given for what is no tube, and as `behind_monochromator`.
    """
    if given is None:
        said_by_file = radiation.polarisation != 1.0
        return radiation if own is None or said_by_file else behind_monochromator(radiation, own)
    if radiation.polarisation == 0:
        raise InputError(
            f"--monochromator is for an X-ray tube, and {radiation.wavelength:g} Å is a synchrotron's wavelength,"
            " polarised already; leave it out, or check --wavelength"
        )
    return behind_monochromator(replace(radiation, polarisation=1.0), given)


def crystal_named(text: str) -> str | None:
    """The key of MONOCHROMATORS for "Ge(111)", "pyrolytic graphite", "HOPG", "silicon 220" ...; None for none."""
    compact = "".join(c for c in text.lower() if c.isalnum())
    names = {"pyrolyticgraphite": "graphite", "hopg": "graphite", "pg": "graphite", "germanium": "Ge", "silicon": "Si"}
    names |= {"lithiumfluoride": "LiF", "sio2": "quartz"}
    name, plane = compact.rstrip("0123456789"), compact.lstrip("abcdefghijklmnopqrstuvwxyz")
    name = names.get(name, next((key for key in MONOCHROMATORS if key.lower() == name), ""))
    own = {"graphite": ("002", "0002", "2"), "Ge": ("111", "1"), "Si": ("111", "1"), "LiF": ("200",)}
    own |= {"quartz": ("101", "1011"), "diamond": ("111",)}
    if plane in ("", *own.get(name, ())):
        return name or None
    return name + plane if name + plane in MONOCHROMATORS else None

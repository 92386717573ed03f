"""What the user, or a file, says about the X-rays, as a `Radiation`."""

from __future__ import annotations

import re
from dataclasses import replace

from crystalnet.records import InputError, Radiation

# Kα1, Kα2 in Å. Hölzer et al., Phys. Rev. A 56, 4554 (1997) for Cr, Fe, Co, Cu (Cu rounded as in NIST certificates);
# Deslattes et al., Rev. Mod. Phys. 75, 35 (2003) for Mo and Ag. Both as in International Tables C, 4.2.2.
TUBES: dict[str, tuple[float, float]] = {
    "Cr": (2.289726, 2.293651),
    "Fe": (1.936041, 1.939973),
    "Co": (1.788996, 1.792835),
    "Cu": (1.540593, 1.544427),
    "Mo": (0.709317, 0.713607),
    "Ag": (0.559422, 0.563813),
}
KALPHA2_WEIGHT = 0.5
# People quote Kα1 to four decimals and from older tables; the gap to the mean of the doublet is at least 0.0013 Å.
KALPHA1_TOLERANCE = 0.0005
# "1.5418", "1.542", "0.7107": quotes of the weighted mean scatter by 0.00015 Å; 0.711, the paper's line, is outside.
MEAN_TOLERANCE = 0.0002
WAVELENGTH_RANGE = (0.1, 3.0)  # Å, what powder diffractometers and beamlines use

_NAME = re.compile(r"(?P<tube>cr|fe|co|cu|mo|ag)(?:k(?:a|α|alpha)?(?P<line>1|12|1\+2|1,2)?)?", re.IGNORECASE)
_ACCEPTED = (
    "CuKa (doublet), CuKa1 (single line), the same for Mo, Co, Fe, Cr and Ag, "
    f"or a number from {WAVELENGTH_RANGE[0]:g} to {WAVELENGTH_RANGE[1]:g} in Å"
)


def parse_wavelength(text: str | float) -> Radiation:
    """The radiation meant by `CuKa`, `Mo Kα1`, `1.5406` ...

    A tube's name means its doublet (weights 2:1), with `1` only Kα1. A number within 0.0005 Å of a tube's Kα1
    leaves it to the data whether Kα2 is there (`kalpha2_known=False`); one within 0.0002 Å of the weighted mean
    means the doublet; any other is a single line, taken as a synchrotron's (polarisation 0) unless a tube is near.

    Raises InputError naming what is accepted.

    >>> parse_wavelength("CuKa").lines
    ((1.540593, 1.0), (1.544427, 0.5))
    >>> parse_wavelength("Mo Kα1").lines
    ((0.709317, 1.0),)
    >>> parse_wavelength(1.5406).kalpha2_known  # the data will tell
    False
    """
    if isinstance(text, str):
        compact = re.sub(r"[\s_]|(?<=[a-z])-", "", text, flags=re.IGNORECASE)
        name = _NAME.fullmatch(compact)
        if name:
            kalpha1, kalpha2 = TUBES[name["tube"].capitalize()]
            return Radiation(((kalpha1, 1.0),)) if name["line"] == "1" else doublet(kalpha1, kalpha2)
        try:
            wavelength = float(re.sub(r"(?:å|Å|a|angstroms?)$", "", compact, flags=re.IGNORECASE).replace(",", "."))
        except ValueError:
            raise InputError(f"wavelength {text!r} is not understood: give {_ACCEPTED}") from None
    else:
        wavelength = float(text)
    low, high = WAVELENGTH_RANGE
    if not low <= wavelength <= high:  # also refuses nan
        raise InputError(f"wavelength {wavelength:g} Å is out of range: give {_ACCEPTED}")
    for kalpha1, kalpha2 in TUBES.values():
        if abs(wavelength - kalpha1) <= KALPHA1_TOLERANCE:
            return Radiation(((wavelength, 1.0), (wavelength * kalpha2 / kalpha1, KALPHA2_WEIGHT)), kalpha2_known=False)
        if abs(wavelength - (kalpha1 + KALPHA2_WEIGHT * kalpha2) / (1 + KALPHA2_WEIGHT)) <= MEAN_TOLERANCE:
            return doublet(kalpha1, kalpha2)
        if kalpha1 <= wavelength <= kalpha2 + KALPHA1_TOLERANCE:
            return Radiation(((wavelength, 1.0),))
    return Radiation(((wavelength, 1.0),), polarisation=0.0)


def doublet(kalpha1: float, kalpha2: float, *, known: bool = True) -> Radiation:
    """Kα1 + Kα2 at 2:1; `known=False` leaves the presence of Kα2 to the data."""
    return Radiation(((kalpha1, 1.0), (kalpha2, KALPHA2_WEIGHT)), kalpha2_known=known)


def assumed_cu() -> Radiation:
    """Cu Kα, taken because nobody said: `assumed=True`, so that the caller warns. The data decide on Kα2."""
    return replace(doublet(*TUBES["Cu"], known=False), assumed=True)

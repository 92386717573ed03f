"""The characteristic lines of X-ray tubes, by name and by number."""

from __future__ import annotations

import re

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
LINE_NAME = re.compile(r"(?P<element>[a-z]{1,2})(?P<shell>[kl])(?P<line>a|α|alpha|b|β|beta)(?P<number>1|2|3|12|13)?")


def kalpha(element: str) -> tuple[float, float]:
    """Kα1 and Kα2 of an anode, Å."""
    return TUBES.get(element) or RARE_TUBES[element]


def mean_of_doublet(kalpha1: float, kalpha2: float) -> float:
    return (kalpha1 + KALPHA2_WEIGHT * kalpha2) / (1 + KALPHA2_WEIGHT)


def tube_of(wavelength: float) -> str | None:
    """The tube to whose Kα1, or mean of Kα1 and Kα2, a wavelength in Å belongs; None for none."""
    for element, (kalpha1, kalpha2) in {**TUBES, **RARE_TUBES}.items():
        mean = mean_of_doublet(kalpha1, kalpha2)
        if abs(wavelength - kalpha1) <= 2 * KALPHA1_TOLERANCE or abs(wavelength - mean) <= KALPHA1_TOLERANCE:
            return element
    return None

"""The facts of a header as one radiation: the more specific fact wins.

Kα1 as a number comes first, then any other wavelength or energy, then the tube's line by name, then the anode.
"""

from __future__ import annotations

from dataclasses import replace

from crystalnet.records import InputError, Radiation
from crystalnet.xrd.emission_lines import TUBES, kalpha, tube_of
from crystalnet.xrd.header.facts import Facts
from crystalnet.xrd.monochromator import behind_monochromator
from crystalnet.xrd.radiation import doublet, radiation_of_line, radiation_of_number

KALPHA2_RATIO = (1.0015, 1.01)  # Kα2 / Kα1 from Cr to Ag is 1.0017 to 1.0079; the mean of a doublet is below


def decided(facts: Facts) -> Radiation | None:
    """The radiation that the facts together say; None where they say none."""
    named = _named(facts)
    alphas = [n for n in facts.bare if not _is_beta(n, facts)]
    number = next(iter((*facts.alpha1, *alphas, *facts.mean, *facts.energy, *facts.bare)), None)
    if number is None and facts.alpha2:
        element = tube_of(facts.alpha2[0][0] * TUBES["Cu"][0] / TUBES["Cu"][1])
        number = None if element is None else (kalpha(element)[0], 0.0)
    if number is None:
        radiation = named
    elif facts.synchrotron:
        return Radiation(((number[0], 1.0),), polarisation=0.0)
    else:
        radiation = _with_kalpha2(radiation_of_number(*number), number[0], facts)
    if radiation is None:
        return None
    single = facts.stripped or facts.no_alpha2 or facts.ratio == 0
    single |= not facts.alpha2 and not facts.names_alpha2 and (facts.only_alpha1 or _says_kalpha1(facts))
    if single and (len(radiation.lines) > 1):
        radiation = replace(radiation, lines=radiation.lines[:1], kalpha2_known=True)
    return polarised(radiation, facts)


def _with_kalpha2(radiation: Radiation, wavelength: float, facts: Facts) -> Radiation:
    """The doublet as the file has it, where it gives the second line as well."""
    low, high = KALPHA2_RATIO
    second = next((v for v, _ in (*facts.alpha2, *facts.bare) if low < v / wavelength < high), None)
    if any(abs(v - wavelength) < 1e-6 for v, _ in facts.alpha2):  # a single wavelength written twice
        facts.no_alpha2 = True
    own = abs(radiation.wavelength - wavelength) > 1e-6  # rounded, or a mean: the tube's own lines stand for it
    return radiation if second is None or own else doublet(wavelength, second, known=False)


def _is_beta(number: tuple[float, float], facts: Facts) -> bool:
    """Is it a tube's Kβ, listed without a name before Kα?"""
    found = radiation_of_number(*number)
    return len(found.lines) == 1 and found.polarisation == 1.0 and any(tube_of(v) for v, _ in facts.bare)


def _named(facts: Facts) -> Radiation | None:
    """The radiation of the lines and anodes that are named, Kα before Kβ."""
    for lines in ("aα", "bβl"):
        for found in facts.tubes:
            if found["line"][0] in lines and (found["shell"] == "k" or not facts.anode):
                element = found["element"].capitalize()
                both = facts.names_alpha2 and lines[0] == "a" and found["shell"] == "k"
                return doublet(*kalpha(element)) if both else radiation_of_line(found)
    return None if facts.anode is None else doublet(*kalpha(facts.anode), known=False)


def _says_kalpha1(facts: Facts) -> bool:
    """Is Kα1 named with its element, and nowhere the doublet or Kα2?"""
    numbers = [found["number"] for found in facts.tubes if found["line"][0] in "aα"]
    return bool(numbers) and all(number == "1" for number in numbers)


def polarised(radiation: Radiation, facts: Facts) -> Radiation:
    """With the monochromator of the file; a synchrotron's beam is polarised without."""
    if radiation.polarisation != 1.0:
        return radiation
    if facts.polarisation is not None:
        return replace(radiation, polarisation=facts.polarisation)
    if facts.monochromator is None:
        return radiation
    try:
        return behind_monochromator(radiation, facts.monochromator)
    except InputError:  # a crystal that cannot reflect this wavelength is none of this beam's
        return radiation

"""What the lines of a header say about the radiation: names and numbers, not yet a decision."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from crystalnet.xrd.emission_lines import LINE_NAME, WAVELENGTH_RANGE, tube_of
from crystalnet.xrd.header.vocabulary import (
    ALPHA,
    ALPHA1,
    ALPHA2,
    ANODE,
    BETA,
    CRYSTALS,
    DENIED,
    ELEMENT_NAMES,
    ENERGY,
    FILLERS,
    HINTS,
    MEAN,
    NO_ADJECTIVE,
    NO_QUANTITY,
    OTHER_UNITS,
    STRIPPED,
    SYNCHROTRON,
    WAVELENGTH,
)
from crystalnet.xrd.header.words import NAME_WORDS, SKIPPED, NamedNumber, Token, named_numbers, tokens_of
from crystalnet.xrd.monochromator import crystal_named
from crystalnet.xrd.radiation import radiation_of_line, radiation_of_number
from crystalnet.xrd.units import ENERGY_UNITS, in_angstrom, unit_of

MAX_LINE = 20_000  # characters; what follows in a line is data, not a header


@dataclass
class Facts:
    """What the lines of a file say of its radiation.

    Wavelengths are pairs (Å, half a unit of the last digit given), in the order of the file. An energy stands as the
    wavelength that it means.
    """

    alpha1: list[tuple[float, float]] = field(default_factory=list)
    alpha2: list[tuple[float, float]] = field(default_factory=list)
    bare: list[tuple[float, float]] = field(default_factory=list)
    mean: list[tuple[float, float]] = field(default_factory=list)
    energy: list[tuple[float, float]] = field(default_factory=list)
    tubes: list[re.Match[str]] = field(default_factory=list)  # matches of LINE_NAME
    anode: str | None = None
    ratio: float | None = None  # Kα2 / Kα1
    no_alpha2: bool = False  # the file gives Kα2 as 0, or as Kα1
    only_alpha1: bool = False  # Kα1 named as the radiation, with its element or without
    names_alpha2: bool = False  # and Kα2 as well
    stripped: bool = False
    synchrotron: bool = False
    monochromator: str | None = None  # as `behind_monochromator` takes it
    polarisation: float | None = None  # K itself
    unit: str | None = None  # of wavelengths, on a line of its own


def read_line(line: str, facts: Facts) -> None:
    """Add what one line says."""
    small = line.lower()
    if not any(hint in small for hint in HINTS):
        return
    tokens = tokens_of(line)
    words = [t.text for t in tokens if t.text not in SKIPPED]
    named = set(words)
    if named & SYNCHROTRON or "bending magnet" in small:
        facts.synchrotron = True
    if any(w.startswith("monochr") or w == "mono" for w in words) or "cthm" in named:
        _monochromator(words, tokens, facts)
    quantities = [_quantity(number, facts) for number in named_numbers(tokens)]
    if _stripped(words):
        facts.stripped = True
    elif named & ALPHA2 and not any(quantities):
        facts.names_alpha2 = True
    _tube_names(words, facts)
    if not any(quantities):
        if "unit" in named and named & (WAVELENGTH | {"length"} | {"wl"}):
            facts.unit = next((u for u in map(unit_of, words[::-1]) if u), facts.unit)
        if named & ALPHA1 and not named & ALPHA2:
            facts.only_alpha1 = True
    _anode(words, facts)


def _quantity(number: NamedNumber, facts: Facts) -> bool:
    """Add a number that its words make a wavelength, an energy or the ratio of Kα2; False where they do not."""
    words, digits, unit = number
    flat = "".join(words)
    if unit in OTHER_UNITS:
        return False
    if "ratio" in flat and any(part in flat for part in ("alpha2", "α2", "ka2", "wl", "wave")):
        facts.ratio = in_angstrom(digits, "å")[0]
        return True
    kind = _kind(words)
    measure = unit_of(unit) if unit else None
    if measure is None:
        measure = next((u for w in reversed(words) if len(w) > 1 and (u := unit_of(w)) is not None), None)
    if words[-1] == "e" or words[-2:-1] == ["e"]:  # "E = 15 keV", "E (eV): 17000"; without a unit E is anything
        kind = "energy" if measure in ENERGY_UNITS else ""
    if kind == "energy" or (kind and measure in ENERGY_UNITS):
        value = in_angstrom(digits, "å")[0]
        by_size = "kev" if 4 <= value <= 124 else "ev" if 4e3 <= value <= 124e3 else None
        measure = by_size if measure is None else measure
        return measure in ENERGY_UNITS and _kept(in_angstrom(digits, measure), facts.energy)
    if not kind:
        return False
    if in_angstrom(digits, "å")[0] == 0:  # for Kα2 it says that the doublet was not used
        facts.no_alpha2 |= _is_alpha(words, "2", ALPHA2)
        return True
    if measure is None and not any(c in digits for c in ".,e"):
        return False  # an integer is a count or an index
    return _wavelength(words, digits, measure, kind, facts)


def _kind(words: list[str]) -> str:
    """What a number after these words is: "wavelength", "energy", that of a "line" named just before it, or ""."""
    for i in reversed(range(len(words))):
        word = words[i].rstrip("0123456789")
        wave = word in WAVELENGTH or word.startswith("wavelen") or word.startswith("labda")
        if wave or word in ENERGY or word.endswith("energy"):
            kind = "wavelength" if wave else "energy"
            if word in ("kev", "ev") and words[i - 1 : i] and _kind(words[:i]):
                return _kind(words[:i])  # the unit of another word
            spoilt = not NO_QUANTITY.isdisjoint(words[i + 1 :]) or not NO_ADJECTIVE.isdisjoint(words[max(i - 2, 0) : i])
            return "" if spoilt or "threshold" in words[i] else kind
    own = [w for w in words if unit_of(w) is None]
    named = bool(own) and (own[-1] in ALPHA1 | ALPHA2 | BETA | ALPHA or LINE_NAME.fullmatch(own[-1]) is not None)
    named |= len(own) > 1 and own[-1] in ("alpha", "α", "a") and own[-2].endswith("k")
    return "line" if named else ""


def _wavelength(words: list[str], digits: str, unit: str | None, kind: str, facts: Facts) -> bool:
    """Add a wavelength under its name: Kα1, Kα2, Kβ, a mean, or bare; False where the number cannot be one."""
    value, half_digit = in_angstrom(digits, unit or facts.unit or "å")
    if value < 1e-8 or (unit == "m" and not WAVELENGTH_RANGE[0] <= value <= WAVELENGTH_RANGE[1]):
        value, half_digit = in_angstrom(digits, "m")  # pyFAI and its kin write metres without saying so
    if unit is None and facts.unit is None and tube_of(value * 10) is not None and half_digit <= 5e-4:
        value, half_digit = value * 10, half_digit * 10  # nm, unsaid
    if kind == "line" and radiation_of_number(value, half_digit).polarisation == 0:
        return False  # "Cu Kα, 0.5 mm slit": after a line's name only that line's number counts
    if not BETA.isdisjoint(words):
        return _is_sensible(value)  # understood, but no wavelength of the Kα lines
    if not MEAN.isdisjoint(words):
        return _kept((value, half_digit), facts.mean)
    first, second = _is_alpha(words, "1", ALPHA1), _is_alpha(words, "2", ALPHA2)
    if first == second:
        return _kept((value, half_digit), facts.bare)
    return _kept((value, half_digit), facts.alpha1 if first else facts.alpha2)


def _is_alpha(words: list[str], index: str, names: frozenset[str]) -> bool:
    """Do the words name Kα1 (index 1) or Kα2: by a name of theirs, or as `_WL1`, `lambda1`, `WAVE_LENGTH1`?"""
    if not names.isdisjoint(words) or f"alpha{index}" in "".join(words):
        return True
    return any(
        w.rstrip("0123456789") in WAVELENGTH | {"length"} and w[len(w.rstrip("0123456789")) :] == index for w in words
    )


def _kept(value: tuple[float, float], where: list[tuple[float, float]]) -> bool:
    """Add a wavelength that instruments use; False for any other."""
    sensible = _is_sensible(value[0])
    if sensible:
        where.append(value)
    return sensible


def _is_sensible(wavelength: float) -> bool:
    return WAVELENGTH_RANGE[0] <= wavelength <= WAVELENGTH_RANGE[1]


def _tube_names(words: list[str], facts: Facts) -> None:
    """Add lines by name: "CuKα1", "Cu K-alpha", "Mo K\\a"; not "Kβ filter"."""
    for i, word in enumerate(words):
        if len(word) > 10 or not word[0].isalpha():
            continue
        symbol = ELEMENT_NAMES.get(word, word).lower()
        for length in (1, 2, 3):
            found = LINE_NAME.fullmatch(symbol + "".join(words[i + 1 : i + length]))
            if found is None or (length > 1 and i + length > len(words)) or radiation_of_line(found) is None:
                continue
            following = words[i + length : i + length + 1]
            if not (following and following[0].startswith("filter")):
                facts.tubes.append(found)
            break


def _anode(words: list[str], facts: Facts) -> None:
    """Add the anode: "Target: Co", "Anode material,Cu", "copper tube"; the first one said holds."""
    for i, word in enumerate(words):
        if facts.anode is not None:
            return
        if word not in ANODE:
            continue
        following = [w for w in words[i + 1 : i + 7] if w not in FILLERS and w not in ANODE]
        filtered = following[1:2] == ["filtered"] or (len(following) == 2 and following[1].startswith("filter"))
        candidates = [] if filtered else following[:1]  # "Cu radiation, Ni filter"; but "Anode: Cu, filter: Ni"
        for near in (*candidates, *words[max(i - 1, 0) : i]):
            if near in ELEMENT_NAMES and (not near.isdigit() or (word in ("target", "anode") and near in candidates)):
                facts.anode = ELEMENT_NAMES[near]
                break


def _stripped(words: list[str]) -> bool:
    """Do the words say "Kα2 stripped", "Ka2 removed", "Rachinger" or "without Kα2", and not "Kα2 not stripped"?"""
    alpha2 = [i for i, w in enumerate(words) if w in ALPHA2]
    if "rachinger" in words or (alpha2 and not STRIPPED.isdisjoint(words)):
        return DENIED.isdisjoint(words) and words[-1] != "0"
    return any(words[i - 1 : i] in (["without"], ["no"]) or words[i + 1 : i + 2] == ["free"] for i in alpha2)


def _monochromator(words: list[str], tokens: list[Token], facts: Facts) -> None:
    """Add the monochromator: a crystal, its 2θ_M, or K = cos²2θ_M itself (FullProf's Cthm)."""
    for name, digits, _ in named_numbers(tokens):
        value = in_angstrom(digits, "å")[0]
        if "cthm" in name and 0 < value <= 1:
            facts.polarisation = value
        mono = any(w.startswith("monochr") or w == "mono" for w in words)
        angular = [w for w in name if w in ("angle", "theta", "2theta", "twotheta", "tth", "θ", "th")]
        if mono and angular and 0 < value < 180 and "." in digits.replace(",", "."):
            half = angular[-1] in ("theta", "θ", "th") and not any(
                t.text == "2" or t.text in ("two", "2θ") for t in tokens
            )
            facts.monochromator = f"{2 * value if half else value:g}"
            return
    at = next((i for i, w in enumerate(words) if w.startswith("mono")), 0)
    crystals = [i for i, w in enumerate(words) if w.rstrip("0123456789") in CRYSTALS and abs(i - at) <= NAME_WORDS]
    if crystals:
        i = min(crystals, key=lambda i: (abs(i - at), -i))
        plane = "".join(w for w in words[i + 1 : i + 4] if w.isdigit())[:3]
        facts.monochromator = crystal_named(words[i] + plane) or crystal_named(words[i]) or facts.monochromator

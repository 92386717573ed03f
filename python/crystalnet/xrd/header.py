"""The radiation that a pattern file states: in comments, in a vendor's fields, in a CIF, in XML.

Every line becomes words and numbers. A number belongs to the words before it; the words say which quantity it is
(`_WL1=`, `K-Alpha1 wavelength,`, `lambda:`, `Energy (keV) =`). Tubes, monochromators and stripped Kα2 are words too.
What a file says several times or contradictorily is decided in one place, `_decided`: Kα1 as a number, then any other
wavelength or energy, then the tube's line by name, then the anode.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from crystalnet.records import InputError, Radiation
from crystalnet.xrd.radiation import (
    ENERGY_UNITS,
    LINE_NAME,
    RARE_TUBES,
    TUBES,
    WAVELENGTH_RANGE,
    behind_monochromator,
    crystal_named,
    doublet,
    in_angstrom,
    kalpha,
    radiation_of_line,
    radiation_of_number,
    tube_of,
    unit_of,
)

MAX_LINE = 20_000  # characters; what follows in a line is data, not a header
KALPHA2_RATIO = (1.0015, 1.01)  # Kα2 / Kα1 from Cr to Ag is 1.0017 to 1.0079; the mean of a doublet is below
NAME_WORDS = 8  # before a number: further back stands another statement
# Each alternative consumes what it looks at, so that a line of any content takes time in proportion to its length.
_TOKEN = re.compile(r"\d+(?:[.,]\d+)?(?:[ed][-+]?\d+)?|\.\d+|[^\W\d_]+\d*|[^\s\w]|_")
_INDEXED = re.compile(r"k?(?:alpha|beta|α|β)|ka|kb|length|wavelength|lambda|λ|wl")
_SKIPPED = frozenset("'\"=:_*#;!%/\\()[]{}<>|~^$&-,.`´?")
# Words that show at a glance whether a line can say anything about the radiation.
_HINTS = (
    *(
        "wave",
        "wellen",
        "lambda",
        "labda",
        "λ",
        "wl",
        "energy",
        "kev",
        "ev)",
        "anode",
        "target",
        "tube",
        "radiation",
        "source",
    ),
    *("ka", "kα", "kb", "kβ", "k-", "k_", "k a", "k α", "k b", "k\\", "alpha", "α", "xg", "monochr", "rachinger"),
    *("synchrotron", "undulator", "wiggler", "bending magnet", "beamline", "cthm", "w l", "ratio", "photon"),
)
_WAVELENGTH = frozenset(("wavelength", "wavelengths", "wave", "lambda", "labda", "λ", "wl", "lamda", "wellenlänge"))
_ENERGY = frozenset(("energy", "photon", "kev", "ev"))
_ALPHA = frozenset(("kalpha", "ka", "kα"))
_ALPHA1 = frozenset(("alpha1", "ka1", "kα1", "α1", "kalpha1", "a1"))
_ALPHA2 = frozenset(("alpha2", "ka2", "kα2", "α2", "kalpha2", "a2"))
_BETA = frozenset(("beta", "beta1", "kb", "kb1", "kβ", "kβ1", "β", "β1", "kbeta", "kbeta1", "wl3"))
# A number after these words is no wavelength, though the word "wavelength" stands there.
_NO_QUANTITY = frozenset(
    (
        *("range", "date", "time", "min", "max", "minimum", "maximum", "step", "steps", "start", "stop", "end", "scan"),
        *("temperature", "count", "counts", "points", "number", "error", "esd", "sigma", "uncertainty", "resolution"),
        *("filter", "bandwidth", "spread", "threshold", "window", "edge", "voltage", "current", "distance", "offset"),
        *("dispersive", "dispersion", "gain", "discriminator", "lower", "upper", "theta", "angle", "file", "version"),
        *("code", "index", "id", "polarization", "polarisation", "pixel", "exposure", "thickness", "width", "fwhm"),
    )
)
# Nor is it one behind these: "min wavelength", "threshold energy".
_NO_ADJECTIVE = frozenset(
    ("min", "max", "minimum", "maximum", "lower", "upper", "start", "end", "stop", "threshold", "edge", "cutoff")
)
_MEAN = frozenset(("average", "mean", "avg", "averaged", "weighted"))
_OTHER_UNITS = frozenset(
    ("mm", "cm", "um", "µm", "μm", "kv", "ma", "deg", "s", "sec", "c", "kw", "w", "px", "pixel", "°", "%")
)
_ANODE = frozenset(("anode", "target", "tube", "radiation", "source", "anodematerial", "targetname", "tubematerial"))


_ANODE |= {"röntgenröhre", "tubeanode", "xraysource", "xrays"}


_FILLERS = frozenset(
    (
        "material",
        "element",
        "type",
        "name",
        "metal",
        "x",
        "ray",
        "xray",
        "is",
        "of",
        "the",
        "used",
        "sealed",
        "rotating",
    )
)
_ELEMENT_NAMES = {
    **{element.lower(): element for element in (*TUBES, *RARE_TUBES)},
    **{"copper": "Cu", "molybdenum": "Mo", "cobalt": "Co", "iron": "Fe", "chromium": "Cr", "silver": "Ag"},
    **{"gallium": "Ga", "nickel": "Ni", "zinc": "Zn", "manganese": "Mn", "kupfer": "Cu", "molybdän": "Mo"},
    **{"24": "Cr", "25": "Mn", "26": "Fe", "27": "Co", "28": "Ni", "29": "Cu", "30": "Zn", "31": "Ga"},
    **{"42": "Mo", "47": "Ag"},  # Rigaku's *TARGET is an atomic number
}
_SYNCHROTRON = frozenset(("synchrotron", "undulator", "wiggler", "beamline"))
_STRIPPED = frozenset(("stripped", "stripping", "strip", "removed", "subtracted", "eliminated", "rachinger", "removal"))


_STRIPPED |= {"subtraction", "elimination"}


_DENIED = frozenset(("not", "no", "off", "false", "none", "nein", "unstripped", "never"))
_CRYSTALS = frozenset(("graphite", "hopg", "ge", "germanium", "si", "silicon", "lif", "quartz", "diamond"))
_IGNORED_FIELDS = frozenset(("source_file", "format", "block", "sample", "x_label", "scan_axis", "scan", "scan_count"))


@dataclass
class _Facts:
    """What the lines say. Wavelengths: (Å, half a unit of the last digit) each, in the order of the file."""

    alpha1: list[tuple[float, float]] = field(default_factory=list)
    alpha2: list[tuple[float, float]] = field(default_factory=list)
    bare: list[tuple[float, float]] = field(default_factory=list)
    mean: list[tuple[float, float]] = field(default_factory=list)
    energy: list[tuple[float, float]] = field(default_factory=list)
    beta: list[tuple[float, float]] = field(default_factory=list)
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


def radiation_of_header(lines: Sequence[str]) -> Radiation | None:
    """The radiation in the comment and header lines of a text file; None where they say nothing.

    lines: everything that is no row of data, in any dialect: titles, `name: value`, `*KEY value`, `_KEY=value`,
    `KEY<tab>value`, `name,value`, JSON.

    >>> radiation_of_header(["Anode material,Cu", "K-Alpha1 wavelength,1.540598"]).wavelength
    1.540598
    >>> radiation_of_header(["# Cu Ka, Ka2 stripped"]).lines
    ((1.540593, 1.0),)
    >>> radiation_of_header(["# Energy = 30.0 keV"]).wavelength.__round__(4)
    0.4133
    """
    facts = _Facts()
    for line in lines:
        _read_line(line[:MAX_LINE], facts)
    return _decided(facts)


def radiation_of_fields(fields: Mapping[str, str]) -> Radiation | None:
    """The radiation in the fields that a library read from a vendor's file; None where they say nothing.

    fields: rietx's metadata (`wavelength`, `wavelength_alpha2`, `anode`, ...), or the vendor's own names. A file of a
    tube lists both lines of its doublet whatever the optics: the data decide on Kα2, unless it is given as 0.
    """
    return radiation_of_header([f"{name} = {value}" for name, value in fields.items() if name not in _IGNORED_FIELDS])


def radiation_of_xml(text: str) -> Radiation | None:
    """The radiation in PANalytical's XML: wavelengths, anode, monochromator; None where it says nothing.

    `usedWavelength intended="K-Alpha 1"` is what their programs write for every scan, filters and all, not that Kα2
    was taken away: the data decide.
    """
    from xml.etree import ElementTree

    names = {"kAlpha1": "alpha1 wavelength", "kAlpha2": "alpha2 wavelength", "kBeta": "beta wavelength"}
    names |= {"ratioKAlpha2KAlpha1": "alpha2 ratio", "anodeMaterial": "anode"}
    said: dict[str, str] = {}
    try:
        root = ElementTree.fromstring(text.encode())
    except (ElementTree.ParseError, ValueError):
        return None
    for element in root.iter():
        tag = element.tag.rpartition("}")[2]
        if tag in names:
            said.setdefault(names[tag], (element.text or "").strip())
        elif tag == "monochromator":
            words = [element.get("name", ""), *(child.text for child in element.iter() if child.text)]
            said.setdefault("monochromator", " ".join(" ".join(words).split()))
    return radiation_of_fields(said)


def radiation_of_cif(name: str, text: str) -> Radiation | None:
    """The radiation in the data blocks of a pdCIF; None where they say nothing.

    name: of the file, for messages. Raises InputError where a block holds neutron data.
    """
    import gemmi

    for block in gemmi.cif.read_string(text):
        if _says(block, "_diffrn_radiation_probe", "neutron") or _says(block, "_diffrn_radiation_type", "neutron"):
            raise InputError(f"{name}: holds neutron data; give an X-ray pattern")
        found = _cif_block(block)
        if found is not None:
            return found
    return None


def _says(block: object, tag: str, word: str) -> bool:
    return any(word in value.lower() for value in block.find_values(tag))  # type: ignore[attr-defined]


def _cif_block(block: object) -> Radiation | None:
    import gemmi

    def texts(*tags: str) -> list[str]:
        found = [value for tag in tags for value in block.find_values(tag)]  # type: ignore[attr-defined]
        return [gemmi.cif.as_string(value) for value in found if value not in ("?", ".")]

    facts = _Facts()
    for said in texts("_diffrn_radiation_type", "_diffrn_radiation.type", "_diffrn_source", "_diffrn_source_type"):
        _read_line(f"radiation: {said}", facts)
    for target in texts("_diffrn_source_target"):
        _read_line(f"target: {target}", facts)
    for crystal in texts(
        "_diffrn_radiation_monochromator", "_pd_instr_monochr_pre_spec", "_pd_instr_monochr_post_spec"
    ):
        _read_line(f"monochromator: {crystal}", facts)
    for angle in texts("_pd_instr_2theta_monochr_pre", "_pd_instr_2theta_monochr_post"):
        _read_line(f"monochromator 2theta = {angle}", facts)
    for ratio in texts("_diffrn_radiation_polarisn_ratio"):
        # The dictionary's ratio is I⊥/I∥ = 1/K, at least 1; GSAS writes the fraction I⊥/(I⊥ + I∥) there.
        value = gemmi.cif.as_number(ratio)
        if value >= 1:
            facts.polarisation = 1 / value
        elif 0.5 <= value < 1:
            facts.polarisation = (1 - value) / value
    wavelengths = [
        (value.split("(")[0], gemmi.cif.as_number(value))
        for value in texts("_diffrn_radiation_wavelength", "_diffrn_radiation_wavelength.value")
    ]
    wavelengths = [w for w in wavelengths if WAVELENGTH_RANGE[0] <= w[1] <= WAVELENGTH_RANGE[1]]
    if len(wavelengths) > 1:
        # Authors list the tube's doublet behind a Kα1 monochromator too: the data decide.
        weights = [gemmi.cif.as_number(w) for w in texts("_diffrn_radiation_wavelength_wt")]
        if len(weights) != len(wavelengths) or not all(w >= 0 for w in weights) or not any(weights):
            weights = [2.0, 1.0] + [0.0] * (len(wavelengths) - 2)
        pairs = sorted(zip([w for _, w in wavelengths], weights, strict=True), key=lambda line: -line[1])
        lines = tuple((value, weight / pairs[0][1]) for value, weight in pairs if weight > 0)
        return _polarised(Radiation(lines, kalpha2_known=len(lines) == 1), facts)
    for digits, _ in wavelengths:
        facts.bare.append(in_angstrom(digits, "å"))
    return _decided(facts)


# --- lines -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Token:
    """text in small letters; glued: nothing stands between it and the token before."""

    text: str
    glued: bool

    @property
    def number(self) -> bool:
        return self.text[0].isdigit() or (self.text[0] == "." and len(self.text) > 1)


def _tokens(line: str) -> list[_Token]:
    plain = unicodedata.normalize("NFKC", line).lower()
    out: list[_Token] = []
    end = 0
    for found in _TOKEN.finditer(plain):
        text, glued = found[0], found.start() == end
        end = found.end()
        if text in ("1", "2", "3", "12") and _joined(out, text, glued):
            continue
        out.append(_Token(text, glued))
    return out


def _joined(out: list[_Token], index: str, glued: bool) -> bool:
    """Join an index to the word it belongs to: "K-Alpha 1", "lambda_1", "K\\a~1~", "Kα1,2"; whether it does."""
    back = len(out) - 1
    while back >= 0 and len(out) - back <= 2 and out[back].text in "_-~{\\":
        back -= 1
    if back < 0:
        return False
    before = out[back]
    if _INDEXED.fullmatch(before.text) or (before.text == "a" and back < len(out) - 1):
        out[back:] = [_Token(before.text + index, before.glued)]
        return True
    if index == "2" and glued and back and before.text in ",+/&" and out[back - 1].text.endswith(("a1", "α1")):
        out[back - 1 :] = [_Token(out[back - 1].text + "2", out[back - 1].glued)]
        return True
    return False


def _read_line(line: str, facts: _Facts) -> None:
    """Add what one line says."""
    small = line.lower()
    if not any(hint in small for hint in _HINTS):
        return
    tokens = _tokens(line)
    words = [t.text for t in tokens if t.text not in _SKIPPED]
    named = set(words)
    if named & _SYNCHROTRON or "bending magnet" in small:
        facts.synchrotron = True
    if any(w.startswith("monochr") or w == "mono" for w in words) or "cthm" in named:
        _monochromator(words, tokens, facts)
    numbers = list(_numbers(tokens))
    quantities = [_quantity(words, digits, unit, facts) for words, digits, unit in numbers]
    if _stripped(words):
        facts.stripped = True
    elif named & _ALPHA2 and not any(quantities):
        facts.names_alpha2 = True
    _tube_names(words, facts)
    if not any(quantities):
        if "unit" in named and named & (_WAVELENGTH | {"length"} | {"wl"}):
            facts.unit = next((u for u in map(unit_of, words[::-1]) if u), facts.unit)
        if named & _ALPHA1 and not named & _ALPHA2:
            facts.only_alpha1 = True
    _anode(words, facts)


def _numbers(tokens: list[_Token]) -> Iterator[tuple[list[str], str, str | None]]:
    """(words before it in the line, digits, word after it) of every number that can be a quantity."""
    name: list[str] = []
    last: list[str] = []
    for i, token in enumerate(tokens):
        if not token.number:
            if token.text not in _SKIPPED:
                name.append(token.text)
            continue
        if name:
            last, name = name[-NAME_WORDS:], []
        following = (t for t in tokens[i + 1 : i + 5] if t.text not in _SKIPPED)
        unit = next(following, None)
        if last and not _part_of_more(tokens, i):
            yield last, token.text, None if unit is None or unit.number else unit.text


def _part_of_more(tokens: list[_Token], i: int) -> bool:
    """12.05.2020, 2020-05-12, 10:31, 1-2: a number of these is no quantity."""
    for step in (1, -1):
        near = tokens[i + step : i + step + 1] if i + step >= 0 else []
        next_but_one = tokens[i + 2 * step : i + 2 * step + 1] if i + 2 * step >= 0 else []
        joined = tokens[i + 1].glued if step == 1 and near else tokens[i].glued
        if not near or not joined:
            continue
        if near[0].number:
            return True
        outer = near[0] if step == -1 else next_but_one[0] if next_but_one else None
        if near[0].text in "-:" and next_but_one and next_but_one[0].number and outer is not None and outer.glued:
            return True
    return False


def _quantity(words: list[str], digits: str, unit: str | None, facts: _Facts) -> bool:
    """Add a number, where its words make it a wavelength, an energy or the ratio of Kα2; whether they do."""
    flat = "".join(words)
    if unit in _OTHER_UNITS:
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
        facts.no_alpha2 |= _is_alpha(words, "2", _ALPHA2)
        return True
    if measure is None and not any(c in digits for c in ".,e"):
        return False  # an integer is a count or an index
    return _wavelength(words, digits, measure, kind, facts)


def _kind(words: list[str]) -> str:
    """What a number after these words is: "wavelength", "energy", that of a "line" named just before it, or ""."""
    for i in reversed(range(len(words))):
        word = words[i].rstrip("0123456789")
        wave = word in _WAVELENGTH or word.startswith("wavelen") or word.startswith("labda")
        if wave or word in _ENERGY or word.endswith("energy"):
            kind = "wavelength" if wave else "energy"
            if word in ("kev", "ev") and words[i - 1 : i] and _kind(words[:i]):
                return _kind(words[:i])  # the unit of another word
            spoilt = not _NO_QUANTITY.isdisjoint(words[i + 1 :]) or not _NO_ADJECTIVE.isdisjoint(
                words[max(i - 2, 0) : i]
            )
            return "" if spoilt or "threshold" in words[i] else kind
    own = [w for w in words if unit_of(w) is None]
    named = bool(own) and (own[-1] in _ALPHA1 | _ALPHA2 | _BETA | _ALPHA or LINE_NAME.fullmatch(own[-1]) is not None)
    named |= len(own) > 1 and own[-1] in ("alpha", "α", "a") and own[-2].endswith("k")
    return "line" if named else ""


def _wavelength(words: list[str], digits: str, unit: str | None, kind: str, facts: _Facts) -> bool:
    """Add a number that is a wavelength under its name: Kα1, Kα2, Kβ, a mean, or bare; whether it can be one."""
    value, half_digit = in_angstrom(digits, unit or facts.unit or "å")
    if value < 1e-8 or (unit == "m" and not WAVELENGTH_RANGE[0] <= value <= WAVELENGTH_RANGE[1]):
        value, half_digit = in_angstrom(digits, "m")  # pyFAI and its kin write metres without saying so
    if unit is None and facts.unit is None and tube_of(value * 10) is not None and half_digit <= 5e-4:
        value, half_digit = value * 10, half_digit * 10  # nm, unsaid
    if kind == "line" and radiation_of_number(value, half_digit).polarisation == 0:
        return False  # "Cu Kα, 0.5 mm slit": after a line's name only that line's number counts
    if not _BETA.isdisjoint(words):
        return _kept((value, half_digit), facts.beta)
    if not _MEAN.isdisjoint(words):
        return _kept((value, half_digit), facts.mean)
    first, second = _is_alpha(words, "1", _ALPHA1), _is_alpha(words, "2", _ALPHA2)
    if first == second:
        return _kept((value, half_digit), facts.bare)
    return _kept((value, half_digit), facts.alpha1 if first else facts.alpha2)


def _is_alpha(words: list[str], index: str, names: frozenset[str]) -> bool:
    """Kα1 (or 2): by its own name, or as the first (second) wavelength, `_WL1`, `lambda1`, `WAVE_LENGTH1`."""
    if not names.isdisjoint(words) or f"alpha{index}" in "".join(words):
        return True
    return any(
        w.rstrip("0123456789") in _WAVELENGTH | {"length"} and w[len(w.rstrip("0123456789")) :] == index for w in words
    )


def _kept(value: tuple[float, float], where: list[tuple[float, float]]) -> bool:
    """Add a wavelength that can be one; whether it can."""
    sensible = WAVELENGTH_RANGE[0] <= value[0] <= WAVELENGTH_RANGE[1]
    if sensible:
        where.append(value)
    return sensible


def _tube_names(words: list[str], facts: _Facts) -> None:
    """Lines by name: "CuKα1", "Cu K-alpha", "Mo K\\a"; not "Kβ filter"."""
    for i, word in enumerate(words):
        if len(word) > 10 or not word[0].isalpha():
            continue
        symbol = _ELEMENT_NAMES.get(word, word).lower()
        for length in (1, 2, 3):
            found = LINE_NAME.fullmatch(symbol + "".join(words[i + 1 : i + length]))
            if found is None or (length > 1 and i + length > len(words)) or radiation_of_line(found) is None:
                continue
            following = words[i + length : i + length + 1]
            if not (following and following[0].startswith("filter")):
                facts.tubes.append(found)
            break


def _anode(words: list[str], facts: _Facts) -> None:
    """ "Target: Co", "Anode material,Cu", "copper tube": the first one said."""
    for i, word in enumerate(words):
        if facts.anode is not None:
            return
        if word not in _ANODE:
            continue
        following = [w for w in words[i + 1 : i + 7] if w not in _FILLERS and w not in _ANODE]
        filtered = following[1:2] == ["filtered"] or (len(following) == 2 and following[1].startswith("filter"))
        candidates = [] if filtered else following[:1]  # "Cu radiation, Ni filter"; but "Anode: Cu, filter: Ni"
        for near in (*candidates, *words[max(i - 1, 0) : i]):
            if near in _ELEMENT_NAMES and (not near.isdigit() or (word in ("target", "anode") and near in candidates)):
                facts.anode = _ELEMENT_NAMES[near]
                break


def _stripped(words: list[str]) -> bool:
    """ "Kα2 stripped", "Ka2 removed", "Rachinger", "without Kα2", and not "Kα2 not stripped"."""
    alpha2 = [i for i, w in enumerate(words) if w in _ALPHA2]
    if "rachinger" in words or (alpha2 and not _STRIPPED.isdisjoint(words)):
        return _DENIED.isdisjoint(words) and words[-1] != "0"
    return any(words[i - 1 : i] in (["without"], ["no"]) or words[i + 1 : i + 2] == ["free"] for i in alpha2)


def _monochromator(words: list[str], tokens: list[_Token], facts: _Facts) -> None:
    """Crystal, or 2θ_M, or K = cos²2θ_M itself (FullProf's Cthm)."""
    for name, digits, _ in _numbers(tokens):
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
    crystals = [i for i, w in enumerate(words) if w.rstrip("0123456789") in _CRYSTALS and abs(i - at) <= NAME_WORDS]
    if crystals:
        i = min(crystals, key=lambda i: (abs(i - at), -i))
        plane = "".join(w for w in words[i + 1 : i + 4] if w.isdigit())[:3]
        facts.monochromator = crystal_named(words[i] + plane) or crystal_named(words[i]) or facts.monochromator


# --- the decision ------------------------------------------------------------------------------------------------


def _decided(facts: _Facts) -> Radiation | None:
    """The radiation that the facts together say; the more specific fact wins."""
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
    return _polarised(radiation, facts)


def _with_kalpha2(radiation: Radiation, wavelength: float, facts: _Facts) -> Radiation:
    """The doublet as the file has it, where it gives the second line as well."""
    low, high = KALPHA2_RATIO
    second = next((v for v, _ in (*facts.alpha2, *facts.bare) if low < v / wavelength < high), None)
    if any(abs(v - wavelength) < 1e-6 for v, _ in facts.alpha2):  # a single wavelength written twice
        facts.no_alpha2 = True
    own = abs(radiation.wavelength - wavelength) > 1e-6  # rounded, or a mean: the tube's own lines stand for it
    return radiation if second is None or own else doublet(wavelength, second, known=False)


def _is_beta(number: tuple[float, float], facts: _Facts) -> bool:
    """Kβ listed before Kα without a name: its tube's Kα stands there too."""
    found = radiation_of_number(*number)
    return len(found.lines) == 1 and found.polarisation == 1.0 and any(tube_of(v) for v, _ in facts.bare)


def _named(facts: _Facts) -> Radiation | None:
    """Of the lines and anodes named, Kα before Kβ."""
    for lines in ("aα", "bβl"):
        for found in facts.tubes:
            if found["line"][0] in lines and (found["shell"] == "k" or not facts.anode):
                element = found["element"].capitalize()
                both = facts.names_alpha2 and lines[0] == "a" and found["shell"] == "k"
                return doublet(*kalpha(element)) if both else radiation_of_line(found)
    return None if facts.anode is None else doublet(*kalpha(facts.anode), known=False)


def _says_kalpha1(facts: _Facts) -> bool:
    """Kα1 named with its element, and nowhere the doublet or Kα2."""
    numbers = [found["number"] for found in facts.tubes if found["line"][0] in "aα"]
    return bool(numbers) and all(number == "1" for number in numbers)


def _polarised(radiation: Radiation, facts: _Facts) -> Radiation:
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

"""What people write for a composition: `--elements` and `--formula`, and the formula of a CIF.

The rule for a dot, which is a decimal point in Fe0.95O and joins two compounds in CaSO4.2H2O: a dot with no digit on
its right joins; one with a digit on its right is a decimal point, unless

* the digits on its right and then water (H2O, OH2, D2O) follow: CaSO4.2H2O; or
* it stands after a non-metal or a bracket, with or without a number of at least two between, and what follows is a
  compound of its own, two elements or more with whole subscripts: Al2O3.2SiO2.2H2O, CoCl2.6NH3, Na2O.11Al2O3; or
* the number on its right has a decimal point itself: CaSO4.0.5H2O.

After 0 or 1 a dot is a decimal point in any case but that of water, for nobody writes these as subscripts. The signs
· • ∙ ⋅ * × always join, except after 0.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from math import isfinite

from crystalnet.crystal.elements import ATOMIC_NUMBER, SYMBOLS
from crystalnet.records import InputError

# Ordered vacancies and mixed valence (Fe0.875S is Fe7S8); fifths and tenths are mostly solid solutions.
MULTIPLES = (2, 3, 4, 6, 8)
LARGEST_AMOUNT = 1e4  # no crystal's formula has more of an element; keeps a typing error from becoming a number
LONGEST = 300  # characters; no formula is longer
ISOTOPES = {"D": "H", "T": "H"}  # the same to X-rays
JOINTS = "·•∙⋅‧・*×"
OPEN = "xyznmdδ"  # letters that stand for an amount
NONMETALS = frozenset("H C N O F P S Cl Se Br Te I At".split())
STARTS_NO_COMPOUND = frozenset("O F S Cl Se Br Te I".split())  # written last in a compound, so at its start in doubt
ELEMENT = re.compile("[A-Z][a-z]?")
WATER = re.compile(r"\(?(?:[HD]2O|O[HD]2)\)?")


def parse_elements(text: str) -> tuple[str, ...]:
    """The elements in a list with any of the usual separators, or in a formula.

    In a list each entry is one symbol, in capitals or not (`ce,o`), or a formula whose elements are meant (`LaB6,O`). A
    single word is a symbol or a formula. D and T are hydrogen.

    Parameters
    ----------
    text : str
        The list or the formula.

    Returns
    -------
    tuple of str
        Symbols, in the order of the text.

    Raises
    ------
    InputError
        A word is no element, or can be read in two ways (`co`: Co, or C and O).

    Examples
    --------
    >>> parse_elements("Zr,Sb Pt"), parse_elements("ce-o"), parse_elements("LaB6")
    (('Zr', 'Sb', 'Pt'), ('Ce', 'O'), ('La', 'B'))
    """
    words = [w for w in re.split(r"[,;/|&+\-\s]+", _plain(text, "--elements")) if w and w != "and"]
    if not words:
        raise InputError("--elements is empty; give symbols such as Zr,Sb,Pt")
    found: list[str] = []
    for word in words:
        found += _elements_of(word, alone=len(words) == 1)
    return tuple(dict.fromkeys(found))


def _elements_of(word: str, alone: bool) -> list[str]:
    if _is_element(word):
        return [ISOTOPES.get(word, word)]
    letters = word.rstrip("0123456789.")
    symbol = letters.title() if _is_element(letters.title()) else None
    symbol = ISOTOPES.get(symbol, symbol) if symbol else None
    try:
        compound = list(_amounts(word, "--elements"))
    except InputError:
        compound = []
    if symbol and not alone and (len(compound) < 2 or letters == word):
        return [symbol]
    split = _split_symbols(letters) if len(letters) == 2 else None
    if symbol and alone and split and not (compound and letters != word):
        raise InputError(f"--elements: {word!r} can be {symbol} or {','.join(split)}; write one of the two so")
    if compound:
        return compound
    if symbol:
        return [symbol]
    raise InputError(f"--elements: {word!r} is no chemical element; give symbols such as Zr,Sb,Pt")


def _split_symbols(letters: str) -> list[str] | None:
    """The letters as one-letter elements; None if one is none."""
    symbols = [letter.upper() for letter in letters]
    return symbols if all(map(_is_element, symbols)) else None


def _is_element(word: str) -> bool:
    return word in ISOTOPES or (word in ATOMIC_NUMBER and word != SYMBOLS[0])


def parse_formula(text: str) -> dict[str, float]:
    """The amount of each element in a formula.

    It may have nested brackets of any kind, hydrates and other sums of compounds (rule of the dot above), subscripts of
    Unicode, LaTeX and HTML, spaces, oxidation states, and charges that cannot be taken for subscripts. D and T are
    hydrogen. Decimal subscripts count as the fractions that they are rounded from.

    Parameters
    ----------
    text : str
        The formula.

    Returns
    -------
    dict
        Amount of each element, in the order of the text.

    Raises
    ------
    InputError
        The text is no formula, it leaves an amount open (Li1-xCoO2), or its amounts have no small common denominator:
        the candidates of `solve` have whole atoms.

    Examples
    --------
    >>> parse_formula("Ca3Al2(SiO4)3")
    {'Ca': 3.0, 'Al': 2.0, 'Si': 3.0, 'O': 12.0}
    >>> parse_formula("CaSO4.2H2O")
    {'Ca': 1.0, 'S': 1.0, 'O': 6.0, 'H': 4.0}
    """
    amounts = _amounts(text, "--formula")
    if all(float(n).is_integer() for n in amounts.values()):
        return amounts
    for multiple in MULTIPLES:
        whole = {s: round(n * multiple) for s, n in amounts.items()}
        if all(w and abs(w / multiple - amounts[s]) < _rounding(amounts[s]) for s, w in whole.items()):
            return {s: w / multiple for s, w in whole.items()}
    ideal = ideal_formula(amounts)
    advice = f"the ideal formula ({ideal})" if ideal else "the formula of an ordered compound near it"
    main = [s for s in amounts if ideal is None or s in _parsed(ideal)]
    raise InputError(
        f"--formula: {text.strip()!r} is no small ratio of whole numbers of atoms, and candidates have whole atoms; "
        f"give {advice} or --elements {','.join(main)}"
    )


def _rounding(amount: float) -> float:
    """By how much a rounded amount may miss the one meant: half its last digit, for 0.33 and 0.667 are thirds."""
    digits = len(f"{amount:.6f}".rstrip("0").partition(".")[2])
    return 0.5001 * 10.0**-digits if digits >= 2 else 1e-9


def ideal_formula(amounts: Mapping[str, float]) -> str | None:
    """Whole amounts next to the given ones, elements of less than half an atom left out; None if others result.

    >>> ideal_formula({"Mg": 1.9, "Fe": 0.1, "Si": 1, "O": 4})
    'Mg2SiO4'
    """
    whole = {s: round(n + 1e-9) for s, n in amounts.items() if n > 0.5}
    total = sum(amounts.values())
    if len(whole) < min(2, len(amounts)) or abs(sum(whole.values()) - total) > 0.1 * total:
        return None
    return "".join(f"{s}{n if n > 1 else ''}" for s, n in whole.items())


def stated_composition(text: str) -> dict[str, float]:
    """The amounts in the formula of a file, whatever their ratios. InputError if it is none."""
    return _amounts(text, "formula")


def _amounts(text: str, option: str) -> dict[str, float]:
    """Amount of each element, with isotopes as their element. InputError, which begins with the option's name."""
    plain = _plain(text, option)
    problem = f"{option}: {text.strip()!r} cannot be read as a chemical formula such as Zr3Sb4Pt3"
    if not plain:
        raise InputError(f"{option} is empty; give a formula such as Zr3Sb4Pt3")
    joined = _without_spaces(_without_charges(plain, f"{option}: {text.strip()!r}"), option)
    _refuse_open_amounts(joined, f"{option}: {text.strip()!r}")
    total: dict[str, float] = {}
    for part in _parts(joined, option):
        count, formula = _coefficient(part)
        try:
            parsed = _parsed(formula)
        except Exception:  # pymatgen raises whatever its parser meets
            unknown = next((s for s in ELEMENT.findall(formula) if not (_is_element(s) or _is_element(s[0]))), None)
            raise InputError(problem + (f": {unknown} is no chemical element" if unknown else "")) from None
        for symbol, amount in parsed.items():
            if not _is_element(symbol):
                raise InputError(f"{problem}: {symbol} is no chemical element")
            element = ISOTOPES.get(symbol, symbol)
            total[element] = total.get(element, 0.0) + count * amount
    if not total:
        raise InputError(problem)
    if not all(isfinite(n) and 0 < n <= LARGEST_AMOUNT for n in total.values()):
        raise InputError(f"{problem}: an amount is zero or too large")
    return total


def _parsed(formula: str) -> Mapping[str, float]:
    """A formula without joints, by pymatgen's parser. ValueError if it is none."""
    from pymatgen.core import Composition

    if re.search(r"(?<![\d.])0+(?:\.0*)?(?![\d.])", formula):
        raise ValueError("an amount of zero")  # which pymatgen passes over
    composition = Composition(formula, strict=True)
    return {str(symbol): float(amount) for symbol, amount in composition.get_el_amt_dict().items()}


# --- writing --------------------------------------------------------------------------------------------------------


def _plain(text: str, option: str) -> str:
    """The text in ASCII but for joints: no Unicode subscripts, LaTeX or HTML. Superscripts become ^charges."""
    if len(text) > LONGEST:
        raise InputError(f"{option}: {len(text)} characters are no formula; give one such as Zr3Sb4Pt3")
    text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹]*[⁺⁻]", lambda m: "^{" + unicodedata.normalize("NFKC", m[0]) + "}", text)
    text = "".join(c if c in JOINTS else unicodedata.normalize("NFKC", c) for c in text)
    text = text.replace("\u2044", "/").replace("−", "-").replace("–", "-").replace("—", "-")
    text = re.sub(r"</?su[bp]>", "", text, flags=re.IGNORECASE)
    text = re.sub(r"\\(?:cdot|times|bullet)(?![a-zA-Z])", "·", text)
    text = re.sub(r"\\(?:mathrm|text|rm|ce|mathsf|textrm)(?![a-zA-Z])", "", text)
    text = re.sub(r"\\[,;: !]", " ", text)
    if "_{" in text:
        text = re.sub(r"_\{([^{}]{0,20})\}", r"\1", text)
    text = re.sub(r"^\s*\{([^{}]*)\}\s*$", r"\1", text.replace("$", "").strip())
    return re.sub("[_~\u200b\u00ad]", "", text).strip()


def _without_charges(text: str, shown: str) -> str:
    """Without oxidation states and charges. InputError if a charge can be taken for a subscript (SO42-)."""
    text = re.sub(r"\^(?:\{[^{}]{0,8}\}|\d{0,2}[+-])", "", text)
    text = re.sub(r"[(\[{](?:\d{0,2}[+-]|[+-]\d{1,2})[)\]}]", "", text)
    text = re.sub(r"(?<=[a-zA-Z])\((?:0|I{2,3}|IV|VI{1,3}|[IV](?=\)(?!\d)))\)", "", text)  # (I)2 and (V)2 are elements
    text = re.sub(r" \d?[+-](?=\s|$)", "", text)
    if re.search(rf"\d[+-](?!\s*[\d{OPEN}])", text):
        raise InputError(f"{shown}: a charge is not told from a subscript; leave charges out")
    return re.sub(r"(?<=[A-Za-z)\]}])[+-](?=[A-Z(\[{]|$)", "", text)


def _refuse_open_amounts(text: str, shown: str) -> None:
    """InputError if an amount is a letter or a sum, or if brackets hold a list (Mg,Fe)."""
    named: dict[str, None] = {}

    def noted(match: re.Match[str]) -> str:
        symbol = (
            match[0] if _is_element(match[0]) and match[0] != "Cn" else match[0][0]
        )  # Srx is Sr and x; Cn is C and n
        named[ISOTOPES.get(symbol, symbol)] = None
        return (" " if _is_element(symbol) else "?") + match[0][len(symbol) :]

    rest = ELEMENT.sub(noted, text)
    if "?" in rest:
        return  # it holds what is no element, and the parser says so
    letter = re.search(rf"(?<![a-zδ])[{OPEN}](?![a-zδ])", rest)
    if "," in rest:
        reason = "does not say how much of each element there is"
    elif letter:
        reason = f"leaves an amount open ({letter[0]})"
    elif re.search(r"\d[+-]\d", rest):
        reason = "has a sum for an amount"
    else:
        return
    raise InputError(f"{shown} {reason}; give numbers, or --elements {','.join(named)}")


def _without_spaces(text: str, option: str) -> str:
    """Without spaces, and with · where they say that a part begins (CaSO4 2H2O, CaSO4 x 2 H2O)."""
    text = re.sub(r"(?<=\d),(?=\d)", ".", text)
    text = re.sub(r"(?<![+\s-])\s+[xX]\s*(?=[\d(A-Z])|(?<=\d)x(?=\d)", "·", text)
    text = re.sub(rf"\s*([{re.escape(JOINTS)}])\s*", r"\1", text)
    text = re.sub(r"\s+\.\s*|\.\s+", "·", text)  # nobody writes a decimal point with a space
    text = re.sub(r"(?<=[\d)\]}])\s+(?=[\d.]+(?:/\d+)?\s*[A-Z(\[{])", "·", text) if _has_glued_subscript(text) else text
    text = re.sub(r"(?<=[A-Za-z])\s+(?=\d[\d.]*(?:/\d+)?[A-Z(\[{])", "·", text)
    if found := re.search(r"(?:^|[\s·])((?:[A-Z][a-z]?\d*){2,}) (\d+) ([A-Z]\S*)", text):
        raise InputError(
            f"{option}: in {text!r} the {found[2]} can belong to {found[1]} or to {found[3]}; "
            f"write {found[1]}{found[2]} or ·{found[2]}{found[3]}"
        )
    return re.sub(r"\s+", "", text)


def _has_glued_subscript(text: str) -> bool:
    """Whether subscripts touch their element, as in `CaSO4 2H2O`, not as in `Ca 3 Al 2`."""
    return re.search(r"[A-Za-z)\]}]\d", text) is not None


# --- joints ---------------------------------------------------------------------------------------------------------


def _parts(text: str, option: str) -> list[str]:
    """The compounds of a sum such as CaSO4.2H2O, with their coefficients, by the rule of the dot."""
    text = re.sub(rf"(?<!\d)0[{re.escape(JOINTS)}](?=\d)", "0.", text)
    parts: list[str] = []
    for piece in re.split(f"[{re.escape(JOINTS)}]", text):
        parts += _split_at_dots(piece, option)
    return [part for part in parts if part]


def _split_at_dots(text: str, option: str) -> list[str]:
    """Numbers with dots are judged from the right, each by what stands between it and the next joint."""
    parts: list[str] = []
    for run in reversed([found for found in re.finditer(r"[\d.]+", text) if "." in found[0]]):
        left, right, fields = text[: run.start()], text[run.end() :], run[0].split(".")
        if len(fields) == 3 or (len(fields) == 2 and _joins(left, fields[0], fields[1], right, option)):
            parts.insert(0, ".".join(fields[1:]) + right)
            text = left + fields[0]
    return [text, *parts]


def _joins(left: str, subscript: str, number: str, right: str, option: str) -> bool:
    """Whether the dot in left + subscript.number + right joins two compounds; subscript and number are digits or ""."""
    compound = re.sub(r"^/\d+", "", right)
    if not compound or not (compound[0].isalpha() or compound[0] in "([{") or not left:
        return False
    if not number or WATER.fullmatch(compound):
        return subscript != "0"
    last = left[-1] if left[-1] in ")]}" else (ELEMENT.findall(left) or [""])[-1]
    symbols = ELEMENT.findall(compound)
    if subscript in ("0", "1") or "." in compound or len(set(symbols)) < 2:
        return False
    if last not in NONMETALS and last not in ")]}":
        return False
    if symbols[0] in STARTS_NO_COMPOUND:
        raise InputError(
            f"{option}: the dot in {left}{subscript}.{number}{right} can be a decimal point or join two compounds; "
            f"write {left}{subscript}·{number}{right} for two compounds, or give --elements"
        )
    return True


def _coefficient(part: str) -> tuple[float, str]:
    """The number before a compound, 1 if there is none, and the compound."""
    found = re.match(r"\(?(\d+(?:\.\d+)?|\.\d+)(?:/([1-9]\d*))?\)?(?=[A-Z(\[{])", part)
    if not found or (found[0].startswith("(") != found[0].endswith(")")):
        return 1.0, part
    return float(found[1]) / float(found[2] or 1), part[found.end() :]

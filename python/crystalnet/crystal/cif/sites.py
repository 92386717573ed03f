"""The atoms that a CIF lists: element, coordinates and occupancy, and the formula that it states."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from crystalnet.crystal.cif.blocks import Block, first_value, number_of
from crystalnet.crystal.elements import ATOMIC_NUMBER, SYMBOLS
from crystalnet.crystal.formula import ISOTOPES, stated_composition
from crystalnet.crystal.lattice import nearest_image
from crystalnet.records import InputError

SAME_PLACE = 0.05  # Å: coordinates of two or three decimals miss a special position by less in most cells
FULL = 0.01  # occupancies this close to 1 are 1: 0.333 three times
NEVER_LISTED = "H"  # what structures from X-rays often lack
PLACE = tuple(f"_atom_site_fract_{axis}" for axis in "xyz")
SITE = tuple(f"_atom_site_{name}" for name in ("label", "type_symbol", "occupancy", "calc_flag"))


@dataclass(frozen=True)
class Site:
    """A listed atom: its label (for messages), element, fractional coordinates x (3,) and occupancy."""

    label: str
    element: str
    x: np.ndarray
    occupancy: float


def listed_sites(block: Block, notes: list[str]) -> list[Site]:
    """The atoms that the block lists. InputError if the table of atoms cannot be read.

    Hydrogen without coordinates, sites of occupancy 0 and dummy atoms are left out. Lines for the user go to notes.
    """
    if not any(tag in block for tag in PLACE):
        raise InputError("gives Cartesian coordinates only; write fractional ones (_atom_site_fract_x)")
    columns = {tag: block[tag] for tag in (*PLACE, *SITE) if tag in block}
    if any(tag not in columns for tag in PLACE) or len({len(column) for column in columns.values()}) > 1:
        raise InputError("its table of atoms is not whole; give x, y and z of each atom in one loop")
    n = len(columns[PLACE[0]])
    labels = block.get("_atom_site_label") or block.get("_atom_site_type_symbol") or [""] * n
    types = block.get("_atom_site_type_symbol") or ["."] * n
    occupancies = block.get("_atom_site_occupancy") or ["."] * n
    flags = block.get("_atom_site_calc_flag") or ["."] * n
    stated = set(formula_of(block) or ())
    sites = []
    for row in range(n):
        label = labels[row] if labels[row] not in (".", "?") else types[row]
        element = _element(types[row], labels[row], stated, notes)
        if flags[row].lower() == "dum" and element is not None:
            continue
        if element is None:
            raise InputError(f"site {label}: {types[row] if types[row] not in ('.', '?') else label} is no element")
        written = [block[tag][row] for tag in PLACE]
        if all(w in (".", "?") for w in written):
            if element != NEVER_LISTED:
                raise InputError(f"site {label} has no coordinates")
            continue
        x = np.array([_coordinate(w) for w in written])
        if not np.isfinite(x).all() or np.abs(x).max() > 100:
            raise InputError(f"site {label}: {' '.join(written)} are no fractional coordinates")
        occupancy = 1.0 if occupancies[row] in (".", "?", "") else number_of(occupancies[row])
        if not 0 <= occupancy <= 1 + FULL:
            raise InputError(f"site {label}: {occupancies[row]} is no occupancy")
        if occupancy > 0:
            sites.append(Site(label, element, x, occupancy))
    implied = sum(abs(number_of(v)) for v in block.get("_atom_site_attached_hydrogens", []) if v not in (".", "?"))
    if implied:
        notes.append("hydrogen that is only counted (_atom_site_attached_hydrogens) has no coordinates and is left out")
    return sites


def _coordinate(written: str) -> float:
    """A coordinate. A sixth that was rounded to the digits written (0.333, 0.6667) is made exact again."""
    value = number_of(written)
    digits = len(written.partition("(")[0].partition(".")[2].strip())
    if digits >= 2 and np.isfinite(value):
        sixth = round(value * 6) / 6
        if abs(value - sixth) < 0.7 * 10.0**-digits:  # truncated ones, 0.66, too
            return sixth
    return value


def _element(kind: str, label: str, stated: set[str], notes: list[str]) -> str | None:
    """Element of a site by its type symbol or, without one, its label; None if neither names one. D and T are hydrogen.

    Two capitals (CA1, OH) are one element if the formula has it; otherwise the first letter if the formula has that.
    """
    word = kind if kind not in ("", ".", "?") else label
    leading = re.match("[A-Za-z]*", word.strip())
    letters = leading[0] if leading else ""
    if letters.title() in ("Wat", "Water", "Hoh") or re.fullmatch("H2O|OH2|OW[A-Z]?", word.rstrip("0123456789()")):
        notes.append(f"{word} is read as the oxygen of water; its hydrogen has no site")
        return "O"
    pair, single = letters[:2].title(), letters[:1].upper()
    choices = [s for s in (pair, single) if s in ATOMIC_NUMBER and s != SYMBOLS[0] or s in ISOTOPES]
    if len(letters) > 1 and letters[1].islower() and kind == word:
        choices = [s for s in choices if s == pair] or choices
    named = [s for s in choices if ISOTOPES.get(s, s) in stated]
    if not choices:
        return None
    symbol = (named or choices)[0]
    if letters[1:2].isupper() and len(choices) == 2 and not named:
        notes.append(f"{word} is read as {symbol}")
    return ISOTOPES.get(symbol, symbol)


def formula_of(block: Block) -> dict[str, float] | None:
    """Atoms of each element in the formula that the block states; None if it states none that can be read."""
    text = first_value(block, ["_chemical_formula_sum"])
    try:
        return stated_composition(text.strip("'\"")) if text else None
    except InputError:
        return None


def ordered_sites(sites: list[Site], lattice: np.ndarray) -> list[Site]:
    """One fully occupied site for each place. InputError if the crystal is disordered.

    Atoms of one element that share a place (Fe2+, Fe3+) become one site. lattice (3, 3), rows in Å.
    """
    places: list[list[Site]] = []
    for site in sites:
        home = next((p for p in places if same_place(site.x - p[0].x, lattice)), None)
        if home is None:
            places.append([site])
        else:
            home.append(site)
    partial, full = [], []
    for place in places:
        occupied = sum(site.occupancy for site in place)
        one_element = len({site.element for site in place}) == 1
        listed_twice = one_element and all(site.occupancy > 1 - FULL for site in place)
        if listed_twice or (one_element and abs(occupied - 1) <= FULL):
            full.append(place[0])
        elif len(place) > 1 and all(site.occupancy > 1 - FULL for site in place):
            full += place  # two whole atoms in one place: wrong, but not disorder
        else:
            partial += place
    if partial:
        named = ", ".join(f"{site.label} {site.occupancy:g}" for site in partial[:4])
        raise InputError(f"has partially occupied sites ({named}); give an ordered structure")
    if not full:
        raise InputError("lists no atoms with coordinates")
    return full


def same_place(difference: np.ndarray, lattice: np.ndarray) -> bool:
    """Whether two atoms lie in one place, up to a lattice vector: difference (3,) of their fractional coordinates."""
    return bool(np.linalg.norm(nearest_image(difference) @ lattice) < SAME_PLACE)

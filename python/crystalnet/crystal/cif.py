"""Crystals of CIFs: gemmi reads the file and knows the space groups; here it is decided which reading is meant.

A CIF may state its symmetry as a list of operations, a Hall symbol, a Hermann-Mauguin symbol or a number, may state it
in several ways that disagree, and may leave the setting open (two origins, hexagonal or rhombohedral axes). Each of the
readings that its words allow gives a crystal; the rest of the file says which is right:

* impossible is a reading whose operations do not preserve the cell's metric, that puts atoms within MIN_DISTANCE, or
  whose composition differs from `_chemical_formula_sum` (hydrogen may lack);
* against a reading speak a number of atoms that differs from formula × `_cell_formula_units_Z`, a density that differs
  from the stated one, and distances much shorter than bonds.

What the file states most exactly is believed before the rest; where equally exact readings remain and are different
crystals, InputError names them. A reading that two facts speak against is refused; one fact is a warning.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from crystalnet.crystal.elements import ATOMIC_NUMBER, SYMBOLS
from crystalnet.crystal.formula import ISOTOPES, stated_composition
from crystalnet.crystal.lattice import nearest_image
from crystalnet.records import InputError

if TYPE_CHECKING:
    import gemmi
    from pymatgen.core import Structure


MIN_DISTANCE = 0.5  # Å: shorter than any bond (H2: 0.74)
SAME_PLACE = 0.05  # Å: coordinates of two or three decimals miss a special position by less in most cells
FULL = 0.01  # occupancies this close to 1 are 1: 0.333 three times
METRIC = 0.01  # relative: cells are given as measured, so that a and b of a tetragonal one may differ in the last digit
COMPOSITION = 0.10  # relative: a wrong setting changes a multiplicity by a third at least; formulas are rounded
CONTENT = 0.15  # relative, of Z and density, for the same reason
SHORT_BOND = 0.6  # of the sum of covalent radii; data sets are made with 0.62
UNMETRIC = "its operations do not preserve the metric of the cell"
LACKING = "of its formula has no site"
NEVER_LISTED = "H"  # what structures from X-rays often lack
OPERATIONS = ("_symmetry_equiv_pos_as_xyz", "_space_group_symop_operation_xyz")
MAGNETIC = ("_space_group_symop_magn_operation_xyz", "_space_group_symop_magn_centering_xyz")
HALL = ("_space_group_name_hall", "_symmetry_space_group_name_hall")
HERMANN_MAUGUIN = (
    *("_space_group_name_h-m_alt", "_symmetry_space_group_name_h-m", "_space_group_name_h-m_ref"),
    *("_space_group_name_h-m", "_symmetry_space_group_name_h-m_alt", "_space_group_name_h-m_full"),
)
NUMBER = ("_space_group_it_number", "_symmetry_int_tables_number")
SPACED = ("_symmetry_space_group_name", "_space_group_name", "_space_group.name", "_chemical_formula", "_chemical_name")
CODE = "_space_group_it_coordinate_system_code"
CELL = tuple(
    f"_cell_{name}" for name in ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
)
PLACE = tuple(f"_atom_site_fract_{axis}" for axis in "xyz")
SITE = tuple(f"_atom_site_{name}" for name in ("label", "type_symbol", "occupancy", "calc_flag"))
Block = dict[str, list[str]]


@dataclass(frozen=True)
class ReadCrystal:
    """A crystal of a file.

    name: of its data block, "" in files that have none. notes: what the user should know, a line each. lacking:
    elements of the formula of which there are fewer atoms than it says; only hydrogen can be.
    """

    name: str
    structure: Structure
    notes: tuple[str, ...]
    lacking: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Site:
    """An atom as listed: coordinates (3,), occupancy, and its label for messages."""

    label: str
    element: str
    x: np.ndarray
    occupancy: float


@dataclass(frozen=True, eq=False)
class _Setting:
    """A space group in a setting: rotations (m, 3, 3) and translations (m, 3), centring included."""

    name: str
    number: int
    rotations: np.ndarray
    translations: np.ndarray

    @cached_property
    def rows(self) -> frozenset[tuple[int, ...]]:
        """The operations, comparable."""
        steps = np.round(self.translations * 24).astype(int) % 24
        return frozenset(
            map(tuple, np.concatenate([self.rotations.reshape(-1, 9).astype(int), steps], axis=1).tolist())
        )


@dataclass(frozen=True, eq=False)
class _Reading:
    """The crystal that a setting gives.

    rank: 0 for what is stated most exactly. wrong: why it is impossible. doubts: what Z and density say against it.
    short: a distance that speaks against it, "" if none does.
    """

    setting: _Setting
    rank: int
    structure: Structure | None
    wrong: str
    doubts: tuple[str, ...] = ()
    short: str = ""
    lacking: tuple[str, ...] = ()

    @property
    def credible(self) -> bool:
        """Possible, and not both Z and density against it: one of them alone may be a mistake of the file."""
        return not self.wrong and len(self.doubts) < 2

    @property
    def unmetric(self) -> bool:
        """Whether the cell rules the setting out, as it does one of the two kinds of rhombohedral axes."""
        return self.wrong == UNMETRIC


def is_cif(path: Path) -> bool:
    """Whether a file is named as a CIF, compressed or not."""
    return re.search(r"\.m?cif(\.(gz|bz2|xz))?$", path.name.lower()) is not None


def read_cif(path: Path) -> list[ReadCrystal]:
    """Every crystal of a CIF, in order. InputError says why one cannot be read; the message lacks the file's name."""
    found = [_crystal(name, block) for name, block in _blocks(path) if _has_atoms(block)]
    if not found:
        raise InputError("cannot be read as a crystal structure (no data block with a cell and atoms)")
    return found


# --- the file -------------------------------------------------------------------------------------------------------


def _blocks(path: Path) -> list[tuple[str, Block]]:
    """Name and values of every data block; tags in lower case and with _ for the dots of newer dictionaries."""
    import gemmi
    from monty.io import zopen

    try:
        with zopen(path, "rt", encoding="utf-8-sig", errors="replace") as file:
            text = _quoted(str(file.read()))
        document = gemmi.cif.read_string(text, 0)
    except (OSError, EOFError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split()).removeprefix("string:")[:120]
        raise InputError(f"cannot be read as a crystal structure ({reason})") from None
    return [(block.name, _values(block)) for block in document]


def _quoted(text: str) -> str:
    """Symbols, names and formulas with spaces in quotes, which people forget."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        tag, _, value = line.strip().partition(" ")
        value = value.strip()
        if tag.lower().startswith(SPACED) and " " in value and value[0] not in "'\";#" and "#" not in value:
            lines[number] = f"{tag} '{value}'"
    return "\n".join(lines) + "\n"


def _values(block: gemmi.cif.Block) -> Block:
    values: Block = {}
    for item in block:
        if item.pair is not None:
            tag, value = cast("list[str]", item.pair)
            values.setdefault(_tag(tag), [_text(value)])
        elif item.loop is not None:
            width, flat = len(item.loop.tags), [_text(v) for v in item.loop.values]
            for column, tag in enumerate(item.loop.tags):
                values.setdefault(_tag(tag), flat[column::width])
    return values


def _text(value: str) -> str:
    import gemmi

    return value if value in (".", "?") else gemmi.cif.as_string(value)


def _tag(tag: str) -> str:
    return tag.lower().replace(".", "_").rstrip("_")


def _first(block: Block, tags: Iterable[str]) -> str | None:
    """The first value that is there and said."""
    for tag in tags:
        for value in block.get(tag, []):
            if value.strip() not in ("", ".", "?"):
                return value.strip()
    return None


def _number(text: str) -> float:
    """A number without its uncertainty, also 1/3 and with a decimal comma; NaN where it is none."""
    import gemmi

    text = text.strip()
    if fraction := re.fullmatch(r"([+-]?\d{1,6})/(\d{1,6})", text):
        return int(fraction[1]) / int(fraction[2]) if int(fraction[2]) else float("nan")
    if re.fullmatch(r"[+-]?\d{0,9},\d{1,9}(\(\d{1,9}\))?", text):
        text = text.replace(",", ".")
    return float(gemmi.cif.as_number(text.rstrip(")").partition("(")[0]))


def _has_atoms(block: Block) -> bool:
    places = [tag for tag in block if tag.startswith(("_atom_site_fract", "_atom_site_cartn"))]
    return bool(places) and any(tag in block for tag in CELL)


def _lattice(block: Block) -> np.ndarray:
    """(3, 3) Å rows, in pymatgen's orientation."""
    from pymatgen.core import Lattice

    values = []
    for tag in CELL:
        said = _first(block, [tag])
        if said is None and "length" in tag:
            raise InputError(f"states no {tag}; give the whole cell")
        value = _number(said) if said is not None else 90.0  # the dictionary's default
        if not (0.5 < value < 1000 if "length" in tag else 5 < value < 175):
            raise InputError(f"{tag} {said} is no length or angle of a unit cell")
        values.append(value)
    lattice = np.array(Lattice.from_parameters(*values).matrix)
    if not np.isfinite(lattice).all() or abs(np.linalg.det(lattice)) < 1.0:
        raise InputError(f"no cell has the edges and angles {', '.join(f'{v:g}' for v in values)}")
    return lattice


def _sites(block: Block, notes: list[str]) -> list[_Site]:
    """The atoms listed, with occupancy; those of no place, occupancy 0 or marked as dummies are left out."""
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
    stated = set(_stated(block) or ())
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
        x = np.array([_exact(w) for w in written])
        if not np.isfinite(x).all() or np.abs(x).max() > 100:
            raise InputError(f"site {label}: {' '.join(written)} are no fractional coordinates")
        occupancy = 1.0 if occupancies[row] in (".", "?", "") else _number(occupancies[row])
        if not 0 <= occupancy <= 1 + FULL:
            raise InputError(f"site {label}: {occupancies[row]} is no occupancy")
        if occupancy > 0:
            sites.append(_Site(label, element, x, occupancy))
    implied = sum(abs(_number(v)) for v in block.get("_atom_site_attached_hydrogens", []) if v not in (".", "?"))
    if implied:
        notes.append("hydrogen that is only counted (_atom_site_attached_hydrogens) has no coordinates and is left out")
    return sites


def _exact(written: str) -> float:
    """A coordinate; where it is a sixth rounded to the digits written (0.333, 0.6667), that sixth."""
    value = _number(written)
    digits = len(written.partition("(")[0].partition(".")[2].strip())
    if digits >= 2 and np.isfinite(value):
        sixth = round(value * 6) / 6
        if abs(value - sixth) < 0.7 * 10.0**-digits:  # truncated ones, 0.66, too
            return sixth
    return value


def _element(kind: str, label: str, stated: set[str], notes: list[str]) -> str | None:
    """Element of a site from its type symbol, else its label; None where it is none. D and T are hydrogen.

    Two capitals (CA1, OH) are one element where the formula has it, else the first letter where that is in the formula.
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


def _stated(block: Block) -> dict[str, float] | None:
    """The composition that the file states; None where it states none that can be read."""
    text = _first(block, ["_chemical_formula_sum"])
    try:
        return stated_composition(text.strip("'\"")) if text else None
    except InputError:
        return None


# --- settings -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Words:
    """What a file says of its symmetry: settings by falling authority.

    incomplete: settings of its symbol of which the listed operations are but a part; () where they are all.
    """

    tiers: tuple[tuple[_Setting, ...], ...]
    incomplete: tuple[_Setting, ...] = ()


def _words(block: Block, notes: list[str]) -> _Words:
    listed, hall = _listed(block, notes), _hall(_first(block, HALL), notes)
    symbol, said = _first(block, HERMANN_MAUGUIN), _first(block, NUMBER)
    named = _named(symbol, _first(block, [CODE])) if symbol else ()
    number = int(_number(said)) if said and 1 <= _number(said) <= 230 else None
    standard = tuple(_setting(g) for g in _table() if g.number == number and _is_standard(g))
    exact = (hall,) if hall else named or standard
    if listed is None and not hall and not named:
        if not exact and symbol:
            raise InputError(f"space group {symbol!r} is not known; write its symmetry operations into the file")
        if not exact:
            notes.append("no symmetry is stated; read as P 1, every atom listed")
            exact = (_setting(_table()[0]),)
        else:
            reason = (
                f"space group {symbol!r} is not known" if symbol else "only the number of the space group is stated"
            )
            notes.append(f"{reason}; read as {exact[0].number} in its standard setting, {exact[0].name}")
    if listed is None and number is not None and number != exact[0].number:
        exact += standard  # the two disagree: the rest of the file must say which is right
    if listed is not None and exact and listed.number != exact[0].number:
        larger = tuple(s for s in exact if listed.rows < s.rows)
        if larger:
            return _Words((larger, (listed,)), larger)
        notes.append(f"the operations listed are those of {listed.name}, the symbol says {exact[0].name}")
    first = (listed,) if listed is not None else exact
    numbers = {s.number for s in (*first, *exact)}
    further = tuple(_setting(g) for g in _table() if g.number in numbers)
    return _Words((first, exact, further))


def _listed(block: Block, notes: list[str]) -> _Setting | None:
    """The group of the operations that the file lists; None where it lists none."""
    import gemmi

    written = next((block[tag] for tag in OPERATIONS if tag in block and _first(block, [tag])), None)
    if written is None and MAGNETIC[0] in block:
        centring = block.get(MAGNETIC[1], [])
        written = block[MAGNETIC[0]] + centring
    if written is None:
        return None
    operations = []
    for text in written:
        plain = ",".join(re.sub(r"^\s*\d+\s+(?=\S)", "", text).replace("'", "").replace('"', "").split(",")[:3])
        try:
            operation = gemmi.Op("".join(plain.split()))
            if abs(operation.det_rot()) != gemmi.Op.DEN**3:
                raise ValueError("no rotation")
            operations.append(operation)
        except (RuntimeError, ValueError):
            raise InputError(f"the symmetry operation {text.strip()[:40]!r} cannot be read") from None
    distinct = {operation.wrap().triplet() for operation in operations} | {"x,y,z"}
    group = gemmi.GroupOps([gemmi.Op(triplet) for triplet in sorted(distinct, key=lambda t: (t != "x,y,z", t))])
    try:
        group.add_missing_elements()
    except RuntimeError:
        raise InputError("the symmetry operations listed are those of no space group") from None
    if len(list(group)) != len(distinct):
        notes.append(f"{len(distinct)} symmetry operations are listed, {len(list(group))} make the group; completed")
    return _setting_of(group, "as listed")


def _hall(text: str | None, notes: list[str]) -> _Setting | None:
    import gemmi

    if text is None:
        return None
    try:
        return _setting_of(gemmi.symops_from_hall(text.replace("_", " ").strip("'")), f"Hall {text}")
    except (RuntimeError, ValueError):
        notes.append(f"the Hall symbol {text!r} cannot be read and is not used")
        return None


def _named(symbol: str, code: str | None) -> tuple[_Setting, ...]:
    """Settings that a Hermann-Mauguin symbol can mean: several where it leaves the origin or the axes open; () unknown.

    code: `_space_group_IT_coordinate_system_code`. The ends of symbols: :1, :2, :H, :R; S and Z (ICSD: origin 1 and 2).
    """
    import gemmi

    plain = re.sub(r"(\d)\((\d)\)", r"\1\2", symbol[:60].replace("_", "").strip(" '"))
    ending = ""
    if found := re.search(r"(?i)[\s(,]*\borigin(?:\s*(?:choice|at))?\s*([12])\)?$", plain):
        plain, ending = plain[: found.start()], found[1]
    elif found := re.search(r"\s*:\s*(\S+)$", plain):
        plain, ending = plain[: found.start()], found[1]
    elif found := re.search(r"\s*([SZHR])$", plain):
        plain, ending = plain[: found.start()], found[1]
    ending = {"S": "1", "Z": "2"}.get(ending.upper(), ending.upper()[:1]) or (code or "").upper()
    group = gemmi.find_spacegroup_by_name(plain)
    groups = [group] if group else _full_symbols().get("".join(plain.split()).lower(), [])
    alike = [g for g in _table() if any((g.number, g.hm) == (one.number, one.hm) for one in groups)]
    exact = [g for g in alike if g.ext == ending]
    return tuple(_setting(g) for g in exact or alike)


@cache
def _table() -> tuple[gemmi.SpaceGroup, ...]:
    """gemmi's settings of all space groups."""
    import gemmi

    return tuple(gemmi.spacegroup_table())


@cache
def _full_symbols() -> Mapping[str, list[gemmi.SpaceGroup]]:
    """Settings by full symbol (F 41/d -3 2/m) and by short ones (P 2/b) that gemmi does not know and spglib does."""
    import gemmi
    from spglib import get_spacegroup_type

    found: dict[str, list[gemmi.SpaceGroup]] = {}
    for kind in filter(None, map(get_spacegroup_type, range(1, 531))):
        group = gemmi.find_spacegroup_by_ops(gemmi.symops_from_hall(kind.hall_symbol))
        for symbol in {kind.international_full, *kind.international.split("=")} if group is not None else ():
            found.setdefault(re.sub("[ _]", "", symbol).lower(), []).append(group)
    return found


def _is_standard(group: gemmi.SpaceGroup) -> bool:
    """Whether a setting is that of International Tables, in either origin and on either axes."""
    return group.is_reference_setting() or (
        group.ext in ("1", "2", "H", "R") and any(g.is_reference_setting() and g.hm == group.hm for g in _table())
    )


@cache
def _setting_by_hall(hall: str, name: str) -> _Setting:
    import gemmi

    return _setting_of(gemmi.symops_from_hall(hall), name)


def _setting(group: gemmi.SpaceGroup) -> _Setting:
    return _setting_by_hall(group.hall, group.xhm())


def _setting_of(group: gemmi.GroupOps, name: str) -> _Setting:
    import gemmi
    from spglib import get_spacegroup_type_from_symmetry

    operations = list(group)
    rotations = np.array([op.rot for op in operations]) // gemmi.Op.DEN
    translations = np.array([op.tran for op in operations]) / gemmi.Op.DEN
    known = gemmi.find_spacegroup_by_ops(group)
    if known is not None:
        return _Setting(known.xhm(), known.number, rotations, translations)
    kind = get_spacegroup_type_from_symmetry(rotations, translations)
    return _Setting(name, kind.number if kind else 0, rotations, translations)


# --- readings -------------------------------------------------------------------------------------------------------


def _crystal(name: str, block: Block) -> ReadCrystal:
    """The crystal of a data block. InputError where no reading, or more than one, agrees with what the block says."""
    if any(tag.startswith("_cell_wave_vector") or tag.startswith("_cell_modulation") for tag in block):
        raise InputError("a modulated structure has no unit cell; give its average structure")
    notes: list[str] = []
    lattice = _lattice(block)
    sites = _ordered(_sites(block, notes), lattice)
    words = _words(block, notes)
    readings: list[_Reading] = []
    for rank, tier in enumerate(words.tiers):
        known = {r.setting.rows for r in readings}
        readings += [_read(block, lattice, sites, s, rank) for s in dict.fromkeys(tier) if s.rows not in known]
        if any(r.credible for r in readings) and not words.incomplete:
            break
    best = _completed(words, readings, notes) if words.incomplete else _best(readings, notes)
    against = [*best.doubts, *filter(None, [best.short])]
    if best.structure is None or len(against) > 1:
        raise InputError(f"{best.setting.name}: {'; '.join(against)}")
    lacking = [f"{', '.join(best.lacking)} {LACKING}"] if best.lacking else []
    return ReadCrystal(name, best.structure, tuple(dict.fromkeys([*notes, *against, *lacking])), best.lacking)


def _best(readings: list[_Reading], notes: list[str]) -> _Reading:
    """The reading to believe, with a note on what was not."""
    best = _preferred(readings)
    rivals = [r for r in readings if r is not best and r.rank == 0 and not (r.unmetric or _same(r, best))]
    notes += [f"read in {best.setting.name}, because in {_against(rival)}" for rival in rivals[:1]]
    if best.rank and not rivals:
        notes.append(f"read in {best.setting.name}, because in {_against(readings[0])}")
    return best


def _completed(words: _Words, readings: list[_Reading], notes: list[str]) -> _Reading:
    """Of a list of operations that is only part of the symbol's: as listed, where every atom is; else by the symbol."""
    listed = readings[-1]
    if not listed.wrong and any(_same(listed, r) for r in readings[:-1] if not r.wrong):
        return listed
    best = _preferred(readings)
    if best is not listed:
        notes.append(f"only part of the operations of {best.setting.name} is listed; completed")
    return best


def _against(reading: _Reading) -> str:
    return f"{reading.setting.name} {reading.wrong or '; '.join(filter(None, (*reading.doubts, reading.short)))}"


def _preferred(readings: list[_Reading]) -> _Reading:
    """What is stated most exactly of the credible readings. InputError if two remain, or none is possible.

    Fewer doubts, and distances, decide between equally exact readings only.
    """
    possible = [r for r in readings if not r.wrong]
    if not possible:
        first = [r for r in readings if r.rank == 0]
        raise InputError("; ".join(dict.fromkeys(f"{r.setting.name}: {r.wrong}" for r in first)))

    def order(reading: _Reading) -> tuple[bool, int, int, bool]:
        return not reading.credible, reading.rank, len(reading.doubts), bool(reading.short)

    best = [r for r in possible if order(r) == min(map(order, possible))]
    others = [r for r in best[1:] if not _same(best[0], r)]
    if others:
        names = " or ".join(r.setting.name for r in (best[0], *others[:2]))
        raise InputError(
            f"its symmetry can be {names}, which give different crystals; write the setting or the operations into it"
        )
    return best[0]


def _same(one: _Reading, other: _Reading) -> bool:
    """Whether two readings are the same crystal."""
    from pymatgen.analysis.structure_matcher import StructureMatcher

    a, b = one.structure, other.structure
    if a is None or b is None or a.composition != b.composition:
        return False
    return bool(StructureMatcher(ltol=0.01, stol=0.02, angle_tol=1, primitive_cell=False, scale=False).fit(a, b))


def _ordered(sites: list[_Site], lattice: np.ndarray) -> list[_Site]:
    """One full site a place; atoms of one element that share a place (Fe2+, Fe3+) are one. InputError on disorder."""
    places: list[list[_Site]] = []
    for site in sites:
        home = next((p for p in places if _near(site.x - p[0].x, lattice)), None)
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


def _near(difference: np.ndarray, lattice: np.ndarray) -> bool:
    return bool(np.linalg.norm(nearest_image(difference) @ lattice) < SAME_PLACE)


def _read(block: Block, lattice: np.ndarray, sites: list[_Site], setting: _Setting, rank: int) -> _Reading:
    """What a setting makes of the sites, and what the rest of the file says of it."""
    from pymatgen.core import Lattice, Structure

    if not _preserves_metric(setting.rotations, lattice):
        return _Reading(setting, rank, None, UNMETRIC)
    species, x = _expanded(setting, lattice, sites)
    structure = Structure(Lattice(lattice), species, x)
    close, relative, pair = _shortest(structure)
    if close < MIN_DISTANCE:
        return _Reading(setting, rank, structure, f"atoms of {pair} overlap ({close:.2f} Å apart)")
    counts = {symbol: float(species.count(symbol)) for symbol in dict.fromkeys(species)}
    stated = _stated(block)
    wrong, lacking = _compared(counts, stated) if stated else ("", ())
    short = f"atoms of {pair} are {close:.2f} Å apart" if relative < SHORT_BOND else ""
    return _Reading(setting, rank, structure, wrong, tuple(_content(block, structure, counts, stated)), short, lacking)


def _preserves_metric(rotations: np.ndarray, lattice: np.ndarray) -> bool:
    metric = lattice @ lattice.T
    edges = np.sqrt(np.diag(metric))
    turned = rotations.transpose(0, 2, 1) @ metric @ rotations
    return bool((np.abs(turned - metric) < 2 * METRIC * np.outer(edges, edges)).all())


def _expanded(setting: _Setting, lattice: np.ndarray, sites: list[_Site]) -> tuple[list[str], np.ndarray]:
    """Elements N and coordinates (N, 3) in [0, 1) of every atom; atoms near a special position are put on it."""
    species: list[str] = []
    found = np.zeros((0, 3))
    for site in sites:
        images = setting.rotations @ site.x + setting.translations
        away = images - site.x
        away = nearest_image(away)
        stays = np.linalg.norm(away @ lattice, axis=1) < SAME_PLACE
        x = site.x + away[stays].mean(0)  # the mean over the site's symmetry is a position that has it
        same = np.array([s == site.element for s in species], dtype=bool)
        if any(_near(x - other, lattice) for other in found[same]):
            continue  # another image of it is listed too
        images = setting.rotations @ x + setting.translations
        apart = images[:, None] - images
        apart = nearest_image(apart)
        first = np.unique((np.linalg.norm(apart @ lattice, axis=2) < SAME_PLACE).argmax(1))
        orbit = np.round(images[first], 12) % 1.0
        species += [site.element] * len(orbit)
        found = np.concatenate([found, orbit])
    return species, found


def _shortest(structure: Structure) -> tuple[float, float, str]:
    """Shortest distance (Å, and as a part of the sum of covalent radii) and its elements; infinity if atoms are far."""
    from crystalnet.crystal.chemistry import covalent_radius

    radii = np.array([covalent_radius(site.specie.symbol) for site in structure])
    one, other, _, distance = structure.get_neighbor_list(max(2 * SHORT_BOND * radii.max(), MIN_DISTANCE))
    if not len(distance):
        return float("inf"), float("inf"), ""
    relative = distance / (radii[one] + radii[other])
    worst = distance.argmin() if distance.min() < MIN_DISTANCE else relative.argmin()
    pair = " and ".join(structure[int(i[worst])].specie.symbol for i in (one, other))
    return float(distance[worst]), float(relative.min()), pair


def _compared(counts: Mapping[str, float], stated: Mapping[str, float]) -> tuple[str, tuple[str, ...]]:
    """Why the atoms found cannot be those of the formula ("" if they can), and elements of which there are too few."""
    heavy = {s: n for s, n in stated.items() if s != NEVER_LISTED} or dict(stated)
    lost = [s for s in heavy if s not in counts]
    foreign = [s for s in counts if s not in stated]
    if lost:
        return f"{', '.join(lost)} {LACKING}", ()
    if foreign:
        return f"{', '.join(foreign)} is not in its formula {_written(stated)}", ()
    units = sum(counts[s] for s in heavy) / sum(heavy.values())
    if any(abs(counts[s] / (n * units) - 1) > COMPOSITION for s, n in heavy.items()):
        return f"the atoms make {_written(_reduced(counts))}, the formula is {_written(stated)}", ()
    short = stated.get(NEVER_LISTED, 0) * units
    if counts.get(NEVER_LISTED, 0) > short * (1 + COMPOSITION):
        return f"the atoms make {_written(_reduced(counts))}, the formula is {_written(stated)}", ()
    return "", (NEVER_LISTED,) if counts.get(NEVER_LISTED, 0) < short * (1 - COMPOSITION) else ()


def _reduced(counts: Mapping[str, float]) -> dict[str, float]:
    divisor = np.gcd.reduce([int(n) for n in counts.values()])
    return {symbol: n / divisor for symbol, n in counts.items()}


def _written(amounts: Mapping[str, float]) -> str:
    return "".join(f"{symbol}{f'{n:g}' if n != 1 else ''}" for symbol, n in amounts.items())


def _content(
    block: Block, structure: Structure, counts: Mapping[str, float], stated: Mapping[str, float] | None
) -> Iterator[str]:
    """What Z and the density, where stated, say against the atoms found."""
    units = _number(_first(block, ["_cell_formula_units_z"]) or "")
    heavy = {s: n for s, n in (stated or {}).items() if s in counts and s != NEVER_LISTED}
    if heavy and np.isfinite(units) and units > 0:
        found = sum(counts[s] for s in heavy) / sum(heavy.values())
        if all(n % units == 0 for n in heavy.values()):
            found *= units  # some programs write the whole cell into the formula
        if abs(found / units - 1) > CONTENT:
            yield f"the cell holds {found:g} formula units, the file says {units:g}"
    density = _number(_first(block, ["_exptl_crystal_density_diffrn", "_exptl_crystal_density_meas"]) or "")
    if np.isfinite(density) and density > 0 and abs(structure.density / density - 1) > CONTENT:
        yield f"the density is {structure.density:.2f} g/cm³, the file says {density:g}"

"""The symmetry that a CIF states, as the settings of space groups that its words can mean.

gemmi knows the space groups and their settings, spglib the full symbols.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np

from crystalnet.crystal.cif.blocks import Block, first_value, number_of
from crystalnet.crystal.lattice import TRANSLATION_STEPS
from crystalnet.crystal.symmetry import space_group_of_operations, space_group_types
from crystalnet.records import InputError

if TYPE_CHECKING:
    import gemmi


OPERATIONS = ("_symmetry_equiv_pos_as_xyz", "_space_group_symop_operation_xyz")
MAGNETIC = ("_space_group_symop_magn_operation_xyz", "_space_group_symop_magn_centering_xyz")
HALL = ("_space_group_name_hall", "_symmetry_space_group_name_hall")
HERMANN_MAUGUIN = (
    *("_space_group_name_h-m_alt", "_symmetry_space_group_name_h-m", "_space_group_name_h-m_ref"),
    *("_space_group_name_h-m", "_symmetry_space_group_name_h-m_alt", "_space_group_name_h-m_full"),
)
NUMBER = ("_space_group_it_number", "_symmetry_int_tables_number")
CODE = "_space_group_it_coordinate_system_code"


@dataclass(frozen=True, eq=False)
class Setting:
    """A space group in a setting: rotations (m, 3, 3) and translations (m, 3), centring included."""

    name: str
    number: int
    rotations: np.ndarray
    translations: np.ndarray

    @cached_property
    def rows(self) -> frozenset[tuple[int, ...]]:
        """The operations as a set that can be compared: translations in 24ths, which every setting's are."""
        steps = np.round(self.translations * TRANSLATION_STEPS).astype(int) % TRANSLATION_STEPS
        return frozenset(
            map(tuple, np.concatenate([self.rotations.reshape(-1, 9).astype(int), steps], axis=1).tolist())
        )


@dataclass(frozen=True)
class StatedSymmetry:
    """What a file says about its symmetry.

    Attributes
    ----------
    tiers : tuple of tuples of Setting
        Settings that its words can mean; the first tier is stated most exactly.
    incomplete : tuple of Setting
        Settings of its symbol, if the operations listed are only part of their groups.
    """

    tiers: tuple[tuple[Setting, ...], ...]
    incomplete: tuple[Setting, ...] = ()


def stated_symmetry(block: Block, notes: list[str]) -> StatedSymmetry:
    """The settings that a block's operations, symbols and number can mean. Lines for the user go to notes.

    InputError if the operations listed make no group, or if the symbol is unknown and nothing else is stated.
    """
    listed, hall = _listed(block, notes), _hall(first_value(block, HALL), notes)
    symbol, said = first_value(block, HERMANN_MAUGUIN), first_value(block, NUMBER)
    named = _named(symbol, first_value(block, [CODE])) if symbol else ()
    number = int(number_of(said)) if said and 1 <= number_of(said) <= 230 else None
    standard = tuple(_setting_of_group(g) for g in _settings() if g.number == number and _is_standard(g))
    exact = (hall,) if hall else named or standard
    if listed is None and not hall and not named:
        if not exact and symbol:
            raise InputError(f"space group {symbol!r} is not known; write its symmetry operations into the file")
        if not exact:
            notes.append("no symmetry is stated; read as P 1, every atom listed")
            exact = (_setting_of_group(_settings()[0]),)
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
            return StatedSymmetry((larger, (listed,)), larger)
        notes.append(f"the operations listed are those of {listed.name}, the symbol says {exact[0].name}")
    first = (listed,) if listed is not None else exact
    numbers = {s.number for s in (*first, *exact)}
    further = tuple(_setting_of_group(g) for g in _settings() if g.number in numbers)
    return StatedSymmetry((first, exact, further))


def _listed(block: Block, notes: list[str]) -> Setting | None:
    """The group of the operations that the block lists; None if it lists none."""
    import gemmi

    written = next((block[tag] for tag in OPERATIONS if tag in block and first_value(block, [tag])), None)
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
    return _setting_of_operations(group, "as listed")


def _hall(text: str | None, notes: list[str]) -> Setting | None:
    """The setting of a Hall symbol; None if there is none that can be read."""
    import gemmi

    if text is None:
        return None
    try:
        return _setting_of_operations(gemmi.symops_from_hall(text.replace("_", " ").strip("'")), f"Hall {text}")
    except (RuntimeError, ValueError):
        notes.append(f"the Hall symbol {text!r} cannot be read and is not used")
        return None


def _named(symbol: str, code: str | None) -> tuple[Setting, ...]:
    """Settings that a Hermann-Mauguin symbol can mean; () if it is unknown.

    There are several if the symbol leaves the origin or the axes open.

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
    alike = [g for g in _settings() if any((g.number, g.hm) == (one.number, one.hm) for one in groups)]
    exact = [g for g in alike if g.ext == ending]
    return tuple(_setting_of_group(g) for g in exact or alike)


@cache
def _settings() -> tuple[gemmi.SpaceGroup, ...]:
    """gemmi's settings of all space groups."""
    import gemmi

    return tuple(gemmi.spacegroup_table())


@cache
def _full_symbols() -> Mapping[str, list[gemmi.SpaceGroup]]:
    """Settings by full symbol (F 41/d -3 2/m) and by short ones (P 2/b) that gemmi does not know and spglib does."""
    import gemmi

    found: dict[str, list[gemmi.SpaceGroup]] = {}
    for kind in space_group_types():
        group = gemmi.find_spacegroup_by_ops(gemmi.symops_from_hall(kind.hall_symbol))
        for symbol in {kind.international_full, *kind.international.split("=")} if group is not None else ():
            found.setdefault(re.sub("[ _]", "", symbol).lower(), []).append(group)
    return found


def _is_standard(group: gemmi.SpaceGroup) -> bool:
    """Whether a setting is that of International Tables, in either origin and on either axes."""
    return group.is_reference_setting() or (
        group.ext in ("1", "2", "H", "R") and any(g.is_reference_setting() and g.hm == group.hm for g in _settings())
    )


@cache
def _setting_by_hall(hall: str, name: str) -> Setting:
    import gemmi

    return _setting_of_operations(gemmi.symops_from_hall(hall), name)


def _setting_of_group(group: gemmi.SpaceGroup) -> Setting:
    return _setting_by_hall(group.hall, group.xhm())


def _setting_of_operations(group: gemmi.GroupOps, name: str) -> Setting:
    import gemmi

    operations = list(group)
    rotations = np.array([op.rot for op in operations]) // gemmi.Op.DEN
    translations = np.array([op.tran for op in operations]) / gemmi.Op.DEN
    known = gemmi.find_spacegroup_by_ops(group)
    if known is not None:
        return Setting(known.xhm(), known.number, rotations, translations)
    return Setting(name, space_group_of_operations(rotations, translations), rotations, translations)

"""The crystals of a CIF: which reading of each data block is to be believed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from crystalnet.crystal.cif.blocks import Block, has_atoms, lattice_of, read_blocks
from crystalnet.crystal.cif.reading import LACKING, Reading, read_in
from crystalnet.crystal.cif.sites import listed_sites, ordered_sites
from crystalnet.crystal.cif.symmetry import StatedSymmetry, stated_symmetry
from crystalnet.records import InputError

if TYPE_CHECKING:
    from pymatgen.core import Structure


@dataclass(frozen=True)
class ReadCrystal:
    """A crystal that was read from a file.

    Attributes
    ----------
    name : str
        Name of its data block; "" in files that have none.
    structure : Structure
        All atoms of the cell.
    notes : tuple of str
        What the user should know about the reading, a line each.
    lacking : tuple of str
        Elements of which the formula has more atoms than the cell; only hydrogen can be one.
    """

    name: str
    structure: Structure
    notes: tuple[str, ...]
    lacking: tuple[str, ...] = ()


def is_cif(path: Path) -> bool:
    """Whether a file is named as a CIF, compressed or not."""
    return re.search(r"\.m?cif(\.(gz|bz2|xz))?$", path.name.lower()) is not None


def read_cif(path: Path) -> list[ReadCrystal]:
    """Every crystal of a CIF.

    Parameters
    ----------
    path : Path
        The file; it may be compressed (.gz, .bz2, .xz).

    Returns
    -------
    list of ReadCrystal
        One for each data block with a cell and atoms, in the order of the file.

    Raises
    ------
    InputError
        A crystal cannot be read. The message says why, but does not name the file.
    """
    found = [_crystal(name, block) for name, block in read_blocks(path) if has_atoms(block)]
    if not found:
        raise InputError("cannot be read as a crystal structure (no data block with a cell and atoms)")
    return found


def _crystal(name: str, block: Block) -> ReadCrystal:
    """The crystal of a data block. InputError if no reading, or more than one, agrees with the block."""
    if any(tag.startswith("_cell_wave_vector") or tag.startswith("_cell_modulation") for tag in block):
        raise InputError("a modulated structure has no unit cell; give its average structure")
    notes: list[str] = []
    lattice = lattice_of(block)
    sites = ordered_sites(listed_sites(block, notes), lattice)
    words = stated_symmetry(block, notes)
    readings: list[Reading] = []
    for rank, tier in enumerate(words.tiers):
        known = {r.setting.rows for r in readings}
        readings += [read_in(block, lattice, sites, s, rank) for s in dict.fromkeys(tier) if s.rows not in known]
        if any(r.credible for r in readings) and not words.incomplete:
            break
    best = _completed(words, readings, notes) if words.incomplete else _best(readings, notes)
    against = [*best.doubts, *filter(None, [best.short])]
    if best.structure is None or len(against) > 1:
        raise InputError(f"{best.setting.name}: {'; '.join(against)}")
    lacking = [f"{', '.join(best.lacking)} {LACKING}"] if best.lacking else []
    return ReadCrystal(name, best.structure, tuple(dict.fromkeys([*notes, *against, *lacking])), best.lacking)


def _best(readings: list[Reading], notes: list[str]) -> Reading:
    """The reading to believe; a note says which stated one is not believed."""
    best = _preferred(readings)
    rivals = [r for r in readings if r is not best and r.rank == 0 and not (r.unmetric or _same_crystal(r, best))]
    notes += [f"read in {best.setting.name}, because in {_against(rival)}" for rival in rivals[:1]]
    if best.rank and not rivals:
        notes.append(f"read in {best.setting.name}, because in {_against(readings[0])}")
    return best


def _completed(words: StatedSymmetry, readings: list[Reading], notes: list[str]) -> Reading:
    """The reading to believe if the operations listed are only part of the symbol's group.

    If the symbol adds no atoms, that is the listed subgroup; otherwise the group of the symbol.
    """
    listed = readings[-1]
    if not listed.wrong and any(_same_crystal(listed, r) for r in readings[:-1] if not r.wrong):
        return listed
    best = _preferred(readings)
    if best is not listed:
        notes.append(f"only part of the operations of {best.setting.name} is listed; completed")
    return best


def _against(reading: Reading) -> str:
    return f"{reading.setting.name} {reading.wrong or '; '.join(filter(None, (*reading.doubts, reading.short)))}"


def _preferred(readings: list[Reading]) -> Reading:
    """The most exactly stated of the credible readings. InputError if two remain, or none is possible.

    Doubts and short distances decide only between equally exact readings.
    """
    possible = [r for r in readings if not r.wrong]
    if not possible:
        first = [r for r in readings if r.rank == 0]
        raise InputError("; ".join(dict.fromkeys(f"{r.setting.name}: {r.wrong}" for r in first)))

    def order(reading: Reading) -> tuple[bool, int, int, bool]:
        return not reading.credible, reading.rank, len(reading.doubts), bool(reading.short)

    best = [r for r in possible if order(r) == min(map(order, possible))]
    others = [r for r in best[1:] if not _same_crystal(best[0], r)]
    if others:
        names = " or ".join(r.setting.name for r in (best[0], *others[:2]))
        raise InputError(
            f"its symmetry can be {names}, which give different crystals; write the setting or the operations into it"
        )
    return best[0]


def _same_crystal(one: Reading, other: Reading) -> bool:
    """Whether two readings are the same crystal."""
    from pymatgen.analysis.structure_matcher import StructureMatcher

    a, b = one.structure, other.structure
    if a is None or b is None or a.composition != b.composition:
        return False
    return bool(StructureMatcher(ltol=0.01, stol=0.02, angle_tol=1, primitive_cell=False, scale=False).fit(a, b))

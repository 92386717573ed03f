"""The data blocks of a CIF as text, the numbers in them, and the cell."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from crystalnet.records import InputError, short_reason

if TYPE_CHECKING:
    import gemmi


SPACED = ("_symmetry_space_group_name", "_space_group_name", "_space_group.name", "_chemical_formula", "_chemical_name")
CELL = tuple(
    f"_cell_{name}" for name in ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
)
Block = dict[str, list[str]]  # values by tag; tags in lower case and with _ for the dots of newer dictionaries


def read_blocks(path: Path) -> list[tuple[str, Block]]:
    """Name and values of every data block. InputError if the file is no CIF."""
    import gemmi
    from monty.io import zopen

    try:
        with zopen(path, "rt", encoding="utf-8-sig", errors="replace") as file:
            text = _quoted(str(file.read()))
        document = gemmi.cif.read_string(text, 0)
    except (OSError, EOFError, ValueError, RuntimeError) as error:
        reason = short_reason(error).removeprefix("string:")
        raise InputError(f"cannot be read as a crystal structure ({reason})") from None
    return [(block.name, _values(block)) for block in document]


def _quoted(text: str) -> str:
    """The text, with quotes around symbols, names and formulas that contain spaces: people forget them."""
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


def first_value(block: Block, tags: Iterable[str]) -> str | None:
    """The first value under any of the tags that is not empty, "." or "?"; None if there is none."""
    for tag in tags:
        for value in block.get(tag, []):
            if value.strip() not in ("", ".", "?"):
                return value.strip()
    return None


def number_of(text: str) -> float:
    """A number without its uncertainty; fractions (1/3) and decimal commas are read too. NaN if it is no number."""
    import gemmi

    text = text.strip()
    if fraction := re.fullmatch(r"([+-]?\d{1,6})/(\d{1,6})", text):
        return int(fraction[1]) / int(fraction[2]) if int(fraction[2]) else float("nan")
    if re.fullmatch(r"[+-]?\d{0,9},\d{1,9}(\(\d{1,9}\))?", text):
        text = text.replace(",", ".")
    return float(gemmi.cif.as_number(text.rstrip(")").partition("(")[0]))


def has_atoms(block: Block) -> bool:
    """Whether a block has a cell and atoms with coordinates, as blocks of a crystal have."""
    places = [tag for tag in block if tag.startswith(("_atom_site_fract", "_atom_site_cartn"))]
    return bool(places) and any(tag in block for tag in CELL)


def lattice_of(block: Block) -> np.ndarray:
    """The lattice (3, 3), rows in Å, in pymatgen's orientation. InputError if no cell is stated or it is impossible."""
    from pymatgen.core import Lattice

    values = []
    for tag in CELL:
        said = first_value(block, [tag])
        if said is None and "length" in tag:
            raise InputError(f"states no {tag}; give the whole cell")
        value = number_of(said) if said is not None else 90.0  # the dictionary's default
        if not (0.5 < value < 1000 if "length" in tag else 5 < value < 175):
            raise InputError(f"{tag} {said} is no length or angle of a unit cell")
        values.append(value)
    lattice = np.array(Lattice.from_parameters(*values).matrix)
    if not np.isfinite(lattice).all() or abs(np.linalg.det(lattice)) < 1.0:
        raise InputError(f"no cell has the edges and angles {', '.join(f'{v:g}' for v in values)}")
    return lattice

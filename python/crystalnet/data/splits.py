"""Which compositions training may see. One rule for fetch, train, calibration and evaluate.

A composition is its pymatgen reduced formula. Every fifth, by SHA-256, is the development split; the compositions
of the measured patterns we develop on and of our worked examples are reserved too. Neither is ever trained on,
decorated into, or used to fit confidence.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

from crystalnet.records import InputError

DEV_FOLD = 5  # every fifth composition
VALIDATION_FOLD = 40  # of what remains, every fortieth validates a training run
TYPE_FOLD = 10  # with `--split type`, every tenth structure type does: there are hundreds of types, not thousands
MATERIAL_ID = re.compile(r"(mp|mvc)-[0-9a-z]+")


def _fold(text: str, n: int) -> int:
    return int(sha256(text.encode()).hexdigest(), 16) % n


@cache
def reserved_formulas() -> frozenset[str]:
    """Compositions of measured patterns and worked examples."""
    return frozenset(json.loads(files("crystalnet.data").joinpath("reserved_formulas.json").read_text())["formulas"])


def is_dev(formula: str) -> bool:
    """True for compositions of the development split."""
    return _fold(formula, DEV_FOLD) == 0


RESERVED = "reserved"  # the part of a data set that `solve` knows and no network learns from


def may_train(formula: str) -> bool:
    """Whether a crystal of this composition may be trained on or decorated into."""
    return not is_dev(formula) and formula not in reserved_formulas()


def split_of(name: str, fold: int = VALIDATION_FOLD) -> str:
    """ "train" or "validation" for a trainable composition (or a structure type); what has one name stays together."""
    return "validation" if _fold("validation:" + name, fold) == 0 else "train"


@dataclass(frozen=True)
class Splits:
    """How crystals are divided into train, validation and test.

    Attributes
    ----------
    by : str
        "composition" (polymorphs stay together) or structure "type" (harder).
    listed : dict
        Split of each Materials Project id; if there are any, they alone decide.
    files : dict
        SHA-256 of the lists, by their names.
    """

    by: str = "composition"
    listed: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.by not in ("composition", "type"):
            raise InputError(f"--split {self.by!r}: choose composition or type")

    def of(self, name: str, formula: str, kind: str) -> str:
        """Split of a crystal: its id, reduced formula and structure type."""
        if self.listed:
            return self.listed[name]
        return split_of(formula) if self.by == "composition" else split_of(kind, TYPE_FOLD)

    def describe(self) -> dict[str, object]:
        """The rule of the division, as the manifest states it."""
        if self.listed:
            return {"by": "list", "files": self.files}
        fold = VALIDATION_FOLD if self.by == "composition" else TYPE_FOLD
        return {"by": self.by, "rule": f"SHA-256 of 'validation:' + {self.by}, every {fold}th validates"}


def read_splits(by: str, paths: tuple[Path, ...], system: str) -> Splits:
    """The division that is asked for.

    Parameters
    ----------
    by : str
        "composition" or "type": what decides where no lists are given.
    paths : tuple of Path
        Lists of Materials Project ids; they may be compressed (.gz). A list is either JSON {"train": [ids], "val":
        [ids], ...}, perhaps one level below the system's name, or a file of ids (JSON list, JSON object with ids as
        keys, or text) whose own name says train, val or test, as the paper publishes them.
    system : str
        Crystal system.

    Returns
    -------
    Splits

    Raises
    ------
    InputError
        An id is in two splits, or a file cannot be read or holds no id.
    """
    listed: dict[str, str] = {}
    for path in paths:
        found = list(_listed(path, system))
        if not found:
            raise InputError(f"{path}: no Materials Project id in it; give lists of ids such as mp-149")
        for name, split in found:
            if listed.setdefault(name, split) != split:
                raise InputError(f"{path}: {name} is in {split} and in {listed[name]}")
    return Splits(by, listed, {path.name: sha256(path.read_bytes()).hexdigest() for path in paths})


def _listed(path: Path, system: str) -> Iterator[tuple[str, str]]:
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a list of ids ({error})") from None
    try:
        document = json.loads(text)
    except ValueError:
        document = [match[0] for match in MATERIAL_ID.finditer(text)]
    if isinstance(document, dict) and system in document:
        document = document[system]
    if isinstance(document, dict) and document and not all(map(MATERIAL_ID.fullmatch, document)):
        groups = document
    else:
        groups = {path.name: document}
    for name, ids in groups.items():
        split = _split_named(name, path)
        yield from ((str(i), split) for i in ids)


def _split_named(name: str, path: Path) -> str:
    for word, split in (("val", "validation"), ("test", "test"), ("train", "train")):
        if word in name.lower():
            return split
    raise InputError(f"{path}: {name!r} says neither train, val nor test")

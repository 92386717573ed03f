"""Which compositions training may see. One rule for fetch, train, calibration and evaluate.

A composition is its pymatgen reduced formula. Every fifth, by SHA-256, is the development split; the compositions
of the measured patterns we develop on and of our worked examples are reserved too. Neither is ever trained on,
decorated into, or used to fit confidence.
"""

from __future__ import annotations

import json
from functools import cache
from hashlib import sha256
from importlib.resources import files

DEV_FOLD = 5  # every fifth composition
VALIDATION_FOLD = 40  # of what remains, every fortieth validates a training run


def _fold(formula: str, n: int) -> int:
    return int(sha256(formula.encode()).hexdigest(), 16) % n


@cache
def reserved_formulas() -> frozenset[str]:
    """Compositions of measured patterns and worked examples."""
    return frozenset(json.loads(files("crystalnet.data").joinpath("reserved_formulas.json").read_text())["formulas"])


def is_dev(formula: str) -> bool:
    """True for compositions of the development split."""
    return _fold(formula, DEV_FOLD) == 0


def may_train(formula: str) -> bool:
    """True where a crystal of this composition may be trained on or decorated into."""
    return not is_dev(formula) and formula not in reserved_formulas()


def split_of(formula: str) -> str:
    """ "train" or "validation" for a trainable composition; polymorphs stay together."""
    return "validation" if _fold("validation:" + formula, VALIDATION_FOLD) == 0 else "train"

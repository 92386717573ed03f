"""One concept, one place: what the house promises of itself."""

from __future__ import annotations

import re
from pathlib import Path

import crystalnet

PACKAGE = Path(crystalnet.__file__).parent


def where(pattern: str) -> set[str]:
    """Modules of the package that hold what a regular expression finds."""
    return {
        str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if re.search(pattern, path.read_text("utf-8"))
    }


def test_symmetry_is_searched_in_one_place() -> None:
    assert where(r"SpacegroupAnalyzer|import spglib|spglib\.\w+\(") == {"crystal/symmetry.py"}


def test_nearest_images_are_found_in_one_place() -> None:
    assert where(r"(\w+) - np\.round\(\1\)|(\w+) -= np\.round\(\2\)") == {"crystal/lattice.py"}

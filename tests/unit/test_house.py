"""One concept, one place: what the house promises of itself."""

from __future__ import annotations

import re
from pathlib import Path

import crystalnet

PACKAGE = Path(crystalnet.__file__).parent
REPOSITORY = Path(__file__).parents[2]
SYMMETRY_SEARCH = r"SpacegroupAnalyzer|\b(import|from) spglib|spglib\.\w+\("


def where(pattern: str, folder: Path = PACKAGE) -> set[str]:
    """Modules of a folder, by default the package, that hold what a regular expression finds."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*.py")
        if re.search(pattern, path.read_text("utf-8"))
    }


def test_symmetry_is_searched_in_one_place() -> None:
    assert where(SYMMETRY_SEARCH) == {"crystal/symmetry.py"}
    assert not where(SYMMETRY_SEARCH, REPOSITORY / "tools") | where(SYMMETRY_SEARCH, REPOSITORY / "cli")


def test_nearest_images_are_found_in_one_place() -> None:
    assert where(r"\b(\w+) -=? np\.r(ound|int)\(\1\b") == {"crystal/lattice.py"}


def test_elements_are_numbered_in_one_place() -> None:
    assert where(r"\.specie\.Z\b|Element\([^)]*\)\.(Z|number|atomic_number)\b|mendeleev_no\b") == {
        "crystal/elements.py"
    }

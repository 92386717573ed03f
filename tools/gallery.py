"""Ten measured patterns solved from their elements alone, as a page with pictures.

    python tools/gallery.py DATA_DIR

Chosen by rule, not by result: of the patterns of DATA_DIR/index.json in the public domain, the first of each crystal
system, then the next ones of the list. Each is solved as a user would who knows the elements and the wavelength; the
crystal itself may be in the library. Writes docs/gallery.md and docs/images/gallery/.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from pymatgen.core import Structure

ROOT = Path(__file__).resolve().parent.parent
PAGE, PICTURES = ROOT / "docs" / "gallery.md", ROOT / "docs" / "images" / "gallery"
COUNT, WIDTH = 10, 760  # pictures; pixels
PUBLIC = ("US Government", "public domain")
HEAD = """# Gallery

Ten measured patterns, each solved from its elements and wavelength alone by `python tools/gallery.py DATA_DIR`. They
are chosen by rule, not by result: of the development patterns in the public domain the first of each crystal system,
then the next of the list. The library may hold the crystal itself, as it does for a user's minerals; "found by" says
so.

"""


def chosen(index: Path) -> list[dict[str, Any]]:
    """The patterns of the page, in order."""
    public = [e for e in json.loads(index.read_text()) if any(words in e["licence"] for words in PUBLIC)]
    firsts = [next(e for e in public if e["system"] == s) for s in dict.fromkeys(e["system"] for e in public)]
    others = [e for e in public if all(e is not first for first in firsts)]
    return [*firsts, *others][:COUNT]


def is_right(truth: Structure, found: Structure) -> bool:
    """As scores have it: hydrogen, which X-rays hardly show, is left out of both."""
    from crystalnet.evaluation.metrics import structure_scores

    for crystal in (truth, found):
        if len(crystal.composition) > 1:
            crystal.remove_species([e for e in crystal.composition.elements if e.symbol == "H"])
    return bool(structure_scores(truth, [found], [0])["match_top1"])


def main(data: Path) -> None:
    from PIL import Image

    from crystalnet import solve

    PICTURES.mkdir(parents=True, exist_ok=True)
    for old in PICTURES.glob("*.png"):
        old.unlink()
    parts = []
    for entry in chosen(data / "index.json"):
        found = solve(data / entry["pattern"], elements=",".join(entry["elements"]), wavelength=entry["wavelength"])
        with tempfile.TemporaryDirectory() as folder:
            found.write(folder)
            picture = Image.open(Path(folder) / "figure.png").convert("RGB")
        small = picture.resize((WIDTH, round(WIDTH * picture.height / picture.width)), Image.Resampling.LANCZOS)
        small.quantize(128).save(PICTURES / f"{entry['name']}.png", optimize=True)
        best = found.candidates[0]
        truth = Structure.from_file(data / entry["truth"]).get_primitive_structure()
        verdict = (
            "right" if is_right(truth, best.structure) else f"wrong: it is {entry['formula']}, {entry['spacegroup']}"
        )
        sure = f"Rwp {best.fit.rwp:.1%}, confidence {best.confidence:.0%}, found by {best.source}".replace("%", " %")
        parts.append(
            f"## {entry['name'].replace('_', ' ')}\n\nGiven {', '.join(entry['elements'])}."
            f" **{best.formula}, {best.space_group_symbol}** ({verdict}); {sure}."
            f" {entry['citation'] or entry['licence']}.\n\n![{best.formula}](images/gallery/{entry['name']}.png)\n"
        )
        print(entry["name"], best.formula, best.space_group_symbol, f"{best.confidence:.2f}", best.source, flush=True)
    PAGE.write_text(HEAD + "\n".join(parts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Write the map of the house into docs/how-it-works.md: python tools/house_map.py

Floors come from the import contract in pyproject.toml, modules from the folders; what a room is for stands here.
"""

from __future__ import annotations

import textwrap
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "python" / "crystalnet"
PAGE = ROOT / "docs" / "how-it-works.md"
BEGIN, END = "<!-- the house: python tools/house_map.py -->\n", "<!-- end of the house -->"
WIDTH = 120

PURPOSES = {
    "cli": "options only, a file a command",
    "app": "the page of `crystalnet app`",
    "commands": "what a command does, from files to files and an exit code",
    "bench": "how fast kernels, networks and scores are",
    "evaluation": "scores on known crystals, baselines, the paper's tables and figures",
    "training": "data set → network",
    "solving": "pattern → answers",
    "export": "answers → projects of other programs",
    "report": "the files that answers are written to",
    "data": "crystals to learn from, fetched or made, and stored",
    "model": "the network, its inputs and its file",
    "xrd": "pattern files, radiation, lines, indexing, refinement",
    "density": "periodic maps of electrons, and the atoms in them",
    "ops": "kernels, each compiled and in Python",
    "crystal": "lattices, symmetry, settings, chemistry, CIF",
    "runtime": "processes, settings, files written whole",
    "bragg": "d, 2θ and Q",
    "records": "what rooms hand to each other",
    "defaults": "what is taken where nothing else is said",
}


def floors() -> list[list[str]]:
    """Rooms by floor, the highest first, as the contract has them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [[name.strip().removeprefix("crystalnet.") for name in layer.split("|")] for layer in layers]


def rooms() -> set[str]:
    """Rooms by their folders and files: packages of Python, and modules that stand alone."""
    packages = {path.parent.name for path in [*PACKAGE.glob("*/__init__.py"), ROOT / "cli" / "__init__.py"]}
    return packages | {path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__"}


def modules(room: str) -> list[str]:
    """A room's modules, and its folders with a slash; private ones are the room's own affair."""
    folder = ROOT / "cli" if room == "cli" else PACKAGE / room
    names = [path.stem for path in folder.glob("*.py")] + [
        f"{path.parent.name}/" for path in folder.glob("*/__init__.py")
    ]
    return sorted(name for name in names if not name.startswith("_"))


def house() -> str:
    """The map: a paragraph a room; a dash marks the first room of a floor."""
    lines = []
    for floor in floors():
        for i, room in enumerate(floor):
            name = f"{room}/" if modules(room) else f"{room}.py"
            head = f"{'─' if i == 0 else ' '} {name:<12} {PURPOSES[room]}"
            text = f"{head}: {', '.join(modules(room))}" if modules(room) else head
            lines += textwrap.wrap(text, WIDTH, subsequent_indent=" " * 15, break_long_words=False)
    return "\n".join(f"    {line}" for line in lines) + "\n"


def page() -> str:
    """docs/how-it-works.md with the map of today."""
    text = PAGE.read_text()
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    return f"{text[:begin]}\n{house()}\n{text[end:]}"


if __name__ == "__main__":
    PAGE.write_text(page())

"""How often the true space group is of the classes that the absent lines speak for (`solving/extinction.py`).

    python tools/measure_extinction.py DATA_DIR lab [--count 30]
    python tools/measure_extinction.py DATA_DIR measured

lab: development crystals, --count a system, as `simulate --measured-like` shows them, with their true cells. measured:
the patterns of DATA_DIR/index.json whose first cell is right, indexed with the elements. Prints a line for each pattern
whose true group is not in the first class, and a summary.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from measure_indexing import crystals, lines_of, same, true_cell

from crystalnet.crystal.lattice import Cell
from crystalnet.crystal.setting_symbol import setting_symbol
from crystalnet.crystal.symmetry import SYMPREC, Symmetry, one_hand
from crystalnet.crystal.systems import system_of
from crystalnet.records import AtomSites, InputError, Peaks
from crystalnet.solving.extinction import extinction_classes
from crystalnet.xrd.indexing.index import index_peaks
from crystalnet.xrd.indexing.related import reduced

SURE = 0.9  # probability of the first class


def questions(data: Path, kind: str, count: int) -> Iterator[tuple[str, int, Cell, Peaks]]:
    """(name, number of the true space group, cell, lines)."""
    for name, _, record in crystals(data, kind, count):
        try:
            peaks = lines_of(data, kind, record)
        except InputError as error:  # fewer lines than a cell needs
            print(f"{name}: {error}")
            continue
        if kind == "measured":
            cell = next(iter(index_peaks(peaks, elements=record["elements"])), None)
            if cell is not None and same(reduced(cell.primitive_lattice), true_cell(record)):
                yield name, record["spacegroup"], cell, peaks
        else:
            sites = AtomSites(np.array(record["lattice"]), tuple(record["species"]), np.array(record["frac_coords"]))
            symmetry = Symmetry(sites, SYMPREC)
            (a, b, c), angles = symmetry.conventional.lattice.abc, symmetry.conventional.lattice.angles
            more = dict(zip(("alpha", "beta", "gamma"), angles, strict=True))
            cell = Cell(system_of(symmetry.number).name, symmetry.symbol[0], a, c, b=b, **more)
            yield name, symmetry.number, cell, peaks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("kind", choices=("lab", "measured"))
    parser.add_argument("--count", type=int, default=30, help="crystals a system")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # of libraries, on the crystals
    ranks: list[float] = []
    sure: list[bool] = []
    for name, number, cell, peaks in questions(options.data, options.kind, options.count):
        classes = extinction_classes(cell, peaks)
        if not classes:
            continue
        at = [k for k, one in enumerate(classes, 1) if one_hand(number) in {group.number for group in one.groups}]
        ranks.append(min(at, default=np.inf))
        if classes[0].probability > SURE:
            sure.append(ranks[-1] == 1)
        if ranks[-1] > 1:
            first = ", ".join(setting_symbol(group, cell.centring) for group in classes[0].groups)
            print(f"{name}: {number} is in class {ranks[-1]}, the first ({classes[0].probability:.0%}) is {first}")
    first, four = ((np.array(ranks) <= most).sum() for most in (1, 4))
    print(f"{len(ranks)} patterns: true group in the first class {first}, in the first four {four}")
    print(f"first class above {SURE}: {len(sure)}, right {sum(sure)}")


if __name__ == "__main__":
    main()

"""Build python/crystalnet/crystal/library.npz: known crystals in their Niggli cells, with their exact symmetry.

    python tools/build_library.py DATA_DIR [--every]

DATA_DIR holds amcsd_structures.jsonl.gz and structures_other.jsonl.gz. Taken are crystals of at most 60 atoms in the
primitive cell: every one determined by diffraction (American Mineralogist Crystal Structure Database: Downs &
Hall-Wallace, Am. Mineral. 88, 247, 2003; copies of the Crystallography Open Database: Gražulis et al., J. Appl. Cryst.
42, 726, 2009; others as the records say), the calculated ones of the Materials Project (CC BY 4.0; Jain et al., APL
Mater. 1, 011002, 2013) through matminer, pymatgen's AFLOW prototypes (Mehl et al., Comput. Mater. Sci. 136, S1, 2017)
and the Y3Au3Sb4 type (Dwight, Acta Cryst. B33, 1579, 1977).
"""

from __future__ import annotations

import io
import sys
import warnings
import zipfile
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY
from pymatgen.core import Lattice, Structure

from crystalnet.crystal.library import FILE, MAX_ATOMS, Entry, Packed, arrays_of, packed
from crystalnet.crystal.record_file import read_records, structure_of
from crystalnet.crystal.symmetry import SYMPREC, SYMPREC_RELAXED, Symmetry
from crystalnet.records import AtomSites

OUT = Path(__file__).parents[1] / "python/crystalnet/crystal" / FILE
IDEAL = 2e-3  # Å; atoms of a refined cell stand on their positions


def main(data: Path) -> None:
    """Write the library."""
    with Pool() as pool:
        packed_rows = pool.map(_packed, list(_candidates(data)), chunksize=50)
    rows = [row for row in packed_rows if not isinstance(row, str)]
    for reason in packed_rows:
        if isinstance(reason, str):
            print("left out", reason, file=sys.stderr)
    _write(arrays_of(rows))
    entries = [entry for entry, _ in rows]
    print(len(rows), "crystals,", sum(e.measured for e in entries), "measured,", len({e.type for e in entries}),
          "types,", OUT.stat().st_size, "bytes")  # fmt: skip


def _write(arrays: dict[str, np.ndarray]) -> None:
    """An .npz whose bytes depend on its content only."""
    with zipfile.ZipFile(OUT, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        for name, values in sorted(arrays.items()):
            buffer = io.BytesIO()
            np.save(buffer, values)
            file.writestr(zipfile.ZipInfo(name + ".npy", (1980, 1, 1, 0, 0, 0)), buffer.getvalue(),
                          zipfile.ZIP_DEFLATED)  # fmt: skip


def _candidates(data: Path) -> Any:
    for name in ("amcsd_structures.jsonl.gz", "structures_other.jsonl.gz"):
        for record in read_records(data / name):
            calculated = bool(record.get("dft_relaxed"))
            if not calculated or record["source"].startswith("Materials Project via matminer"):
                label = record.get("protostructure_canonical") or record["id"]
                about = (record["id"], record["formula"], label, _name(record),
                         record.get("reference") or record["source"], not calculated)  # fmt: skip
                yield structure_of(record), about, SYMPREC_RELAXED if calculated else SYMPREC
    for entry in AFLOW_PROTOTYPE_LIBRARY:
        structure = entry["snl"].structure
        name, formula = entry["tags"]["aflow"], structure.composition.reduced_formula
        yield structure, (f"aflow-{name}-{formula}", formula, name, "", "AFLOW prototype (Mehl et al., 2017)", False), \
            SYMPREC  # fmt: skip
    y3au3sb4 = Structure.from_spacegroup(
        "I-43d", Lattice.cubic(9.82), ["Y", "Au", "Sb"], [[3 / 8, 0, 1 / 4], [7 / 8, 0, 1 / 4], [0.083] * 3]
    )
    reference = "A. E. Dwight, Acta Cryst. B33, 1579 (1977)"
    yield y3au3sb4, ("dwight-1977-Y3Au3Sb4", "Y3Sb4Au3", "A3B3C4_cI40_220_a_b_c", "", reference, True), SYMPREC


def _name(record: Any) -> str:
    name = record.get("mineral") or ""
    return "" if "missing" in name else name


def _packed(candidate: tuple[Structure, tuple[Any, ...], float]) -> tuple[Entry, Packed] | str:
    """A crystal as the library keeps it, or why it does not."""
    structure, (name, formula, label, mineral, reference, measured), symprec = candidate
    warnings.simplefilter("ignore")
    if len(structure) > 8 * MAX_ATOMS:
        return f"{name} {formula}: too large"
    try:
        found = Symmetry(structure, symprec)
        primitive = AtomSites.from_structure(found.primitive)
        if len(primitive) > MAX_ATOMS:
            return f"{name} {formula}: {len(primitive)} atoms"
        return Entry(name, formula, found.number, label, mineral, reference, measured), packed(primitive, IDEAL)
    except Exception as error:  # pymatgen and spglib raise many kinds
        return f"{name} {formula}: {error}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))

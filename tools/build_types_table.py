"""Build python/crystalnet/crystal/structure_types.jsonl.gz: one representative crystal of every known structure type.

    python tools/build_types_table.py DATA_DIR

DATA_DIR holds amcsd_structures.jsonl.gz and structures_other.jsonl.gz. Taken: cubic, trigonal and hexagonal
crystals of the American Mineralogist Crystal Structure Database (Downs & Hall-Wallace, Am. Mineral. 88, 247, 2003) and
of the Materials Project (CC BY 4.0; Jain et al., APL Mater. 1, 011002, 2013) through matminer's data sets; "count" says
how many known crystals have the type. Added are pymatgen's AFLOW prototypes (Mehl et al., Comput. Mater. Sci. 136, S1,
2017) and the Y3Au3Sb4 type (I-43d; Dwight, Acta Cryst. B33, 1579, 1977) from its published Wyckoff positions. No row
has a development or reserved composition: an AFLOW prototype that does is decorated with similar elements.
"""

from __future__ import annotations

import gzip
import json
import sys
import warnings
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY
from pymatgen.core import Lattice, Structure

from crystalnet.crystal.record_file import read_records, structure_of
from crystalnet.crystal.setting import canonical_sites
from crystalnet.crystal.symmetry import SYMPREC, SYMPREC_RELAXED, Symmetry
from crystalnet.data.decoration import decorate
from crystalnet.data.splits import may_train
from crystalnet.data.structure_types import make_type
from crystalnet.records import InputError

OUT = Path(__file__).parents[1] / "python/crystalnet/crystal/structure_types.jsonl.gz"
TAKEN = ("cubic", "trigonal", "hexagonal")  # networks learn the first two


def main(data: Path) -> None:
    """Write the table."""
    groups = defaultdict(list)
    for name in ("amcsd_structures.jsonl.gz", "structures_other.jsonl.gz"):
        for record in read_records(data / name):
            known = record["source"] == "AMCSD" or record["source"].startswith("Materials Project via matminer")
            if known and record["system"] in TAKEN and may_train(record["formula"]):
                label = record["protostructure_canonical"] or record["id"]  # the symmetry search failed on a few
                groups[label].append(record)

    rows = []
    for label, records in sorted(groups.items()):
        best = min(records, key=lambda r: (r.get("h_missing", False), r.get("e_above_hull") or 0.0, r["id"]))
        symprec = SYMPREC_RELAXED if best.get("dft_relaxed") else SYMPREC
        try:
            rows.append(_row(best, label, len(records), structure_of(best), symprec))
        except InputError as error:
            print(f"left out {best['id']} {best['formula']}: {error}", file=sys.stderr)
    rows += _aflow_rows()
    y3au3sb4 = Structure.from_spacegroup(
        "I-43d", Lattice.cubic(9.82), ["Y", "Au", "Sb"], [[3 / 8, 0, 1 / 4], [7 / 8, 0, 1 / 4], [0.083] * 3]
    )
    published = {
        "id": "dwight-1977-Y3Au3Sb4",
        "formula": "Y3Sb4Au3",
        "space_group": 220,
        "system": "cubic",
        "source": "A. E. Dwight, Acta Cryst. B33, 1579 (1977)",
    }
    rows.append(_row(published, "A3B3C4_cI40_220_a_b_c", 1, y3au3sb4, SYMPREC))
    with gzip.GzipFile(OUT, "wb", mtime=0) as file:
        for row in rows:
            file.write((json.dumps(row, separators=(",", ":")) + "\n").encode())
    print(len(rows), "types,", OUT.stat().st_size, "bytes")


def _aflow_rows() -> list[dict[str, Any]]:
    rows = []
    named = Counter(entry["tags"]["aflow"] for entry in AFLOW_PROTOTYPE_LIBRARY)
    for entry in AFLOW_PROTOTYPE_LIBRARY:
        structure = entry["snl"].structure
        symmetry = Symmetry(structure, SYMPREC)
        if symmetry.system not in TAKEN:
            continue
        name, formula = entry["tags"]["aflow"], structure.composition.reduced_formula
        record = {
            # Graphite, As and O2 share a label; calcite and LiNbO3; Hg and Po; CO and FeSi.
            "id": f"aflow-{name}-{formula}" if named[name] > 1 else f"aflow-{name}",
            "formula": formula,
            "space_group": symmetry.number,
            "system": symmetry.system,
            "source": "AFLOW prototype",
            "lattice": structure.lattice.matrix,
            "species": [site.specie.symbol for site in structure],
            "frac_coords": structure.frac_coords,
        }
        if not may_train(record["formula"]):
            other = decorate(make_type(record), 0)
            if other is None:
                print("no decoration of", record["id"], file=sys.stderr)
                continue
            record |= {key: other[key] for key in ("formula", "lattice", "species", "frac_coords")}
        rows.append(_row(record, record["id"], 1, structure_of(record), SYMPREC))
    return rows


def _row(record: dict[str, Any], label: str, count: int, structure: Structure, symprec: float) -> dict[str, Any]:
    sites = canonical_sites(structure, symprec)
    return {
        "id": record["id"],
        "formula": record["formula"],
        "space_group": record["space_group"],
        "system": record["system"],
        "protostructure": label,
        "count": count,
        "source": record["source"],
        **({"reference": record["reference"]} if record.get("reference") else {}),
        "lattice": sites.lattice.round(6).tolist(),
        "species": list(sites.species),
        "frac_coords": sites.frac_coords.round(6).tolist(),
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]))

"""Build python/crystalnet/crystal/prototypes.json: what the AFLOW prototypes of the library are called.

    python tools/build_prototype_names.py

The names, Strukturbericht symbols and minerals, are those of the Library of Crystallographic Prototypes (Mehl et al.,
Comput. Mater. Sci. 136, S1, 2017; Hicks et al., ibid. 161, S1, 2019) as pymatgen has them (MIT).

The structures stand in the library of crystals already (`tools/build_library.py`), by the same id.
"""

from __future__ import annotations

import json
from pathlib import Path

from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY

from crystalnet.crystal.library import library

OUT = Path(__file__).parents[1] / "python/crystalnet/crystal/prototypes.json"


def main() -> None:
    """Write the table."""
    known = {entry.id for entry in library().entries}
    names = {}
    for prototype in AFLOW_PROTOTYPE_LIBRARY:
        tags = prototype["tags"]
        identifier = f"aflow-{tags['aflow']}-{prototype['snl'].structure.composition.reduced_formula}"
        said = [tags["strukturbericht"].replace("None", ""), tags["mineral"].replace("\\'{c}", "ć")]
        if identifier in known and any(said):
            names[identifier] = said
    rows = ",\n".join(
        f"{json.dumps(key)}: {json.dumps(said, ensure_ascii=False)}" for key, said in sorted(names.items())
    )
    source = " ".join(__doc__.split("\n\n")[2].split())
    OUT.write_text(f'{{"source": {json.dumps(source)},\n"names": {{\n{rows}\n}}}}\n', encoding="utf-8")
    print(len(names), "prototypes,", OUT.stat().st_size, "bytes")


if __name__ == "__main__":
    main()

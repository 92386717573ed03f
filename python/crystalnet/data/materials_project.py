"""Crystals of the Materials Project (CC BY 4.0; Jain et al., APL Mater. 1, 011002, 2013) through mp-api.

Structures only so far: densities are the promolecule, as for every other source, and the manifest says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from crystalnet import __version__
from crystalnet.data.records_file import Record
from crystalnet.data.splits import may_train
from crystalnet.data.store import write_store
from crystalnet.density.cell import SYMPREC_RELAXED, standard_primitive
from crystalnet.density.promolecule import element_table
from crystalnet.records import InputError


def fetch_materials_project(
    key: str | None, system: str, out: Path, limit: int | None, progress: Callable[[int, int], None]
) -> int:
    """A data set of the Materials Project's crystals of one system, one of each formula and space group."""
    try:
        from mp_api.client import MPRester  # imports for seconds and calls home when constructed

        with MPRester(key) as client:
            documents = client.materials.summary.search(
                crystal_system=system.capitalize(), fields=["material_id", "structure", "symmetry", "formula_pretty"]
            )
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"the Materials Project could not be read ({type(error).__name__}: {reason})") from None

    def records() -> Iterator[Record]:
        seen: set[tuple[str, int]] = set()
        total = min(len(documents), limit or len(documents))
        for document in documents:
            structure, number = document.structure, int(document.symmetry.number)
            formula = structure.composition.reduced_formula
            usable = structure.is_ordered and {e.symbol for e in structure.composition} <= set(element_table())
            if not usable or not may_train(formula) or (formula, number) in seen:
                continue
            try:
                primitive = standard_primitive(structure, SYMPREC_RELAXED)
            except InputError:
                continue
            seen.add((formula, number))
            progress(len(seen), total)
            yield {
                "id": str(document.material_id),
                "formula": formula,
                "space_group": number,
                "system": system,
                "type": str(document.material_id),
                "source": "materials-project",
                "lattice": primitive.lattice.matrix,
                "species": [site.specie.symbol for site in primitive],
                "frac_coords": primitive.frac_coords,
            }
            if len(seen) == total:
                return

    about = {"crystalnet": __version__, "source": "materials-project", "system": system, "density": "promolecule"}
    return write_store(out, records(), about)

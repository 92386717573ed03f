"""Structure types that the package's table lacks: what a data set adds to the catalogue of `solve`.

Two crystals have one type if pymatgen's prototype labels agree: anonymous formula, Pearson symbol, space group and
Wyckoff letters, whatever the origin and the order of the elements (Goodall et al., Sci. Adv. 8, eabn4117, 2022).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

import numpy as np

from crystalnet.crystal.record_file import Record, structure_of
from crystalnet.crystal.symmetry import one_hand, protostructure
from crystalnet.crystal.types import types_table
from crystalnet.data.splits import may_train
from crystalnet.data.structure_types import MAX_SITES


class FurtherTypes:
    """Collects the first crystal of each type that the package lacks, among the crystals that are shown to it.

    Crystals are shown in their canonical primitive cell. Large cells and compositions reserved for judging make no
    type.

    Attributes
    ----------
    records : list of Record
        The types found, as those of the package's table.
    """

    def __init__(self, system: str) -> None:
        self.records: list[Record] = []
        self._package = defaultdict(list)
        for row in types_table(system):
            self._package[_outline(row)].append(row)
        self._known: dict[tuple[int, ...], set[str | None]] = {}

    def of(self, crystals: Iterable[Record]) -> Iterator[Record]:
        """The crystals as they come; each is shown before it is passed on."""
        for record in crystals:
            self.show(record)
            yield record

    def show(self, record: Record) -> None:
        """Keep the crystal if its type is a further one."""
        formula = structure_of(record).composition.reduced_formula
        if len(record["species"]) > MAX_SITES or not may_train(formula):
            return
        outline = _outline(record)
        if outline not in self._known:  # labels take milliseconds each: only those of the table that may be equal
            self._known[outline] = {None, *(protostructure(structure_of(row)) for row in self._package[outline])}
        label = protostructure(structure_of(record))
        if label not in self._known[outline]:
            self._known[outline].add(label)
            self.records.append(
                {
                    "id": record["id"],
                    "formula": formula,
                    "space_group": record["space_group"],
                    "system": record["system"],
                    "protostructure": label,
                    "source": record["source"],
                    "lattice": np.round(np.asarray(record["lattice"]), 6).tolist(),
                    "species": list(record["species"]),
                    "frac_coords": np.round(np.asarray(record["frac_coords"]), 6).tolist(),
                }
            )


def _outline(record: Record) -> tuple[int, ...]:
    """Space group and atoms of each element in the primitive cell: equal for crystals of one type."""
    return one_hand(record["space_group"]), *sorted(Counter(record["species"]).values())

"""Structure types that the package's table lacks: what a data set adds to the catalogue of `solve`.

Two crystals have one type where pymatgen's prototype labels agree: anonymous formula, Pearson symbol, space group and
Wyckoff letters, whatever the origin and the order of the elements (Goodall et al., Sci. Adv. 8, eabn4117, 2022).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

import numpy as np

from crystalnet.crystal import types as crystal_types
from crystalnet.crystal.record_file import Record, structure_of
from crystalnet.crystal.symmetry import one_hand, protostructure
from crystalnet.data import generator as prototypes
from crystalnet.data.splits import may_train


class FurtherTypes:
    """The first crystal of each type that the package lacks, among the crystals of a system that are shown to it.

    records: as those of the package's table. Crystals are shown in their canonical primitive cell; large cells and
    compositions reserved for judging make no type.
    """

    def __init__(self, system: str) -> None:
        self.records: list[Record] = []
        self._package = defaultdict(list)
        for row in crystal_types.types_table(system):
            self._package[_outline(row)].append(row)
        self._known: dict[tuple[int, ...], set[str | None]] = {}

    def of(self, crystals: Iterable[Record]) -> Iterator[Record]:
        """The crystals as they come, each shown in passing."""
        for record in crystals:
            self.show(record)
            yield record

    def show(self, record: Record) -> None:
        """Take the crystal where its type is a further one."""
        formula = structure_of(record).composition.reduced_formula
        if len(record["species"]) > prototypes.MAX_SITES or not may_train(formula):
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
                    "lattice": np.round(record["lattice"], 6).tolist(),
                    "species": list(record["species"]),
                    "frac_coords": np.round(record["frac_coords"], 6).tolist(),
                }
            )


def _outline(record: Record) -> tuple[int, ...]:
    """Space group and atoms of each element in the primitive cell: equal for crystals of one type."""
    return one_hand(record["space_group"]), *sorted(Counter(record["species"]).values())

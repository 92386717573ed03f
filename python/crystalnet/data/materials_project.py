"""Crystals and DFT charge densities of the Materials Project (CC BY 4.0; Jain et al., APL Mater. 1, 011002, 2013).

listing → of equal crystals the most stable → its static calculations → newest charge density → canonical cell → store.
What is fetched lies in `OUT.materials-project/` until the data set is whole, so that a run killed at any moment goes on
where it stopped. One bad material never stops the run: failures.jsonl in the data set says which and why.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crystalnet import __version__
from crystalnet.crystal.record_file import Record
from crystalnet.crystal.symmetry import one_hand
from crystalnet.data.further_types import FurtherTypes
from crystalnet.data.materials_server import BATCH, Answer, Server, Unavailable, connected, id_order, one_line
from crystalnet.data.splits import Splits, may_train
from crystalnet.data.store import write_store
from crystalnet.density.chgcar import canonical_density
from crystalnet.records import InputError
from crystalnet.runtime.settings import settings
from crystalnet.runtime.whole_file import replacing
from crystalnet.runtime.whole_folder import beside, claimed, entries, remove_files

THREADS = 4  # downloads at a time: polite
ITEM = re.compile(r"[a-z]+-\w+(\.\d+\.partial)?\.(npz|json)")  # a material kept, or the reason why not
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class _Material:
    """A row of the listing."""

    id: str
    formula: str
    space_group: int
    stable: bool
    above_hull: float


def fetch_materials_project(
    key: str,
    system: str,
    out: Path,
    limit: int | None = None,
    splits: Splits | None = None,
    progress: Progress = lambda done, total: None,
    say: Callable[[str], None] = lambda line: None,
) -> int:
    """Make a data set of the Materials Project's crystals of one system with their charge densities.

    Train takes stable and unstable crystals, whatever their energy above the hull (as the paper does); validation and
    test take stable ones only. Of equal formula and space group there is one. A list of splits takes exactly the
    materials that it names.

    Parameters
    ----------
    key : str
        The user's key.
    system : str
        Crystal system.
    out : Path
        Directory of the data set.
    limit : int or None
        Number of crystals at most.
    splits : Splits or None
        The division into train, validation and test; None divides by composition.
    progress : callable
        Called with the number of materials done and of all.
    say : callable
        Called with lines for the user.

    Returns
    -------
    int
        Number of crystals in the data set.

    Raises
    ------
    InputError
        The Materials Project cannot be read, or the directory or the folder of downloads holds something else. The key
        never appears in the message.
    """
    splits = splits or Splits()
    try:
        return _Fetch(key, system, out, limit, splits, progress, say).run()
    except Exception as error:
        if isinstance(error, InputError) and key not in str(error):
            raise
        raise InputError(f"the Materials Project could not be read ({one_line(error, key)})") from None


class _Fetch:
    """One run: what it asks for and where it keeps what it has."""

    def __init__(
        self,
        key: str,
        system: str,
        out: Path,
        limit: int | None,
        splits: Splits,
        progress: Progress,
        say: Callable[[str], None],
    ) -> None:
        self.key, self.system, self.out, self.limit, self.splits = key, system, out, limit, splits
        self.progress, self.say = progress, say
        self.folder = beside(out, ".materials-project")
        self.endpoint = settings().materials_project_endpoint  # None: mp-api's own, or what MP_API_ENDPOINT says
        self.request = {
            "system": system,
            "limit": limit,
            "splits": splits.describe(),
            "endpoint": self.endpoint,
            "crystalnet": __version__,
        }

    def run(self) -> int:
        with claimed(self.folder):
            return self._fetched()

    def _fetched(self) -> int:
        groups, database = self._listing()
        waiting = [group for group in groups if self._to_ask(group)]
        if waiting:
            with connected(self.key, self.endpoint) as server, ThreadPoolExecutor(THREADS) as pool:
                for start in range(0, len(waiting), BATCH):
                    self._fetch_batch(server, pool, waiting[start : start + BATCH])
                    self.progress(len(groups) - len(waiting) + min(start + BATCH, len(waiting)), len(groups))
        return self._assemble(groups, database)

    def _to_ask(self, group: list[_Material]) -> list[_Material]:
        """Materials of a group that are still to be tried; none if one is there already."""
        if any(self._item(material).exists() for material in group):
            return []
        return [material for material in group if not self._refusal(material).exists()]

    # -- what there is ------------------------------------------------------------------------------------------

    def _listing(self) -> tuple[list[list[_Material]], str]:
        """Groups of equal crystals, the one to take first; kept, so that a resumed run sees the same list."""
        file = self.folder / "listing.json"
        kept = self._kept_listing(file)
        if kept.get("request") != self.request:
            self._clear()
            (self.folder / "items").mkdir(exist_ok=True)
            with connected(self.key, self.endpoint) as server:
                kept = {"request": self.request, "database": server.database, "materials": self._rows(server)}
            _keep(file, kept)
        return self._groups([_Material(**row) for row in kept["materials"]]), kept["database"]

    def _kept_listing(self, file: Path) -> dict[str, Any]:
        """What an earlier run listed; InputError if the folder is the user's own."""
        if not file.exists() and not set(entries(self.folder)) - {"items"} and not entries(self.folder / "items"):
            return {}
        try:
            kept = dict(json.loads(file.read_text()))
            if {"request", "database", "materials"} <= kept.keys():
                return kept
        except (OSError, ValueError, TypeError):
            pass
        raise InputError(f"{self.folder}: holds files, but no downloads of ours, which go there; move it away")

    def _clear(self) -> None:
        """Remove what runs have kept, and nothing else."""
        items = [f"items/{name}" for name in entries(self.folder / "items") if ITEM.fullmatch(name)]
        remove_files(self.folder, ["listing.json", *items])

    def _rows(self, server: Server) -> list[dict[str, object]]:
        """The materials that may be taken, as fields of _Material."""
        found: dict[str, Answer] = {}
        if self.splits.listed:
            wanted = sorted(self.splits.listed, key=id_order)
            for start in range(0, len(wanted), BATCH):
                found |= server.summaries(material_ids=wanted[start : start + BATCH])
        else:
            # Materials without a charge density need not be asked about: the paper's query too.
            found |= server.summaries(
                crystal_system=self.system.capitalize(), has_props=["charge_density"], deprecated=False
            )
        return [
            {
                "id": name,
                "formula": row["formula_pretty"],
                "space_group": int((row.get("symmetry") or {}).get("number") or 0),
                "stable": bool(row.get("is_stable")),
                "above_hull": float(row.get("energy_above_hull") or 0.0),
            }
            for name, row in sorted(found.items(), key=lambda item: id_order(item[0]))
        ]

    def _groups(self, materials: list[_Material]) -> list[list[_Material]]:
        if self.splits.listed:
            return [[m] for m in materials][: self.limit]
        equal: dict[tuple[str, int], list[_Material]] = defaultdict(list)
        for material in materials:
            if material.stable or self._split(material) == "train":
                equal[material.formula, one_hand(material.space_group)].append(material)
        groups = [sorted(g, key=lambda m: (not m.stable, m.above_hull, id_order(m.id))) for g in equal.values()]
        return sorted(groups, key=lambda g: id_order(g[0].id))[: self.limit]

    def _split(self, material: _Material) -> str:
        """train, validation or test; a composition that may never be trained on tests."""
        if not self.splits.listed and not may_train(material.formula):
            return "test"
        return self.splits.of(material.id, material.formula, material.id)

    # -- fetching -----------------------------------------------------------------------------------------------

    def _fetch_batch(self, server: Server, pool: ThreadPoolExecutor, groups: list[list[_Material]]) -> None:
        """The first retrievable material of each group."""
        try:
            calculations = server.calculations([m.id for group in groups for m in self._to_ask(group)])
        except Unavailable:  # the lists cannot be had now: _assemble names what is missing
            return
        list(pool.map(lambda group: self._fetch_group(server, group, calculations), groups))

    def _fetch_group(self, server: Server, group: list[_Material], calculations: dict[str, list[str]]) -> None:
        """Keep the first material of a group that can be had, and why those before it cannot."""
        for material in self._to_ask(group):
            try:
                record = self._material(server, calculations.get(material.id, []))
            except Unavailable as error:
                if error.for_now:
                    return
                _keep(self._refusal(material), {"reason": one_line(error, self.key)})
            except Exception as error:  # whatever a file may hold, the others go on
                _keep(self._refusal(material), {"reason": one_line(error, self.key)})
            else:
                with replacing(self._item(material)) as partial:
                    np.savez(partial, **record)
                return

    def _item(self, material: _Material) -> Path:
        return self.folder / "items" / f"{material.id}.npz"

    def _refusal(self, material: _Material) -> Path:
        return self.folder / "items" / f"{material.id}.json"

    def _material(self, server: Server, tasks: list[str]) -> dict[str, Any]:
        """Arrays of one material, in the canonical cell."""
        for task in tasks:
            document = server.charge_density(task)
            if document is not None:
                return canonical_density(document, self.system)
        raise Unavailable("no charge density" if tasks else "no static calculation")

    # -- the data set -------------------------------------------------------------------------------------------

    def _assemble(self, groups: list[list[_Material]], database: str) -> int:
        failures: list[dict[str, str]] = []
        for material in (m for g in groups for m in g):
            if self._refusal(material).exists():
                failures.append({"id": material.id, **json.loads(self._refusal(material).read_text())})
        waiting = [group[0] for group in map(self._to_ask, groups) if group]
        failures += [{"id": m.id, "reason": "the server did not answer; fetch again"} for m in waiting]
        listed = {m.id for g in groups for m in g}
        failures += [
            {"id": name, "reason": "not in the Materials Project"}
            for name in self.splits.listed
            if name not in listed and self.limit is None
        ]
        failures.sort(key=lambda row: id_order(row["id"]))
        about = {
            "crystalnet": __version__,
            "source": "materials-project",
            "database": database,
            "system": self.system,
            "limit": self.limit,
            "density": "dft",
            "split": self.splits.describe(),
        }
        further = FurtherTypes(self.system)
        count = write_store(self.out, further.of(self._records(groups)), about, failures, further.records)
        if waiting:
            self.say(f"{len(waiting)} materials got no answer; the same command asks for those alone.")
        else:
            self._clear()
        return count

    def _records(self, groups: list[list[_Material]]) -> Iterator[Record]:
        seen: set[tuple[str, int]] = set()
        for material in (m for g in groups for m in g):
            if not self._item(material).exists():
                continue
            with np.load(self._item(material)) as item:
                record: Record = {
                    "lattice": item["lattice"],
                    "species": item["species"].tolist(),
                    "frac_coords": item["frac_coords"],
                    "density": item["density"],
                }
                space_group, formula = int(item["space_group"]), str(item["formula"])
            if (formula, space_group) in seen and not self.splits.listed:
                continue  # the listing named two space groups, its geometry one
            seen.add((formula, space_group))
            yield record | {
                "id": material.id,
                "formula": formula,
                "space_group": space_group,
                "system": self.system,
                "type": material.id,
                "source": "materials-project",
                "split": self._split(material),
            }


def _keep(path: Path, content: dict[str, Any]) -> None:
    with replacing(path) as partial:
        partial.write_text(json.dumps(content))

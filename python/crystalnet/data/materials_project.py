"""Crystals and DFT charge densities of the Materials Project (CC BY 4.0; Jain et al., APL Mater. 1, 011002, 2013).

listing → of equal crystals the most stable → its static calculations → newest charge density → canonical cell → store.
What is fetched lies in `OUT.materials-project/` until the data set is whole: a run killed at any moment goes on where
it stopped.
One bad material never stops the run: failures.jsonl in the data set says which and why.

Lists go through mp-api. Charge densities are plain downloads from the project's public bucket: mp-api reaches it
through a boto client of its own whose address cannot be set and which neither times out nor tells a missing file from
a broken connection.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import warnings
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crystalnet import __version__
from crystalnet.crystal.record_file import Record
from crystalnet.crystal.symmetry import one_hand
from crystalnet.data.further_types import FurtherTypes
from crystalnet.data.splits import Splits, may_train
from crystalnet.data.store import write_store
from crystalnet.density.chgcar import canonical_density
from crystalnet.records import InputError
from crystalnet.runtime.settings import settings
from crystalnet.runtime.whole_file import replacing
from crystalnet.runtime.whole_folder import beside, claimed, entries, remove_files

BUCKET = "materialsproject-parsed"
THREADS = 4  # downloads at a time: polite
ATTEMPTS = 8  # of a request: with WAIT_INITIAL doubling to WAIT_MAX two minutes in all
WAIT_INITIAL, WAIT_MAX = 1.0, 30.0  # seconds between attempts; jitter is added
TIMEOUT = (10.0, 60.0)  # seconds to connect, to the next byte
PAGE = 1000  # materials a listing request
BATCH = 50  # materials a request for their calculations: its address stays below 8 kB
STATIC = {"GGA Static", "GGA+U Static"}  # calculations at the pseudopotentials of the valence table
ITEM = re.compile(r"[a-z]+-\w+(\.\d+\.partial)?\.(npz|json)")  # a material kept, or the reason why not
Progress = Callable[[int, int], None]


class _Unavailable(Exception):
    """A material that cannot be had; for_now: the server did not answer, another run may get it."""

    def __init__(self, reason: str, for_now: bool = False) -> None:
        super().__init__(reason)
        self.for_now = for_now


class _TryAgain(Exception):
    """An answer that a later attempt may better; wait: seconds the server asks for."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


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
    """A data set of the Materials Project's crystals of one system with their charge densities; returns the count.

    Train takes stable and unstable crystals, whatever their energy above the hull (as the paper), validation and test
    stable ones only; one of each formula and space group. A list of splits takes exactly the materials it names.
    """
    splits = splits or Splits()
    try:
        return _Fetch(key, system, out, limit, splits, progress, say).run()
    except Exception as error:
        if isinstance(error, InputError) and key not in str(error):
            raise
        raise InputError(f"the Materials Project could not be read ({_line(error, key)})") from None


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
        self.bucket = (settings().materials_project_densities or _bucket_address()).rstrip("/")
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
            with self._client() as client, ThreadPoolExecutor(THREADS) as pool:
                for start in range(0, len(waiting), BATCH):
                    self._fetch_batch(client, pool, waiting[start : start + BATCH])
                    self.progress(len(groups) - len(waiting) + start + BATCH, len(groups))
        return self._assemble(groups, database)

    def _to_ask(self, group: list[_Material]) -> list[_Material]:
        """Materials of a group that are still to be tried; none where one is there already."""
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
            with self._client() as client:
                rows = self._rows(client)
                kept = {"request": self.request, "database": str(client.db_version), "materials": rows}
            _keep(file, kept)
        return self._groups([_Material(**row) for row in kept["materials"]]), kept["database"]

    def _kept_listing(self, file: Path) -> dict[str, Any]:
        """What an earlier run listed; InputError where the folder is the user's own."""
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

    def _rows(self, client: Any) -> list[dict[str, Any]]:
        fields = ["material_id", "formula_pretty", "symmetry", "is_stable", "energy_above_hull", "deprecated"]
        found: dict[str, dict[str, Any]] = {}
        if self.splits.listed:
            wanted = sorted(self.splits.listed, key=_number)
            queries: Iterable[dict[str, Any]] = (
                {"material_ids": wanted[i : i + BATCH]} for i in range(0, len(wanted), BATCH)
            )
        else:
            # Materials without a charge density need not be asked about: the paper's query too.
            query = {"crystal_system": self.system.capitalize(), "has_props": ["charge_density"], "deprecated": False}
            queries = [query]
        for query in queries:
            page = 1
            while True:
                rows = self._ask(
                    client.materials.summary.search,
                    **query,
                    fields=fields,
                    chunk_size=PAGE,
                    num_chunks=1,
                    _page=page,
                    _sort_fields="material_id",
                )
                found |= {str(row["material_id"]): row for row in rows}
                if len(rows) < PAGE:
                    break
                page += 1
        return [
            {
                "id": name,
                "formula": row["formula_pretty"],
                "space_group": int((row.get("symmetry") or {}).get("number") or 0),
                "stable": bool(row.get("is_stable")),
                "above_hull": float(row.get("energy_above_hull") or 0.0),
            }
            for name, row in sorted(found.items(), key=lambda item: _number(item[0]))
        ]

    def _groups(self, materials: list[_Material]) -> list[list[_Material]]:
        if self.splits.listed:
            return [[m] for m in materials][: self.limit]
        equal: dict[tuple[str, int], list[_Material]] = defaultdict(list)
        for material in materials:
            if material.stable or self._split(material) == "train":
                equal[material.formula, one_hand(material.space_group)].append(material)
        groups = [sorted(g, key=lambda m: (not m.stable, m.above_hull, _number(m.id))) for g in equal.values()]
        return sorted(groups, key=lambda g: _number(g[0].id))[: self.limit]

    def _split(self, material: _Material) -> str:
        """train, validation or test; a composition that may never be trained on tests."""
        if not self.splits.listed and not may_train(material.formula):
            return "test"
        return self.splits.of(material.id, material.formula, material.id)

    # -- fetching -----------------------------------------------------------------------------------------------

    def _fetch_batch(self, client: Any, pool: ThreadPoolExecutor, groups: list[list[_Material]]) -> None:
        """The first retrievable material of each group."""
        try:
            calculations = self._calculations(client, [m.id for group in groups for m in self._to_ask(group)])
        except _Unavailable:  # the lists cannot be had now: _assemble names what is missing
            return
        list(pool.map(lambda group: self._fetch_group(group, calculations), groups))

    def _fetch_group(self, group: list[_Material], calculations: dict[str, list[str]]) -> None:
        for material in self._to_ask(group):
            try:
                record = self._material(material, calculations.get(material.id, []))
            except _Unavailable as error:
                if error.for_now:
                    return
                _keep(self._refusal(material), {"reason": _line(error, self.key)})
            except Exception as error:  # whatever a file may hold, the others go on
                _keep(self._refusal(material), {"reason": _line(error, self.key)})
            else:
                with replacing(self._item(material)) as partial:
                    np.savez(partial, **record)
                return

    def _item(self, material: _Material) -> Path:
        return self.folder / "items" / f"{material.id}.npz"

    def _refusal(self, material: _Material) -> Path:
        return self.folder / "items" / f"{material.id}.json"

    def _calculations(self, client: Any, ids: list[str]) -> dict[str, list[str]]:
        """Static calculations of each material, the newest first."""
        rows: list[Any] = []
        for start in range(0, len(ids), BATCH):
            some = ids[start : start + BATCH]
            fields = ["material_id", "calc_types"]
            rows += self._ask(client.materials.search, material_ids=some, fields=fields, chunk_size=PAGE)
        static = {
            str(row["material_id"]): [task for task, kind in row["calc_types"].items() if str(kind) in STATIC]
            for row in rows
        }
        tasks = sorted({task for found in static.values() for task in found}, key=_number)
        updated: dict[str, str] = {}
        for start in range(0, len(tasks), BATCH):
            some = tasks[start : start + BATCH]
            fields = ["task_id", "last_updated"]
            found = self._ask(client.materials.tasks.search, task_ids=some, fields=fields, chunk_size=PAGE)
            updated |= {str(row["task_id"]): str(row["last_updated"]) for row in found}
        return {
            name: sorted((t for t in found if t in updated), key=lambda t: (updated[t], _number(t)), reverse=True)
            for name, found in static.items()
        }

    def _material(self, material: _Material, tasks: list[str]) -> dict[str, Any]:
        """Arrays of one material, in the canonical cell."""
        for task in tasks:
            document = self._charge_density(task)
            if document is not None:
                return canonical_density(document, self.system)
        raise _Unavailable("no charge density" if tasks else "no static calculation")

    def _charge_density(self, task: str) -> dict[str, Any] | None:
        """The CHGCAR of a calculation as pymatgen's dictionary; None where there is none."""
        import requests
        import stamina
        from emmet.core.mpid import AlphaID

        name = AlphaID(task.split("-")[-1], prefix="mp").string
        url = f"{self.bucket}/chgcars/{name}.json.gz"
        try:
            for attempt in stamina.retry_context(on=_backoff, **_patience()):
                with attempt:
                    answer = requests.get(url, timeout=TIMEOUT)
                    if answer.status_code in (403, 404):  # 403: a bucket that does not let itself be listed
                        return None
                    if answer.status_code != 200:
                        raise _TryAgain(f"HTTP {answer.status_code}", _asked_wait(answer.headers))
                    document = _decode(answer.content)
        except requests.RequestException as error:
            raise _Unavailable(f"the server did not answer ({type(error).__name__})", for_now=True) from None
        except _TryAgain as error:
            raise _Unavailable(f"its charge density cannot be read ({error})", for_now="HTTP" in str(error)) from None
        return document

    def _ask(self, search: Callable[..., Any], **query: Any) -> list[Any]:
        """A list through mp-api, asked for again where the answer is an error that may pass."""
        import stamina

        try:
            for attempt in stamina.retry_context(on=_backoff_of_lists, **_patience()):
                with attempt, warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    rows: list[Any] = search(**query)
        except Exception as error:
            raise _Unavailable(_line(error, self.key), for_now=True) from None
        return rows

    def _client(self) -> Any:
        import stamina

        if len(self.key) != 32:
            raise InputError("the Materials Project key must have 32 characters (materialsproject.org/api gives one)")
        # Importing takes seconds and constructing calls home.
        from mp_api.client import MPRester

        for attempt in stamina.retry_context(on=_backoff_of_lists, **_patience()):
            with attempt, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                client = MPRester(self.key, endpoint=self.endpoint, use_document_model=False, mute_progress_bars=True)
                _ = client.materials.summary, client.materials.tasks  # construct them while errors are retried
        return client

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
        failures.sort(key=lambda row: _number(row["id"]))
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
                record: Record = {name: item[name] for name in ("lattice", "frac_coords", "density")}
                space_group, formula = int(item["space_group"]), str(item["formula"])
                record["species"] = item["species"].tolist()
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


def _bucket_address() -> str:
    """Where the charge densities lie: AWS Open Data, or the place that boto's variables name."""
    place = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return f"{place.rstrip('/')}/{BUCKET}" if place else f"https://{BUCKET}.s3.amazonaws.com"


def _patience() -> dict[str, Any]:
    return {"attempts": ATTEMPTS, "timeout": None, "wait_initial": WAIT_INITIAL, "wait_max": WAIT_MAX}


def _backoff(error: Exception) -> bool | float:
    """Whether, or after how many seconds, to ask the bucket again."""
    import requests

    if isinstance(error, _TryAgain):
        return True if error.wait is None else min(error.wait, WAIT_MAX)
    return isinstance(error, requests.RequestException)


def _backoff_of_lists(error: Exception) -> bool:
    """Whether to ask mp-api again: yes, unless the server refuses the key or the query."""
    text = str(error)
    refused = any(f"status code {code} " in text for code in (400, 401, 403, 404, 422))
    return not refused and "does not support the request" not in text


def _asked_wait(headers: Any) -> float | None:
    value = str(headers.get("Retry-After", ""))
    return float(value) if value.isdigit() else None


def _decode(content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)
    except (EOFError, OSError, zlib.error, ValueError) as error:
        raise _TryAgain(f"{type(error).__name__} in {len(content)} bytes") from None
    if isinstance(document, list) and document:
        document = document[0]
    data = document.get("data") if isinstance(document, dict) else None
    if isinstance(data, dict) and "data" in data:  # the bucket wraps the CHGCAR in a document
        document = data
    return dict(document)


def _number(name: str) -> tuple[int, str]:
    """Sort key of mp-12 before mp-100."""
    digits = name.split("-")[-1]
    return (int(digits) if digits.isdigit() else 10**12, name)


def _line(error: BaseException, key: str) -> str:
    """An error in one line, the key taken out."""
    text = " ".join(str(error).split()).replace(key, "[key]")[:200]
    kind = type(error).__name__
    return text if isinstance(error, (_Unavailable, InputError)) else f"{kind}: {text}"


def _keep(path: Path, content: dict[str, Any]) -> None:
    with replacing(path) as partial:
        partial.write_text(json.dumps(content))

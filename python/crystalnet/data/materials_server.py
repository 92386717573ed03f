"""The servers of the Materials Project: what is asked of them, and asked again until it is answered.

Lists go through mp-api. Charge densities are plain downloads from the project's public bucket: mp-api reaches it
through a boto client of its own whose address cannot be set, which never times out, and which does not tell a missing
file from a broken connection.
"""

from __future__ import annotations

import gzip
import json
import os
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypedDict

from crystalnet.records import InputError
from crystalnet.runtime.settings import settings

BUCKET = "materialsproject-parsed"  # AWS Open Data
ATTEMPTS = 8  # of a request: with WAIT_INITIAL doubling to WAIT_MAX two minutes in all
WAIT_INITIAL, WAIT_MAX = 1.0, 30.0  # seconds between attempts; jitter is added
TIMEOUT = (10.0, 60.0)  # seconds to connect, to the next byte
PAGE = 1000  # materials in one answer
BATCH = 50  # ids in a request: its address stays below 8 kB
STATIC = {"GGA Static", "GGA+U Static"}  # calculations at the pseudopotentials of the valence table
Answer = dict[str, Any]  # JSON of the server: which keys it has is the server's to say


class Unavailable(Exception):
    """A material cannot be had. for_now: the server did not answer, so that another run may get it."""

    def __init__(self, reason: str, for_now: bool = False) -> None:
        super().__init__(reason)
        self.for_now = for_now


class _TryAgain(Exception):
    """A later attempt may have a better answer. wait: seconds that the server asks for."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


@contextmanager
def connected(key: str, endpoint: str | None) -> Iterator[Server]:
    """The servers, for as long as the connection is needed.

    Parameters
    ----------
    key : str
        The user's key, of 32 characters.
    endpoint : str or None
        Address of the lists; None for mp-api's own.

    Raises
    ------
    InputError
        The key does not have 32 characters.
    """
    with _client(key, endpoint) as client:
        yield Server(key, client)


def _client(key: str, endpoint: str | None) -> Any:
    import stamina

    if len(key) != 32:
        raise InputError("the Materials Project key must have 32 characters (materialsproject.org/api gives one)")
    # Importing takes seconds and constructing calls home.
    from mp_api.client import MPRester

    for attempt in stamina.retry_context(on=_backoff_of_lists, **_patience()):
        with attempt, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            client = MPRester(key, endpoint=endpoint, use_document_model=False, mute_progress_bars=True)
            _ = client.materials.summary, client.materials.tasks  # construct them while errors are retried
    return client


class Server:
    """What the servers answer. client: mp-api's MPRester, which has no types."""

    def __init__(self, key: str, client: Any) -> None:
        self.key, self.client = key, client
        self.bucket = (settings().materials_project_densities or _bucket_address()).rstrip("/")

    @property
    def database(self) -> str:
        """Version of the database."""
        return str(self.client.db_version)

    def summaries(self, **query: object) -> dict[str, Answer]:
        """The materials of a query of mp-api's summaries, by their ids. Unavailable if there is no answer."""
        fields = ["material_id", "formula_pretty", "symmetry", "is_stable", "energy_above_hull", "deprecated"]
        found: dict[str, Answer] = {}
        page = 1
        while True:
            rows = self._ask(
                self.client.materials.summary.search,
                **query,
                fields=fields,
                chunk_size=PAGE,
                num_chunks=1,
                _page=page,
                _sort_fields="material_id",
            )
            found |= {str(row["material_id"]): row for row in rows}
            if len(rows) < PAGE:
                return found
            page += 1

    def calculations(self, ids: list[str]) -> dict[str, list[str]]:
        """Ids of the static calculations of each material, the newest first. Unavailable if there is no answer."""
        rows: list[Answer] = []
        for start in range(0, len(ids), BATCH):
            some = ids[start : start + BATCH]
            fields = ["material_id", "calc_types"]
            rows += self._ask(self.client.materials.search, material_ids=some, fields=fields, chunk_size=PAGE)
        static = {
            str(row["material_id"]): [task for task, kind in row["calc_types"].items() if str(kind) in STATIC]
            for row in rows
        }
        tasks = sorted({task for found in static.values() for task in found}, key=id_order)
        updated: dict[str, str] = {}
        for start in range(0, len(tasks), BATCH):
            some = tasks[start : start + BATCH]
            fields = ["task_id", "last_updated"]
            found = self._ask(self.client.materials.tasks.search, task_ids=some, fields=fields, chunk_size=PAGE)
            updated |= {str(row["task_id"]): str(row["last_updated"]) for row in found}
        return {
            name: sorted((t for t in found if t in updated), key=lambda t: (updated[t], id_order(t)), reverse=True)
            for name, found in static.items()
        }

    def charge_density(self, task: str) -> Answer | None:
        """The CHGCAR of a calculation as pymatgen's dictionary; None if there is none.

        Unavailable if it cannot be read.
        """
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
            raise Unavailable(f"the server did not answer ({type(error).__name__})", for_now=True) from None
        except _TryAgain as error:
            raise Unavailable(f"its charge density cannot be read ({error})", for_now="HTTP" in str(error)) from None
        return document

    def _ask(self, search: Callable[..., Any], **query: object) -> list[Answer]:
        """A list through mp-api. It is asked for again if the answer is an error that may pass."""
        import stamina

        try:
            for attempt in stamina.retry_context(on=_backoff_of_lists, **_patience()):
                with attempt, warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    rows: list[Answer] = search(**query)
        except Exception as error:
            raise Unavailable(one_line(error, self.key), for_now=True) from None
        return rows


def _bucket_address() -> str:
    """Where the charge densities lie: AWS Open Data, or the place that boto's variables name."""
    place = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return f"{place.rstrip('/')}/{BUCKET}" if place else f"https://{BUCKET}.s3.amazonaws.com"


class _Patience(TypedDict):
    """How stamina repeats a request."""

    attempts: int
    timeout: float | None
    wait_initial: float
    wait_max: float


def _patience() -> _Patience:
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


def _asked_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds after which the server wants to be asked again; None if it does not say."""
    value = str(headers.get("Retry-After", ""))
    return float(value) if value.isdigit() else None


def _decode(content: bytes) -> Answer:
    """The CHGCAR in a download. _TryAgain if it is cut short."""
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


def id_order(name: str) -> tuple[int, str]:
    """Sort key of ids: mp-12 comes before mp-100."""
    digits = name.split("-")[-1]
    return (int(digits) if digits.isdigit() else 10**12, name)


def one_line(error: BaseException, key: str) -> str:
    """An error as one line, without the user's key."""
    text = " ".join(str(error).split()).replace(key, "[key]")[:200]
    kind = type(error).__name__
    return text if isinstance(error, (Unavailable, InputError)) else f"{kind}: {text}"

"""The journal of a run: what is kept, and what is not gone on with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crystalnet.records import InputError
from crystalnet.runtime.journal import Journal
from crystalnet.runtime.pool import Lost

SETTINGS = {"seed": 0, "limit": 3}


def kept(path: Path, settings: dict[str, Any] = SETTINGS) -> list[Any]:
    with Journal(path, settings, keep=True) as journal:
        return list(iter(journal.next, None))


def test_rows_are_kept_until_the_run_ends_well(tmp_path: Path) -> None:
    path = tmp_path / "new" / "journal"
    with pytest.raises(KeyboardInterrupt), Journal(path, SETTINGS, keep=False) as journal:
        journal.append({"lattice": np.eye(2), "n": np.int64(1)})
        journal.append([{"id": "b"}])
        raise KeyboardInterrupt
    rows = [{"lattice": [[1, 0], [0, 1]], "n": 1}, [{"id": "b"}]]
    assert kept(path) == rows
    path.write_bytes(path.read_bytes()[:-3])  # as a kill cuts the last line
    assert kept(path) == rows[:1]
    with Journal(path, SETTINGS, keep=False) as journal:
        assert journal.next() == rows[0] and journal.next() is None
    assert not path.exists()


def test_without_a_file_nothing_is_kept() -> None:
    with Journal(None, SETTINGS, keep=False) as journal:
        journal.append({"id": "a"})
        assert journal.next() is None


def test_an_item_that_killed_its_process_is_a_row_of_its_own(tmp_path: Path) -> None:
    def score(item: int, failure: str | None = None) -> dict[str, Any]:
        return {"item": item, "failure": failure}

    def mapped(work: Any, items: list[int]) -> Iterator[Any]:
        return (Lost("it died") if item == 2 else work(item) for item in items)

    with Journal(tmp_path / "journal", SETTINGS, keep=True) as journal:
        rows, _ = journal.rows([1, 2, 3], score, mapped)
    assert rows == [score(1), score(2, "it died"), score(3)] == kept(tmp_path / "journal")


def test_rows_of_another_run_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    assert kept(path) == []
    with pytest.raises(InputError, match="unfinished run with another limit"):
        kept(path, SETTINGS | {"limit": 4})
    with pytest.raises(InputError, match="another version"):
        kept(path, {"seed": 0})


@pytest.mark.parametrize("text", ["mine", "mine\n", "[1]\n", "1\n"])
def test_a_file_of_the_users_is_left_alone(text: str, tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_text(text)
    with pytest.raises(InputError, match="not the journal of a run"):
        kept(path)
    assert path.read_text() == text

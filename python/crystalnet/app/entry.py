"""One pattern of the queue: what is known of it, what was found, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from crystalnet.app.request import Request
from crystalnet.app.work import Found
from crystalnet.records import Pattern

State = Literal["reading", "refused", "ready", "waiting", "solving", "done", "failed"]


@dataclass(eq=False)
class Entry:
    """A pattern file and all that the page shows of it.

    Attributes
    ----------
    number : int
        By which addresses name it.
    path : Path
        The page's own copy of the file.
    label : str
        Of the folder for its results, which no other pattern of the session has.
    request : Request
        What the user says; changed by `ask`.
    pattern : Pattern, optional
        None while it is read, and where it cannot be.
    found : Found, optional
        Lines and cells; rejected: numbers of the lines that are not to be used, 0 the first.
    picked : int, optional
        The cell of `found` that was made the request's, 0 the first.
    revision : int
        Counts the changes of the request that were made elsewhere than in its own fields.
    state : State
    busy : str
        The stage of looking (reading, peaks, indexing) that is under way; stage: that of solving.
    problem : str
        In one line why it is refused, or could not be looked at or solved.
    folder, document
        Where the results are, and the content of their solution.json.
    """

    number: int
    path: Path
    label: str
    request: Request = field(default_factory=Request)
    pattern: Pattern | None = None
    found: Found | None = None
    rejected: frozenset[int] = frozenset()
    picked: int | None = None
    revision: int = 0
    state: State = "reading"
    busy: str = ""
    stage: str = ""
    problem: str = ""
    folder: Path | None = None
    document: dict[str, Any] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    @property
    def is_open(self) -> bool:
        """Whether it could be read."""
        return self.pattern is not None

    @property
    def is_at_work(self) -> bool:
        """Whether it is solved, or waits for that."""
        return self.state in ("waiting", "solving")

    def ask(self, **changes: Any) -> bool:
        """Change the request; lines that no longer belong to it go. Returns whether the file must be read again."""
        before, self.request = self.request, replace(self.request, **changes)
        if self.request.lines != before.lines:
            self.found, self.rejected, self.picked = None, frozenset(), None
        if self.request.cell != before.cell:
            self.picked = None
        return self.request.reading != before.reading

    def pick(self, number: int) -> None:
        """Make a cell that was found the request's."""
        if self.found is None:
            return
        entry = self.found.cells[number]
        self.ask(cell=cell_option(entry["lattice"]))
        self.picked = number

    def in_words(self) -> str:
        """How far it is, for the queue."""
        if self.state == "solving":
            return f"solving: {self.stage}" if self.stage else "solving"
        if self.state == "done" and self.document is not None:
            best = next(iter(self.document["candidates"]), None)
            if best is None:
                return "done: no candidate"
            return f"done: {best['formula']}, confidence {best['confidence']:.0%}"
        if self.state in ("refused", "failed"):
            return self.problem
        return self.state


def cell_option(lattice: dict[str, float]) -> str:
    """A cell as `--cell` takes it, all six parameters of whatever system."""
    edges = ",".join(f"{lattice[name]:.5f}" for name in ("a", "b", "c"))
    return edges + "".join(f",{lattice[name]:.4f}" for name in ("alpha", "beta", "gamma"))

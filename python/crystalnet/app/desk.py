"""What one open page looks at, and the parts that it is made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from html import escape

from nicegui import ui

from crystalnet.app.entry import Entry
from crystalnet.app.queue import Queue


class Desk:
    """The session's queue and the pattern that this page shows."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self._chosen: Entry | None = None

    @property
    def chosen(self) -> Entry | None:
        """The pattern that is looked at: the one chosen, else the first."""
        entries = self.queue.entries
        if self._chosen not in entries:
            self._chosen = entries[0] if entries else None
        return self._chosen

    def choose(self, entry: Entry) -> None:
        """Look at a pattern."""
        self._chosen = entry


_NOTHING = object()  # is drawn before the first look


class Panel(ABC):
    """A part of the page. `sync` is called several times a second and draws it anew where it shows something old.

    The state is the server's, so that a page that is loaded again, or a second one, shows the same. What has the
    keyboard's focus stays: only what changed is drawn.
    """

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._drawn: object = _NOTHING
        self.box = ui.element("div").classes("panel")

    def sync(self) -> None:
        """Bring the panel up to date."""
        entry = self.desk.chosen
        shown = self.shown(entry)
        if shown != self._drawn:
            self._drawn = shown
            self.box.clear()
            with self.box:
                self.draw(entry)

    @abstractmethod
    def shown(self, entry: Entry | None) -> object:
        """What the drawing depends on."""

    @abstractmethod
    def draw(self, entry: Entry | None) -> None:
        """Draw it."""


def heading(text: str) -> None:
    """The title of a section."""
    ui.html(f"<h2>{escape(text)}</h2>", sanitize=False)


def remark(text: str, kind: str = "note") -> ui.label:
    """A sentence; kind: "note", "warning" or "problem"."""
    label = ui.label(text).classes(kind)
    return label.props("role=alert") if kind == "problem" else label

"""The page: files and queue at the left, the chosen pattern's journey from profile to answer beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from nicegui import ui

from crystalnet.app.answer_panel import AnswerPanel, SolvePanel
from crystalnet.app.desk import Desk
from crystalnet.app.known_panel import KnownPanel
from crystalnet.app.lines_panel import LinesPanel
from crystalnet.app.pattern_panel import PatternPanel
from crystalnet.app.queue import Queue
from crystalnet.app.queue_panel import QueuePanel

SECONDS = 0.25  # between two looks at what has changed


class Part(Protocol):
    """What can be brought up to date."""

    def sync(self) -> None: ...


def page(queue: Queue) -> None:
    """Draw the page of a session."""
    ui.add_css(Path(__file__).with_name("page.css").read_text(encoding="utf-8"))
    ui.colors(primary="#0b62a4")
    desk = Desk(queue)
    with ui.element("div").classes("desk"):
        with ui.element("nav"):
            ui.html("<h1>CrystalNet</h1>", sanitize=False)
            patterns = QueuePanel(desk)
        with ui.element("main"):
            panels: list[Part] = [
                patterns,
                PatternPanel(desk),
                KnownPanel(desk),
                LinesPanel(desk),
                SolvePanel(desk),
                AnswerPanel(desk),
            ]

    def sync() -> None:
        for panel in panels:
            panel.sync()

    sync()
    ui.timer(SECONDS, sync)

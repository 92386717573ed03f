"""Solving the chosen pattern, and the answer."""

from __future__ import annotations

from typing import Any

from nicegui import ui

from crystalnet.app.desk import Desk, Panel, heading, remark
from crystalnet.app.downloads import address, programs
from crystalnet.app.entry import Entry
from crystalnet.app.lines_panel import in_words
from crystalnet.crystal.systems import system_of

PROGRAM_NAMES = {"gsas2": "GSAS-II", "fullprof": "FullProf", "topas": "TOPAS", "jana": "Jana2020", "vesta": "VESTA"}


class SolvePanel:
    """The button that solves, the one that cancels, and the stage."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        with ui.element("div") as self.box:
            heading("Solve")
            with ui.row().classes("buttons"):
                self.solve = ui.button("Solve", on_click=self._solve).props("no-caps unelevated").mark("solve")
                self.cancel = ui.button("Cancel", on_click=self._cancel).props("no-caps flat").mark("cancel")
                self.stage = ui.label().classes("note").props("aria-live=polite").mark("stage")

    def sync(self) -> None:
        """Bring it up to date."""
        entry = self.desk.chosen
        self.box.set_visibility(entry is not None and entry.is_open)
        if entry is not None:
            self.solve.set_enabled(not entry.is_at_work)
            self.cancel.set_visibility(entry.is_at_work)
            self.stage.set_text(entry.in_words() if entry.state not in ("ready", "reading") else "")

    def _solve(self) -> None:
        if self.desk.chosen is not None:
            self.desk.queue.solve([self.desk.chosen])

    def _cancel(self) -> None:
        if self.desk.chosen is not None:
            self.desk.queue.cancel(self.desk.chosen)


class AnswerPanel(Panel):
    """The candidates, what can be taken away, and the report."""

    def shown(self, entry: Entry | None) -> object:
        return entry and (entry.number, id(entry.document))

    def draw(self, entry: Entry | None) -> None:
        if entry is None or entry.document is None or entry.folder is None:
            return
        heading("Answer")
        for text in entry.document["warnings"]:
            remark(text, "warning")
        if entry.document["candidates"]:
            _candidates(entry, entry.document["candidates"])
        report = address(entry, "files", "report.html")
        with ui.row().classes("buttons"):
            ui.link("Report in its own tab", report, new_tab=True).mark("report")
            _download("All files (zip)", address(entry, "zip"))
            ui.label(f"in {entry.folder}").classes("note")
        frame = ui.element("iframe").classes("report")
        frame.props["src"], frame.props["title"] = f"{report}?{id(entry.document)}", f"report of {entry.name}"


def _candidates(entry: Entry, candidates: list[dict[str, Any]]) -> None:
    names = ("", "formula", "space group", "cell / Å, °", "Rwp", "confidence", "from", "take away")
    with ui.element("table").classes("candidates").mark("candidates"):
        with ui.element("thead"), ui.element("tr"):
            for name in names:
                _text("th", name)
        with ui.element("tbody"):
            for one in candidates:
                with ui.element("tr"):
                    cell = in_words(one["lattice"], system_of(one["space_group"]["number"]))
                    sure = f"{one['confidence']:.0%}"
                    for text in (
                        *(str(one["rank"]), one["formula"], one["space_group"]["symbol"], cell),
                        *("" if one["rwp"] is None else f"{one['rwp']:.1%}", sure, one["source"]),
                    ):
                        _text("td", text)
                    with ui.element("td"), ui.element("div").classes("links"):
                        _download("CIF", address(entry, "files", one["cif"]))
                        for program in programs():  # in a tab of its own: one that cannot be made says why there
                            where = address(entry, "export", program, one["rank"])
                            ui.link(PROGRAM_NAMES.get(program, program), where, new_tab=True)


def _text(tag: str, text: str) -> None:
    with ui.element(tag):
        ui.label(text)


def _download(text: str, where: str) -> None:
    ui.link(text, where).props("download")

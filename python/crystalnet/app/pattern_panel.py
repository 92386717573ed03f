"""The pattern: its profile, what the file says, and the range that is used."""

from __future__ import annotations

from nicegui import ui
from nicegui.events import GenericEventArguments

from crystalnet.app.desk import Desk, Panel, heading, remark
from crystalnet.app.entry import Entry
from crystalnet.app.figure import figure

AXIS_NAMES = {"auto": "what the file says", "two-theta": "2θ in degrees", "q": "Q", "d": "d"}
ASSUMED = "The file does not say the wavelength: Cu Kα is assumed. Say it below if you know it."


class PatternPanel(Panel):
    """Drawn anew for another pattern; a change of range, lines or cell changes the plot alone."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.plot: ui.plotly | None = None
        self._drag, self._root = "select", False
        self._plotted: object = None

    def sync(self) -> None:
        super().sync()
        entry = self.desk.chosen
        if entry is None or entry.pattern is None or self.plot is None:
            return
        wanted = (entry.request.lines, id(entry.found), entry.rejected, entry.picked, self._drag, self._root)
        if wanted != self._plotted:
            self._plotted = wanted
            self.plot.update_figure(figure(entry, self._drag, self._root))

    def shown(self, entry: Entry | None) -> object:
        return entry and (entry.number, id(entry.pattern), entry.state == "refused", entry.problem)

    def draw(self, entry: Entry | None) -> None:
        self.plot, self._plotted = None, None
        if entry is None:
            remark("Drop a measured powder pattern to begin.")
            return
        if entry.problem:
            remark(entry.problem, "problem").mark("problem")
        if entry.pattern is None:
            if not entry.problem:
                remark("reading …")
            elif "--axis" in entry.problem:  # the one refusal that a word of the user's can mend
                axis = ui.select(AXIS_NAMES, label="The first column is", value=entry.request.axis).mark("axis")
                axis.on_value_change(lambda e: self._read_as(entry, e.value))
            return
        heading(entry.name)
        pattern = entry.pattern
        beam = f"λ {pattern.radiation.wavelength:.6g} Å" + (" (assumed)" if pattern.radiation.assumed else "")
        facts = f"{beam} · {len(pattern)} points · {pattern.two_theta[0]:.2f} to {pattern.two_theta[-1]:.2f}° 2θ"
        ui.label(facts).classes("facts").mark("facts")
        for text in (*([ASSUMED] if pattern.radiation.assumed else []), *pattern.remarks):
            remark(text, "warning")
        self.plot = ui.plotly(figure(entry, self._drag, self._root)).classes("wide").mark("plot")
        self.plot.on("plotly_selected", self._select, js_handler="(e) => { if (e && e.range) emit(e.range.x); }")
        with ui.row().classes("controls"):
            drag = {"select": "dragging chooses the range", "zoom": "dragging zooms"}
            ui.radio(drag, value=self._drag, on_change=lambda e: self._set("_drag", e.value)).props("inline dense")
            root = ui.checkbox("square root (shows weak lines)", value=self._root).props("dense")
            root.on_value_change(lambda e: self._set("_root", e.value))

    def _set(self, name: str, value: object) -> None:
        setattr(self, name, value)
        self.sync()

    def _read_as(self, entry: Entry, axis: str) -> None:
        if entry.ask(axis=axis):
            self.desk.queue.read(entry)

    def _select(self, event: GenericEventArguments) -> None:
        entry = self.desk.chosen
        if entry is not None and len(event.args) == 2:
            low, high = sorted(round(float(x), 2) for x in event.args)
            entry.ask(low=low, high=high)
            entry.revision += 1

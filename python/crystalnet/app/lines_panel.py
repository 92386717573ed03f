"""Lines and cells: which lines are used, and which cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nicegui import ui
from nicegui.events import TableSelectionEventArguments

from crystalnet.app.desk import Desk, Panel, heading, remark
from crystalnet.app.entry import Entry
from crystalnet.crystal.systems import CrystalSystem, system_named

NO_CELL = (
    "No cell explains these lines: a mixture, or too few or too broad lines. Reject foreign ones, or use a longer"
    " range."
)


class LinesPanel:
    """A button that stays, so that the keyboard does not lose its place, and tables below it."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        with ui.element("div") as self.box:
            heading("Lines and cells")
            with ui.row().classes("buttons"):
                self.button = (
                    ui.button("Find lines and cells", on_click=self._find).props("no-caps outline").mark("find")
                )
                self.busy = ui.label().classes("note").props("aria-live=polite").mark("busy")
            self.tables = _Tables(desk)

    def sync(self) -> None:
        """Bring it up to date."""
        entry = self.desk.chosen
        self.box.set_visibility(entry is not None and entry.is_open)
        if entry is not None:
            self.busy.set_text(f"{entry.busy} …" if entry.busy else "")
            again = entry.found is not None and bool(entry.rejected)
            self.button.set_text("Find cells again" if again else "Find lines and cells")
        self.tables.sync()

    def _find(self) -> None:
        entry = self.desk.chosen
        if entry is not None and not entry.busy:
            self.desk.queue.find(entry)


class _Tables(Panel):
    def shown(self, entry: Entry | None) -> object:
        return entry and (entry.number, id(entry.found))

    def draw(self, entry: Entry | None) -> None:
        if entry is None or entry.found is None:
            return
        with ui.element("div").classes("columns"):
            with ui.element("div"):
                ui.label(f"{len(entry.found.peaks)} lines; unchecked ones are not used").classes("caption")
                _lines(entry)
            with ui.element("div"):
                if entry.found.cells:
                    ui.label("Cells, best first; the one checked is used").classes("caption")
                    _cells(entry)
                else:
                    remark(NO_CELL, "warning")


def _lines(entry: Entry) -> None:
    assert entry.found is not None
    peaks = entry.found.peaks
    strongest = float(peaks.area.max())
    rows = [
        {"number": i, "two_theta": f"{x:.3f}", "d": f"{d:.4f}", "area": f"{100 * area / strongest:.1f}", "hkl": hkl}
        for i, (x, d, area, hkl) in enumerate(
            zip(peaks.two_theta, peaks.d_spacing, peaks.area, entry.found.indices, strict=True)
        )
    ]
    columns = _columns(two_theta="2θ / °", d="d / Å", area="area", hkl="h k l")

    def select(event: TableSelectionEventArguments) -> None:
        entry.rejected = frozenset(range(len(rows))) - {row["number"] for row in event.selection}

    table = ui.table(rows=rows, columns=columns, row_key="number", selection="multiple", on_select=select)
    table.selected = [row for row in rows if row["number"] not in entry.rejected]
    table.props("dense flat bordered hide-selected-banner").classes("lines").mark("lines")
    _name_boxes(table, "use the line at ' + props.row.two_theta + '°")


def _cells(entry: Entry) -> None:
    assert entry.found is not None
    rows = [
        {
            "number": number,
            "lattice": f"{cell['system']} {cell['centring']}",
            "cell": in_words(cell["lattice"], system_named(cell["system"])),
            "volume": f"{cell['volume']:.1f}",
            "m20": f"{cell['m20']:.0f}",
            "f_n": f"{cell['f_n']:.0f}",
            "lines": f"{cell['n_indexed']}/{cell['n_lines']}",
        }
        for number, cell in enumerate(entry.found.cells)
    ]
    columns = _columns(lattice="lattice", cell="cell / Å, °", volume="V / Å³", m20="M₂₀", f_n="F_N", lines="lines")
    columns[0]["align"] = columns[1]["align"] = "left"

    def select(event: TableSelectionEventArguments) -> None:
        if event.selection:
            entry.pick(event.selection[0]["number"])
        else:
            entry.ask(cell="")
        entry.revision += 1

    table = ui.table(rows=rows, columns=columns, row_key="number", selection="single", on_select=select)
    table.selected = [rows[entry.picked]] if entry.picked is not None else []
    table.props("dense flat bordered hide-selected-banner").mark("cells")
    _name_boxes(table, "use the cell ' + props.row.lattice + ' ' + props.row.cell + '")


def in_words(lattice: Mapping[str, float], system: CrystalSystem) -> str:
    """The parameters that a crystal system leaves free, without units."""
    return "  ".join(f"{name} {lattice[name]:.{4 if name in 'abc' else 2}f}" for name in system.free)


def _name_boxes(table: ui.table, name: str) -> None:
    """What a screen reader says of the box of each row."""
    table.add_slot("body-selection", f"""<q-checkbox dense v-model="props.selected" :aria-label="'{name}'" />""")


def _columns(**labels: str) -> list[dict[str, Any]]:
    return [{"name": name, "label": label, "field": name, "align": "right"} for name, label in labels.items()]

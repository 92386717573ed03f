"""What the user knows of the sample and the measurement."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress

from nicegui import ui

from crystalnet.app.desk import Panel, heading, remark
from crystalnet.app.entry import Entry
from crystalnet.app.periodic_table import PeriodicTable
from crystalnet.crystal.formula import parse_elements, parse_formula
from crystalnet.crystal.systems import SYSTEMS
from crystalnet.defaults import MOST_EFFORT
from crystalnet.records import InputError
from crystalnet.xrd.emission_lines import TUBES
from crystalnet.xrd.radiation import parse_wavelength

OTHER = "a number"
CELL = "a | a,c | a,alpha=55 | a,b,c,alpha,beta,gamma"


class KnownPanel(Panel):
    """Fields of the chosen pattern's request; drawn anew for another pattern, or when another panel changed it."""

    def shown(self, entry: Entry | None) -> object:
        return entry and entry.is_open and (entry.number, entry.revision)

    def draw(self, entry: Entry | None) -> None:
        if entry is None or not entry.is_open:
            return
        heading("What is known")
        remark("All of it may be left empty; the elements help most.")
        with ui.row().classes("fields"):
            elements = self._text(entry, "elements", "Elements, e.g. Zr, Sb, Pt", parse_elements)
            self._text(entry, "formula", "or formula, e.g. Zr3Sb4Pt3", parse_formula)
        self.table = PeriodicTable(lambda symbols: elements.set_value(", ".join(symbols)))
        self._mark(elements.value)
        elements.on_value_change(lambda e: self._mark(e.value))
        with ui.row().classes("fields"):
            self._wavelength(entry)
            self._range(entry)
        with ui.row().classes("fields"):
            systems = {"auto": "any crystal system", **{name: name for name in SYSTEMS}}
            system = ui.select(systems, label="Crystal system", value=entry.request.system).mark("system")
            system.on_value_change(lambda e: entry.ask(system=e.value))
            cell = ui.input("Cell, Å and °", value=entry.request.cell, placeholder=CELL).classes("broad").mark("cell")
            cell.on_value_change(lambda e: entry.ask(cell=(e.value or "").strip()))
            effort = ui.number("Effort of a search, s", value=entry.request.effort, min=0, max=MOST_EFFORT).mark(
                "effort"
            )
            effort.on_value_change(lambda e: entry.ask(effort=float(e.value or 0)))

    def _mark(self, text: str | None) -> None:
        """Show in the table what was typed."""
        with suppress(InputError):
            self.table.mark(parse_elements(text) if text and text.strip() else ())

    def _text(self, entry: Entry, name: str, label: str, check: Callable[[str], object]) -> ui.input:
        """A field of the request; what is wrong with it stands below."""
        field = ui.input(label, value=getattr(entry.request, name), validation=_complaint(check)).mark(name)
        field.on_value_change(lambda e: entry.ask(**{name: (e.value or "").strip()}))
        return field

    def _wavelength(self, entry: Entry) -> None:
        names = [f"{tube}Ka" for tube in TUBES]
        options = {"": "from the file", **{name: f"{name[:2]} Kα" for name in names}}
        options |= {f"{name}1": f"{name[:2]} Kα1" for name in names} | {OTHER: OTHER}
        said = entry.request.wavelength
        choice = ui.select(options, label="Wavelength", value=said if said in options else OTHER).mark("wavelength")
        number = ui.input("λ / Å", value="" if said in options else said, validation=_complaint(parse_wavelength))
        number.mark("lambda").bind_visibility_from(choice, "value", lambda value: value == OTHER)

        def changed() -> None:
            text = (number.value or "").strip() if choice.value == OTHER else choice.value
            if _complaint(parse_wavelength)(text) is None and entry.ask(wavelength=text):
                self.desk.queue.read(entry)

        choice.on_value_change(changed)
        number.on("keydown.enter", changed).on("blur", changed)

    def _range(self, entry: Entry) -> None:
        def changed(which: str, value: float | None) -> None:
            entry.ask(**{which: value})

        for which, label in (("low", "Use from, ° 2θ"), ("high", "to, ° 2θ")):
            field = ui.number(label, value=getattr(entry.request, which), min=0, max=180, step=0.5, format="%.2f")
            field.classes("narrow").props("clearable").mark(which)
            field.on_value_change(lambda e, which=which: changed(which, e.value))


def _complaint(check: Callable[[str], object]) -> Callable[[str | None], str | None]:
    """What `check` has against a text, None where nothing; an empty one is always right."""

    def complaint(text: str | None) -> str | None:
        try:
            if (text or "").strip():
                check(str(text))
        except InputError as error:
            return re.sub("^--[a-z]+: ", "", str(error))  # the field itself says which option it is
        return None

    return complaint

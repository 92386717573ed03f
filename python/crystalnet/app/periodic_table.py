"""The periodic table, to choose elements from."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from crystalnet.crystal.elements import ATOMIC_NUMBER, SYMBOLS
from crystalnet.density.promolecule import element_table
from crystalnet.ops.reflections import form_factor_table

ROWS = (  # one symbol a place; "." leaves it empty
    "H . . . . . . . . . . . . . . . . He",
    "Li Be . . . . . . . . . . B C N O F Ne",
    "Na Mg . . . . . . . . . . Al Si P S Cl Ar",
    "K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr",
    "Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe",
    "Cs Ba La Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn",
    "Fr Ra Ac",
    ". . . Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu .",
    ". . . Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr .",
)
# One stop of the Tab key, the arrows go on from there: who passes by does not press Tab a hundred times.
ARROWS = """(e) => {
  const step = {ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0]}[e.key];
  const from = e.target.closest("button");
  if (!step || !from) return;
  e.preventDefault();
  let row = +from.dataset.row, column = +from.dataset.column;
  for (let i = 0; i < 18; i++) {
    row += step[0]; column += step[1];
    const to = e.currentTarget.querySelector(`button[data-row="${row}"][data-column="${column}"]:not([disabled])`);
    if (to) { from.tabIndex = -1; to.tabIndex = 0; to.focus(); return; }
  }
}"""


def usable(symbol: str) -> bool:
    """Whether the solver knows how an element scatters and what its valence density is."""
    return symbol in element_table() and ATOMIC_NUMBER[symbol] < len(form_factor_table())


class _Place(TextElement):
    def __init__(self, symbol: str) -> None:
        super().__init__(tag="button", text=symbol)


class PeriodicTable:
    """Buttons that are on or off, one an element.

    Parameters
    ----------
    on_change : callable
        Is told the symbols that are on, by atomic number.
    """

    def __init__(self, on_change: Callable[[list[str]], object]) -> None:
        self.on: set[str] = set()
        self._on_change = on_change
        self._places: dict[str, _Place] = {}
        with ui.element("div").classes("periodic").props('role=group aria-label="elements: arrow keys move"') as table:
            table.on("keydown", js_handler=ARROWS)
            for row, symbols in enumerate(ROWS):
                for column, symbol in enumerate(symbols.split()):
                    if symbol != ".":
                        self._places[symbol] = self._place(symbol, row, column)

    def _place(self, symbol: str, row: int, column: int) -> _Place:
        place = _Place(symbol).style(f"grid-row: {row + 1}; grid-column: {column + 1}").mark(f"element-{symbol}")
        place.props(f"type=button aria-pressed=false data-row={row} data-column={column}")
        place.props["tabindex"] = 0 if symbol == "H" else -1
        place.props["title"] = f"{symbol}, Z = {ATOMIC_NUMBER[symbol]}"
        if usable(symbol):
            place.on("click", lambda: self._toggle(symbol), args=[])
        else:
            place.props("disabled")
        return place

    def mark(self, symbols: Iterable[str]) -> None:
        """Show which elements are on."""
        now = set(symbols) & set(self._places)
        for symbol in now ^ self.on:
            place = self._places[symbol]
            place.props["aria-pressed"] = "true" if symbol in now else "false"
            place.classes(add="on") if symbol in now else place.classes(remove="on")
        self.on = now

    def _toggle(self, symbol: str) -> None:
        self.mark(self.on ^ {symbol})
        self._on_change(sorted(self.on, key=SYMBOLS.index))

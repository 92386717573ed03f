"""Hermann–Mauguin symbols of settings."""

from __future__ import annotations

import pytest

from crystalnet.crystal.lattice import Cell
from crystalnet.crystal.setting_symbol import setting_symbol
from crystalnet.crystal.wyckoff import groups_on


@pytest.mark.parametrize(
    ("cell", "number", "symbols"),
    [
        (Cell("monoclinic", "P", 5.0, 7.3, b=6.1, beta=98.0), 14, {"P2_1/c", "P2_1/a", "P2_1/n"}),
        (Cell("monoclinic", "C", 9.0, 7.3, b=6.1, beta=98.0), 15, {"C2/c"}),
        (Cell("orthorhombic", "P", 5.0, 7.3, b=6.1), 62, {"Pnma", "Pmnb", "Pbnm", "Pcmn", "Pmcn", "Pnam"}),
        (Cell("orthorhombic", "P", 5.0, 7.3, b=6.1), 17, {"P222_1", "P2_122", "P22_12"}),
        (Cell("orthorhombic", "C", 5.0, 7.3, b=6.1), 64, {"Cmce", "Ccme"}),
        (Cell("orthorhombic", "A", 5.0, 7.3, b=6.1), 39, {"Aem2", "Ae2m"}),
        (Cell("tetragonal", "I", 5.0, 7.3), 141, {"I4_1/amd"}),
        (Cell("trigonal", "R", 5.0, 14.1), 167, {"R-3c"}),
        (Cell("trigonal", "P", 5.0, 7.3), 150, {"P321"}),
        (Cell("trigonal", "P", 5.0, 7.3), 194, {"P6_3/mmc"}),
        (Cell("cubic", "F", 8.0), 227, {"Fd-3m"}),
        (Cell("triclinic", "P", 5.0, 7.3, b=6.1, alpha=81.0, beta=98.0, gamma=77.0), 2, {"P-1"}),
    ],
    ids=lambda value: getattr(value, "system", None),
)
def test_every_setting_has_its_own_symbol(cell: Cell, number: int, symbols: set[str]) -> None:
    groups = groups_on(cell)
    assert {setting_symbol(g, cell.centring) for g in groups if g.number == number} == symbols
    assert len({setting_symbol(g, cell.centring) for g in groups}) == len(groups)


def test_another_unique_axis_is_said() -> None:
    """A metric that is orthorhombic within its error leaves the unique axis open."""
    groups = groups_on(Cell("monoclinic", "P", 5.0, 7.3, b=6.1, beta=90.01))
    symbols = {setting_symbol(g, "P") for g in groups if g.number == 4}
    assert symbols == {"P2_1", "P112_1", "P2_111"}
    assert len({setting_symbol(g, "P") for g in groups}) == len(groups)


def test_the_glide_plane_is_along_the_axis_that_the_symbol_says() -> None:
    """P2₁/a forbids h0l with odd h, P2₁/n with odd h + l."""
    cell = Cell("monoclinic", "P", 5.0, 7.3, b=6.1, beta=98.0)
    absent = {setting_symbol(g, "P"): g.absent([[1, 0, 0], [0, 0, 1], [1, 0, 1]]).tolist() for g in groups_on(cell)}
    assert absent["P2_1/a"] == [True, False, True]
    assert absent["P2_1/c"] == [False, True, True]
    assert absent["P2_1/n"] == [True, True, False]

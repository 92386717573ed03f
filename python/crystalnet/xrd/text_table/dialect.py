"""What separates the columns of a file, and what its commas and points are."""

from __future__ import annotations

from dataclasses import dataclass

from crystalnet.xrd.text_table.numbers import number

_SAMPLE = 400  # lines that decide what separates the columns


@dataclass(frozen=True)
class Dialect:
    """What separates columns besides blanks, and what commas and points are: `comma` and `quoted` (of commas within
    quotes) are "separator", "decimal" or "thousands"; `points`: points group thousands (1.393,5).
    """

    separators: str = ",;|\t"
    comma: str = "separator"
    quoted: str = "thousands"
    points: bool = False

    def cells(self, line: str) -> list[str]:
        """The cells of a line, empty ones included but not at its end."""
        if '"' in line:
            line = self._unquoted(line)
        for mark in self.separators:
            line = line.replace(mark, "\x1f")
        cells: list[str] = []
        for part in line.split("\x1f"):
            cells += part.split() or [""]
        while cells and not cells[-1]:
            cells.pop()
        return cells

    def value(self, cell: str) -> float | None:
        """The number in a cell."""
        if self.points and "." in cell and (_grouped(cell, ".") or "," in cell):
            cell = cell.replace(".", "")
        if "," in cell:
            cell = cell.replace(",", "." if self.comma == "decimal" else "")
        return number(cell)

    def _unquoted(self, line: str) -> str:
        """Without quotes; what stood within them is one cell, its commas and blanks gone."""
        parts = line.split('"')
        for i in range(1, len(parts), 2):
            inner = parts[i].strip()
            if "," in inner:
                inner = inner.replace(",", "." if self.quoted == "decimal" else "")
            parts[i] = "_".join(inner.replace(";", " ").replace("|", " ").split())
        return "".join(parts)


def dialect_of(lines: list[str]) -> Dialect:
    """From lines in the middle of the file: "10,5 200,3" has decimal commas, "10.5,200" separators, "10.5;7,393"
    thousands."""
    sample = lines[len(lines) // 2 :][:_SAMPLE]
    inner = [p.strip() for line in sample for p in line.split('"')[1::2] if "," in p]
    outer = ["".join(line.split('"')[::2]) for line in sample]
    points = any("." in line for line in sample)
    quoted = "thousands" if points and all(_grouped(p, ",") for p in inner) else "decimal"
    if inner and not points and all(_grouped(p, ",") for p in inner):  # "10,020";"893": a column that needs none
        quoted = "decimal" if len(inner) > len(sample) else "thousands"
    other = sum(any(mark in line for mark in ";|\t") for line in outer) > len(outer) / 2
    separators = ";|\t"
    tokens = [t for line in outer for t in line.replace(";", " ").replace("|", " ").split()]
    with_comma = [t.rstrip(",") for t in tokens if "," in t.rstrip(",")]
    alone = other or not any(", " in line or " ," in line or "\t," in line for line in outer)
    inside = [t for t in with_comma if all(part.lstrip("+-")[:1].isdigit() for part in t.split(",")[:2])]
    if not with_comma or len(inside) < len(with_comma) or not alone or not (other or _columns_by_blanks(outer)):
        return Dialect(quoted=quoted)
    if all(_grouped(t, ",") for t in with_comma) and any("." in t for t in tokens):
        return Dialect(separators, "thousands", quoted)
    if all(t.count(",") == 1 for t in with_comma):
        dotted = [t for t in tokens if "." in t]
        if not dotted:
            return Dialect(separators, "decimal", quoted)
        if all(_grouped(t, ".") for t in dotted):
            return Dialect(separators, "decimal", quoted, points=True)
    return Dialect(quoted=quoted)


def _grouped(cell: str, mark: str) -> bool:
    """Do the marks group thousands: 7,393 or 1,134,930.5?"""
    head, *groups = cell.lstrip("+-").split(mark)
    if not groups or not (head.isdigit() and len(head) <= 3):
        return False
    groups[-1] = groups[-1].partition("." if mark == "," else ",")[0]
    return all(len(group) == 3 and group.isdigit() for group in groups)


def _columns_by_blanks(lines: list[str]) -> bool:
    return sum(len(line.split()) > 1 for line in lines) > len(lines) / 2

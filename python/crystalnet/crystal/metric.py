"""Lattices on hexagonal axes whose metric is a cubic one: which cubic lattice has all their lines?

An F lattice seen along [111] is an R lattice with c/a = √6, a P lattice one with √(3/2), an I lattice one with √(3/8).
Where a cubic superstructure adds few lines (pyrochlores, ordered spinels and perovskites), a rhombohedral lattice that
takes only one of the four directions [111] into account, with c/a = √24 for a pyrochlore, has all lines that are seen
and fewer that are not. Its metric gives it away: no trigonal crystal has to have it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

from crystalnet.crystal.lattice import Cell

#: Relative, of c/a: an indexed metric is good to a few 1e-4, twice as bad where lines are few.
METRIC_TOLERANCE = 1.5e-3
#: Largest numerator and denominator of (c/a)/√6, and of the cubic over the given primitive volume: a coincidence that
#: costs a larger cell is none, for large cells meet any lines.
LARGEST_RATIO, LARGEST_CELL = 4, 4
_Vector = tuple[Fraction, ...]


def cubic_lattice(cell: Cell) -> Cell | None:
    """The smallest cubic lattice with every line of a lattice on hexagonal axes; None where its metric is not cubic.

    The reciprocal lattice of the answer is spanned by that of `cell` in its four orientations along ⟨111⟩. Where the
    answer has the same primitive volume, both are descriptions of one lattice.

    >>> pyrochlore = cubic_lattice(Cell("trigonal", "R", 3.820, 18.716))
    >>> pyrochlore.centring, round(pyrochlore.a, 2)
    ('F', 10.8)
    >>> cubic_lattice(Cell("trigonal", "R", 4.759, 12.993)) is None  # corundum
    True
    """
    if cell.system != "trigonal":
        return None
    ratio = cell.c / cell.a / math.sqrt(6)
    nearest = Fraction(ratio).limit_denominator(LARGEST_RATIO)
    if not 0 < nearest.numerator <= LARGEST_RATIO or abs(ratio / nearest - 1) > METRIC_TOLERANCE:
        return None
    # In cubic axes and units of a/√2 the hexagonal axes are (1,−1,0), (0,1,−1) and 2(c/a)/√6·(1,1,1).
    first, second = _vector(1, -1, 0), _vector(0, 1, -1)
    third = (2 * nearest,) * 3
    lattice = [first, second, third]
    if cell.centring == "R":  # obverse or reverse is a choice of axes: that of the smaller cubic lattice
        points = [_third(first, second, third, 2, 1), _third(first, second, third, 1, 2)]
        cubic = min((_superposed(_spanned([*lattice, p])) for p in points), key=lambda rows: abs(_determinant(rows)))
    else:
        cubic = _superposed(lattice)
    # A cubic lattice has a shortest vector along each axis; a³ holds 1, 2 or 4 points.
    edge = next(Fraction(n, 6) for n in range(1, 1000) if _is_point(_vector(Fraction(n, 6), 0, 0), cubic))
    centring = {1: "P", 2: "I", 4: "F"}[int(edge**3 / abs(_determinant(cubic)))]
    unit = (cell.a**2 * cell.c / (math.sqrt(6) * nearest)) ** (1 / 3) / math.sqrt(2)  # a and c as one length
    a = float(edge) * unit
    found = replace(cell, system="cubic", centring=centring, a=a, c=a)
    return found if found.primitive_volume < (LARGEST_CELL + 0.5) * cell.primitive_volume else None


def same_metric(one: Cell, other: Cell) -> bool:
    """Whether one of the two is the cubic lattice that the metric of the other, on hexagonal axes, asks for."""
    for cell, cubic in ((one, other), (other, one)):
        found = cubic_lattice(cell) if cubic.system == "cubic" else None
        if found and found.centring == cubic.centring and abs(found.a / cubic.a - 1) < 2 * METRIC_TOLERANCE:
            return True
    return False


def _superposed(lattice: list[_Vector]) -> list[_Vector]:
    """The lattice (rows) whose reciprocal lattice is spanned by that of `lattice` turned onto each ⟨111⟩."""
    reciprocal = _inverse_transpose(lattice)
    turned = [
        tuple(s * x for s, x in zip(signs, row, strict=True))
        for signs in ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))
        for row in reciprocal
    ]
    return _inverse_transpose(_spanned(turned))


def _third(first: _Vector, second: _Vector, third: _Vector, m: int, n: int) -> _Vector:
    """(m·first + n·second + third) / 3."""
    return tuple((m * a + n * b + c) / 3 for a, b, c in zip(first, second, third, strict=True))


def _vector(*values: Fraction | int) -> _Vector:
    return tuple(Fraction(v) for v in values)


def _determinant(m: list[_Vector]) -> Fraction:
    (a, b, c), (d, e, f), (g, h, i) = m
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


def _inverse_transpose(m: list[_Vector]) -> list[_Vector]:
    """Rows of the reciprocal lattice of the rows of m."""

    def cross(u: _Vector, v: _Vector) -> _Vector:
        return (u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0])

    determinant = _determinant(m)
    return [tuple(x / determinant for x in cross(m[(i + 1) % 3], m[(i + 2) % 3])) for i in range(3)]


def _spanned(vectors: list[_Vector]) -> list[_Vector]:
    """A basis (3 rows) of all integer combinations of the vectors: Euclid's algorithm column by column."""
    rows, basis = list(vectors), []
    for column in range(3):
        while len([r for r in rows if r[column]]) > 1:
            pivot = min((r for r in rows if r[column]), key=lambda r: abs(r[column]))
            rows = [
                r if r is pivot else tuple(x - (r[column] // pivot[column]) * p for x, p in zip(r, pivot, strict=True))
                for r in rows
            ]
        pivot = next(r for r in rows if r[column])
        basis.append(pivot)
        rows = [r for r in rows if r is not pivot and any(r)]
    return basis


def _is_point(vector: _Vector, lattice: list[_Vector]) -> bool:
    reciprocal = _inverse_transpose(lattice)
    return all(sum(x * y for x, y in zip(vector, row, strict=True)).denominator == 1 for row in reciprocal)

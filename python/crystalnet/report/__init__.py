"""What is written: solution.json, CIF and cube files, density.npz, the report page, the figure.

`write_solution` writes the folder of one pattern, `write_summary` a line for each of several patterns,
`write_density` one density file.
"""

from __future__ import annotations

from .files import (
    earlier_solution,
    refuse_foreign_density,
    refuse_foreign_summary,
    solution_json,
    summary_row,
    write_density,
    write_solution,
    write_summary,
)

__all__ = [
    "earlier_solution",
    "refuse_foreign_density",
    "refuse_foreign_summary",
    "solution_json",
    "summary_row",
    "write_density",
    "write_solution",
    "write_summary",
]

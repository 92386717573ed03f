"""What is written: solution.json, CIF and cube files, density.npz, the report page, the figure.

`write_solution` writes the folder of one pattern, `write_summary` a line for each of several patterns,
`write_density` one density file.
"""

from __future__ import annotations

from crystalnet.report.files import earlier_solution, write_solution
from crystalnet.report.solution_file import refuse_foreign_summary, solution_json, summary_row, write_summary
from crystalnet.report.structure_files import refuse_foreign_density, write_density

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

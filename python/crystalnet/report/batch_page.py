"""index.html over many patterns: a line each, with its picture and the way to its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from os.path import relpath
from pathlib import Path
from typing import Any
from urllib.parse import quote

from crystalnet.report.reasons import percent
from crystalnet.runtime.whole_file import begins_with, refuse_foreign, replacing

TITLE = "CrystalNet: many patterns"
HEAD = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{TITLE}</title>
"""
STYLE = """<style>
  body { margin:0 auto; max-width:1180px; padding:28px; color:#1f2933; font:15px/1.5 system-ui,sans-serif; }
  h1 { font-size:25px; font-weight:650; margin:0 0 2px; }
  table { border-collapse:collapse; width:100%; font-variant-numeric:tabular-nums; }
  th { text-align:left; font-size:12.5px; color:#5f6b76; border-bottom:1.5px solid #dde2e7; padding:5px 12px 5px 6px; }
  td { border-bottom:1px solid #dde2e7; padding:5px 12px 5px 6px; }
  tr.doubt td { color:#5f6b76; }
  img { width:200px; display:block; }
  a { color:#0b62a4; }
  p { color:#5f6b76; }
</style>
</head>
"""


def refuse_foreign_index(path: Path) -> bool:
    """Whether an earlier index is there. InputError where the file is the user's own."""
    return refuse_foreign(path, begins_with(HEAD))


def write_index(rows: Sequence[Mapping[str, Any]], believed: Sequence[bool], path: Path) -> None:
    """Write index.html.

    Parameters
    ----------
    rows
        As `summary_row` makes them.
    believed
        Of each, whether its first candidate is one to believe.
    path
        The file, written over; reports and pictures are linked relative to it.
    """
    sure = sum(believed)
    heads = ("", "pattern", "formula", "space group", "cell / Å, °", "Rwp", "confidence", "")
    head = "".join(f"<th>{name}</th>" for name in heads)
    lines = [_line(row, ok, path.parent) for row, ok in zip(rows, believed, strict=True)]
    said = f"<p>{len(rows)} patterns, {sure} with an answer to believe. The figures are those of summary.csv.</p>"
    body = f"<h1>{len(rows)} patterns</h1>{said}<table><tr>{head}</tr>\n" + "\n".join(lines) + "\n</table>"
    with replacing(path) as partial:
        partial.write_text(f"{HEAD}{STYLE}<body>{body}</body></html>\n", encoding="utf-8")


def _line(row: Mapping[str, Any], believed: bool, base: Path) -> str:
    name = escape(Path(row["pattern"]).name)
    if not row["candidates"]:
        return f'<tr class="doubt"><td></td><td>{name}</td><td colspan="6">{escape(str(row["error"]))}</td></tr>'
    folder = quote(Path(relpath(row["folder"], base)).as_posix())
    edges = ", ".join(f"{float(row[edge]):.4f}" for edge in ("a", "b", "c"))
    angles = ", ".join(f"{float(row[angle]):.2f}" for angle in ("alpha", "beta", "gamma"))
    doubt, remark = ("", "") if believed else (' class="doubt"', "not to be believed")
    confidence = percent(row["confidence"], 0) if row["confidence"] != "" else ""
    cells = (
        f'<a href="{folder}/report.html"><img src="{folder}/figure.png" alt="" loading="lazy"></a>',
        f'<a href="{folder}/report.html">{name}</a>',
        *(escape(str(row[key])) for key in ("formula", "space_group")),
        f"{edges}; {angles}",
        f"{float(row['rwp']):.3f}",
        confidence,
        remark,
    )
    return f"<tr{doubt}>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"

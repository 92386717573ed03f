"""Write the score tables of README.md and docs/results.md from the summaries in docs/results/.

    crystalnet evaluate structures_other.jsonl.gz --system cubic --given formula ... --out scores.json
    python tools/results_page.py add scores.json "crystalnet evaluate ..."    # keep its summary in docs/results/
    python tools/results_page.py write                                         # rewrite the tables

A table stands between the lines `<!-- results -->` and `<!-- end of results -->`. Nothing in it is typed by hand.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SUMMARIES = ROOT / "docs" / "results"
BEGIN, END = "<!-- results -->", "<!-- end of results -->"
LEVELS = ("formula", "elements", "drop-one", "none")


def key(summary: dict[str, Any]) -> tuple[Any, ...]:
    """Order of the rows: system, pattern, candidates, what was given."""
    given = summary["given"]
    return (
        ("cubic", "trigonal").index(summary["system"]),
        "Cu" in given["pattern"],
        given["candidates"] == "all",
        LEVELS.index(given["chemistry"]),
    )


def name(summary: dict[str, Any]) -> str:
    """File name of a summary."""
    given = summary["given"]
    measured = "-measured-like" if "Cu" in given["pattern"] else ""
    return f"{summary['system']}-{given['chemistry']}-{given['candidates']}{measured}.json"


def summaries() -> list[dict[str, Any]]:
    """All that are kept, in order."""
    return sorted((json.loads(path.read_text()) for path in SUMMARIES.glob("*.json")), key=key)


def add(scores: Path, command: str) -> None:
    """Keep an evaluation's summary, without its crystals."""
    document = json.loads(scores.read_text())
    kept = {k: v for k, v in document.items() if k not in ("per_crystal", "by", "seconds")}
    kept["failures"], kept["left_out"] = len(document["failures"]), len(document["left_out"])
    kept["by"] = {"size": document["by"]["size"]}
    SUMMARIES.mkdir(exist_ok=True)
    (SUMMARIES / name(document)).write_text(json.dumps(kept | {"command": command}, indent=1) + "\n")


def row(summary: dict[str, Any]) -> str:
    """A line of the table."""
    given, ssim, structure = summary["given"], summary["ssim"], summary["structure"]
    pattern = "Cu Kα, lab-like" if "Cu" in given["pattern"] else "Mo Kα, perfect"
    low, high = structure["match_top1_interval"]
    others = (summary["baselines"][b]["ssim"]["single"]["mean"] for b in ("retrieval", "composition_only"))
    cells = [
        summary["system"],
        given["chemistry"],
        pattern,
        f"{summary['n']}",
        f"{ssim['single']['mean']:.3f} / {ssim['single']['median']:.3f}",
        f"{ssim['ranked']['mean']:.3f}",
        f"{ssim['paper']['mean']:.3f}",
        f"{summary['psnr']['paper']['mean']:.1f}",
        " / ".join(f"{value:.3f}" for value in others),
        "with catalogue" if given["candidates"] == "all" else "network alone",
        f"{structure['match_top1']:.0%} [{low:.0%}, {high:.0%}]".replace("%", " %"),
    ]
    return "| " + " | ".join(cells) + " |"


def table() -> str:
    """Every summary as a line."""
    head = (
        "system | given | pattern | crystals | SSIM single, mean / median | SSIM ranked | SSIM paper (oracle)"
        " | PSNR paper, dB | single of the nearest known crystal / of the composition alone | candidates"
        " | right structure at rank 1 (95 %)"
    )
    return "\n".join([f"| {head} |", "|" + "---|" * (head.count("|") + 1), *map(row, summaries())])


def rewritten(text: str) -> str:
    """A page with the table in its place."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def pages() -> list[Path]:
    """The pages that hold the table."""
    return [ROOT / "README.md", ROOT / "docs" / "results.md", ROOT / "python/crystalnet/models/README.md"]


if __name__ == "__main__":
    if sys.argv[1:2] == ["add"] and len(sys.argv) == 4:
        add(Path(sys.argv[2]), sys.argv[3])
    elif sys.argv[1:] == ["write"]:
        for page in pages():
            page.write_text(rewritten(page.read_text()))
    else:
        sys.exit(__doc__)

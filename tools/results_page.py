"""Write the score tables of README.md and docs/results.md from the summaries in docs/results/.

    crystalnet evaluate structures_other.jsonl.gz --system cubic --given formula ... --out scores.json
    python tools/results_page.py add scores.json "crystalnet evaluate ..."    # keep its summary in docs/results/
    python tools/results_page.py write                                         # rewrite the tables

Scores of `evaluate --system all` and `--table N` go the same way. A table stands between the lines `<!-- results -->`
and `<!-- end of results -->`, that of all systems between `<!-- systems -->` and its end, the paper's between
`<!-- table N -->` and `<!-- end of table N -->`. Nothing in them is typed by hand.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SUMMARIES = ROOT / "docs" / "results"
TABLES = SUMMARIES / "tables"
SYSTEMS = SUMMARIES / "systems"  # evaluations of all crystal systems in one run
BEGIN, END = "<!-- results -->", "<!-- end of results -->"
BEGIN_SYSTEMS, END_SYSTEMS = "<!-- systems -->", "<!-- end of systems -->"
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
    if "table" in document:
        _add_table(document, command)
        return
    if "systems" in document:
        _add_systems(document, command)
        return
    kept = {k: v for k, v in document.items() if k not in ("per_crystal", "by", "seconds")}
    kept["failures"], kept["left_out"] = len(document["failures"]), len(document["left_out"])
    kept["by"] = {"size": document["by"]["size"]}
    SUMMARIES.mkdir(exist_ok=True)
    (SUMMARIES / name(document)).write_text(json.dumps(kept | {"command": command}, indent=1) + "\n")


def _add_table(document: dict[str, Any], command: str) -> None:
    shown = ("n", "guesses", "given", "split", "density", "model_sha256", "ssim", "psnr", "structure")
    runs = {
        system: {given: {k: run[k] for k in shown} for given, run in levels.items()}
        for system, levels in document["runs"].items()
    }
    TABLES.mkdir(parents=True, exist_ok=True)
    kept = {"table": document["table"], "command": command, "runs": runs}
    (TABLES / f"table-{document['table']}.json").write_text(json.dumps(kept, indent=1) + "\n")


def _add_systems(document: dict[str, Any], command: str) -> None:
    shown = ("n", "guesses", "given", "split", "structure", "confidence", "seconds_per_crystal")
    systems = {
        system: {k: run[k] for k in ("n", "structure", "confidence")} for system, run in document["systems"].items()
    }
    SYSTEMS.mkdir(parents=True, exist_ok=True)
    kept = {k: document[k] for k in shown} | {"systems": systems, "command": command}
    kind = "measured" if document["split"]["name"] == "measured" else _pattern_kind(document["given"]["pattern"])
    words = _of_libraries(document["given"]["libraries"]).replace(", ", "-").replace(" ", "-")
    name = f"{kind}-{document['given']['chemistry']}{words}.json"
    (SYSTEMS / name).write_text(json.dumps(kept, indent=1) + "\n")


def _of_libraries(words: str) -> str:
    """What the libraries lack beside the truth's composition, or do not."""
    if "type" in words:
        return ", type unknown"
    return "" if "composition" in words else ", crystal known"


def _pattern_kind(words: str) -> str:
    return "lab-like" if "Cu" in words else "perfect"


def systems_runs() -> list[dict[str, Any]]:
    """The evaluations of all systems that are kept: measured patterns first, then lab-like and perfect ones."""
    paths = sorted(SYSTEMS.glob("*.json"))
    return [
        json.loads(path.read_text())
        for kind in ("measured", "lab-like", "perfect")
        for path in paths
        if path.name.startswith(kind)
    ]


def systems_table() -> str:
    """Right crystals of all, system by system, a line an evaluation."""
    names = ("cubic", "hexagonal", "trigonal", "tetragonal", "orthorhombic", "monoclinic", "triclinic")
    head = f"pattern | given | {' | '.join(names)} | right at rank 1 | also strictly | believed | … and wrong"
    lines = [f"| {head} |", "|" + "---|" * (head.count("|") + 1)]
    for run in systems_runs():
        measured = run["split"]["name"] == "measured"
        kind = "measured" if measured else f"calculated, {_pattern_kind(run['given']['pattern'])}"
        given = run["given"]["chemistry"] + _of_libraries(run["given"]["libraries"])
        of = [run["systems"].get(system) for system in names]
        right = [f"{round(o['n'] * o['structure']['match_top1'])} of {o['n']}" if o else "" for o in of]
        low, high = run["structure"]["match_top1_interval"]
        share = f"{run['structure']['match_top1']:.0%} [{low:.0%}, {high:.0%}]".replace("%", " %")
        strict = f"{run['structure']['strict_top1']:.0%}".replace("%", " %")
        sure = run["confidence"]
        cells = [kind, given, *right, share, strict, str(sure["believed"]), str(sure["believed_and_wrong"])]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def paper_tables() -> dict[int, dict[str, Any]]:
    """The paper's tables that are kept, by number."""
    documents = (json.loads(path.read_text()) for path in sorted(TABLES.glob("table-*.json")))
    return {document["table"]: document for document in documents}


def paper_table(document: dict[str, Any]) -> str:
    """One of them as `evaluate` writes it, and how it was made."""
    from crystalnet.evaluation.paper_tables import markdown
    from crystalnet.evaluation.paper_tables import paper_table as rows_of

    runs = {(system, given): run for system, levels in document["runs"].items() for given, run in levels.items()}
    return f"{markdown(rows_of(document['table'], None), runs)}\n    {document['command']}"


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
    """A page with every table in its place."""
    for begin, end, own in ((BEGIN, END, table), (BEGIN_SYSTEMS, END_SYSTEMS, systems_table)):
        if begin in text:
            text = _replaced(text, begin, end, own())
    for number, document in paper_tables().items():
        begin, end = f"<!-- table {number} -->", f"<!-- end of table {number} -->"
        if begin in text:
            text = _replaced(text, begin, end, paper_table(document))
    return text


def _replaced(text: str, begin: str, end: str, inner: str) -> str:
    before, rest = text.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n{inner}\n{end}{after}"


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

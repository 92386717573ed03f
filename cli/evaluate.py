"""crystalnet evaluate: the scores of many crystals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    structures: Annotated[Path, typer.Argument(help="Structure records, .jsonl or .jsonl.gz.", metavar="STRUCTURES")],
    system: Annotated[str, typer.Option(help="cubic or trigonal.")] = "cubic",
    given: Annotated[str, typer.Option(help="formula, elements, drop-one or none.")] = "formula",
    guesses: Annotated[int, typer.Option(min=1, help="Latent samples a crystal.")] = 5,
    candidates: Annotated[str, typer.Option(help="all, or network.")] = "all",
    measured_like: Annotated[bool, typer.Option("--measured-like", help="Cu Kα 10-90° with noise and width.")] = False,
    split: Annotated[
        str, typer.Option(help="composition: the dev compositions only; all: every record.")
    ] = "composition",
    limit: Annotated[int | None, typer.Option(min=1, help="Most crystals.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of samples, noise and choice.")] = 0,
    model: Annotated[Path | None, typer.Option(help="Model file instead of the package's.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the scores here as JSON.")] = None,
) -> None:
    """Score the network's densities and solve's structures against known crystals."""
    import json

    from crystalnet.evaluate import evaluate as run
    from crystalnet.progress import bar

    with bar("crystals") as progress:
        scores = run(
            structures,
            system=system,
            given=given,
            guesses=guesses,
            candidates=candidates,
            measured_like=measured_like,
            split=split,
            limit=limit,
            seed=seed,
            model=model,
            progress=progress,
        )
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(scores, indent=1) + "\n")
    typer.echo(json.dumps({key: value for key, value in scores.items() if key != "per_crystal"}, indent=1))

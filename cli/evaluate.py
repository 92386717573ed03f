"""crystalnet evaluate: the scores of many crystals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crystalnet.cli.choices import Evaluated, Given, LeaveOut, Systems
from crystalnet.defaults import EFFORT


def evaluate(
    structures: Annotated[
        Path,
        typer.Argument(
            help="Structure records (.jsonl, .jsonl.gz), a data set folder, or measured patterns (index.json).",
            metavar="STRUCTURES",
        ),
    ],
    system: Annotated[
        Systems | None,
        typer.Option(
            help="Whose crystals; default all. solve is not told.",
            show_default=False,
        ),
    ] = None,
    given: Annotated[
        Given | None, typer.Option(help="What is given of the chemistry; default the formula.", show_default=False)
    ] = None,
    guesses: Annotated[
        int | None, typer.Option(min=1, help="Latent samples a crystal; default 5, for --table 2 three.")
    ] = None,
    candidates: Annotated[
        str, typer.Option(help="all, or some of known, catalogue, search, network with commas.")
    ] = "all",
    leave_out: Annotated[
        LeaveOut,
        typer.Option(help="What the libraries do not know of a crystal: its composition, or its type too."),
    ] = "composition",
    cell_given: Annotated[bool, typer.Option("--cell-given", help="Give solve the true cell.")] = False,
    effort: Annotated[float, typer.Option(help="Seconds of search where no known type convinces.")] = EFFORT,
    measured_like: Annotated[bool, typer.Option("--measured-like", help="Cu Kα 10-90° with noise and width.")] = False,
    split: Annotated[
        Evaluated,
        typer.Option(help="Held-out compositions, held-out structure types, or every record."),
    ] = "composition",
    table: Annotated[
        int | None, typer.Option(help="The paper's table 1 (both systems) or 2 (levels of what is given).")
    ] = None,
    figures: Annotated[Path | None, typer.Option(help="Folder for the paper's figures 2-5, of these crystals.")] = None,
    score_cifs: Annotated[
        Path | None, typer.Option(help="Score another solver's CIFs too: ID.cif, FORMULA.cif, or ID-1.cif, ID-2.cif.")
    ] = None,
    retrieval_data: Annotated[
        Path | None, typer.Option(help="Data set the retrieval baseline knows; default the table of structure types.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Most crystals, a seeded choice.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of samples, noise and choice.")] = 0,
    model: Annotated[
        Path | None, typer.Option(help="Model file instead of the package's; a folder of them for --table.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Crystals scored at once, one thread each; default one a processor.")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="Score on a Dask cluster: local, or its scheduler's address.", metavar="ADDRESS")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the scores here as JSON; a killed run goes on from FILE.partial.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print all scores as JSON, on a terminal too.")] = False,
) -> None:
    """Score the network's densities and solve's structures against known crystals, with baselines beside them."""
    from crystalnet.commands.evaluate import Request, evaluate_files

    evaluate_files(
        Request(
            structures,
            system=system,
            given=given,
            guesses=guesses,
            candidates=candidates,
            leave_out=leave_out,
            cell_given=cell_given,
            effort=effort,
            measured_like=measured_like,
            split=split,
            table=table,
            figures=figures,
            score_cifs=score_cifs,
            retrieval_data=retrieval_data,
            limit=limit,
            seed=seed,
            model=model,
            jobs=jobs,
            cluster=cluster,
            out=out,
            json=json,
        )
    )

"""crystalnet bench: native kernels against their references."""

from __future__ import annotations

from typing import Annotated

import typer


def bench(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Time the kernels that torch knows against their references, and what evaluate does for a crystal, in one run."""
    from crystalnet.commands.bench import run, table
    from crystalnet.commands.progress import stages

    with stages("measuring") as stage:
        results = run(progress=stage)
    if json:
        import json as encoder

        typer.echo(encoder.dumps(results, indent=1))
    else:
        typer.echo(table(results))

"""crystalnet app: solve in a browser."""

from __future__ import annotations

from typing import Annotated

import typer


def app(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 8642,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Open no browser, only say the address.")] = False,
) -> None:
    """Solve patterns on a page in your browser, which only this machine can open."""
    from crystalnet.app import start

    start(port, browser=not no_browser)

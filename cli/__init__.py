"""The command line: one file a command, no logic."""

from __future__ import annotations

import gc
import sys
import warnings
from typing import Any

import typer

from crystalnet.cli import bench, data, density, evaluate, fetch, info, simulate, solve, train

app = typer.Typer(
    name="crystalnet",
    help="From a measured powder X-ray pattern to electron density, unit cell and atoms.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(solve.solve)
app.command()(fetch.fetch)
app.add_typer(data.app)
app.command()(train.train)
app.command()(evaluate.evaluate)
app.command()(density.density)
app.command()(simulate.simulate)
app.command()(bench.bench)
app.command()(info.info)


def main() -> None:
    """Run a command. Exit codes: 0 done, 1 no confident candidate, 2 bad usage, input or disk, 130 interrupted."""
    from crystalnet.records import InputError

    warnings.showwarning = _say
    misuse: type[Any] = typer.BadParameter.__mro__[2]  # the base of all complaints; typer 0.26 has no name for it
    try:
        sys.exit(app(standalone_mode=False) or 0)  # a command's typer.Exit comes back as its code
    except InputError as error:
        print(f"crystalnet: {error}", file=sys.stderr)
        sys.exit(2)
    except misuse as error:
        print(f"crystalnet: {error.format_message()} (see crystalnet --help)", file=sys.stderr)
        sys.exit(2)
    except OSError as error:  # a folder that cannot be made, a full disk: the user's to mend, wherever it turns up
        where = f"{error.filename}: " if error.filename else ""
        print(f"crystalnet: {where}{error.strerror or error}", file=sys.stderr)
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        print("crystalnet: interrupted", file=sys.stderr)
        sys.exit(130)
    finally:
        gc.freeze()  # the end of a process would look through all it holds once more, for most of a second


def _say(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    """A warning as a line on stderr; those meant for programmers are left out."""
    if not issubclass(category, (DeprecationWarning, PendingDeprecationWarning)):
        print(f"crystalnet: {' '.join(str(message).split())}", file=sys.stderr)

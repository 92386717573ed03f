"""The command line: one file a command, no logic."""

from __future__ import annotations

import gc
import os
import sys
import warnings
from collections.abc import Callable
from typing import Annotated, Any, NoReturn

import typer

from crystalnet.cli import bench, data, density, evaluate, export, fetch, index, info, simulate, solve, train
from crystalnet.cli.app import app as app_command
from crystalnet.runtime.log import log, to_stderr

INTERRUPTED = 130
READER_GONE = 141  # what a shell reports of a program that SIGPIPE ended

app = typer.Typer(
    name="crystalnet",
    help="From a measured powder X-ray pattern to electron density, unit cell and atoms.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from crystalnet import __version__

        typer.echo(f"crystalnet {__version__}")
        raise typer.Exit


@app.callback()
def options(
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say how long each stage takes.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """From a measured powder X-ray pattern to electron density, unit cell and atoms."""
    if quiet and verbose:
        raise typer.BadParameter("--quiet and --verbose contradict each other")
    to_stderr("error" if quiet else "info" if verbose else "warning")


COMMANDS: dict[Callable[..., None], str] = {  # and an example for each one's --help
    solve.solve: "solve pattern.xy --elements Zr,Sb,Pt",
    index.index: "index pattern.xy --wavelength CuKa",
    app_command: "app --port 8700",
    export.export: "export pattern.crystalnet --gsas2",
    fetch.fetch: "fetch --source files my-cifs",
    train.train: "train --system cubic --max-minutes 60",
    evaluate.evaluate: "evaluate structures.jsonl.gz --system cubic --given elements --limit 20 --out scores.json",
    density.density: "density structure.cif --out structure.cube",
    simulate.simulate: "simulate structure.cif --wavelength CuKa --measured-like --out pattern.xy",
    bench.bench: "bench --json",
    info.info: "info",
}
for command, example in COMMANDS.items():
    app.command(epilog=f"Example: crystalnet {example}")(command)
app.add_typer(data.app)


def main() -> None:
    """Run a command. Exit codes: 0 done, 1 no confident candidate, 2 bad usage, input or disk, 70 a bug of ours,
    130 interrupted, 141 nobody reads what is printed (`| head`).
    """
    from crystalnet.records import InputError
    from crystalnet.runtime.faults import FAULT, fault_line

    warnings.showwarning = _say
    misuse: type[Any] = typer.BadParameter.__mro__[2]  # the base of all complaints; typer 0.26 has no name for it
    try:
        code = app(standalone_mode=False) or 0  # a command's typer.Exit comes back as its code
        sys.stdout.flush()  # here, where a reader that has gone is met with an answer
        if code == INTERRUPTED:  # typer has taken KeyboardInterrupt for itself
            raise KeyboardInterrupt
        sys.exit(code)
    except SystemExit as end:
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        _end_unread()  # typer would make it 1
    except InputError as error:
        _end(2, str(error))
    except misuse as error:
        said = error.format_message().replace("Value error, ", "")  # pydantic's words, which typer passes on
        _end(2, f"{said} (see crystalnet --help)")
    except BrokenPipeError:
        _end_unread()
    except OSError as error:  # a folder that cannot be made, a full disk: the user's to mend, wherever it turns up
        _end(2, f"{error.filename}: {error.strerror or error}" if error.filename else f"{error.strerror or error}")
    except (KeyboardInterrupt, typer.Abort):
        _end(INTERRUPTED, "interrupted")
    except Exception as error:
        _end(FAULT, fault_line(error))
    finally:
        gc.freeze()  # the end of a process would look through all it holds once more, for most of a second


def _say(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    """A warning as a line on stderr; those meant for programmers are left out."""
    if not issubclass(category, (DeprecationWarning, PendingDeprecationWarning)):
        log.warning(message)


def _end(code: int, line: str) -> NoReturn:
    """Say one line on stderr and end."""
    print("crystalnet: " + " ".join(line.split()), file=sys.stderr)
    sys.exit(code)


def _end_unread() -> NoReturn:
    """End without a word: whoever read stdout has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # where the end of Python would flush what is left
    sys.exit(READER_GONE)

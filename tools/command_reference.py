"""Write docs/commands.md from the commands themselves: python tools/command_reference.py"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import typer
from typer.models import ArgumentInfo

from crystalnet.cli import app

PAGE = Path(__file__).resolve().parent.parent / "docs" / "commands.md"
HEAD = """# Commands

What `crystalnet COMMAND --help` says, written by `python tools/command_reference.py`. Exit codes: 0 done; 1 `solve`
ran, but no candidate convinces, or `index` found no cell; 2 bad usage or bad input, and one line on stderr says what is
wrong; 70 a bug of ours (`CRYSTALNET_TRACEBACK=1` prints where); 130 interrupted; 141 nobody reads what is printed. A
command writes over nothing but what an earlier run of its own left; a file of yours in its way is named before work,
exit 2.
"""
WORDS = {bool: "", str: " TEXT", int: " N", float: " NUMBER", Path: " PATH"}


def commands(typer_app: typer.Typer = app, prefix: str = "crystalnet") -> Iterator[tuple[str, Callable[..., Any], str]]:
    """Every command as it is typed, with its function and its example."""
    for command in typer_app.registered_commands:
        if command.callback:
            example = str(command.epilog).removeprefix("Example: ")
            yield f"{prefix} {command.name or command.callback.__name__}", command.callback, example
    for group in typer_app.registered_groups:
        if group.typer_instance:
            yield from commands(group.typer_instance, f"{prefix} {group.typer_instance.info.name}")


def parameters(function: Callable[..., Any]) -> Iterator[tuple[str, str, str, bool]]:
    """Of each parameter of a command: as typed, default, help, and whether it is an option."""
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        annotation, info = get_args(hints[name])
        default = "" if parameter.default in ("", None, inspect.Parameter.empty) else str(parameter.default)
        if isinstance(info, ArgumentInfo):
            yield info.metavar or name.upper(), default, info.help or "", False
            continue
        kind = _single(annotation)
        # Typer keeps the first name that an annotation gives as its default.
        names = [*(info.param_decls or ()), info.default, "--" + name.replace("_", "-")]
        option = next(n for n in names if isinstance(n, str) and n.startswith("--"))
        again = "" if kind is annotation or list not in map(get_origin, get_args(annotation)) else " May be repeated."
        choices = " " + "|".join(get_args(kind)) if get_origin(kind) is Literal else None
        word = f" {info.metavar}" if info.metavar else choices or WORDS[kind]
        yield option + word, "" if kind is bool else default, (info.help or "") + again, True


def _single(annotation: Any) -> Any:
    """The type of one value: str of `list[str] | None`."""
    inner = [a for a in get_args(annotation) if a is not type(None)] if get_origin(annotation) is not Literal else []
    return _single(inner[0]) if inner else annotation


def section(typed: str, function: Callable[..., Any], example: str) -> str:
    """Heading, purpose, usage, example and table of a command."""
    rows = list(parameters(function))
    usage = [typed, *(name for name, *_, option in rows if not option), *["[OPTIONS]"] * any(row[-1] for row in rows)]
    shown = dict.fromkeys((" ".join(usage), example))  # one line where they are the same
    lines = [f"## {typed}", "", inspect.cleandoc(function.__doc__ or ""), "", *(f"    {line}" for line in shown), ""]
    if rows:
        lines += ["| | default | |", "|---|---|---|"]
        lines += [f"| `{name}` | {default} | {said} |" for name, default, said in map(_escaped, rows)]
        lines.append("")
    return "\n".join(lines)


def _escaped(row: tuple[str, str, str, bool]) -> tuple[str, str, str]:
    """Bars would end a column."""
    name, default, said = (text.replace("|", "\\|") for text in row[:3])
    return name, default, said


def page() -> str:
    """docs/commands.md."""
    return "\n".join([HEAD, *(section(*command) for command in commands())])


if __name__ == "__main__":
    PAGE.write_text(page())
    typer.echo(PAGE)

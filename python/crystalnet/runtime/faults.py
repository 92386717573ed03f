"""What the user is told: of a fault of the program one line, of wrong input in the words of the place it came from."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import ParamSpec, TypeVar

from crystalnet.records import InputError

FAULT = 70  # exit code (EX_SOFTWARE of sysexits.h): a bug is neither bad input nor an unconvincing answer
SHOW = "CRYSTALNET_TRACEBACK"  # environment variable: 1 prints the traceback too
PARAMETERS = {"range": "two_theta_range", "distance": "distances"}  # of options that Python names otherwise
_OPTION = re.compile(r"(?<![\w/.-])--([a-z][a-z-]*)(?![\w-])")  # a word, no part of a file's name
P = ParamSpec("P")
R = TypeVar("R")


def fault_line(error: BaseException, where: str = "") -> str:
    """One line about an exception that nobody foresaw; the traceback goes to stderr where SHOW is set."""
    if os.environ.get(SHOW, "0") not in ("", "0"):
        traceback.print_exception(error, file=sys.stderr)
    what = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    advice = f"this is a bug of crystalnet, please report it with what {SHOW}=1 prints"
    return f"{where}{': ' if where else ''}internal fault ({what}); {advice}"


def speaking_python(function: Callable[P, R]) -> Callable[P, R]:
    """The function, whose InputErrors name its parameters where the command line's name options: `axis` for --axis.

    Parameters
    ----------
    function : callable
        Its parameters have the names of options, or those that PARAMETERS gives them.

    Returns
    -------
    callable
    """
    parameters = set(signature(function).parameters)

    def parameter(option: re.Match[str]) -> str:
        name = option[1].replace("-", "_")
        name = PARAMETERS.get(name, name)
        return f"`{name}`" if name in parameters else option[0]

    @wraps(function)
    def called(*arguments: P.args, **named: P.kwargs) -> R:
        try:
            return function(*arguments, **named)
        except InputError as error:
            error.args = (_OPTION.sub(parameter, str(error)),)
            raise

    return called

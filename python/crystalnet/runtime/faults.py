"""Faults of the program itself: one line for the user, the traceback for whoever mends it."""

from __future__ import annotations

import os
import sys
import traceback

FAULT = 70  # exit code (EX_SOFTWARE of sysexits.h): a bug is neither bad input nor an unconvincing answer
SHOW = "CRYSTALNET_TRACEBACK"  # environment variable: 1 prints the traceback too


def fault_line(error: BaseException, where: str = "") -> str:
    """One line about an exception that nobody foresaw; the traceback goes to stderr where SHOW is set."""
    if os.environ.get(SHOW, "0") not in ("", "0"):
        traceback.print_exception(error, file=sys.stderr)
    what = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    advice = f"this is a bug of crystalnet, please report it with what {SHOW}=1 prints"
    return f"{where}{': ' if where else ''}internal fault ({what}); {advice}"

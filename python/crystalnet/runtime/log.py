"""What the program says beside its answers: the logger "crystalnet", whose lines the commands send to stderr.

Warnings are what a user must know, infos the stages and their seconds. It is one of the standard library's loggers: who
works in Python and wants the stages says `logging.basicConfig(level="INFO")`.
"""

from __future__ import annotations

import logging
import os
import sys

LEVEL = "CRYSTALNET_LOG"  # environment variable: one of LEVELS; worker processes inherit it
LEVELS = ("error", "warning", "info")

log = logging.getLogger("crystalnet")


class _Lines(logging.Handler):
    """Each record as a line on what is stderr now."""

    def emit(self, record: logging.LogRecord) -> None:
        print("crystalnet: " + " ".join(record.getMessage().split()), file=sys.stderr)


def to_stderr(level: str) -> None:
    """Send lines of one of LEVELS and above to stderr, from this process and those that it starts."""
    os.environ[LEVEL] = level
    log.handlers = [_Lines()]
    log.propagate = False
    log.setLevel(level.upper())


def is_quiet() -> bool:
    """Whether nothing but errors is wanted: no progress display either."""
    return not log.isEnabledFor(logging.WARNING)


if os.environ.get(LEVEL) in LEVELS:
    to_stderr(os.environ[LEVEL])

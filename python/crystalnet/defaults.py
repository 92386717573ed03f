"""What commands, the page and the Python interface take unless told otherwise; imports nothing, for quick commands."""

from __future__ import annotations

GUESSES = 5  # densities drawn, as in the paper
EFFORT = 30.0  # seconds of search where no known type convinces
MOST_EFFORT = 86_400.0  # seconds; a day

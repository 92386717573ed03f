"""The crystal systems, a row each."""

from __future__ import annotations

SYSTEMS = ("cubic", "trigonal")

"""Headers of keys and values."""

from __future__ import annotations

import numpy as np

from crystalnet.xrd.text_table.numbers import number


def key_and_value(line: str, mark: str) -> tuple[str, str] | None:
    """(KEY, value) of "*KEY = value", "_KEY=value", "*KEY value"; None for other lines."""
    body = line.strip()
    if not body.startswith(mark) or len(body) < 2:
        return None
    body = body[len(mark) :]
    for sign in ("=", "\t", " "):
        key, found, value = body.partition(sign)
        key = key.strip()
        if found and key and " " not in key and "\t" not in key:
            return key.rstrip(":").upper(), value.strip().lstrip("=: ").strip("'\" ")
    return body.upper(), ""


def number_of(fields: dict[str, str], *keys: str) -> float | None:
    """The number that the first of the keys to hold one begins with, None where none does."""
    for key in keys:
        words = fields.get(key, "").replace(",", " ").split()
        if words and (value := number(words[0])) is not None and np.isfinite(value):
            return value
    return None

"""A line of a header as words, and as numbers with the words before them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

NAME_WORDS = 8  # before a number: further back stands another statement
# Each alternative consumes what it looks at, so that a line of any content takes time in proportion to its length.
_TOKEN = re.compile(r"\d+(?:[.,]\d+)?(?:[ed][-+]?\d+)?|\.\d+|[^\W\d_]+\d*|[^\s\w]|_")
_INDEXED = re.compile(r"k?(?:alpha|beta|α|β)|ka|kb|length|wavelength|lambda|λ|wl")
# Signs that neither part words nor belong to them.
SKIPPED = frozenset("'\"=:_*#;!%/\\()[]{}<>|~^$&-,.`´?")


@dataclass(frozen=True)
class Token:
    """text in small letters; glued: nothing stands between it and the token before."""

    text: str
    glued: bool

    @property
    def is_number(self) -> bool:
        return self.text[0].isdigit() or (self.text[0] == "." and len(self.text) > 1)


class NamedNumber(NamedTuple):
    """A number of a line, with the words before it and the word after it (None where there is none)."""

    words: list[str]
    digits: str
    unit: str | None


def tokens_of(line: str) -> list[Token]:
    """The words, numbers and signs of a line, an index joined to its word: "K-Alpha 1" ends in alpha1."""
    plain = unicodedata.normalize("NFKC", line).lower()
    out: list[Token] = []
    end = 0
    for found in _TOKEN.finditer(plain):
        text, glued = found[0], found.start() == end
        end = found.end()
        if text in ("1", "2", "3", "12") and _joined(out, text, glued):
            continue
        out.append(Token(text, glued))
    return out


def _joined(out: list[Token], index: str, glued: bool) -> bool:
    """Join an index to its word ("K-Alpha 1", "lambda_1", "K\\a~1~", "Kα1,2"); False where none is there."""
    back = len(out) - 1
    while back >= 0 and len(out) - back <= 2 and out[back].text in "_-~{\\":
        back -= 1
    if back < 0:
        return False
    before = out[back]
    if _INDEXED.fullmatch(before.text) or (before.text == "a" and back < len(out) - 1):
        out[back:] = [Token(before.text + index, before.glued)]
        return True
    if index == "2" and glued and back and before.text in ",+/&" and out[back - 1].text.endswith(("a1", "α1")):
        out[back - 1 :] = [Token(out[back - 1].text + "2", out[back - 1].glued)]
        return True
    return False


def named_numbers(tokens: list[Token]) -> Iterator[NamedNumber]:
    """Every number of a line that can be a quantity."""
    name: list[str] = []
    last: list[str] = []
    for i, token in enumerate(tokens):
        if not token.is_number:
            if token.text not in SKIPPED:
                name.append(token.text)
            continue
        if name:
            last, name = name[-NAME_WORDS:], []
        following = (t for t in tokens[i + 1 : i + 5] if t.text not in SKIPPED)
        unit = next(following, None)
        if last and not _part_of_more(tokens, i):
            yield NamedNumber(last, token.text, None if unit is None or unit.is_number else unit.text)


def _part_of_more(tokens: list[Token], i: int) -> bool:
    """12.05.2020, 2020-05-12, 10:31, 1-2: a number of these is no quantity."""
    for step in (1, -1):
        near = tokens[i + step : i + step + 1] if i + step >= 0 else []
        next_but_one = tokens[i + 2 * step : i + 2 * step + 1] if i + 2 * step >= 0 else []
        joined = tokens[i + 1].glued if step == 1 and near else tokens[i].glued
        if not near or not joined:
            continue
        if near[0].is_number:
            return True
        outer = near[0] if step == -1 else next_but_one[0] if next_but_one else None
        if near[0].text in "-:" and next_but_one and next_but_one[0].is_number and outer is not None and outer.glued:
            return True
    return False

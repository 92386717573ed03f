"""What every text format of a pattern file says of itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from crystalnet.xrd.scans import Listed


class Format(ABC):
    """A text format of pattern files. A new one is a class in a module of its own and a row of `formats.FORMATS`.

    Attributes
    ----------
    name : str
        As the documentation calls it, with the endings of its files.
    carries : str
        What is taken from a file besides its scan, for the documentation.
    """

    name: ClassVar[str]
    carries: ClassVar[str]

    @abstractmethod
    def recognises(self, lines: Sequence[str]) -> bool:
        """Are these the lines of a file in this format? A file's name is never asked."""

    @abstractmethod
    def read(self, name: str, lines: list[str]) -> list[Listed]:
        """The scans in the lines of a file that was recognised, blank lines left out.

        Parameters
        ----------
        name : str
            Of the file, for messages.
        lines : list of str

        Raises
        ------
        InputError
            In one line that names the file, where it is damaged or holds no 2θ scan.
        """

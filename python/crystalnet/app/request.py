"""What the user says about a pattern."""

from __future__ import annotations

from dataclasses import dataclass

from crystalnet.defaults import EFFORT


@dataclass(frozen=True)
class Request:
    """What `crystalnet solve` takes as options, as the fields of the page hold it; empty where nothing is said.

    Attributes
    ----------
    elements, formula, wavelength, cell : str
        As they are typed.
    axis : str
        "auto", "two-theta", "q" or "d": what the first column is where the file does not say.
    low, high : float, optional
        Degrees 2θ: only what lies between is used.
    system : str
        "auto" or one of the seven.
    effort : float
        Seconds that a search may take.
    """

    elements: str = ""
    formula: str = ""
    wavelength: str = ""
    axis: str = "auto"
    low: float | None = None
    high: float | None = None
    system: str = "auto"
    cell: str = ""
    effort: float = EFFORT

    @property
    def reading(self) -> tuple[str, str]:
        """What the pattern depends on."""
        return self.wavelength, self.axis

    @property
    def lines(self) -> tuple[object, ...]:
        """What the lines depend on."""
        return (*self.reading, self.low, self.high)

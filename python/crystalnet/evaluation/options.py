"""What a run of `evaluate` is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from crystalnet.crystal.systems import SYSTEMS
from crystalnet.defaults import EFFORT, GUESSES
from crystalnet.records import InputError
from crystalnet.solving.proposals import sources_named

GIVEN = ("formula", "elements", "drop-one", "none")
LEAVE_OUT = ("composition", "type", "none")
SPLITS = ("composition", "type", "all")


@dataclass(frozen=True)
class Options:
    """What is evaluated and how.

    Attributes
    ----------
    system : str
        Whose crystals are evaluated; `solve` is not given it.
    given : str
        What solve and the network are given of the chemistry: one of GIVEN.
    guesses : int
        Densities of the network for each crystal; the first is the latent mean's.
    candidates : str
        As `solve` has them: "all", or some sources with commas.
    leave_out : str
        What the package's libraries do not know: "composition" the truth's, "type" its structure type too, "none".
    cell_given : bool
        Whether `solve` is given the true cell.
    effort : float
        Seconds that `solve` may search where no known type convinces.
    measured_like : bool
        Whether the pattern has the width, background and noise of a measured one.
    split : str
        "composition" takes the development compositions of DFT-relaxed records, "type" those of them whose structure
        type may be left out of training, "all" every record.
    limit : int, optional
        Take only so many crystals, a seeded choice.
    seed : int
        Of samples, noise, dropped elements and that choice.

    Raises
    ------
    InputError
        For values that do not exist.
    """

    system: str = "cubic"
    given: str = "formula"
    guesses: int = GUESSES
    candidates: str = "all"
    leave_out: str = "composition"
    cell_given: bool = False
    effort: float = EFFORT
    measured_like: bool = False
    split: str = "composition"
    limit: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        allowed = {"system": SYSTEMS, "given": GIVEN, "leave_out": LEAVE_OUT, "split": SPLITS}
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise InputError(
                    f"--{name.replace('_', '-')} {getattr(self, name)!r}: choose one of {', '.join(values)}"
                )
        sources_named(self.candidates)
        if self.guesses < 1 or (self.limit is not None and self.limit < 1):
            raise InputError("--guesses and --limit must be at least 1")


def systems_asked(system: str | None) -> tuple[str, ...]:
    """The crystal systems that --system names. InputError where it names none."""
    if system in (None, "auto", "all"):
        return SYSTEMS
    if system not in SYSTEMS:
        raise InputError(f"--system {system!r}: choose one of auto, all, {', '.join(SYSTEMS)}")
    return (system,)

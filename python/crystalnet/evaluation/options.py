"""What a run of `evaluate` is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from crystalnet.crystal.systems import SYSTEMS
from crystalnet.records import InputError

GIVEN = ("formula", "elements", "drop-one", "none")
CANDIDATES = ("all", "network")
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
        "all", or "network" to do without the catalogue of known types.
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
    guesses: int = 5
    candidates: str = "all"
    measured_like: bool = False
    split: str = "composition"
    limit: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        allowed = {"system": SYSTEMS, "given": GIVEN, "candidates": CANDIDATES, "split": SPLITS}
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise InputError(f"--{name} {getattr(self, name)!r}: choose one of {', '.join(values)}")
        if self.guesses < 1 or (self.limit is not None and self.limit < 1):
            raise InputError("--guesses and --limit must be at least 1")


def systems_asked(system: str | None) -> tuple[str, ...]:
    """The crystal systems that --system names. InputError where it names none."""
    if system in (None, "auto", "all"):
        return SYSTEMS
    if system not in SYSTEMS:
        raise InputError(f"--system {system!r}: choose one of auto, all, {', '.join(SYSTEMS)}")
    return (system,)

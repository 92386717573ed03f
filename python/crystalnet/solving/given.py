"""What the user gave beside the pattern."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crystalnet.crystal.elements import ATOMIC_NUMBER
from crystalnet.crystal.expected_bonds import NOTHING_SAID, ExpectedBonds
from crystalnet.crystal.formula import parse_elements, parse_formula
from crystalnet.crystal.systems import SYSTEMS
from crystalnet.defaults import EFFORT, GUESSES, MOST_EFFORT
from crystalnet.density.promolecule import element_table
from crystalnet.model.choice import Models, check_models
from crystalnet.ops.reflections import form_factor_table
from crystalnet.records import InputError
from crystalnet.solving.from_catalogue import Catalogue
from crystalnet.solving.proposals import SOURCES, sources_named


@dataclass(frozen=True)
class Given:
    """What `solve` was given and asked for.

    Attributes
    ----------
    symbols : tuple of str
        The elements in play, () where nothing is known.
    amounts : mapping of str to float, optional
        Atoms of each element in the formula, where that was given.
    formula : str, optional
        The formula as it was written.
    elements : bool
        Whether the elements were named.
    system : str
        "auto" or a crystal system.
    cell : str, optional
        The option that gives the cell, as written.
    guesses, seed : int
        Latent samples of the network, the first being the mean, and their seed.
    models : Models
        The user's model files; None for the package's.
    catalogue : Catalogue
        The crystals and structure types that are known.
    sources : tuple of str
        Where proposals may come from, see `proposals.SOURCES`.
    effort : float
        Seconds that a search may take where no known type convinces.
    bonds : ExpectedBonds
        Distances and neighbours that the user expects.
    """

    symbols: tuple[str, ...] = ()
    amounts: Mapping[str, float] | None = None
    formula: str | None = None
    elements: bool = False
    system: str = "auto"
    cell: str | None = None
    guesses: int = GUESSES
    seed: int = 0
    models: Models = None
    catalogue: Catalogue = Catalogue()  # noqa: RUF009  # frozen
    sources: tuple[str, ...] = SOURCES
    effort: float = EFFORT
    bonds: ExpectedBonds = NOTHING_SAID

    @classmethod
    def of(
        cls,
        elements: str | Sequence[str] | None = None,
        formula: str | None = None,
        system: str = "auto",
        cell: str | None = None,
        guesses: int = GUESSES,
        seed: int = 0,
        models: Models = None,
        catalogue: Catalogue | None = None,
        candidates: str = "all",
        effort: float = EFFORT,
        distances: Sequence[str] = (),
        coordination: Sequence[str] = (),
    ) -> Given:
        """From the user's words. InputError, before any work, for what cannot be used."""
        amounts = parse_formula(formula) if formula else None
        symbols = symbols_of(elements, amounts)
        if system not in ("auto", *SYSTEMS):
            raise InputError(f"--system {system!r}: choose one of auto, {', '.join(SYSTEMS)}")
        check_models(models, system)
        sources = sources_named(candidates)
        if guesses < 1:
            raise InputError(f"--guesses {guesses}: at least 1")
        if not 0 <= effort <= MOST_EFFORT:
            raise InputError(f"--effort {effort:g}: seconds between 0 and {MOST_EFFORT:.0f}")
        return cls(
            symbols,
            amounts,
            formula,
            elements=bool(elements),
            system=system,
            cell=cell,
            guesses=guesses,
            seed=seed,
            models=models,
            catalogue=catalogue or Catalogue(),
            sources=sources,
            effort=effort,
            bonds=ExpectedBonds.of(distances, coordination, symbols),
        )

    @property
    def systems(self) -> tuple[str, ...]:
        """The crystal systems whose lattices are searched."""
        return SYSTEMS if self.system == "auto" else (self.system,)

    @property
    def level(self) -> str:
        """What is known of the chemistry, as the network is told: formula, elements or none."""
        return "formula" if self.amounts else "elements" if self.symbols else "none"

    @property
    def composition(self) -> Mapping[str, float]:
        """Atoms of each element, 1 each where the formula is not known."""
        return self.amounts or dict.fromkeys(self.symbols, 1.0)


def symbols_of(elements: str | Sequence[str] | None, amounts: Mapping[str, float] | None) -> tuple[str, ...]:
    """The elements in play, () if nothing is known. InputError where --elements and --formula disagree."""
    named = parse_elements(elements if isinstance(elements, str) else ",".join(elements)) if elements else ()
    if amounts is None:
        symbols = named
    elif named and set(named) != set(amounts):
        raise InputError(f"--elements {','.join(named)} and --formula ({','.join(amounts)}) name different elements")
    else:
        symbols = tuple(amounts)
    unknown = [s for s in symbols if s not in element_table()]
    if unknown:
        raise InputError(f"no valence density is known for {', '.join(unknown)}; leave it out or give no elements")
    unscattered = [s for s in symbols if ATOMIC_NUMBER[s] >= len(form_factor_table())]
    if unscattered:
        raise InputError(f"no form factor is known for {', '.join(unscattered)}; leave it out or give no elements")
    return symbols

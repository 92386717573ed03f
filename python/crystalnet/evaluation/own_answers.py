"""The package's own answers to a question: what `solve` finds and the densities that the network draws."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crystalnet.crystal.lattice import Cell
from crystalnet.evaluation.options import Options
from crystalnet.evaluation.question import Question
from crystalnet.evaluation.targets import type_of
from crystalnet.model.checkpoint import Model
from crystalnet.model.guesses import guess_densities
from crystalnet.records import InputError, Solution
from crystalnet.solving.from_catalogue import Catalogue
from crystalnet.solving.from_network import ask_network, drawing
from crystalnet.solving.given import Given
from crystalnet.solving.solve import solve_pattern

if TYPE_CHECKING:
    from pymatgen.core import Structure


class OwnAnswers:
    """`solve` and a network of one crystal system.

    Parameters
    ----------
    model : Model, optional
        The network of the evaluated system, where there is one.
    files : mapping of str to Path
        The user's model files by crystal system; a cell of another system is asked of the package's model.
    options : Options
        Guesses and candidates.
    """

    def __init__(self, model: Model | None, files: Mapping[str, Path], options: Options) -> None:
        self.model, self.files, self.options = model, files, options

    def solved(self, asked: Question) -> tuple[Solution | None, str | None]:
        """What solve finds, or why it does not."""
        amounts = asked.composition
        formula = "".join(f"{symbol}{n:g}" for symbol, n in amounts.items()) if asked.level == "formula" else None
        try:
            given = Given.of(
                list(amounts) or None,
                formula,
                cell=asked.cell,
                guesses=self.options.guesses,
                seed=asked.seed,
                models=self.files,
                # Scores are the package's, whatever the user has fetched.
                catalogue=left_out(asked.structure, type_of(asked.record), self.options.leave_out),
                candidates=self.options.candidates,
                effort=self.options.effort,
            )
            solution = solve_pattern(asked.pattern, given, asked.peaks)
        except InputError as error:
            return None, str(error)
        except Exception as error:  # a crash is a miss, on record, and no reason to lose the other crystals
            return None, f"{type(error).__name__}: {error}"
        return solution, None

    def densities(
        self, asked: Question, cell: Cell | None, count: int, seed: int | None = None, mean: bool = True
    ) -> np.ndarray:
        """The network's densities (count, 50, 50, 50), e/Å³; without a seed, those that solve draws.

        mean: whether the first is the latent mean's and not a sample's.
        """
        assert self.model is not None
        seed = asked.seed if seed is None else seed
        amounts, level = asked.composition, asked.level
        if cell is None or asked.peaks is None:
            return guess_densities(self.model, *asked.vector(None), None, amounts, level, count, seed, mean)
        given = Given(tuple(amounts), amounts if level == "formula" else None, models=self.files)
        return ask_network(given, asked.peaks, cell, drawing(given, asked.peaks, cell, count, seed, mean=mean))[0]


def left_out(truth: Structure, label: str, rule: str) -> Catalogue:
    """The package's libraries without what they must not know of a crystal.

    label: of its structure type. rule: one of LEAVE_OUT.
    """
    composition = {symbol: round(n) for symbol, n in truth.composition.get_el_amt_dict().items()}
    return Catalogue(
        own=False,
        without_type=label if rule == "type" else None,
        without_formula=None if rule == "none" else composition,
    )

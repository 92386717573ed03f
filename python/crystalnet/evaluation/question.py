"""One crystal as `evaluate` asks about it: the simulated pattern, what is given of the chemistry, and the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np

from crystalnet.bragg import N_BINS
from crystalnet.crystal.lattice import Cell
from crystalnet.crystal.record_file import Record
from crystalnet.crystal.symmetry import SYMPREC_RELAXED, Symmetry, centring_of
from crystalnet.evaluation.options import Options
from crystalnet.evaluation.targets import Targets
from crystalnet.records import AtomSites, InputError, Pattern, Peaks
from crystalnet.xrd.peaks import find_peaks
from crystalnet.xrd.profile import calculated_peaks, simulate_profile
from crystalnet.xrd.radiation import parse_wavelength
from crystalnet.xrd.vector import observed_vector

if TYPE_CHECKING:
    from pymatgen.core import Structure


MO_FULL_RANGE = np.array([3.0, 150.0])  # degrees at Mo Kα: every line that distinguishes structures
# The profile ends at 0.7 Å, where refinement ends: lines beyond it would take half of all the time and change nothing.
MO_PROFILE = np.arange(3.0, 61.0, 0.01)


@dataclass(frozen=True)
class Question:
    """One crystal as the network and `solve` are asked about it, with the truth beside it.

    Attributes
    ----------
    record : Record
        The crystal's record.
    structure : Structure
        The true structure in its canonical primitive cell.
    density : ndarray (50, 50, 50)
        The true density, e/Å³.
    composition : dict of str to float
        Element amounts as given; {} where none are.
    level : str
        What the network takes the composition for: formula, elements or none.
    pattern : Pattern
        The simulated pattern.
    peaks : Peaks, optional
        Its lines; None where the pattern shows none.
    seed : int
        This crystal's own.
    cell : str, optional
        The true cell as `--cell` takes it, where it is given.
    """

    record: Record
    structure: Structure
    density: np.ndarray
    composition: dict[str, float]
    level: str
    pattern: Pattern
    peaks: Peaks | None
    seed: int
    cell: str | None = None

    def vector(self, cell: Cell | None) -> tuple[np.ndarray, np.ndarray]:
        """Pattern vector and mask (1024,), the cell's zero shift taken off."""
        if self.peaks is None:
            return np.zeros(N_BINS, np.float32), np.zeros(N_BINS, np.float32)
        return observed_vector(self.peaks, cell.zero_shift if cell else 0.0)


def question(record: Record, targets: Targets, options: Options, given: str | None = None) -> Question:
    """A crystal's pattern and what is given of its chemistry; given: another level than the options'."""
    structure, density = targets.truth(record)
    seed = crystal_seed(record, options.seed)
    amounts = {symbol: float(n) for symbol, n in structure.composition.get_el_amt_dict().items()}
    composition, level = composition_as_given(amounts, given or options.given, np.random.default_rng(seed))
    pattern, peaks = _measured_like(structure, seed) if options.measured_like else _perfect(structure)
    cell = cell_of_truth(structure) if options.cell_given else None
    return Question(record, structure, density, composition, level, pattern, peaks, seed, cell)


def cell_of_truth(structure: Structure) -> str:
    """The conventional cell as `--cell` takes it; of an A-centred one, the axes that make it C-centred."""
    found = Symmetry(structure, SYMPREC_RELAXED)
    values = list(found.conventional.lattice.parameters)
    if centring_of(found.number) == "A":
        values = [*values[1:3], values[0], *values[4:6], values[3]]
    return ",".join(f"{value:.7f}" for value in values)


def _measured_like(structure: Structure, seed: int) -> tuple[Pattern, Peaks | None]:
    """A pattern with noise, and what peak search finds in it, as in a user's."""
    sites = AtomSites.from_structure(structure)
    pattern = simulate_profile(sites, parse_wavelength("CuKa"), measured_like=True, seed=seed)
    try:
        return pattern, find_peaks(pattern)
    except InputError:
        return pattern, None


def _perfect(structure: Structure) -> tuple[Pattern, Peaks]:
    """A pattern without noise, and its calculated lines."""
    sites = AtomSites.from_structure(structure)
    pattern = simulate_profile(sites, parse_wavelength("0.711", exact=True), MO_PROFILE)
    lines = calculated_peaks(sites, pattern.radiation, MO_FULL_RANGE)
    return pattern, replace(lines, background=np.zeros(len(MO_PROFILE)))


def in_words(options: Options, pattern: str | None = None) -> dict[str, Any]:
    """What solve and the network are given, in words; pattern: where it is not one of the simulated kinds."""
    if pattern is None:
        pattern = (
            "Cu Kα 10–90° with width, background and noise"
            if options.measured_like
            else "Mo Kα, perfect: lines of 3–150°, profile to 61°"
        )
    return {
        "chemistry": options.given,
        "lattice": "the true cell" if options.cell_given else None,
        "system": None,
        "pattern": pattern,
        "guesses_ranked_by": "pattern (paper: best of N latent samples × 24 rotations, by truth)",
        "guess_1": "latent mean",
        "candidates": options.candidates,
        "libraries": {
            "composition": "without the truth's composition",
            "type": "without the truth's composition and structure type",
            "none": "whole: they may hold the crystal itself",
        }[options.leave_out],
        "effort_seconds": options.effort,
    }


def crystal_seed(record: Record, seed: int) -> int:
    """A crystal's own seed: it does not depend on which others are evaluated."""
    name = f"{seed}:{record.get('id')}:{record['formula']}:{record.get('space_group')}"
    return int(sha256(name.encode()).hexdigest()[:7], 16)


def composition_as_given(
    amounts: Mapping[str, float], given: str, rng: np.random.Generator
) -> tuple[dict[str, float], str]:
    """What is given of a composition, and what the network takes it for: formula, elements or none."""
    if given == "none":
        return {}, "none"
    if given == "drop-one" and len(amounts) > 1:
        lost = str(rng.choice(sorted(amounts)))
        return {s: 1.0 for s in amounts if s != lost}, "elements"
    return dict(amounts), "formula" if given == "formula" else "elements"

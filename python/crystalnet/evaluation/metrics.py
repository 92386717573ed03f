"""Scores of densities and structures (definitions: docs/scores.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from crystalnet.crystal.symmetry import SYMPREC_RELAXED, one_hand, space_group_of
from crystalnet.density.grid import best_alignment, turned
from crystalnet.ops.ssim import cube_rotations, rotate, ssim3d_rotations

if TYPE_CHECKING:
    from pymatgen.analysis.structure_matcher import StructureMatcher
    from pymatgen.core import Structure


VOLUME_TOLERANCE = 0.10  # of the volume per atom: StructureMatcher rescales and would pass a cell 50 % too large
EXACT_RMSD = 0.1  # Å


def nmae(truth: np.ndarray, guess: np.ndarray) -> float:
    """Σ|ρ̂ − ρ| / Σρ."""
    return float(np.abs(guess - truth).sum() / truth.sum())


def aligned(truth: np.ndarray, guess: np.ndarray, holohedry: np.ndarray) -> np.ndarray:
    """A guess moved onto the truth by what a powder pattern cannot fix: an operation of the lattice and a translation.

    Parameters
    ----------
    truth, guess : ndarray (n, n, n)
        Densities, e/Å³.
    holohedry : ndarray (m, 3, 3)
        The lattice's operations, acting on fractional columns.

    Returns
    -------
    ndarray (n, n, n)
        The guess after the operation and the translation by whole voxels that correlate best with the truth.
    """
    matrix, shift = best_alignment(truth, guess, holohedry)
    return np.roll(turned(guess, matrix), shift, axis=(0, 1, 2))


def density_scores(
    truth: np.ndarray, guesses: np.ndarray, samples: np.ndarray, ranked_first: int, holohedry: np.ndarray
) -> dict[str, dict[str, float]]:
    """SSIM, PSNR and NMAE by the three protocols.

    Parameters
    ----------
    truth : ndarray (n, n, n)
        The true density, e/Å³.
    guesses : ndarray (N, n, n, n)
        What the network answers; the first is the latent mean's.
    samples : ndarray (M, n, n, n)
        Densities of latent samples.
    ranked_first : int
        Index of the guess that the pattern ranks first.
    holohedry : ndarray (m, 3, 3)
        As for `aligned`.

    Returns
    -------
    dict
        By score and protocol. "paper": the best over samples × 24 rotations, each score for itself; "single": guess 1
        as it is; "ranked": the guess ranked first, aligned.
    """
    best = aligned(truth, guesses[ranked_first], holohedry)
    ssim, psnr = ssim3d_rotations(torch.as_tensor(truth), torch.as_tensor(samples))
    rotated = (nmae(truth, rotate(sample, rotation)) for sample in samples for rotation in cube_rotations()[:24])
    paper = {"ssim": ssim.max().item(), "psnr": psnr.max().item(), "nmae": min(rotated)}
    single, ranked = map_scores(truth, guesses[0]), map_scores(truth, best)
    return {score: {"paper": paper[score], "single": single[score], "ranked": ranked[score]} for score in paper}


def map_scores(truth: np.ndarray, guess: np.ndarray) -> dict[str, float]:
    """SSIM, PSNR (dB) and NMAE of one map (n, n, n) as it is."""
    ssim, psnr = ssim3d_rotations(torch.as_tensor(truth), torch.as_tensor(guess)[None], rotations=1)
    return {"ssim": ssim.item(), "psnr": psnr.item(), "nmae": nmae(truth, guess)}


def structure_scores(truth: Structure, candidates: Sequence[Structure], space_groups: Sequence[int]) -> dict[str, Any]:
    """Ranked candidates against the truth.

    Parameters
    ----------
    truth : Structure
    candidates : sequence of Structure
        Best first.
    space_groups : sequence of int
        Their numbers.

    Returns
    -------
    dict
        match_top1, match_any: whether the first, or any, `matches`. strict_top1: the first matches within narrower
        tolerances and has the same cell. exact_top1: it matches, formula and space group (but for its hand) are the
        truth's, and rmsd is at most EXACT_RMSD. rmsd: of the first, Å; None where it does not match.
    """
    from pymatgen.analysis.structure_matcher import StructureMatcher

    strict = StructureMatcher(ltol=0.2, stol=0.3, angle_tol=5)
    hits = [matches(truth, c) for c in candidates]
    result: dict[str, Any] = {
        "match_top1": bool(hits and hits[0]),
        "match_any": any(hits),
        "strict_top1": False,
        "exact_top1": False,
        "rmsd": None,
    }
    if result["match_top1"]:
        first = candidates[0]
        distance = _loose().get_rms_dist(truth, first)
        if distance is not None:
            result["rmsd"] = float(distance[0] * (truth.volume / len(truth)) ** (1 / 3))
        result["strict_top1"] = bool(strict.fit(truth, first) and same_cell(truth, first))
        number = space_group_of(truth, SYMPREC_RELAXED)
        result["exact_top1"] = bool(
            first.composition.reduced_formula == truth.composition.reduced_formula
            and one_hand(space_groups[0]) == one_hand(number)
            and result["rmsd"] is not None
            and result["rmsd"] <= EXACT_RMSD
        )
    return result


def matches(truth: Structure, candidate: Structure) -> bool:
    """Equal by StructureMatcher(ltol=0.3, stol=0.5, angle_tol=10), which rescales, and in volume per atom."""
    return same_volume(truth, candidate) and bool(_loose().fit(truth, candidate))


def _loose() -> StructureMatcher:
    from pymatgen.analysis.structure_matcher import StructureMatcher

    return StructureMatcher(ltol=0.3, stol=0.5, angle_tol=10)


def same_volume(one: Structure, other: Structure) -> bool:
    """Volume per atom within VOLUME_TOLERANCE."""
    return abs((other.volume / len(other)) / (one.volume / len(one)) - 1) < VOLUME_TOLERANCE


def same_cell(one: Structure, other: Structure) -> bool:
    """Primitive (Niggli) cell lengths within 1 %."""
    lengths = [np.sort(s.get_primitive_structure().lattice.get_niggli_reduced_lattice().abc) for s in (one, other)]
    return bool(np.all(np.abs(lengths[1] / lengths[0] - 1) < 0.01))


def single(scores: dict[str, float]) -> dict[str, dict[str, float]]:
    """The scores of a map as it is, in the form of those by several protocols."""
    return {score: {"single": value} for score, value in scores.items()}


def wilson(successes: int, n: int) -> list[float]:
    """95 % Wilson score interval of a proportion (Wilson, J. Am. Stat. Assoc. 22, 209, 1927)."""
    from scipy.stats import binomtest

    if n == 0:
        return [0.0, 1.0]
    interval = binomtest(successes, n).proportion_ci(0.95, method="wilson")
    return [float(interval.low), float(interval.high)]

"""How far to believe a candidate, and why, in plain words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from crystalnet.records import BELIEVED


def percent(value: float | None, digits: int) -> str:
    """A fraction as a percentage with so many decimals; a dash where it is not known."""
    return "–" if value is None else f"{100 * value:.{digits}f}\u00a0%"


def _rivals_score(lead: float) -> str:
    ratio = float(np.exp(lead))
    return f"{ratio:.2f} times this one's" if ratio < 2.99 else "3 times this one's or more, or there is none"


def _yes(value: float) -> str:
    return "yes" if value else "no"


@dataclass(frozen=True)
class Reason:
    """One piece of evidence in plain words.

    Attributes
    ----------
    label
        What it is.
    said
        From its value to how the value is said.
    doubtful
        Whether a value is reason to doubt the candidate.
    doubt
        The doubt, as part of a sentence.
    """

    label: str
    said: Callable[[float], str]
    doubtful: Callable[[float], bool] = lambda value: False
    doubt: str = ""


# By the names that `solve` uses. The limits only choose words; the probability is calculated elsewhere.
WHY = {
    "log_excess": Reason(
        "Misfit of the whole calculated pattern, noise aside",
        lambda v: percent(float(np.exp(v)), 1),
        lambda v: v > np.log(0.4),
        "the calculated pattern differs much from the measured one",
    ),
    "log_misfit": Reason(
        "Misfit of the intensities of the lines",
        lambda v: percent(float(np.exp(v)), 1),
        lambda v: v > np.log(0.25),
        "the intensities of the lines fit poorly",
    ),
    "lead": Reason(
        "Score of the best other candidate",
        _rivals_score,
        lambda v: v < np.log(1.1),
        "another candidate fits about as well",
    ),
    "explained": Reason(
        "Intensity on lines that the cell explains",
        lambda v: percent(v, 1),
        lambda v: v < 0.95,
        "the cell leaves lines unexplained",
    ),
    "log_merit": Reason(
        "Figure of merit of the cell (good above 20)",
        lambda v: f"{np.exp(v):.0f}",
        lambda v: v < np.log(20),
        "the lines fall on the cell's places only roughly",
    ),
    "lines_per_parameter": Reason(
        "Lines measured for each parameter that symmetry leaves free",
        lambda v: f"{np.exp(v):.1f}",
        lambda v: v < np.log(2),
        "there are few lines for so many parameters",
    ),
    "exchange": Reason(
        "Misfit of the intensities were one element another",
        lambda v: f"{np.exp(-v):.2f} times this one's",
        lambda v: v > np.log(2),
        "the intensities ask for another element",
    ),
    "agreed": Reason("Proposed by the network and by the catalogue", _yes),
    "type_known": Reason("A known crystal, or of a known type", _yes),
    "balanced": Reason(
        "Charges can balance, or need not",
        _yes,
        lambda v: v < 0.5,
        "its charges cannot balance",
    ),
    "complete": Reason(
        "Only elements that were given",
        _yes,
        lambda v: v < 0.5,
        "it holds atoms that none of the given elements explains",
    ),
    "contact": Reason(
        "Shortest bond away from its usual length by",
        lambda v: percent(float(np.expm1(v)), 0),
        lambda v: v > np.log(1.15),
        "its shortest bond is of an unusual length",
    ),
    "volume": Reason(
        "Volume away from the usual of such atoms by",
        lambda v: percent(float(np.expm1(v)), 0),
        lambda v: v > np.log(1.3),
        "its volume is unusual for such atoms",
    ),
    "contradicted": Reason(
        "Volume that no such atoms have",
        _yes,
        lambda v: v > 0.5,
        "its volume speaks against the wavelength or the elements",
    ),
    "wavelength": Reason(
        "Wavelength said, or clear from the sample",
        lambda v: _yes(v >= 0.5),
        lambda v: v < 0.5,
        "the wavelength was assumed, and another fits nearly as well",
    ),
    "formula_given": Reason("Formula was given", _yes),
}


def confidence_in_words(value: float) -> str:
    """A percentage; no calibration knows 99.9 % from 100 %."""
    return "above 99\u00a0%" if value > 0.99 else "below 1\u00a0%" if value < 0.01 else percent(value, 0)


def verdict(confidence: float, evidence: Mapping[str, float]) -> str:
    """One sentence: how far to believe the best candidate, and what speaks against it."""
    against = "; ".join(r.doubt for name, r in WHY.items() if name in evidence and r.doubtful(evidence[name]))
    share = confidence_in_words(confidence)
    if confidence >= BELIEVED:
        return f"Right with a probability of {share}.{f' To be checked: {against}.' if against else ''}"
    return f"Not convincing, right with a probability of {share}{': ' + against if against else ''}."

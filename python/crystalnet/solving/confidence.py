"""How likely is a candidate right? A logistic regression on what the pattern, not the truth, says of it.

The weights are fitted by `tools/fit_confidence.py` on simulated laboratory patterns of real crystals, cubic, trigonal
and of other systems, none of a development or measured composition; docs/confidence.md has the reliability diagram.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import numpy as np

from crystalnet.crystal.chemistry import charge_balances, contact_misfit
from crystalnet.crystal.lattice import Cell
from crystalnet.records import AtomSites, Peaks
from crystalnet.xrd.indexing.lattices import line_positions
from crystalnet.xrd.nearest import nearest

VOLUME_RANGE = (0.72, 1.85)  # of the expected volume: 98% of 1,500 crystals; beyond, wavelength or elements are wrong
BINS = 6  # of the reliability diagram: a few hundred answers fill no more
CONTRADICTED = 0.45  # most that a candidate is believed whose volume or lines say that wavelength or elements are wrong
OTHER_ELEMENT = math.log(2)  # of "exchange"; of 158 right answers to simulated patterns none has 0.32
#: Of "log_excess" and "log_misfit"; of the same answers none has 0.5 or 0.38.
MOST_EXCESS, MOST_MISFIT = math.log(0.6), math.log(0.4)
MANY_TIMES = 3.0  # a rival's score this many times the candidate's says no more
FEATURES = {
    "log_excess": "ln of the profile Rwp without the share of noise",
    "log_misfit": "ln of the residual of line intensities after refinement",
    "lead": "ln(score of the best other candidate / own score), at most ln 3",
    "log_merit": "ln of the cell's figure of merit (de Wolff M)",
    "explained": "share of the intensity that lies on lines of the cell",
    "lines_per_parameter": "ln(lines indexed / parameters of cell and atoms that symmetry leaves free)",
    "exchange": "ln(residual / residual with one element exchanged for whichever suits best)",
    "agreed": "the network and another source propose the crystal",
    "type_known": "it is a known crystal, or one of a known type",
    "balanced": "charges balance where they should",
    "complete": "no atom of an element that was not given",
    "volume": "|ln(volume / expected volume)|",
    "contact": "|ln(shortest bond / usual length)|, at most 0.5",
    "contradicted": "volume outside of VOLUME_RANGE",
    "wavelength": "ln(score with the next best tube / own score), at most 2; 2 where the wavelength was said",
    "formula_given": "the user gave the formula",
}
AGAINST = {"log_excess", "log_misfit", "exchange", "volume", "contact"}  # of these more speaks against a candidate
WEIGHED = tuple(name for name in FEATURES if name != "contradicted")  # by the regression


def evidence(
    *,
    excess: float,
    residual: float,
    score: float,
    rival: float | None,
    sites: AtomSites,
    exchanged: float,
    parameters: int,
    cell: Cell,
    peaks: Peaks,
    sources: set[str],
    volume_ratio: float | None,
    formula_given: bool,
    wavelength_lead: float,
) -> dict[str, float]:
    """FEATURES of one candidate.

    excess, residual: after refinement; exchanged: the residual with one element exchanged (`exchanged_residual`).
    score, rival: what the candidate and the best other one (None: there is none) are ranked by.
    wavelength_lead: as in FEATURES.
    parameters: of cell and atoms that symmetry leaves free. sources: those that propose the crystal.
    """
    most = math.log(MANY_TIMES)
    lead = most if rival is None else math.log(max(rival, 1e-6) / max(score, 1e-6))
    merit = cell.figure_of_merit if math.isfinite(cell.figure_of_merit) else 20.0  # a cell that the user gave
    values = (
        math.log(max(excess, 0.01)),
        math.log(max(residual, 0.01)),
        min(max(lead, -most), most),
        math.log(min(max(merit, 1.0), 1000.0)),
        explained_share(cell, peaks),
        math.log(max(cell.n_indexed, 1) / max(parameters, 1)),
        math.log(max(residual, 0.01) / max(min(exchanged, residual), 0.01)),
        float("network" in sources and len(sources) > 1),
        float(bool({"known", "catalogue"} & sources)),
        float(charge_balances(Counter(sites.species))),
        float("X" not in sites.species),
        abs(math.log(volume_ratio)) if volume_ratio else 0.5,
        contact_misfit(sites),
        float(volume_ratio is not None and not VOLUME_RANGE[0] < volume_ratio < VOLUME_RANGE[1]),
        wavelength_lead,
        float(formula_given),
    )
    return dict(zip(FEATURES, values, strict=True))


def explained_share(cell: Cell, peaks: Peaks) -> float:
    """Share of the lines' area within half a width of a line of the cell."""
    positions = line_positions(cell, peaks)
    if not len(positions):
        return 0.0
    distance = np.abs(peaks.two_theta - positions[nearest(positions, peaks.two_theta)])
    return float(peaks.area[distance < 0.5 * np.maximum(peaks.fwhm, np.median(peaks.fwhm))].sum() / peaks.area.sum())


@cache
def _weights() -> dict[str, float]:
    """Weight of each feature, and the "constant"."""
    found: dict[str, float] = json.loads(files("crystalnet.solving").joinpath("confidence.json").read_text())["weights"]
    return found


def probability(found: dict[str, float]) -> float:
    """Calibrated probability that the candidate with this evidence is right; at most CONTRADICTED where it is that.

    The regression alone believes a formula of another compound of the type where the profile fits well.
    """
    weights = _weights()
    logit = weights["constant"] + sum(weights[name] * found[name] for name in WEIGHED)
    p = 1 / (1 + math.exp(-min(max(logit, -30.0), 30.0)))
    return min(p, CONTRADICTED) if is_contradicted(found) else p


def is_contradicted(found: Mapping[str, float]) -> bool:
    """Whether volume or lines speak against the wavelength or the elements, or hardly anything is explained."""
    unexplained = found["log_excess"] > MOST_EXCESS or found["log_misfit"] > MOST_MISFIT
    return unexplained or found["contradicted"] > 0 or found["exchange"] > OTHER_ELEMENT


def calibration_error(
    p: np.ndarray, right: np.ndarray, weight: np.ndarray | None = None
) -> tuple[float, list[tuple[float, float, int]]]:
    """Expected calibration error of probabilities p (n,) and outcomes right (n,); (mean p, share right, n) of each bin.

    The mean over answers, of weight (n,) or alike, of |mean p − share right| in BINS bins of equal width (Naeini et
    al., AAAI 2015); empty bins are left out.
    """
    weight = np.ones(len(p)) if weight is None else weight
    bins = np.minimum((p * BINS).astype(int), BINS - 1)
    error, rows = 0.0, []
    for members in (bins == number for number in np.unique(bins)):
        mean, share = (float(np.average(values[members], weights=weight[members])) for values in (p, right))
        error += float(weight[members].sum()) * abs(mean - share)
        rows.append((mean, share, int(members.sum())))
    return error / max(float(weight.sum()), 1e-9), rows

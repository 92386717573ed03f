"""Is Kα2 in the beam? The high-angle lines tell."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import numpy as np

from crystalnet.records import Radiation
from crystalnet.xrd.line_fit import FittedLines, fit_block, kalpha2_split
from crystalnet.xrd.line_search import LineSearch
from crystalnet.xrd.radiation import with_kalpha2

# |ln(χ² without Kα2 / χ² with it)| from which the lines decide: one is twice the other. Of 127 measured doublets whose
# lines can tell none lies below −0.7, of 136 with Kα2 taken off by Rachinger's method none above 0.1; overlaps and odd
# profiles do less.
CLEAR = 0.7
TELLING = 2  # lines that must agree before what was said is overruled


def decided_kalpha2(search: LineSearch, said: Radiation) -> Radiation:
    """The radiation with Kα2 or without it, as the lines say.

    Where no line can tell, it is as was said, or with Kα2 where nobody said (tubes have it).

    Parameters
    ----------
    search : LineSearch
        Of the pattern; it is left as it is.
    said : Radiation
        By the user or the file.
    """
    doublet = said if len(said.lines) > 1 else with_kalpha2(said)
    if doublet is None:  # no tube's
        return replace(said, kalpha2_known=True)
    doublet = replace(doublet, kalpha2_known=True)
    single = replace(doublet, lines=doublet.lines[:1])
    gains = _kalpha2_gains(copy(search), single, doublet)  # a copy: the widths it learns are its own
    gain = float(np.median(gains)) if len(gains) >= (TELLING if said.kalpha2_known else 1) else 0.0
    if len(said.lines) > 1:
        return single if gain < -CLEAR else doublet
    return doublet if gain > CLEAR else single


def _kalpha2_gains(search: LineSearch, single: Radiation, doublet: Radiation) -> list[float]:
    """ln(χ² without Kα2 / χ² with it) of up to ten lines whose Kα2 would stand clear of their Kα1."""
    lines = search.fit(search.candidates(search.net, None, doublet), doublet)
    search.learn_widths(lines)
    split = kalpha2_split(lines.position, doublet)
    width = search.fwhm(lines.position)
    contrast = np.interp(lines.position, search.two_theta, search.net / search.sigma)
    telling = np.where((contrast > 10) & (split > 0.4 * width), np.minimum(contrast, 50) * split / width, 0)
    gains: list[float] = []
    for i in np.argsort(telling)[::-1][:10]:
        if telling[i] == 0:
            break
        near = np.abs(search.two_theta - lines.position[i]) < split[i] + width[i] / 2
        top = float(search.two_theta[near][np.argmax(search.net[near])])
        window = slice(*np.searchsorted(search.two_theta, [top - 1.5 * width[i], top + split[i] + 1.5 * width[i]]))
        x, y, sigma = search.two_theta[window], search.net[window], search.sigma[window]
        if len(x) < 8:
            continue
        area = np.atleast_1d(y.max() * width[i])
        start = FittedLines(np.array([top]), area, width[[i]], np.array([0.5]), np.zeros(1))
        without, with_it = (fit_block(x, y, sigma, start, model)[1] for model in (single, doublet))
        gains.append(float(np.log(without / with_it)))
    return gains


def kalpha2_remark(said: Radiation, decided: Radiation) -> str | None:
    """What the user must know where the lines contradict the radiation said; None where they do not.

    Parameters
    ----------
    said : Radiation
        Of the Pattern, before `find_peaks`.
    decided : Radiation
        Of its Peaks.
    """
    if not said.kalpha2_known or len(said.lines) == len(decided.lines):
        return None
    if len(decided.lines) == 1:
        return (
            f"Kα2 ({said.lines[1][0]:.4f} Å) was said to be in the beam, but the lines show none: it was stripped from"
            f" the data or kept off by a monochromator. Kα1 alone ({decided.wavelength:.4f} Å) was used."
        )
    return (
        f"Kα1 alone ({said.wavelength:.4f} Å) was said, but the lines show Kα2 beside it: both were used"
        f" ({decided.lines[1][0]:.4f} Å at {decided.lines[1][1] / decided.lines[0][1]:g} of Kα1)."
    )

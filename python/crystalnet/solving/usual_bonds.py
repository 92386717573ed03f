"""How far atoms are from the distances of known crystals, and free coordinates relaxed towards these.

Line intensities are explained as well by many arrangements that no chemist would draw, so a search needs both.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from itertools import product
from typing import Any

import numpy as np

from crystalnet.crystal.chemistry import ANIONS, covalent_radius
from crystalnet.crystal.free_sites import FreeSites
from crystalnet.ops.relax_sites import NEIGHBOURS, UsualDistances, relax_sites
from crystalnet.records import AtomSites

HARD, SOFT = {"O", "F"}, {"N", "S", "Se", "Te"}
HALOGENS = ANIONS.keys() - HARD
OXIDISED = 3  # atoms of oxygen for each of a soft anion's element: with as many, that is the centre of NO₃ or SO₄
UNKNOWN_SHORTEST = 0.85  # of the sum of covalent radii, for elements that the table lacks
NEAR = 1.3  # of the longest usual distance: who is nearer may count among the nearest, so all his images are looked at
# A share of the residual for each unit of strain, and the most: 19 of 20 measured crystals have less than 0.002,
# minima of random starts 0.03 to 0.3 with residuals as low as those of the right atoms.
STRAINED, MOST_STRAINED = 10.0, 1.5
STEPS = np.linspace(0.3, 0.04, 25)  # Å of a relaxation: from half a bond's length to what least squares corrects


def kind_of(elements: Iterable[str]) -> str:
    """Which table holds for a crystal: "hard" with oxygen or fluorine, "soft" with other anions, else "none"."""
    if HARD & set(elements):
        return "hard"
    return "soft" if (SOFT | HALOGENS) & set(elements) else "none"


def anions_of(amounts: Mapping[str, int]) -> set[str]:
    """Which elements of a crystal are anions."""
    oxidised = {symbol for symbol in SOFT if amounts.get("O", 0) >= OXIDISED * amounts.get(symbol, 0)}
    return (HARD | HALOGENS | (SOFT - oxidised)) & amounts.keys()


class UsualBonds:
    """What known crystals say of the distances in one arrangement of atoms.

    The four nearest anions of a cation are at most as far as in four of five cations of its element, and none is nearer
    than in all but 2 % of them; two cations or two anions are no nearer than in all but 3 % of the known crystals
    (`usual_bonds.json`, by tools/fit_usual_bonds.py). Hydrogen and elements that nobody has named have no say.
    """

    def __init__(self, crystal: FreeSites, threads: int = 1) -> None:
        self.usual, self.threads = usual_distances(crystal), threads

    def strain(self, u: np.ndarray) -> np.ndarray:
        """How far distances are from usual ones, for free coordinates u (S, K).

        Returns
        -------
        (S,) array
            The mean over atoms of the squared relative errors of their distances: below 0.002 for 19 of 20 measured
            crystals, 0.1 to 0.5 for atoms put at random.
        """
        return relax_sites(self.usual, u, np.zeros(0), self.threads)[1]

    def relaxed(self, u: np.ndarray) -> np.ndarray:
        """(S, K) free coordinates, from u (S, K) after STEPS down the gradient of the strain."""
        return relax_sites(self.usual, u, STEPS, self.threads)[0]


def strained(residual: float | np.ndarray, strain: float | np.ndarray) -> float | np.ndarray:
    """Residuals raised for the strain of each arrangement."""
    return residual * (1 + np.minimum(STRAINED * strain, MOST_STRAINED))


def strain_of(sites: AtomSites) -> float:
    """The strain of atoms where they are."""
    n = len(sites)
    fixed, nothing = np.full((n, 3), -1, np.int32), np.zeros((n, 3, 3))
    crystal = FreeSites(
        sites.lattice, sites.species, sites.frac_coords, nothing, fixed, np.eye(3, dtype=np.int64)[None]
    )
    return float(UsualBonds(crystal).strain(np.zeros((1, 0)))[0])


def usual_distances(crystal: FreeSites) -> UsualDistances:
    """Of the elements of an arrangement."""
    amounts = Counter(crystal.species)
    names = tuple(sorted(amounts))
    anion, radii, longest, shortest = _of_elements(names, frozenset(anions_of(amounts)))
    element = np.array([names.index(symbol) for symbol in crystal.species])
    one, share = _one_of_each(crystal)
    own = element[one]
    sums = radii[own, None] + radii[element]
    shortest = shortest[own][:, element] * sums
    farthest = NEAR * max(shortest.max(), (longest[own, -1:] * sums[:, anion[element]]).max(initial=0.0))
    heights = 1 / np.linalg.norm(np.linalg.inv(crystal.lattice), axis=0)
    shifts = np.array(list(product(*((-1, 0, 1) if height < 2 * farthest else (0,) for height in heights))))
    return UsualDistances(crystal, one, share, shifts, shortest, sums, longest[own], anion[element])


@cache
def _of_elements(
    names: tuple[str, ...], anions: frozenset[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of G elements in one crystal: which are anions (G,), radii (G,) in Å, where they have their nearest anions at the
    most (G, NEIGHBOURS), and how near pairs of them hardly ever are (G, G), both in the sum of the radii.
    """
    kind, anion = kind_of(names), np.array([name in anions for name in names])
    table = _table()["neighbours"].get(kind, {})
    longest = np.zeros((len(names), NEIGHBOURS))
    for place, name in enumerate(names):
        if not anion[place] and name in table:
            longest[place] = table[name]["longest"]
    elements = list(zip(names, anion.tolist(), strict=True))
    shortest = [[_shortest(one, other, kind) for other in elements] for one in elements]
    return anion, np.array([covalent_radius(name) for name in names]), longest, np.array(shortest)


def _shortest(one: tuple[str, bool], other: tuple[str, bool], kind: str) -> float:
    """The least usual distance of two elements, each with whether it is an anion, in the sum of their radii."""
    pair = sorted((one[0], other[0]))
    if "H" in pair or "X" in pair:
        return 0.0
    if one[1] != other[1]:
        cation = other[0] if one[1] else one[0]
        return float(_table()["neighbours"].get(kind, {}).get(cation, {}).get("shortest", UNKNOWN_SHORTEST))
    known = _table()["apart"].get(f"{kind} {'anions' if one[1] else 'cations'}", {})
    return float(known.get("-".join(pair), known.get("any", UNKNOWN_SHORTEST)))


def _one_of_each(crystal: FreeSites) -> tuple[np.ndarray, np.ndarray]:
    """An atom of each orbit, and the orbit's share of all atoms; each atom that is fixed is an orbit of its own."""
    first: dict[tuple[object, ...], int] = {}
    orbit = []
    for i, (symbol, columns) in enumerate(zip(crystal.species, crystal.columns.tolist(), strict=True)):
        key = (symbol, *columns) if max(columns) >= 0 else (i,)
        orbit.append(first.setdefault(key, i))
    one, count = np.unique(orbit, return_counts=True)
    return one, count / len(crystal)


@cache
def _table() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(files("crystalnet.solving").joinpath("usual_bonds.json").read_text())
    return found

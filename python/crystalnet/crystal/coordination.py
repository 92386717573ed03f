"""The neighbours of an atom: all that are nearer than the first gap in the distances.

A rule of distances alone, to be read beside the distances; an atom of irregular surroundings has no one number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crystalnet.records import AtomSites

GAP = 1.15  # a distance that much longer than the one before begins the next shell; fluorite's is 1.1547
SPHERE = 1.5  # of the nearest distance: where there is no such gap, the widest one that begins within
NEAREST = 4.0  # Å, where the search begins; doubled where an atom has no neighbour so near
ITSELF = 1e-3  # Å
EQUAL = 0.0015  # Å: distances that are one


@dataclass(frozen=True)
class Neighbours:
    """Neighbours of one element at one distance (Å)."""

    element: str
    distance: float
    count: int


def neighbours_of(sites: AtomSites, atoms: list[int]) -> list[tuple[Neighbours, ...]]:
    """The first shell of some atoms of a cell, nearest first.

    Parameters
    ----------
    sites : AtomSites
        All atoms of the cell.
    atoms : list of int
        Which.

    Returns
    -------
    list of tuple of Neighbours
        For each of the atoms. A shell ends where first the next distance is more than GAP times as long; where none is
        before SPHERE times the nearest distance, at the widest gap up to there.

    Examples
    --------
    >>> salt = AtomSites(2.1 * (1 - np.eye(3)), ("Mg", "O"), np.array([[0, 0, 0], [0.5, 0.5, 0.5]]))
    >>> neighbours_of(salt, [0])
    [(Neighbours(element='O', distance=2.1, count=6),)]
    """
    structure = sites.structure()
    shells: dict[int, tuple[Neighbours, ...]] = {}
    radius, left = NEAREST * SPHERE * GAP, list(atoms)
    while left:
        centre, other, _, distance = structure.get_neighbor_list(radius, sites=[structure[i] for i in left])
        for k, atom in enumerate(left):
            own = (centre == k) & (distance > ITSELF)
            if own.any() and distance[own].min() * SPHERE * GAP <= radius:
                shells[atom] = _shell([sites.species[i] for i in other[own]], distance[own])
        left = [atom for atom in left if atom not in shells]
        radius *= 2
    return [shells[atom] for atom in atoms]


def _shell(symbols: list[str], distance: np.ndarray) -> tuple[Neighbours, ...]:
    order = np.argsort(distance, kind="stable")
    ordered = distance[order]
    inside = int(np.searchsorted(ordered, SPHERE * ordered[0], side="right"))
    steps = np.append(ordered[1:], np.inf)[:inside] / ordered[:inside]
    last = int(np.argmax(steps > GAP)) if (steps > GAP).any() else int(np.argmax(steps))
    found: list[Neighbours] = []
    for i in order[: last + 1]:
        same = next((n for n in found if n.element == symbols[i] and distance[i] - n.distance < EQUAL), None)
        if same is None:
            found.append(Neighbours(symbols[i], round(float(distance[i]), 4), 1))
        else:
            found[found.index(same)] = Neighbours(same.element, same.distance, same.count + 1)
    return tuple(found)

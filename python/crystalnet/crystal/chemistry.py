"""What chemistry allows: charges, radii, contacts, volumes."""

from __future__ import annotations

import json
import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

import numpy as np

from crystalnet.records import AtomSites

ANIONS = {"F": -1, "Cl": -1, "Br": -1, "I": -1, "O": -2}  # elements that hardly ever leave a charge unbalanced
MOST_CONTACT, UNKNOWN_CONTACT = 0.5, 0.1  # ln(length): farther off is as wrong; what an unknown element counts as
NON_METALS = {*ANIONS, "S", "Se", "N"}
VOLUME_BOUNDS = (0.25, 4.0)  # of the expected volume: farther off is as wrong as this
SCALING = 0.5, 1.5  # of the type's volume: DLSVolumePredictor's own bounds
VOLUME_PER_ATOM = (3.5, 75.0)  # Å³: diamond has 5.7, hydrides 4; solid caesium 115 but no compound of it over 75


def charge_balances(counts: Mapping[str, float]) -> bool:
    """Whether known oxidation states can add up to zero; compounds without halogens or oxygen always pass.

    Every other element may lie anywhere between its lowest and highest known state, so that mixed valence passes;
    but hydrogen beside oxygen is +1 (hydroxides, hydrates, acids: oxide hydrides are curiosities).
    """
    if not any(symbol in ANIONS for symbol in counts) or len(counts) < 2:
        return True
    low = high = 0.0
    for symbol, amount in counts.items():
        if symbol in ANIONS:
            low, high = low + ANIONS[symbol] * amount, high + ANIONS[symbol] * amount
        elif symbol != "X":
            states = (1,) if symbol == "H" and "O" in counts else _known_states(symbol)
            low, high = low + min(states) * amount, high + max(states) * amount
    return low <= 1e-9 and high >= -1e-9


def usual_charges(counts: Mapping[str, float]) -> bool:
    """Whether the commonest oxidation states add up to zero in some way; a compound without a non-metal passes.

    Stricter than `charge_balances`: of 900 compounds of the library two thirds pass, of all proportions of their
    elements, weighed as known crystals have them, three tenths.
    """
    if not NON_METALS & counts.keys() or len(counts) < 2:
        return True
    sums = {0.0}
    for symbol, amount in counts.items():
        sums = {total + amount * state for total in sums for state in _common_states(symbol)}
    return any(abs(total) < 1e-6 for total in sums)


@cache
def _known_states(symbol: str) -> tuple[int, ...]:
    from pymatgen.core import Element

    element = Element(symbol)
    return (*element.common_oxidation_states, *element.icsd_oxidation_states) or (0,)


@cache
def _common_states(symbol: str) -> tuple[int, ...]:
    from pymatgen.core import Element

    return tuple(Element(symbol).common_oxidation_states) or (0,)


def volume_ratio(conventional: AtomSites) -> float | None:
    """Volume over what its atoms take as a rule, within VOLUME_BOUNDS; None if an element is not known.

    A sum over the atoms: what the contacts ask for (`predicted_volume`) is ruled by the shortest one, which a pattern
    places worst, and scatters by 0.26 in ln(volume) where the sum does by 0.19 (1,500 crystals of the library).
    """
    if "X" in conventional.species:
        return None
    expected = expected_volume(Counter(conventional.species))
    return float(np.clip(conventional.volume / expected, *VOLUME_BOUNDS))


def contact_misfit(sites: AtomSites) -> float:
    """|ln(shortest bond / usual length)|, at most 0.5, hydrogen left out; 0.1 if an element is not known.

    Usual is what `predicted_volume` takes for it; of 1,500 crystals of the library the mean is 0.05.
    """
    own = sites.visible
    if "X" in own.species or set(own.species) == {"H"}:
        return UNKNOWN_CONTACT
    apart = shortest_distances(own.lattice, own.frac_coords)
    if apart.min() < 1e-3:
        return MOST_CONTACT
    expected = predicted_volume(own, apart)
    if not 0 < expected < np.inf:
        return UNKNOWN_CONTACT
    return min(abs(math.log(own.volume / expected)) / 3, MOST_CONTACT)


def expected_volume(amounts: Mapping[str, float]) -> float:
    """Å³ that these amounts of atoms take as a rule."""
    return sum(n * atomic_volume(symbol) for symbol, n in amounts.items())


def smallest_volume(elements: Sequence[str]) -> float:
    """Å³ that one atom of each element takes: less room has no crystal of them all.

    An element without a known volume (beyond curium) counts as the mean of the others.
    """
    volumes = _atomic_volumes()
    known = [volumes[symbol] for symbol in elements if symbol in volumes]
    return sum(known) / len(known) * len(elements) if known else 0.0


def atomic_volume(element: str) -> float:
    """Å³ that an atom of the element takes in a compound; the mean of all where it is not known."""
    volumes = _atomic_volumes()
    return volumes.get(element, sum(volumes.values()) / len(volumes))


@cache
def _atomic_volumes() -> dict[str, float]:
    """Å³; atomic_volumes.json in this folder says how they were found."""
    text = files("crystalnet.crystal").joinpath("atomic_volumes.json").read_text(encoding="utf-8")
    volumes: dict[str, float] = json.loads(text)["volumes"]
    return volumes


@cache
def covalent_radius(element: str) -> float:
    """Å (Cordero et al., Dalton Trans. 2832, 2008); 1.6 for elements without one."""
    return _covalent_radii().get(element, 1.6)


@cache
def _covalent_radii() -> dict[str, float]:
    """pymatgen's table, as a file: its module takes two seconds to load."""
    text = files("crystalnet.crystal").joinpath("covalent_radii.json").read_text(encoding="utf-8")
    radii: dict[str, float] = json.loads(text)["radii"]
    return radii


def closest_contacts(
    lattice: np.ndarray, frac_coords: np.ndarray, groups: np.ndarray, namings: Sequence[Sequence[str]]
) -> list[float]:
    """Shortest interatomic distance over the sum of the two covalent radii, for each way to name the groups of atoms.

    lattice (3, 3) Å, frac_coords (N, 3), groups (N,) of 0 to G − 1; a naming is an element for each group.
    """
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    distance = shortest_distances(lattice, frac_coords[order])
    apart = np.minimum.reduceat(np.minimum.reduceat(distance, starts, axis=0), starts, axis=1)
    return [smallest_ratio(apart, np.array([covalent_radius(s) for s in naming])) for naming in namings]


def shortest_distances(lattice: np.ndarray, x: np.ndarray, of: slice = slice(None)) -> np.ndarray:
    """(M, N) Å: from each atom of a slice, all by default, to the nearest image of each; of itself, in another cell."""
    own = np.arange(len(x))[of]
    shifts = np.array(np.meshgrid(*[(-1, 0, 1)] * 3)).reshape(3, -1).T
    vectors = ((x[own, None] - x[None, :]) @ lattice)[None] + (shifts @ lattice)[:, None, None]
    squares = np.einsum("smnk,smnk->smn", vectors, vectors)
    squares[(shifts == 0).all(1).argmax(), np.arange(len(own)), own] = np.inf
    return np.asarray(np.sqrt(squares.min(0)))


def smallest_ratio(distance: np.ndarray, radii: np.ndarray) -> float:
    """Smallest distance over the sum of the two atoms' radii: distance (N, N) and radii (N,), Å."""
    return float((distance / (radii[:, None] + radii[None, :])).min())


@cache
def _bond_radius(element: str) -> tuple[float, float, float]:
    """(r, k, electronegativity): the element's part of a bond is r + k·sd(electronegativity), Å."""
    from pymatgen.core import Element

    found = _bond_parameters().get(element)
    r, k = (float(found["r"]), float(found["k"])) if found else (float(Element(element).atomic_radius or 1.5), 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return r, k, float(Element(element).X)


@cache
def _bond_parameters() -> dict[str, dict[str, float]]:
    """pymatgen's table, as a file: its module takes a second to load."""
    text = files("crystalnet.crystal").joinpath("bond_parameters.json").read_text(encoding="utf-8")
    parameters: dict[str, dict[str, float]] = json.loads(text)["parameters"]
    return parameters


def predicted_volume(sites: AtomSites, distance: np.ndarray) -> float:
    """Å³: the volume at which the shortest bond has its data-mined length.

    What pymatgen's DLSVolumePredictor(min_scaling=None, max_scaling=None) predicts (Chu et al., Comput. Mater. Sci.
    146, 184, 2018) from pymatgen's table; its own neighbour search takes most of the generator's time.
    distance: of shortest_distances.
    """
    r, k, electronegativity = np.array([_bond_radius(s) for s in sites.species]).T
    return sites.volume / smallest_ratio(distance, r + k * np.nanstd(electronegativity)) ** 3

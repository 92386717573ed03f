"""The crystal that a setting makes of the listed atoms, and what the rest of the CIF says against it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from crystalnet.crystal.cif.blocks import Block, first_value, number_of
from crystalnet.crystal.cif.sites import NEVER_LISTED, SAME_PLACE, Site, formula_of, same_place
from crystalnet.crystal.cif.symmetry import Setting
from crystalnet.crystal.lattice import on_special_position, one_of_each

if TYPE_CHECKING:
    from pymatgen.core import Structure


MIN_DISTANCE = 0.5  # Å: shorter than any bond (H2: 0.74)
METRIC = 0.01  # relative: cells are given as measured, so that a and b of a tetragonal one may differ in the last digit
COMPOSITION = 0.10  # relative: a wrong setting changes a multiplicity by a third at least; formulas are rounded
CONTENT = 0.15  # relative, of Z and density, for the same reason
SHORT_BOND = 0.6  # of the sum of covalent radii; data sets are made with 0.62
UNMETRIC = "its operations do not preserve the metric of the cell"
LACKING = "of its formula has no site"


@dataclass(frozen=True, eq=False)
class Reading:
    """The crystal that a setting makes of the listed atoms.

    Attributes
    ----------
    setting : Setting
    rank : int
        Tier of the setting: 0 is stated most exactly.
    structure : Structure or None
        None if the cell does not allow the setting.
    wrong : str
        Why the reading is impossible; "" if it is possible.
    doubts : tuple of str
        What Z and density say against it.
    short : str
        A distance much shorter than a bond; "" if there is none.
    lacking : tuple of str
        Elements of which the formula has more atoms.
    """

    setting: Setting
    rank: int
    structure: Structure | None
    wrong: str
    doubts: tuple[str, ...] = ()
    short: str = ""
    lacking: tuple[str, ...] = ()

    @property
    def credible(self) -> bool:
        """Possible, and not both Z and density against it: one of them alone may be a mistake of the file."""
        return not self.wrong and len(self.doubts) < 2

    @property
    def unmetric(self) -> bool:
        """Whether the cell rules the setting out, as it does one of the two kinds of rhombohedral axes."""
        return self.wrong == UNMETRIC


def read_in(block: Block, lattice: np.ndarray, sites: list[Site], setting: Setting, rank: int) -> Reading:
    """The reading of the sites in a setting. lattice (3, 3), rows in Å; rank: the tier of the setting."""
    from pymatgen.core import Lattice, Structure

    if not _preserves_metric(setting.rotations, lattice):
        return Reading(setting, rank, None, UNMETRIC)
    species, x = _expanded(setting, lattice, sites)
    structure = Structure(Lattice(lattice), species, x)
    close, relative, pair = _shortest(structure)
    if close < MIN_DISTANCE:
        return Reading(setting, rank, structure, f"atoms of {pair} overlap ({close:.2f} Å apart)")
    counts = {symbol: float(species.count(symbol)) for symbol in dict.fromkeys(species)}
    stated = formula_of(block)
    wrong, lacking = _compared(counts, stated) if stated else ("", ())
    short = f"atoms of {pair} are {close:.2f} Å apart" if relative < SHORT_BOND else ""
    return Reading(setting, rank, structure, wrong, tuple(_content(block, structure, counts, stated)), short, lacking)


def _preserves_metric(rotations: np.ndarray, lattice: np.ndarray) -> bool:
    """Whether the rotations (m, 3, 3) leave the lattice (3, 3) as it is, within METRIC."""
    metric = lattice @ lattice.T
    edges = np.sqrt(np.diag(metric))
    turned = rotations.transpose(0, 2, 1) @ metric @ rotations
    return bool((np.abs(turned - metric) < 2 * METRIC * np.outer(edges, edges)).all())


def _expanded(setting: Setting, lattice: np.ndarray, sites: list[Site]) -> tuple[list[str], np.ndarray]:
    """Elements N and coordinates (N, 3) in [0, 1) of every atom; atoms near a special position are put on it."""
    species: list[str] = []
    found = np.zeros((0, 3))
    for site in sites:
        x = on_special_position(site.x, setting.rotations @ site.x + setting.translations, lattice, SAME_PLACE)
        same = np.array([s == site.element for s in species], dtype=bool)
        if any(same_place(x - other, lattice) for other in found[same]):
            continue  # another image of it is listed too
        images = setting.rotations @ x + setting.translations
        orbit = np.round(images[one_of_each(images, lattice, SAME_PLACE)], 12) % 1.0
        species += [site.element] * len(orbit)
        found = np.concatenate([found, orbit])
    return species, found


def _shortest(structure: Structure) -> tuple[float, float, str]:
    """Shortest distance (Å, and as a part of the sum of covalent radii) and its elements; infinity if atoms are far."""
    from crystalnet.crystal.chemistry import covalent_radius

    radii = np.array([covalent_radius(site.specie.symbol) for site in structure])
    one, other, _, distance = structure.get_neighbor_list(max(2 * SHORT_BOND * radii.max(), MIN_DISTANCE))
    if not len(distance):
        return float("inf"), float("inf"), ""
    relative = distance / (radii[one] + radii[other])
    worst = distance.argmin() if distance.min() < MIN_DISTANCE else relative.argmin()
    pair = " and ".join(structure[int(i[worst])].specie.symbol for i in (one, other))
    return float(distance[worst]), float(relative.min()), pair


def _compared(counts: Mapping[str, float], stated: Mapping[str, float]) -> tuple[str, tuple[str, ...]]:
    """Why the atoms cannot be those of the formula ("" if they can), and the elements of which there are too few."""
    heavy = {s: n for s, n in stated.items() if s != NEVER_LISTED} or dict(stated)
    lost = [s for s in heavy if s not in counts]
    foreign = [s for s in counts if s not in stated]
    if lost:
        return f"{', '.join(lost)} {LACKING}", ()
    if foreign:
        return f"{', '.join(foreign)} is not in its formula {_written(stated)}", ()
    units = sum(counts[s] for s in heavy) / sum(heavy.values())
    if any(abs(counts[s] / (n * units) - 1) > COMPOSITION for s, n in heavy.items()):
        return f"the atoms make {_written(_reduced(counts))}, the formula is {_written(stated)}", ()
    short = stated.get(NEVER_LISTED, 0) * units
    if counts.get(NEVER_LISTED, 0) > short * (1 + COMPOSITION):
        return f"the atoms make {_written(_reduced(counts))}, the formula is {_written(stated)}", ()
    return "", (NEVER_LISTED,) if counts.get(NEVER_LISTED, 0) < short * (1 - COMPOSITION) else ()


def _reduced(counts: Mapping[str, float]) -> dict[str, float]:
    """Counts divided by their greatest common divisor."""
    divisor = np.gcd.reduce([int(n) for n in counts.values()])
    return {symbol: n / divisor for symbol, n in counts.items()}


def _written(amounts: Mapping[str, float]) -> str:
    return "".join(f"{symbol}{f'{n:g}' if n != 1 else ''}" for symbol, n in amounts.items())


def _content(
    block: Block, structure: Structure, counts: Mapping[str, float], stated: Mapping[str, float] | None
) -> Iterator[str]:
    """What the stated Z and density say against the atoms found."""
    units = number_of(first_value(block, ["_cell_formula_units_z"]) or "")
    heavy = {s: n for s, n in (stated or {}).items() if s in counts and s != NEVER_LISTED}
    if heavy and np.isfinite(units) and units > 0:
        found = sum(counts[s] for s in heavy) / sum(heavy.values())
        if all(n % units == 0 for n in heavy.values()):
            found *= units  # some programs write the whole cell into the formula
        if abs(found / units - 1) > CONTENT:
            yield f"the cell holds {found:g} formula units, the file says {units:g}"
    density = number_of(first_value(block, ["_exptl_crystal_density_diffrn", "_exptl_crystal_density_meas"]) or "")
    if np.isfinite(density) and density > 0 and abs(structure.density / density - 1) > CONTENT:
        yield f"the density is {structure.density:.2f} g/cm³, the file says {density:g}"

"""Proposals: the shared evaluation of many crystals in one cell against one at a time, and both families of P cells."""

from __future__ import annotations

import shutil
import warnings
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from crystalnet.bragg import polarisation_ratio
from crystalnet.crystal.chemistry import closest_contacts, covalent_radius
from crystalnet.crystal.elements import ATOMIC_NUMBER
from crystalnet.crystal.lattice import Cell
from crystalnet.crystal.library import library_of
from crystalnet.crystal.symmetry import centring_of
from crystalnet.crystal.types import types_table
from crystalnet.data import structure_types as types
from crystalnet.data.files import fetch_files
from crystalnet.data.splits import Splits
from crystalnet.data.structure_types import embedded_types
from crystalnet.ops.reflections import reflections
from crystalnet.records import AtomSites, InputError, Peaks, Radiation
from crystalnet.solving import from_catalogue
from crystalnet.solving.from_catalogue import Catalogue
from crystalnet.solving.screen import Screen, exchanged_residual, residual
from crystalnet.xrd.peaks import find_peaks
from crystalnet.xrd.profile import simulate_profile
from crystalnet.xrd.radiation import parse_wavelength
from crystalnet.xrd.residual import intensity_residual

CU = Radiation(((1.540593, 1.0), (1.544427, 0.5)))
TOP = 90.0
WURTZITE = Structure.from_spacegroup(
    "P6_3mc", Lattice.hexagonal(3.25, 5.207), ["Zn", "O"], [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.382]]
)
QUARTZ = Structure.from_spacegroup(
    "P3_121", Lattice.hexagonal(4.913, 5.405), ["Si", "O"], [[0.4697, 0, 1 / 3], [0.4135, 0.2669, 0.2144]]
)


def quiet(done: int, total: int) -> None:
    """No progress is shown."""


def observed(structure: Structure) -> Peaks:
    """The stronger lines of a crystal, as a perfect peak search would give them, in 10° to 90° of Cu Kα."""
    numbers = [site.specie.Z for site in structure]
    lines = reflections(structure.lattice.matrix, structure.frac_coords, numbers, CU.wavelength, TOP)
    keep = (lines.two_theta > 10) & (lines.intensity > 2e-3 * lines.intensity.max())
    position = lines.two_theta[keep]
    area = lines.intensity[keep] * polarisation_ratio(position, CU)
    return Peaks(position, lines.d_spacing[keep], area, np.full(len(area), 0.1), np.zeros(9), 10.0, TOP, CU)


def one_at_a_time(sites: AtomSites, peaks: Peaks, cell: Cell) -> float:
    """The residual of a crystal from its own lines."""
    numbers = np.array([ATOMIC_NUMBER[s] for s in sites.species])
    lines = reflections(sites.lattice, sites.frac_coords, numbers, CU.wavelength, TOP + 0.5)
    return intensity_residual(peaks, lines, zero_shift=cell.zero_shift)


CELLS = [
    Cell("cubic", "F", 8.4, 8.4, zero_shift=0.02),
    Cell("cubic", "I", 9.8, 9.8),
    Cell("trigonal", "R", 5.0, 13.7, zero_shift=-0.03),
    Cell("trigonal", "P", 4.9, 5.4),
]


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: f"{cell.system}-{cell.centring}")
def test_decorations_together_are_as_one_by_one(cell: Cell) -> None:
    peaks = observed(QUARTZ)
    screen = Screen(cell.primitive_lattice, cell.zero_shift, peaks)
    records = [r for r in types_table(cell.system) if centring_of(r["space_group"]) == cell.centring]
    kinds = [types.make_type(r, canonical=True) for r in records if len(r["species"]) <= 30]
    for kind in kinds[:: len(kinds) // 8]:
        places, groups = np.unique(kind.sites.species, return_inverse=True)
        decorations = list(permutations(("Zr", "Sb", "O", "Ca", "C", "H")[: len(places)]))[:30]
        values = screen.residuals(kind.sites.frac_coords, groups, decorations)
        contacts = closest_contacts(screen.lattice, kind.sites.frac_coords, groups, decorations)
        for decoration, value, contact in list(zip(decorations, values, contacts, strict=True))[::5]:
            sites = AtomSites(screen.lattice, tuple(decoration[g] for g in groups), kind.sites.frac_coords)
            assert value == pytest.approx(one_at_a_time(sites, peaks, cell), abs=1e-9)
            assert contact == pytest.approx(closest(sites), abs=1e-9)
            assert residual(sites, peaks, cell) == pytest.approx(value, abs=1e-9)


def closest(sites: AtomSites) -> float:
    """Shortest distance over the covalent radii, by pymatgen's neighbour search."""
    from pymatgen.analysis.local_env import CovalentRadius

    first, second, _, distance = sites.structure().get_neighbor_list(6.0)
    radii = np.array([CovalentRadius.radius[s] for s in sites.species])
    return float((distance / (radii[first] + radii[second])).min())


def test_an_unknown_element_scatters_as_what_suits_best() -> None:
    peaks, cell = observed(WURTZITE), Cell("trigonal", "P", 3.25, 5.207)
    sites = AtomSites(cell.primitive_lattice, ("X", "X", "O", "O"), WURTZITE.frac_coords)
    known = AtomSites(cell.primitive_lattice, ("Zn", "Zn", "O", "O"), WURTZITE.frac_coords)
    assert residual(known, peaks, cell) < residual(sites, peaks, cell) < 0.2


def test_a_hexagonal_metric_is_answered_from_both_families() -> None:
    hexagonal = Catalogue().proposals(Cell("trigonal", "P", 3.25, 5.207), observed(WURTZITE), ("O", "Zn"))
    assert hexagonal[0].residual < 0.01
    assert hexagonal[0].sites.structure().get_space_group_info(0.05)[1] == 186
    trigonal = Catalogue().proposals(Cell("trigonal", "P", 4.913, 5.405), observed(QUARTZ), ("O", "Si"))
    assert trigonal[0].residual < 0.01
    assert trigonal[0].sites.structure().get_space_group_info(0.05)[1] in (152, 154)


BARITE = Structure.from_spacegroup(  # Hawthorne & Ferguson (1975)
    "Pnma",
    Lattice.orthorhombic(8.884, 5.457, 7.157),
    ["Ba", "S", "O", "O", "O"],
    [
        [0.1845, 0.25, 0.1587],
        [0.4373, 0.75, 0.1910],
        [0.5866, 0.75, 0.1054],
        [0.3173, 0.75, 0.0493],
        [0.4200, 0.9706, 0.3117],
    ],
)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_light_atoms_of_a_type_stay_where_errors_of_intensities_would_move_them(seed: int) -> None:
    """A textured barite, found from celestine and its like: oxygen beside barium must not run into sulphur."""
    peaks = observed(BARITE)
    peaks = replace(peaks, area=peaks.area * np.exp(np.random.default_rng(seed).normal(0, 0.5, len(peaks.area))))
    cell = Cell("orthorhombic", "P", a=8.884, b=5.457, c=7.157)
    known = Catalogue(own=False, without_formula={"Ba": 1, "S": 1, "O": 4})
    best = known.proposals(cell, peaks, ("Ba", "O", "S"), {"Ba": 1.0, "S": 1.0, "O": 4.0})[0]
    assert best.residual < 0.3 and best.sites.structure().get_space_group_info(0.01)[1] == 62
    bonds = [
        n.nn_distance
        for n in best.sites.structure().get_neighbors(best.sites.structure()[best.sites.species.index("S")], 1.9)
    ]
    assert len(bonds) == 4 and min(bonds) > 1.2


def borate(a: float, metal: str, boron: str, oxygen: str) -> Structure:
    """Zn4B6O13."""
    positions = [[0.142] * 3, [0.25, 0.5, 0], [0, 0, 0], [0.136, 0.136, 0.41]]
    return Structure.from_spacegroup("I-43m", Lattice.cubic(a), [metal, boron, oxygen, oxygen], positions)


def test_types_of_the_users_own_data_set_are_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYSTALNET_DATA", str(tmp_path))
    borate(8.5, "Mg", "Al", "O").to(str(tmp_path / "0-reserved.cif"))
    borate(7.48, "Zn", "B", "O").to(str(tmp_path / "1-zinc.cif"))
    borate(7.5, "Mg", "B", "O").to(str(tmp_path / "2-the-same-again.cif"))
    fetch_files({"cubic": tmp_path / "cubic"}, (tmp_path,), None, {"cubic": Splits()}, quiet)

    monkeypatch.setattr(from_catalogue, "library", lambda: library_of([]))
    cell, elements = Cell("cubic", "I", 10.3, 10.3), ("Cd", "Ga", "S")
    peaks = observed(borate(10.3, *elements))
    found = Catalogue().proposals(cell, peaks, elements)
    best = found[0]
    # Kept for judging or not, what the user has is known, and they are of one type; the third is the second again.
    assert best.origin in ("0-reserved.cif", "1-zinc.cif") and best.residual < 0.01
    assert best.sites.structure().composition.reduced_formula == "Cd4Ga6S13"
    assert Catalogue(own=False).proposals(cell, peaks, elements) == []

    shutil.copytree(tmp_path / "cubic", tmp_path / "damaged" / "cubic")
    types = tmp_path / "damaged" / "cubic" / "types.jsonl.gz"
    types.write_bytes(types.read_bytes()[:-1])
    monkeypatch.setenv("CRYSTALNET_DATA", str(tmp_path / "damaged"))
    with pytest.raises(InputError, match=r"types\.jsonl\.gz: damaged"):
        Catalogue().proposals(cell, peaks, elements)
    assert Catalogue(own=False).proposals(cell, peaks, elements) == []


def test_networks_learn_from_trigonal_types_alone() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert {kind.space_group >= 168 for kind in embedded_types("trigonal")} == {False}


def test_radii_are_pymatgens() -> None:
    from pymatgen.analysis.local_env import CovalentRadius

    assert {e: covalent_radius(e) for e in CovalentRadius.radius} == CovalentRadius.radius
    assert covalent_radius("X") == 1.6


@pytest.mark.parametrize(("given", "true"), [("Si", "Sn"), ("Pb", "Si"), ("Ge", "C")])
def test_a_wrong_element_is_seen_by_what_would_suit_better(given: str, true: str) -> None:
    """Mg2Sn's lines with Mg2Si's formula: another element in the same places explains them, and the right one all."""
    metal = np.array([[0.25, 0.25, 0.25], [0.75, 0.75, 0.75], [0.0, 0, 0]])
    cell = Cell("cubic", "F", 6.75, 6.75)
    crystal = AtomSites(cell.primitive_lattice, ("Mg", "Mg", true), metal)
    pattern = simulate_profile(crystal, parse_wavelength("MoKa"), np.arange(5, 60, 0.01))
    peaks = find_peaks(pattern)
    wrong = replace(crystal, species=("Mg", "Mg", given))
    assert residual(wrong, peaks, cell) > 2.5 * exchanged_residual(wrong, peaks, cell)
    assert residual(crystal, peaks, cell) < 1.3 * max(exchanged_residual(crystal, peaks, cell), 0.01)

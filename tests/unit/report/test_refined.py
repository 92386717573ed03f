"""What a powder crystallographer wants beside the answer: CIF, reflections, agreement, bonds, types, numbers."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import gemmi
import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from crystalnet.crystal.coordination import Neighbours, neighbours_of
from crystalnet.crystal.prototypes import prototype_of
from crystalnet.crystal.symmetry import SYMPREC, Symmetry, wyckoff_rows
from crystalnet.density.promolecule import promolecule_density
from crystalnet.ops.reflections import reflections as bragg_lines
from crystalnet.records import AtomSites, Candidate, DensityGrid, Fit, Lines, Pattern, Peaks, Radiation, Solution
from crystalnet.report import solution_json, write_solution
from crystalnet.report.agreement import agreement
from crystalnet.report.cif_file import write_cif
from crystalnet.report.numbers import with_esd
from crystalnet.report.reflections_file import reflections
from crystalnet.xrd.reader import read_pattern

DICTIONARY = Path(__file__).parents[2] / "data" / "cif_items.dic"
CU = Radiation(((1.540593, 1.0), (1.544427, 0.5)))
TWO_THETA = np.arange(20.0, 80.0, 0.02)
BACKGROUND = np.full_like(TWO_THETA, 40.0)


def crystal(group: str, lattice: Lattice, species: list[str], x: list[list[float]]) -> AtomSites:
    return AtomSites.from_structure(
        Symmetry(Structure.from_spacegroup(group, lattice, species, x), SYMPREC).conventional
    )


def hematite() -> AtomSites:
    return crystal("R-3c", Lattice.hexagonal(5.0356, 13.7489), ["Fe", "O"], [[0, 0, 0.3553], [0.3059, 0, 0.25]])


def anglesite() -> AtomSites:
    x = [[0.1878, 0.25, 0.1667], [0.0633, 0.25, 0.6842], [0.908, 0.25, 0.596], [0.194, 0.25, 0.543],
         [0.0794, 0.0265, 0.8089]]  # fmt: skip
    return crystal("Pnma", Lattice.orthorhombic(8.482, 5.398, 6.959), ["Pb", "S", "O", "O", "O"], x)


def unexplained() -> AtomSites:
    sites = crystal("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    return replace(sites, species=tuple("X" if s == "Cl" else s for s in sites.species))


def refined(sites: AtomSites) -> Candidate:
    """A candidate as refinement leaves it: its lines at 1.02 times their calculated intensities, plausible esds."""
    numbers = [gemmi.Element("Si" if s == "X" else s).atomic_number for s in sites.species]
    found = bragg_lines(sites.lattice, sites.frac_coords, numbers, CU.wavelength, 80.0)
    area = 20 * found.intensity / found.intensity.max()
    profile = sum(a * np.exp(-(((TWO_THETA - t) / 0.08) ** 2)) * 50 for a, t in zip(area, found.two_theta, strict=True))
    lines = Lines(
        found.hkl, found.multiplicity, found.d_spacing, found.two_theta + 0.01, found.intensity, area, 1.02 * area
    )
    symmetry = Symmetry(sites, SYMPREC)
    fixed = np.abs(np.round(24 * sites.frac_coords) - 24 * sites.frac_coords) < 1e-6
    fit = Fit(
        sites, 0.12, profile + BACKGROUND, BACKGROUND, found.two_theta, 0.01,
        refined={"scale": 1.0, "b_iso": 0.5, "u": 0.0, "v": 0.0, "w": 0.01, "x": 0.0, "y": 0.0},
        esd={"a": 0.00013, "b": 0.00013, "c": 0.00021, "b_iso": 0.06, "zero_shift": 0.0016},
        coordinate_esd=np.where(fixed, np.nan, 0.0012), parameters=15, lines=lines,
    )  # fmt: skip
    known = [i for i, s in enumerate(sites.species) if s != "X"]
    values = promolecule_density(sites.lattice, tuple(sites.species[i] for i in known), sites.frac_coords[known])
    formula = sites.structure().composition.reduced_formula
    return Candidate(
        "catalogue", formula, symmetry.number, symmetry.symbol, sites, wyckoff_rows(sites), fit, -0.1,
        DensityGrid(values, sites.lattice), 0.8,
    )  # fmt: skip


def pattern_of(candidate: Candidate) -> Pattern:
    noise = np.random.default_rng(0).normal(size=len(TWO_THETA)) * np.sqrt(candidate.fit.calculated)
    return Pattern(TWO_THETA, candidate.fit.calculated + noise, np.sqrt(candidate.fit.calculated), CU, "a.xy")


def written(candidate: Candidate, path: Path) -> gemmi.cif.Document:
    write_cif(candidate, path, pattern_of(candidate), CU, "candidate 1")
    return gemmi.cif.read(str(path))


def complaints(document: gemmi.cif.Document) -> list[str]:
    """What gemmi says of a file by the dictionaries of the core and of powder data, unknown items included."""
    found: list[str] = []
    dictionary = gemmi.cif.Ddl(logger=found.append)
    dictionary.read_ddl(gemmi.cif.read(str(DICTIONARY)))
    dictionary.validate_cif(document)
    return found


@pytest.mark.parametrize("sites", [hematite(), anglesite(), unexplained()], ids=["trigonal", "orthorhombic", "X"])
def test_cif_is_valid_and_reads_back(sites: AtomSites, tmp_path: Path) -> None:
    candidate = refined(sites)
    document = written(candidate, tmp_path / "a.cif")
    assert complaints(document) == []
    read = Structure.from_file(tmp_path / "a.cif")
    assert read.lattice.parameters == pytest.approx(Lattice(sites.lattice).parameters, abs=1e-4)
    small = gemmi.read_small_structure(str(tmp_path / "a.cif"))
    assert small.spacegroup.number == candidate.space_group_number
    assert len(read) == len(small.get_all_unit_cell_sites()) == len(sites)
    # The same axes and origin: every atom stands where it stood.
    apart = read.lattice.get_all_distances(sites.frac_coords, read.frac_coords)
    assert apart.min(axis=1).max() < 1e-3
    if "X" not in sites.species:
        assert StructureMatcher().fit(read, sites.structure())


def test_cif_says_how_sure_it_is(tmp_path: Path) -> None:
    candidate = refined(hematite())
    block = written(candidate, tmp_path / "a.cif").sole_block()
    assert block.find_value("_cell_length_a") == "5.03560(13)" and block.find_value("_cell_angle_gamma") == "120"
    assert block.find_value("_pd_calib_2theta_offset") == "-0.0100(16)"
    volume, esd = re.fullmatch(r"([\d.]+)\((\d+)\)", block.find_value("_cell_volume")).groups()  # type: ignore[union-attr]
    parts = 2 * 0.00013 / 5.0356, 0.00021 / 13.7489
    assert float(volume) == pytest.approx(301.93, abs=0.01)
    assert int(esd) * 1e-3 == pytest.approx(301.93 * np.hypot(*parts), abs=1e-3)
    sites = block.find("_atom_site_", ["label", "fract_x", "fract_z", "B_iso_or_equiv", "symmetry_multiplicity"])
    label, x, z, b, multiplicity = sites[0]
    assert (label, x, b, multiplicity) == ("Fe1", "0.66666667", "0.500(60)", "12")
    assert re.fullmatch(r"0\.\d{5}\(120\)", z)
    assert block.find_value("_chemical_formula_sum") == "'Fe2 O3'" and block.find_value("_cell_formula_units_Z") == "6"
    assert float(block.find_value("_exptl_crystal_density_diffrn")) == pytest.approx(5.27, abs=0.01)
    assert block.find_value("_space_group_name_H-M_alt") == "'R -3 c:H'"
    figures = agreement(candidate.fit, pattern_of(candidate))
    assert figures is not None
    assert float(block.find_value("_pd_proc_ls_prof_wR_expected")) == pytest.approx(figures.expected, abs=1e-4)
    assert len(block.find_loop("_refln_index_h")) == len(bragg_lines_of(candidate))


def bragg_lines_of(candidate: Candidate) -> Lines:
    assert candidate.fit.lines is not None
    return candidate.fit.lines


def test_cif_holds_the_pattern(tmp_path: Path) -> None:
    candidate = refined(hematite())
    block = written(candidate, tmp_path / "a.cif").sole_block()
    assert gemmi.cif.as_number(block.find_loop("_pd_calc_intensity_total")[100]) == pytest.approx(
        candidate.fit.calculated[100], rel=1e-4
    )
    read = read_pattern(tmp_path / "a.cif")
    assert read.two_theta == pytest.approx(TWO_THETA) and read.radiation.lines == CU.lines
    assert read.intensity == pytest.approx(pattern_of(candidate).intensity, rel=1e-6)


def test_b_and_background_below_zero_are_said_in_words(tmp_path: Path) -> None:
    candidate = refined(hematite())
    fit = replace(candidate.fit, refined={**candidate.fit.refined, "b_iso": -0.2}, background=BACKGROUND - 50)
    document = written(replace(candidate, fit=fit), tmp_path / "a.cif")
    assert complaints(document) == []
    assert "B = -0.200(60)" in document.sole_block().find_value("_pd_proc_ls_special_details")


def test_no_refinement_no_figures(tmp_path: Path) -> None:
    candidate = refined(hematite())
    bare = replace(candidate, fit=Fit(candidate.conventional, np.nan, BACKGROUND, BACKGROUND, np.zeros(0)))
    document = written(bare, tmp_path / "a.cif")
    assert complaints(document) == [] and len(Structure.from_file(tmp_path / "a.cif")) == 30
    assert document.sole_block().find_value("_pd_proc_ls_prof_wR_factor") is None


def test_an_origin_that_is_no_standard_one_means_p1(tmp_path: Path) -> None:
    sites = anglesite()
    moved = replace(refined(sites), conventional=replace(sites, frac_coords=(sites.frac_coords + 0.013) % 1))
    assert complaints(written(moved, tmp_path / "a.cif")) == []
    read = Structure.from_file(tmp_path / "a.cif")
    assert gemmi.read_small_structure(str(tmp_path / "a.cif")).spacegroup_hm == "P 1" and len(read) == 24
    assert StructureMatcher().fit(read, sites.structure())


def test_esds_stay_with_their_axes(tmp_path: Path) -> None:
    """Refined in another setting: neither indices nor esds are those of the reported axes."""
    candidate = refined(anglesite())
    turned = replace(candidate.fit.sites, lattice=candidate.fit.sites.lattice[[2, 0, 1]])
    block = written(replace(candidate, fit=replace(candidate.fit, sites=turned)), tmp_path / "a.cif").sole_block()
    assert "(" not in block.find_value("_cell_length_a") and block.find_loop("_refln_index_h").tag is None
    assert reflections(replace(candidate, fit=replace(candidate.fit, sites=turned))) is None


def test_agreement_is_that_of_rietveld_programs() -> None:
    candidate = refined(hematite())
    pattern = pattern_of(candidate)
    found = agreement(candidate.fit, pattern)
    assert found is not None
    w, y, calculated = pattern.sigma**-2, pattern.intensity, candidate.fit.calculated
    assert found.rwp**2 == pytest.approx((w * (y - calculated) ** 2).sum() / (w * y**2).sum())
    assert found.chi_squared == pytest.approx((w * (y - calculated) ** 2).sum() / (len(y) - 15))
    assert found.bragg == pytest.approx(0.02 / 1.02)


def test_solution_has_files_and_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crystalnet.report.figure.write_figure", lambda *arguments: arguments[-1].touch())
    candidate = refined(hematite())
    content = write_solution(solution(candidate), tmp_path)
    assert {"candidate-1.cif", "candidate-1.hkl.csv"} <= set(content["files"])
    best = json.loads((tmp_path / "solution.json").read_text())["candidates"][0]
    assert best["structure_type"]["text"] == "Corundum type, D5_1" and best["esd"]["c"] == 0.00021
    assert best["agreement"]["parameters"] == 15 and best["rwp"] == 0.12
    assert sum(n["count"] for n in best["sites"][0]["neighbours"]) == 6
    assert best["sites"][0]["esd"] == {"x": None, "y": None, "z": 0.0012}
    with (tmp_path / best["reflections"]).open(newline="") as file:
        table = list(csv.DictReader(file))
    first = bragg_lines_of(candidate)
    assert [int(table[0][k]) for k in "hkl"] == first.hkl[0].tolist() and len(table) == len(first)
    assert max(float(row["I_calc"]) for row in table) == 100
    assert float(table[0]["I_obs"]) == pytest.approx(1.02 * float(table[0]["I_calc"]), abs=2e-3)
    page = (tmp_path / "report.html").read_text()
    for words in ("a = 5.03560(13) Å, c = 13.74890(21) Å", "Corundum type", "background included", "6 neighbours",
                  f"Reflections ({len(first)})", "candidate-1.hkl.csv", "B = 0.500(60)"):  # fmt: skip
        assert words in page, words


def solution(candidate: Candidate) -> Solution:
    pattern, nothing = pattern_of(candidate), np.zeros(0)
    peaks = Peaks(nothing, nothing, nothing, nothing, BACKGROUND, 20.0, 80.0, CU)
    given = dict.fromkeys(("elements", "formula", "wavelength_angstrom", "wavelength_assumed", "system"))
    shape = np.zeros((0, 50, 50, 50))
    return Solution(pattern, peaks, given, {}, None, (candidate,), shape, nothing.astype(int), shape.sum(0), None)


def test_solution_json_without_refinement() -> None:
    candidate = refined(unexplained())
    bare = replace(candidate, fit=Fit(candidate.conventional, np.nan, BACKGROUND, BACKGROUND, np.zeros(0)))
    entry = solution_json(solution(bare))["candidates"][0]
    assert entry["agreement"] is None and entry["reflections"] is None and entry["esd"] == {}
    assert entry["sites"][0]["neighbours"] == [{"element": "X", "distance": 2.82, "count": 6}]


@pytest.mark.parametrize(
    ("group", "a", "species", "x", "shells", "symbol"),
    [
        ("Fm-3m", 5.462, ["Ca", "F"], [[0, 0, 0], [0.25] * 3], [("F", 2.3651, 8), ("Ca", 2.3651, 4)], "C1"),
        ("Im-3m", 2.866, ["Fe"], [[0, 0, 0]], [("Fe", 2.482, 8)], "A2"),
        ("Pm-3m", 3.35, ["Po"], [[0, 0, 0]], [("Po", 3.35, 6)], "A_h"),
    ],
)  # fmt: skip
def test_neighbours_and_type(
    group: str, a: float, species: list[str], x: list[list[float]], shells: list[tuple[str, float, int]], symbol: str
) -> None:
    sites = crystal(group, Lattice.cubic(a), species, x)
    first = [sites.species.index(s) for s in species]
    assert neighbours_of(sites, first) == [(Neighbours(*shell),) for shell in shells]
    found = prototype_of(sites, Symmetry(sites, SYMPREC).number)
    assert found is not None and found.strukturbericht == symbol


def test_a_type_asks_for_places_not_only_for_symmetry() -> None:
    assert str(prototype_of(hematite(), 167)) == "Corundum type, D5_1"
    assert prototype_of(hematite(), 166) is None
    for lattice, x, symbols in (  # MnP and GeS (SnS is nearly the same): one space group, one label
        (Lattice.orthorhombic(5.258, 3.172, 5.918), [[0.0049, 0.25, 0.1965], [0.1878, 0.25, 0.5686]], {"B31"}),
        (Lattice.orthorhombic(10.44, 3.65, 4.30), [[0.121, 0.25, 0.106], [0.852, 0.25, 0.503]], {"B16", "B29"}),
    ):
        found = prototype_of(crystal("Pnma", lattice, ["Mn", "P"], x), 62)
        assert found is not None and found.strukturbericht in symbols


@pytest.mark.parametrize(
    ("value", "esd", "text"),
    [
        (5.4624, 0.000133, "5.46240(13)"),
        (0.0999, 0.0999, "0.10(10)"),
        (1234.5, 98.7, "1234(99)"),
        (2.0, 0.00996, "2.000(10)"),
        (0.25, None, "0.2500"),
        (1.0, float("nan"), "1.0000"),
        (-0.00001, None, "0.0000"),
        (None, 0.1, "–"),
    ],
)
def test_with_esd(value: float | None, esd: float | None, text: str) -> None:
    assert with_esd(value, esd) == text

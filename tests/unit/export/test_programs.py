"""What is written for another program is the crystal that was found: read back, it has the same powder lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gemmi
import numpy as np
import pytest
from rietx.crystallography.symmetry import get_spacegroup
from rietx.io.projects import fullprof as rietx_fullprof
from rietx.io.projects import topas as rietx_topas
from rietx.schemas.structure import Phase

from crystalnet.crystal.elements import atomic_numbers
from crystalnet.crystal.symmetry import Symmetry
from crystalnet.export.fullprof import control as pcr
from crystalnet.export.gsas2 import instrument
from crystalnet.export.project import Project, Refined
from crystalnet.export.setting import Described, Site, described, expanded
from crystalnet.export.tables import crystal_cif
from crystalnet.export.topas import control as inp
from crystalnet.ops.reflections import reflections
from crystalnet.records import AtomSites, Pattern, Radiation

TWO_THETA = np.linspace(10, 90, 801)
CU = Radiation(((1.540593, 1.0), (1.544427, 0.5)))
FIT = Refined(zero_shift=-0.03, scale=2e-5, b_iso=0.6, u=0.02, v=-0.01, w=0.008, x=0.03, y=0.05)
# Space group as spelled (reference setting), cell, one atom an orbit.
CRYSTALS = {
    "spinel": (
        "F d -3 m:2",
        (8.08, 8.08, 8.08, 90, 90, 90),
        (("Mg", 1 / 8, 1 / 8, 1 / 8), ("Al", 0.5, 0.5, 0.5), ("O", 0.2624, 0.2624, 0.2624)),
    ),
    "anatase": ("I 41/a m d:2", (3.785, 3.785, 9.514, 90, 90, 90), (("Ti", 0, 0.75, 0.125), ("O", 0, 0.25, 0.0816))),
    "corundum": ("R -3 c:H", (4.759, 4.759, 12.991, 90, 90, 120), (("Al", 0, 0, 0.3521), ("O", 0.3063, 0, 0.25))),
    "quartz": (
        "P 32 2 1",
        (4.913, 4.913, 5.405, 90, 90, 120),
        (("Si", 0.4697, 0, 2 / 3), ("O", 0.4133, 0.2672, 0.7856)),
    ),
    "tenorite": ("C 1 2/c 1", (4.684, 3.423, 5.129, 90, 99.54, 90), (("Cu", 0.25, 0.25, 0), ("O", 0, 0.4184, 0.25))),
    "forsterite": (
        "P n m a",
        (10.194, 5.981, 4.756, 90, 90, 90),
        (
            ("Mg", 0, 0, 0),
            ("Mg", 0.2774, 0.25, 0.9915),
            ("Si", 0.094, 0.25, 0.4262),
            ("O", 0.0913, 0.25, 0.7657),
            ("O", 0.4474, 0.25, 0.2215),
            ("O", 0.1628, 0.0331, 0.2777),
        ),
    ),
    "arsenopyrite": (
        "P -1",
        (5.74, 5.67, 5.78, 90.1, 112.3, 89.9),
        (("Fe", 0.283, 0.004, 0.294), ("As", 0.147, 0.371, 0.176), ("S", 0.339, 0.632, 0.322)),
    ),
}


def whole(name: str) -> AtomSites:
    """Every atom: all images of the listed ones, each once."""
    symbol, cell, atoms = CRYSTALS[name]
    operations = list(gemmi.SpaceGroup(symbol).operations())
    listed = [
        (element, tuple(np.round(np.mod(operation.apply_to_xyz(x), 1), 6) % 1))
        for element, *x in atoms
        for operation in operations
    ]
    every = list(dict.fromkeys(listed))
    axes = np.array(gemmi.UnitCell(*cell).orth.mat.tolist()).T
    return AtomSites(axes, tuple(element for element, _ in every), np.array([x for _, x in every]))


def lines(sites: AtomSites) -> tuple[np.ndarray, np.ndarray]:
    """2θ and intensities."""
    found = reflections(sites.lattice, sites.frac_coords, atomic_numbers(sites.species), 1.5406, 100, cut=1e-4)
    return found.two_theta, found.intensity


def assert_same_lines(one: AtomSites, other: AtomSites) -> None:
    (positions, strengths), (expected, strong) = lines(one), lines(other)
    np.testing.assert_allclose(positions, expected, atol=1e-3)
    np.testing.assert_allclose(strengths, strong, rtol=2e-3, atol=1e-4 * strong.max())


def project(crystal: Described, tmp_path: Path) -> Project:
    counts = 50 + 10 * np.sin(TWO_THETA) ** 2
    return Project(
        name="candidate-1",
        formula="X",
        title="X, candidate 1 of x.xy",
        crystal=crystal,
        pattern=Pattern(TWO_THETA, counts, np.sqrt(counts), CU),
        refined=FIT,
        is_refined=True,
        density=tmp_path / "none.cube",
        cif=tmp_path / "none.cif",
    )


@pytest.fixture(params=sorted(CRYSTALS))
def found(request: pytest.FixtureRequest) -> AtomSites:
    """A crystal as `solve` reports it: in spglib's own setting, which has the first of two origins."""
    return AtomSites.from_structure(Symmetry(whole(request.param), 0.01).conventional)


@pytest.fixture
def ready(found: AtomSites, tmp_path: Path) -> Project:
    return project(described(found, Symmetry(found, 0.01).number), tmp_path)


def test_the_setting_is_the_reference_one(found: AtomSites, request: pytest.FixtureRequest) -> None:
    (name,) = (n for n in CRYSTALS if f"[{n}]" in request.node.name)
    crystal = described(found, Symmetry(found, 0.01).number)
    assert crystal.space_group.xhm() == CRYSTALS[name][0]
    assert len(crystal.sites) == len(CRYSTALS[name][2])
    assert sum(site.multiplicity for site in crystal.sites) == len(found)
    assert_same_lines(expanded(crystal), found)


def test_cif_is_the_crystal(ready: Project, found: AtomSites, tmp_path: Path) -> None:
    path = tmp_path / "x.cif"
    path.write_text(crystal_cif(ready))
    crystal = gemmi.read_small_structure(str(path))
    # GSAS-II takes the number's reference setting and leaves the operations; other programs take the operations.
    listed = {gemmi.Op(triplet).wrap().triplet() for triplet in crystal.symops}
    group = gemmi.get_spacegroup_reference_setting(crystal.spacegroup_number)
    assert listed == {operation.wrap().triplet() for operation in group.operations()}
    sites = tuple(Site(s.label, s.type_symbol, tuple(s.fract.tolist()), 0) for s in crystal.sites)
    assert_same_lines(expanded(Described(group, crystal.cell.parameters, sites)), found)


def read_by_rietx(phase: Phase) -> AtomSites:
    cell = tuple(getattr(phase.cell, name).value for name in ("a", "b", "c", "alpha", "beta", "gamma"))
    sites = tuple(Site(a.label, a.species.capitalize(), (a.x.value, a.y.value, a.z.value), 0) for a in phase.atoms)
    return expanded(Described(get_spacegroup(phase.space_group), cell, sites))


def test_pcr_is_the_crystal(ready: Project, found: AtomSites, tmp_path: Path) -> None:
    path = tmp_path / "x.pcr"
    path.write_text(pcr(ready))
    model = rietx_fullprof.read_fullprof_pcr(path)
    (phase,) = rietx_fullprof.to_structure(model).phases  # refuses occupancies that are not full sites
    assert_same_lines(read_by_rietx(phase), found)
    general = len(ready.crystal.space_group.operations())
    for atom, site in zip(model.phases[0].atoms, ready.crystal.sites, strict=True):
        assert atom.values["occ"].value == pytest.approx(site.multiplicity / general, abs=1e-7)
    assert model.refined_parameter_count == len(model.parameter_numbers)  # as many codewords as said
    assert (model.pattern["lambda1"], model.pattern["lambda2"], model.pattern["ratio"]) == (1.540593, 1.544427, 0.5)
    assert model.zero_shift["zero"].value == FIT.zero_shift
    widths = [model.phases[0].profile[name].value for name in "uvwxy"]
    assert widths == [FIT.u, FIT.v, FIT.w, FIT.y, FIT.x]  # FullProf's X is the part with tanθ


def test_inp_is_the_crystal(ready: Project, found: AtomSites, tmp_path: Path) -> None:
    path = tmp_path / "x.inp"
    path.write_text(inp(ready))
    model = rietx_topas.read_topas_inp(path)
    (phase,) = rietx_topas.to_structure(model).phases
    assert_same_lines(read_by_rietx(phase), found)
    text = path.read_text()
    for site in ready.crystal.sites:
        assert f"site {site.label} num_posns {site.multiplicity} " in text
    assert "la 1.000000 lo 1.5405930" in text and "la 0.500000 lo 1.5444270" in text
    assert "TCHZ_Peak_Type(, 0.02, , -0.01, , 0.008, , 0, , 0.05, , 0.03)" in text  # U V W Z X Y
    assert phase.scale.value == pytest.approx(FIT.scale / 2)  # TOPAS: Lp = (1 + cos²2θ) / (sin²θ cosθ), no half


def test_instprm_has_gsas_units(ready: Project, tmp_path: Path) -> None:
    from rietx.io.instrument_profile import read_gsas2_instprm

    path = tmp_path / "x.instprm"
    path.write_text(instrument(ready))
    read = read_gsas2_instprm(path)
    assert [(line.wavelength.value, line.weight.value) for line in read.source.lines] == list(CU.lines)
    assert [getattr(read.profile, name).value for name in "uvwxy"] == pytest.approx([FIT.u, FIT.v, FIT.w, FIT.x, FIT.y])
    assert read.zero_shift.value == pytest.approx(FIT.zero_shift)
    assert read.source.polarization.value == 0.5


@pytest.mark.parametrize("polarisation", [1.0, 0.8, 0.0])
def test_polarisation_is_the_same_in_every_program(tmp_path: Path, polarisation: float) -> None:
    crystal = described(whole("corundum"), 167)
    plain = project(crystal, tmp_path)
    beam = replace(CU, polarisation=polarisation)
    ready = replace(plain, pattern=replace(plain.pattern, radiation=beam))
    fraction = float(instrument(ready).split("Polariz.:")[1].split()[0])
    angle = np.radians(float(inp(ready).split("LP_Factor(")[1].split(")")[0]))
    numbers = next(line for line in pcr(ready).splitlines() if line.startswith(" 1.540593")).split()
    k, cthm = float(numbers[8]), float(numbers[5])
    assert (1 - fraction) / fraction == pytest.approx(polarisation)  # fraction + (1 − fraction) cos²2θ
    assert np.cos(angle) ** 2 == pytest.approx(polarisation, abs=1e-5)  # 1 + cos²c cos²2θ
    assert k * cthm / (1 - k) == pytest.approx(polarisation, abs=1e-4)  # 1 − K + K Cthm cos²2θ


def test_hexagonal_codewords_tie_gamma_to_a(tmp_path: Path) -> None:
    text = pcr(project(described(whole("corundum"), 167), tmp_path)).splitlines()
    codes = text[next(i for i, line in enumerate(text) if "#Cell Info" in line) + 2].split()
    assert codes[0] == codes[1] == codes[5] != codes[2]
    assert float(codes[3]) == float(codes[4]) == 0 and float(codes[0]) > 0 and float(codes[2]) > 0


@pytest.mark.parametrize("write", [pcr, inp, crystal_cif])
def test_unexplained_density_is_a_comment(tmp_path: Path, write: Callable[[Project], str]) -> None:
    crystal = described(whole("corundum"), 167)
    crystal = replace(crystal, sites=(*crystal.sites, Site("X1", "X", (0.0, 0.0, 0.0), 6)))
    text = write(project(crystal, tmp_path))
    assert "unexplained density at 0.00000 0.00000 0.00000 (multiplicity 6)" in text
    assert not any(line.split()[:1] == ["X1"] or " X1 " in line for line in text.splitlines())


def test_widths_that_turn_negative_become_one() -> None:
    bent = replace(FIT, u=-0.0042, v=0.0039, w=0.0, x=0.17, y=-0.78).with_real_widths(5, 90)
    theta = np.radians(np.linspace(5, 90) / 2)
    assert (np.polyval((bent.u, bent.v, bent.w), np.tan(theta)) > 0).all()
    assert (bent.x / np.cos(theta) + bent.y * np.tan(theta) >= 0).all()
    assert FIT.with_real_widths(5, 90) == FIT

"""Refinement and line matching: the true crystal, wrong ones, and candidates that cannot be fitted at all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from crystalnet.bragg import polarisation_ratio
from crystalnet.crystal.elements import atomic_numbers
from crystalnet.ops.reflections import Reflections, reflections
from crystalnet.records import AtomSites, Lines, Pattern, Peaks, Radiation
from crystalnet.xrd import refined_lines, rietveld
from crystalnet.xrd.peaks import find_peaks
from crystalnet.xrd.profile import simulate_profile
from crystalnet.xrd.residual import end_of_lines, intensity_residual
from crystalnet.xrd.rietveld import refine, weighted_profile_r
from crystalnet.xrd.rietx_model import dispersion

CU = Radiation(((1.540593, 1.0), (1.544427, 0.5)))
FACE_CENTRED = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])


def fluorite(cation: str = "Ca", anion: str = "F", a: float = 5.462) -> AtomSites:
    anions = [[x, y, z] for x in (0.25, 0.75) for y in (0.25, 0.75) for z in (0.25, 0.75)]
    return AtomSites(a * np.eye(3), (cation,) * 4 + (anion,) * 8, np.vstack([FACE_CENTRED, anions]))


def pyrite(x: float) -> AtomSites:
    """FeS2, Pa-3: one free coordinate."""
    signs = np.array([[1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]])
    shift = np.array([[0, 0, 0], [0.5, 0, 0.5], [0, 0.5, 0.5], [0.5, 0.5, 0]])
    sulfur = np.vstack([signs * x + shift, -signs * x - shift]) % 1
    return AtomSites(5.418 * np.eye(3), ("Fe",) * 4 + ("S",) * 8, np.vstack([FACE_CENTRED, sulfur]))


def lines_of(sites: AtomSites, top: float = 90.0) -> Reflections:
    return reflections(sites.lattice, sites.frac_coords, atomic_numbers(sites.species), CU.wavelength, top)


def observed(sites: AtomSites, pattern: Pattern, fwhm: float = 0.1) -> Peaks:
    """What a perfect peak search would give: the stronger lines of the crystal over a flat background."""
    lines = lines_of(sites)
    keep = (lines.two_theta > 10) & (lines.intensity > 2e-3 * lines.intensity.max())
    position = lines.two_theta[keep]
    area = lines.intensity[keep] * polarisation_ratio(position, CU)
    background = np.full(len(pattern.two_theta), np.median(pattern.intensity))
    width = np.full(len(position), fwhm)
    return Peaks(position, lines.d_spacing[keep], area, width, background, 10.0, 90.0, CU)


@pytest.fixture(scope="module")
def measured() -> tuple[Pattern, Peaks]:
    pattern = simulate_profile(fluorite(), CU, measured_like=True, seed=1)
    return pattern, observed(fluorite(), pattern)


def test_the_true_crystal_fits_and_its_cell_comes_out(measured: tuple[Pattern, Peaks]) -> None:
    pattern, peaks = measured
    fit = refine(pattern, peaks, fluorite(a=5.462 * 1.002))
    assert fit.sites.lattice[0, 0] == pytest.approx(5.462, abs=0.0005)
    assert fit.sites.species == fluorite().species
    assert fit.rwp == pytest.approx(weighted_profile_r(pattern, fit.calculated, fit.background))
    signal = (pattern.intensity - fit.background) / pattern.sigma
    residual = (pattern.intensity - fit.calculated) / pattern.sigma
    assert fit.rwp == pytest.approx(np.sqrt((residual**2).sum() / (signal**2).sum()))
    assert fit.rwp < 1.3 * np.sqrt(len(signal) / (signal**2).sum())  # little more than counting noise
    nearest = np.abs(fit.hkl_two_theta[:, None] - peaks.two_theta - fit.zero_shift).min(axis=0)
    assert nearest.max() < 0.02


def test_the_reflections_have_what_was_measured_of_them(measured: tuple[Pattern, Peaks]) -> None:
    pattern, peaks = measured
    fit = refine(pattern, peaks, fluorite())
    lines = fit.lines
    assert lines is not None and lines.hkl[0].tolist() == [1, 1, 1] and lines.multiplicity[0] == 8
    assert lines.d_spacing[0] == pytest.approx(5.462 / np.sqrt(3), abs=0.001)
    strong = lines.calculated > 0.1 * lines.calculated.max()
    assert lines.observed[strong] == pytest.approx(lines.calculated[strong], rel=0.05)
    # What is measured at a line is seen at it, and at no line far off.
    at = np.abs(pattern.two_theta - lines.two_theta[1]) < 0.5
    net = fit.calculated - fit.background
    more = np.where(at, 1.5, 1.0) * net
    ratio = refined_lines._observed_over_calculated(pattern.two_theta, more, net, one_line(lines))
    assert ratio == pytest.approx(np.where(np.arange(len(lines)) == 1, 1.5, 1.0), abs=1e-6)
    weak = lines.multiplicity * lines.f_squared  # |F|² is that of the line
    assert (weak > 0).all() and len(lines) == len(fit.hkl_two_theta)


def test_a_reflection_is_named_as_usual() -> None:
    hexagonal = np.array([[[1, -1, 0], [1, 0, 0], [0, 0, 1]], [[0, -1, 0], [1, -1, 0], [0, 0, 1]], np.eye(3)]).astype(
        int
    )
    assert refined_lines._usual(np.array([[2, -1, 0], [-1, 0, -2]]), hexagonal).tolist() == [[1, 1, 0], [1, 0, 2]]


def one_line(lines: Lines) -> np.ndarray:
    """Peaks of one wavelength, 0.1° wide."""
    return np.stack([lines.two_theta, np.full(len(lines), 0.1), np.zeros(len(lines)), lines.calculated])[None]


def test_the_esds_cover_the_truth(measured: tuple[Pattern, Peaks]) -> None:
    fit = refine(*measured, fluorite(a=5.462 * 1.001))
    assert fit.coordinate_esd is None  # none is free
    assert abs(fit.sites.lattice[0, 0] - 5.462) < 4 * fit.esd["a"] < 0.004 and fit.esd["a"] == fit.esd["c"]
    pattern = simulate_profile(pyrite(0.3851), CU, measured_like=True, seed=5)
    fit = refine(pattern, observed(pyrite(0.3851), pattern), pyrite(0.375))
    assert fit.coordinate_esd is not None and np.isnan(fit.coordinate_esd[:4]).all()
    esd = fit.coordinate_esd[4:]
    assert (esd == esd[0, 0]).all() and abs(fit.sites.frac_coords[4, 0] - 0.3851) < 4 * esd[0, 0] < 0.01
    assert fit.parameters == 16  # scale, 6 of the background, zero, a, 5 of the widths, B, x


def test_wrong_crystals_in_the_same_cell_fit_worse(measured: tuple[Pattern, Peaks]) -> None:
    pattern, peaks = measured
    truth = refine(pattern, peaks, fluorite()).rwp
    rock_salt = AtomSites(fluorite().lattice, ("Ca",) * 4 + ("F",) * 4, np.vstack([FACE_CENTRED, FACE_CENTRED + 0.5]))
    for wrong in (fluorite("F", "Ca"), fluorite("Ca", "S"), rock_salt):
        assert refine(pattern, peaks, wrong).rwp > truth + 0.1


def test_a_free_coordinate_is_found_and_the_symmetry_kept() -> None:
    pattern = simulate_profile(pyrite(0.3851), CU, measured_like=True, seed=5)
    peaks = observed(pyrite(0.3851), pattern)
    held = refine(pattern, peaks, pyrite(0.375), free_coordinates=False)
    freed = refine(pattern, peaks, pyrite(0.375))
    assert freed.rwp < held.rwp
    assert freed.sites.frac_coords[4, 0] == pytest.approx(0.3851, abs=0.002)
    x = freed.sites.frac_coords[4, 0]
    difference = freed.sites.frac_coords - pyrite(x).frac_coords
    assert np.abs(difference - np.round(difference)).max() < 1e-9


def test_an_unexplained_site_scatters_as_much_as_the_pattern_asks(measured: tuple[Pattern, Peaks]) -> None:
    pattern, peaks = measured
    fit = refine(pattern, peaks, fluorite(cation="X"))
    assert fit.rwp < 0.35 and fit.sites.species[0] == "X"


@pytest.mark.parametrize(
    "sites",
    [
        AtomSites(5.462 * np.eye(3), ("Ca", "F"), np.full((2, 3), np.nan)),
        AtomSites(5.462 * np.eye(3), ("Ca", "F"), np.zeros((2, 3))),
        AtomSites(5.462 * np.eye(3), ("Og",), np.zeros((1, 3))),
        AtomSites(5.462 * np.eye(3), (), np.zeros((0, 3))),
        fluorite(a=8.0),
    ],
    ids=["nan", "overlapping", "no form factor", "empty", "another cell"],
)
def test_hopeless_candidates_come_back_with_a_large_rwp(measured: tuple[Pattern, Peaks], sites: AtomSites) -> None:
    pattern, peaks = measured
    fit = refine(pattern, peaks, sites)
    assert 0.9 < fit.rwp <= 1.0
    assert len(fit.calculated) == len(fit.background) == len(pattern.two_theta)
    assert len(fit.sites) == len(sites)
    assert (fit.failure is not None) == (fit.rwp == 1.0)  # it says so where nothing was refined


@pytest.mark.parametrize(
    ("cation", "anion", "a", "source"),
    [
        ("Eu", "O", 5.144, CU),
        ("Ho", "N", 4.87, CU),
        ("Eu", "S", 5.97, Radiation(((1.788996, 1.0), (1.792835, 0.5)))),
        ("Ru", "O", 4.9, Radiation(((0.559422, 1.0), (0.563813, 0.5)))),
        ("Ca", "F", 5.462, Radiation(((0.15, 1.0),))),
    ],
)
def test_an_element_without_tabulated_dispersion_scatters_and_is_named(cation, anion, a, source) -> None:
    two_theta = np.arange(12.0, 100.0, 0.02) * source.wavelength / 1.5406
    pattern = simulate_profile(fluorite(cation, anion, a), source, two_theta, fwhm=0.1 * source.wavelength)
    fit = refine(pattern, find_peaks(pattern), fluorite(cation, anion, a))
    assert fit.failure is None and fit.rwp < 0.25
    assert any(remark.startswith(f"{cation} scatters without its anomalous part") for remark in fit.remarks)


def test_dispersion_is_taken_where_it_is_tabulated() -> None:
    corrections, remarks = dispersion(("Ca", "F", "X"), CU)
    assert not corrections.overrides and not remarks


def test_a_fault_of_the_library_is_told(measured: tuple[Pattern, Peaks], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **options: object) -> None:
        raise RuntimeError("the minimiser has lost its way. More on this in the manual.")

    monkeypatch.setattr("crystalnet.xrd.rietveld._Rietveld._free_coordinates", broken)
    fit = refine(*measured, fluorite())
    assert fit.failure is None and fit.rwp < 0.9
    assert fit.remarks == ("the coordinates could not be refined (the minimiser has lost its way)",)
    monkeypatch.setattr("crystalnet.xrd.rietveld._Rietveld.profile", broken)
    fit = refine(*measured, fluorite())
    assert fit.failure == "the minimiser has lost its way" and fit.rwp == 1.0


def test_noise_does_not_count_as_excess(measured: tuple[Pattern, Peaks]) -> None:
    """Few counts on a high background: Rwp is large with the right crystal, what exceeds the noise is not."""
    rng = np.random.default_rng(3)
    clean = simulate_profile(fluorite(), CU, np.arange(15.0, 90.0, 0.02))
    counts = rng.poisson(2000 * clean.intensity / clean.intensity.max() + 20_000).astype(float)
    pattern = Pattern(clean.two_theta, counts, np.sqrt(counts), CU)
    peaks = observed(fluorite(), pattern)
    right, wrong = refine(pattern, peaks, fluorite()), refine(pattern, peaks, fluorite("Ca", "Sr"))
    assert right.rwp > 0.4 and right.rwp == pytest.approx(right.r_expected, rel=0.05)
    assert right.excess < 0.4 * right.rwp
    assert wrong.excess > 1.5 * right.excess


def test_without_time_the_candidate_comes_back_as_given(measured: tuple[Pattern, Peaks]) -> None:
    fit = refine(*measured, fluorite(a=5.47), max_seconds=0.0)
    assert fit.sites.lattice[0, 0] == 5.47


def test_residual_tells_crystals_apart(measured: tuple[Pattern, Peaks]) -> None:
    _, peaks = measured
    assert intensity_residual(peaks, lines_of(fluorite())) < 0.02
    assert intensity_residual(peaks, lines_of(fluorite("Ca", "O"))) < 0.1  # a neighbour in the table
    assert intensity_residual(peaks, lines_of(fluorite("F", "Ca"))) > 0.3
    assert intensity_residual(peaks, lines_of(fluorite(a=8.0))) > 0.5


def test_residual_counts_missing_and_unexplained_lines(measured: tuple[Pattern, Peaks]) -> None:
    _, peaks = measured
    lines = lines_of(fluorite())
    strongest = int(np.argmax(peaks.area))
    keep = np.arange(len(peaks)) != strongest
    fewer = Peaks(
        *(a[keep] for a in (peaks.two_theta, peaks.d_spacing, peaks.area, peaks.fwhm)),
        peaks.background,
        peaks.two_theta_min,
        peaks.two_theta_max,
        CU,
    )
    assert intensity_residual(fewer, lines) > 0.3  # calculated, not observed
    without = lines._select(np.abs(lines.two_theta - peaks.two_theta[strongest]) > 0.1)
    assert intensity_residual(peaks, without) > 0.3  # observed, not calculated
    assert intensity_residual(peaks, lines._select(slice(0))) == 1.0


def test_residual_survives_texture_and_displacement(measured: tuple[Pattern, Peaks]) -> None:
    _, peaks = measured
    damped = peaks.area * np.exp(-2.0 / (2 * peaks.d_spacing**2))
    damped[0] *= 1.8
    textured = Peaks(peaks.two_theta + 0.03, peaks.d_spacing, damped, peaks.fwhm, peaks.background, 10.0, 90.0, CU)
    truth = intensity_residual(textured, lines_of(fluorite()), zero_shift=0.03)
    assert truth < 0.2 < intensity_residual(textured, lines_of(fluorite("F", "Ca")), zero_shift=0.03)


@pytest.mark.parametrize(("name", "limit"), [("CaF2_CPD", 0.25), ("RockJock_HEMATITE", 0.22)])
def test_real_patterns(shared_data: Path, name: str, limit: float) -> None:
    from pymatgen.core.structure import Structure

    from crystalnet.xrd.peaks import find_peaks
    from crystalnet.xrd.reader import read_pattern

    entry = next(e for e in json.loads((shared_data / "index.json").read_text()) if e["name"] == name)
    radiation = Radiation(tuple((line["wavelength"], line["weight"]) for line in entry["radiation"]))
    pattern = read_pattern(shared_data / entry["pattern"], radiation)
    peaks = find_peaks(pattern)
    truth = AtomSites.from_structure(Structure.from_file(shared_data / entry["truth"]))
    one, two = sorted(set(truth.species))
    swapped = AtomSites(truth.lattice, tuple(two if s == one else one for s in truth.species), truth.frac_coords)
    fit = refine(pattern, peaks, truth)
    assert fit.rwp < limit
    assert np.linalg.norm(fit.sites.lattice, axis=1) == pytest.approx(np.linalg.norm(truth.lattice, axis=1), rel=0.005)
    assert refine(pattern, peaks, swapped).rwp > 2 * fit.rwp


def test_a_profile_of_many_points_is_calculated_on_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of a fiftieth of the lines' width: with and without, Rwp and the profile are the same."""
    fine = simulate_profile(fluorite(), CU, np.arange(15.0, 90.0, 0.002))
    peaks = observed(fluorite(), fine)
    calculated_at: list[int] = []
    given = refined_lines.lines_of
    monkeypatch.setattr(rietveld, "lines_of", lambda *told: calculated_at.append(len(told[4])) or given(*told))
    fit = refine(fine, peaks, fluorite())
    monkeypatch.setattr(rietveld, "POINTS_DRAWN", 10_000)
    whole = refine(fine, peaks, fluorite())
    assert calculated_at[0] < len(fine) / 2 and calculated_at[1] == len(fine)
    assert fit.rwp == pytest.approx(whole.rwp, abs=1e-4)
    assert np.abs(fit.calculated - whole.calculated).max() < 1e-3 * whole.calculated.max()
    assert fit.lines is not None and whole.lines is not None
    assert fit.lines.observed == pytest.approx(whole.lines.observed, rel=0.02, abs=0.002 * whole.lines.observed.max())


@pytest.mark.parametrize(
    ("width", "narrowest"),
    [
        ({"x": 0.4}, 0.4 / np.cos(np.radians(7.5))),  # of small grains: 1/cos θ
        ({"y": 0.4}, 0.4 * np.tan(np.radians(7.5))),  # of strain: tan θ
        ({"w": 0.04}, 0.2),
        ({"x": 0.001}, 0.01),  # no finer than measured lines
    ],
)
def test_the_narrowest_line_is_of_the_refined_widths(
    width: dict[str, float], narrowest: float, measured: tuple[Pattern, Peaks]
) -> None:
    widths = dict.fromkeys("uvwxy", 0.0) | width
    shape = SimpleNamespace(**{name: SimpleNamespace(value=value) for name, value in widths.items()})
    peaks = replace(measured[1], fwhm=np.full(len(measured[1]), 0.01))
    found = rietveld._narrowest(np.array([15.0, 90.0]), SimpleNamespace(profile=shape), peaks)  # type: ignore
    assert found == pytest.approx(narrowest)


def test_every_candidate_is_judged_on_the_points_that_are_fitted() -> None:
    """What lies beyond D_MIN counts for none of them, be it calculated or not."""
    silver = Radiation(((0.559, 1.0),))
    pattern = simulate_profile(fluorite(), silver, np.arange(5.0, 80.0, 0.02))
    beyond = pattern.two_theta > end_of_lines(0.7, silver)
    assert beyond.any()
    twice = replace(pattern, intensity=np.where(beyond, 2 * pattern.intensity + 50, pattern.intensity))
    peaks = find_peaks(pattern)
    assert refine(twice, peaks, fluorite()).rwp == pytest.approx(refine(pattern, peaks, fluorite()).rwp)


def test_more_reflections_than_anybody_needs_are_not_calculated(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a tenth of the wavelength a range holds a thousand times as many. Those of d ≥ D_MIN are always there."""
    short = Radiation(((0.154, 1.0),))
    pattern = simulate_profile(fluorite(), short, np.arange(3.0, 60.0, 0.02))
    peaks = find_peaks(pattern)

    def reached(most: int) -> float:
        """2θ of the last point with lines."""
        monkeypatch.setattr(rietveld, "MOST_LINES", most)
        fit = refine(pattern, peaks, fluorite())
        assert fit.failure is None
        return float(pattern.two_theta[np.flatnonzero(fit.calculated - fit.background)[-1]])

    twenty = np.cbrt(4 / 3 * np.pi * (5.462**3 / 4) / 48 / 20)
    assert reached(20) == pytest.approx(end_of_lines(twenty, short), abs=0.1)
    assert reached(1) == pytest.approx(end_of_lines(0.7, short), abs=0.1)
    assert reached(100_000) > 59


def test_a_wrong_crystal_does_not_smear_its_lines(measured: tuple[Pattern, Peaks]) -> None:
    """Lines as wide as the pattern would fit anything, and take a hundred times as long."""
    pattern, peaks = measured
    triclinic = AtomSites(
        np.array([[5.5, 0, 0], [1.1, 6.2, 0], [0.7, 0.9, 7.3]]),
        ("Ca", "F"),
        np.array([[0.1, 0.2, 0.3], [0.6, 0.8, 0.1]]),
    )
    fit = refine(pattern, peaks, triclinic)
    most = 3.0 * np.percentile(peaks.fwhm, 90)
    assert fit.failure is None
    assert all(abs(fit.refined[name]) <= most * (1 + 1e-6) for name in "xy")
    assert all(abs(fit.refined[name]) <= most**2 * (1 + 1e-6) for name in "uvw")
    assert max(fit.refined["x"], fit.refined["y"], fit.refined["w"] ** 0.5) > 0.5 * most  # it would

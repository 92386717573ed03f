"""Indexing: synthetic line lists with known cells, the --cell option, real patterns."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from crystalnet.crystal.lattice import Cell
from crystalnet.crystal.metric import cubic_lattice, same_metric
from crystalnet.crystal.systems import SYSTEMS
from crystalnet.records import InputError, Peaks, Radiation
from crystalnet.xrd.indexing.given import cell_from_option, centrings
from crystalnet.xrd.indexing.index import index_peaks
from crystalnet.xrd.indexing.lines import MAX_LINES

CU = 1.540593
BOTH = ("cubic", "trigonal")


def allowed(centring: str, h: int, k: int, m: int) -> bool:
    """Reflection conditions of the centrings (International Tables A, table 2.1.3.6)."""
    return {
        "P": True,
        "I": (h + k + m) % 2 == 0,
        "F": h % 2 == k % 2 == m % 2,
        "R": (-h + k + m) % 3 == 0,
    }[centring]


def lines_of(
    inverse_square_d,
    centring: str,
    zero: float = 0.0,
    displacement: float = 0.0,
    keep: float = 1.0,
    noise: float = 0.008,
    extra: tuple[tuple[float, float], ...] = (),
    top: float = 80.0,
    wavelength: float = CU,
    seed: int = 0,
) -> Peaks:
    """Line list of a lattice: distinct d-spacings up to 2θ = top, seeded intensities, some dropped."""
    rng = np.random.default_rng(seed)
    q = {
        round(inverse_square_d(h, k, m), 9)
        for h, k, m in product(range(-9, 10), range(-9, 10), range(30))
        if (h, k, m) != (0, 0, 0) and allowed(centring, h, k, m)
    }
    sine = wavelength * np.sqrt(np.sort(np.array(list(q)))) / 2
    two_theta = 2 * np.degrees(np.arcsin(sine[sine < np.sin(np.radians(top / 2))]))
    two_theta = two_theta[np.concatenate([[True], np.diff(two_theta) > 0.15])]
    area = rng.uniform(0.05, 1.0, len(two_theta))
    seen = np.sort(rng.permutation(len(two_theta))[: max(4, round(keep * len(two_theta)))])
    two_theta, area = two_theta[seen], area[seen]
    two_theta = two_theta + zero + displacement * np.cos(np.radians(two_theta / 2))
    two_theta = two_theta + rng.normal(0, noise, len(two_theta))
    for position, strength in extra:
        two_theta, area = np.append(two_theta, position), np.append(area, strength)
    order = np.argsort(two_theta)
    return peaks_at(two_theta[order], area[order], top, wavelength)


def peaks_at(two_theta, area, top: float = 80.0, wavelength: float = CU) -> Peaks:
    two_theta, area = np.asarray(two_theta, float), np.asarray(area, float)
    width = np.full(len(two_theta), 0.12)
    d = wavelength / 2 / np.sin(np.radians(two_theta / 2))
    return Peaks(two_theta, d, area, width, np.zeros(1), 10.0, top, Radiation(((wavelength, 1.0),)))


def cubic(a: float):
    return lambda h, k, m: (h * h + k * k + m * m) / a**2


def hexagonal(a: float, c: float):
    return lambda h, k, m: 4 / 3 * (h * h + h * k + k * k) / a**2 + m * m / c**2


def assert_is(cell: Cell, system: str, centring: str, a: float, c: float, relative: float = 0.002) -> None:
    assert (cell.system, cell.centring) == (system, centring)
    assert cell.a == pytest.approx(a, rel=relative)
    assert cell.c == pytest.approx(c, rel=relative)


@pytest.mark.parametrize(("centring", "a"), [("P", 4.157), ("I", 9.41), ("F", 5.463), ("F", 11.25), ("I", 2.9)])
def test_cubic_lattices_are_found(centring, a):
    peaks = lines_of(cubic(a), centring, zero=0.05, keep=0.9, top=80 if a > 3 else 140)
    assert_is(index_peaks(peaks, ("cubic",))[0], "cubic", centring, a, a)


@pytest.mark.parametrize(
    ("centring", "a", "c", "keep"),
    [
        ("P", 4.913, 5.405, 0.9),
        ("R", 4.807, 16.0, 0.9),
        ("R", 10.437, 37.34, 0.5),
        ("R", 3.9, 29.5, 0.8),
    ],
)
def test_hexagonal_lattices_are_found(centring, a, c, keep):
    peaks = lines_of(hexagonal(a, c), centring, zero=-0.04, keep=keep)
    assert_is(index_peaks(peaks)[0], "trigonal", centring, a, c)


@pytest.mark.parametrize("zero", [-0.3, 0.2])
def test_a_zero_shift_is_found_with_the_cell(zero):
    found = index_peaks(lines_of(hexagonal(4.76, 12.99), "R", zero=zero))[0]
    assert_is(found, "trigonal", "R", 4.76, 12.99)
    assert found.zero_shift == pytest.approx(zero, abs=0.06)
    found = index_peaks(lines_of(cubic(5.64), "F", zero=zero), ("cubic",))[0]
    assert_is(found, "cubic", "F", 5.64, 5.64)


@pytest.mark.parametrize("displacement", [-0.3])
def test_a_displaced_specimen_is_tolerated(displacement):
    peaks = lines_of(hexagonal(4.913, 5.405), "P", displacement=displacement, top=100)
    assert_is(index_peaks(peaks)[0], "trigonal", "P", 4.913, 5.405)


def test_three_foreign_lines_do_not_mislead():
    foreign = ((21.37, 0.05), (33.91, 0.08), (52.63, 0.06))
    found = index_peaks(lines_of(hexagonal(5.035, 13.75), "R", extra=foreign))[0]
    assert_is(found, "trigonal", "R", 5.035, 13.75)
    found = index_peaks(lines_of(cubic(9.41), "I", extra=foreign), ("cubic",))[0]
    assert_is(found, "cubic", "I", 9.41, 9.41)
    assert found.n_lines - found.n_indexed in (2, 3)  # one of them may fall on a line


@pytest.mark.parametrize(("wavelength", "top"), [(0.7093, 45.0), (0.4137, 26.0)])
def test_other_wavelengths(wavelength, top):
    peaks = lines_of(hexagonal(4.957, 13.59), "R", wavelength=wavelength, top=top, noise=0.004)
    assert_is(index_peaks(peaks)[0], "trigonal", "R", 4.957, 13.59, 0.005)


def test_cubic_comes_before_its_rhombohedral_description():
    for centring, a in (("P", 3.9), ("F", 5.4)):
        cells = index_peaks(lines_of(cubic(a), centring, top=110))
        assert cells[0].system == "cubic"


def lines_at(numbers: list[int], edge: float) -> Peaks:
    """Equally strong lines of a cube at these h²+k²+l²."""
    two_theta = 2 * np.degrees(np.arcsin(CU / 2 / (edge / np.sqrt(numbers))))
    two_theta += np.random.default_rng(0).normal(0, 0.004, len(numbers))
    return peaks_at(two_theta, np.ones(len(numbers)), top=100)


@pytest.mark.parametrize("edge", [9.8, 10.805])
def test_a_pyrochlore_is_cubic_though_a_rhombohedral_lattice_has_its_lines(edge):
    # Of fluorite with half the edge, and odd ones, as they are seen. c/a = √24 has all of them and fewer others.
    numbers = [3, 11, 12, 16, 19, 27, 32, 35, 44, 48, 51, 64, 67, 76, 80, 83, 96, 99]
    cells = index_peaks(lines_at(numbers, edge))
    assert_is(cells[0], "cubic", "F", edge, edge)
    assert [c for c in cells[1:] if c.system == "trigonal" and c.c / c.a == pytest.approx(24**0.5, rel=1e-3)]


def test_three_lines_of_a_metal_are_enough():
    cells = index_peaks(lines_at([2, 4, 6], 2.866))
    assert_is(cells[0], "cubic", "I", 2.866, 2.866)


@pytest.mark.parametrize(
    ("ratio", "centring", "cubic_centring", "times"),
    [(6**0.5, "R", "F", 1), (1.5**0.5, "R", "P", 1), (0.375**0.5, "R", "I", 1), (24**0.5, "R", "F", 4)],
)
def test_a_cubic_metric_is_known_in_rhombohedral_axes(ratio, centring, cubic_centring, times):
    cell = Cell("trigonal", centring, 4.0, 4.0 * ratio)
    cubic_cell = cubic_lattice(cell)
    assert cubic_cell is not None and cubic_cell.centring == cubic_centring
    assert cubic_cell.primitive_volume == pytest.approx(times * cell.primitive_volume)
    assert same_metric(cell, cubic_cell) and same_metric(cubic_cell, cell)
    # Every line of the lattice is one of the cubic lattice's.
    hexagonal_q, cubic_q = (
        {
            round(float(q), 6)
            for h, k, m in product(range(-4, 5), repeat=3)
            if allowed(found.centring, h, k, m)
            and 0 < (q := np.sum((np.linalg.inv(found.conventional_lattice) @ [h, k, m]) ** 2)) < 0.2
        }
        for found in (cell, cubic_cell)
    )
    far = {round(float(n) / cubic_cell.a**2, 6) for n in range(1, 200)}
    assert hexagonal_q <= far and cubic_q <= far


@pytest.mark.parametrize("ratio", [2.73, 1.1, 4.8])
def test_other_metrics_are_not_cubic(ratio):
    assert cubic_lattice(Cell("trigonal", "R", 4.0, 4.0 * ratio)) is None
    assert cubic_lattice(Cell("trigonal", "P", 4.0, 4.0 * ratio)) is None


def test_a_real_rhombohedral_distortion_is_kept():
    # Pseudo-cubic with alpha = 60.4° instead of 60°: the lines split.
    edge, alpha = 3.79, np.radians(60.4)
    a, c = 2 * edge * np.sin(alpha / 2), edge * np.sqrt(3 + 6 * np.cos(alpha))
    assert_is(index_peaks(lines_of(hexagonal(a, c), "R", top=110, noise=0.004))[0], "trigonal", "R", a, c)


def test_rock_salt_of_isoelectronic_ions_comes_with_its_doubled_cell():
    # KCl: K+ and Cl- scatter alike, the odd lines are gone; areas as measured.
    d = 6.293 / np.sqrt([4, 8, 12, 16, 20, 24])
    two_theta = 2 * np.degrees(np.arcsin(CU / 2 / d))
    cells = index_peaks(peaks_at(two_theta, [100, 59, 17, 8, 15, 11]))
    assert_is(cells[0], "cubic", "F", 6.293, 6.293)
    assert any(
        c.centring == "P" and c.a == pytest.approx(3.1465, rel=0.002) for c in cells[:4]
    )  # after the first lattice in three systems


def test_heavy_rock_salt_of_isoelectronic_ions_is_not_taken_for_the_type_of_cscl():
    """RbBr, whose 110 of the small cube is nearly as strong as 100."""
    d = 6.854 / np.sqrt([4, 8, 12, 16, 20, 24])
    two_theta = 2 * np.degrees(np.arcsin(CU / 2 / d))
    assert_is(index_peaks(peaks_at(two_theta, [100, 77, 26, 12, 26, 20]))[0], "cubic", "F", 6.854, 6.854)


def test_a_body_centred_metal_is_no_simple_cube():
    d = 3.165 / np.sqrt([2, 4, 6, 8, 10, 12])
    two_theta = 2 * np.degrees(np.arcsin(CU / 2 / d))
    cells = index_peaks(peaks_at(two_theta, [100, 15, 23, 8, 11, 4], top=135), ("cubic",))
    assert_is(cells[0], "cubic", "I", 3.165, 3.165)


@pytest.mark.parametrize("strength", [[47, 100, 12, 15, 14, 29], [100, 87, 24, 13, 29, 25]])
def test_a_crystal_of_the_type_of_cscl_is_primitive(strength):
    """AlRu, LiPd: the same six lines as a body-centred metal's, but 110 is too strong beside 100."""
    d = 3.007 / np.sqrt([1, 2, 3, 4, 5, 6])
    two_theta = 2 * np.degrees(np.arcsin(CU / 2 / d))
    for systems in (("cubic",), SYSTEMS):
        assert_is(index_peaks(peaks_at(two_theta, strength), systems)[0], "cubic", "P", 3.007, 3.007)


def test_an_ordered_face_centred_alloy_is_primitive():
    # Ni3Si: superlattice lines 100 > 110 are weak beside the metal's 111.
    d = 3.506 / np.sqrt([1, 2, 3, 4, 5, 6, 8, 9, 11, 12])
    two_theta = 2 * np.degrees(np.arcsin(CU / 2 / d))
    cells = index_peaks(peaks_at(two_theta, [8, 6, 100, 45, 3, 2, 22, 1.5, 24, 7], top=150), ("cubic",))
    assert_is(cells[0], "cubic", "P", 3.506, 3.506)


def test_a_superlattice_takes_its_place_once():
    # An ordered double perovskite: strong lines of the small cube, faint ones (odd indices) of the doubled F cell.
    areas = {n: 100 / (1 + 0.05 * n) * (1 if n % 8 == 0 else 0.3) for n in range(4, 150, 4)}
    areas = {n: area for n, area in areas.items() if n not in (28, 60, 92, 112, 124)}  # no sum of three squares
    areas |= {3: 1.5, 11: 1.2, 19: 1.0, 27: 0.8, 35: 0.5}
    sine = 0.711 / 2 / 8.1 * np.sqrt(sorted(areas))
    cells = index_peaks(peaks_at(np.degrees(2 * np.arcsin(sine)), [areas[n] for n in sorted(areas)], 70, 0.711))
    assert_is(cells[0], "cubic", "F", 8.1, 8.1)
    assert len(set(cells)) == len(cells)


@pytest.mark.parametrize("seed", [1, 3])
def test_a_cell_that_lines_meet_closely_goes_before_a_larger_one_that_meets_a_few_more(seed):
    """Ramsdellite's cell with two foreign lines, 0.02° beside lines of three times c."""

    def three_times(h, k, m):
        return (h / 2.86) ** 2 + (k / 4.51) ** 2 + (m / 27.78) ** 2

    q = np.array([three_times(0, 1, 7), three_times(1, 0, 10)])
    places = 2 * np.degrees(np.arcsin(CU * np.sqrt(q) / 2)) + np.random.default_rng(seed).choice([-0.02, 0.02], 2)
    foreign = tuple((place, 0.1) for place in places)
    peaks = lines_of(lambda h, k, m: three_times(h, k, 3 * m), "P", extra=foreign, seed=seed)
    assert index_peaks(peaks)[0].primitive_volume == pytest.approx(2.86 * 4.51 * 9.26, rel=0.01)


def test_lattices_most_of_whose_first_lines_are_absent_are_found():
    """Er3Si3Ni (Materials Project mp-569818, C2/m): the first lines that a laboratory's pattern shows of it."""
    # fmt: off
    two_theta = [23.28, 25.27, 27.0, 27.9, 28.35, 28.97, 29.32, 32.88, 33.86, 34.03, 34.25, 34.97, 35.33, 35.48, 35.65,
                 35.87, 37.41, 38.87, 40.41, 40.6, 41.88, 43.09, 43.44, 50.75, 51.89, 52.43, 53.16, 53.49, 53.58, 55.38]
    # fmt: on
    cell = index_peaks(peaks_at(two_theta, np.ones(len(two_theta)), top=56), ("monoclinic",))[0]
    assert (cell.system, cell.centring) == ("monoclinic", "C")
    assert cell.primitive_volume == pytest.approx(268.7, rel=0.02)


@pytest.mark.parametrize("seed", range(2))
def test_random_lines_give_no_cell(seed):
    rng = np.random.default_rng(seed)
    peaks = peaks_at(np.sort(rng.uniform(15, 80, 18)), rng.uniform(0.1, 1, 18))
    assert index_peaks(peaks) == []


def test_orthorhombic_lines_give_no_cell_of_higher_symmetry():
    a, b, c = 8.48, 5.40, 6.96
    peaks = lines_of(lambda h, k, m: (h / a) ** 2 + (k / b) ** 2 + (m / c) ** 2, "P", keep=0.5, top=60)
    assert index_peaks(peaks, BOTH) == []
    assert index_peaks(peaks)[0].system == "orthorhombic"


def test_systems_and_limit_are_respected():
    peaks = lines_of(cubic(4.157), "P", top=100)
    assert all(cell.system == "cubic" for cell in index_peaks(peaks, ("cubic",)))
    assert all(cell.system == "trigonal" for cell in index_peaks(peaks, ("trigonal",)))
    assert len(index_peaks(peaks, BOTH, limit=2)) == 2


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_lines_give_no_cell(count):
    assert index_peaks(peaks_at([30.0][:count], [1.0][:count])) == []


def test_refinement_near_a_cell_finds_edges_and_zero():
    peaks = lines_of(hexagonal(4.913, 5.405), "P", zero=0.12, noise=0.003, top=110)
    found = centrings(peaks, Cell("trigonal", "P", 4.95, 5.38))[0]
    assert_is(found, "trigonal", "P", 4.913, 5.405, 5e-4)
    assert found.zero_shift == pytest.approx(0.12, abs=0.03)
    assert found.n_indexed == found.n_lines == min(len(peaks), MAX_LINES)


def test_centrings_are_ranked_by_the_lines():
    cells = centrings(lines_of(cubic(5.43), "F"), Cell("cubic", "P", 5.44, 5.44))
    assert cells[0].centring == "F" and len(cells) == 3
    cells = centrings(lines_of(hexagonal(5.0, 13.7), "R"), Cell("trigonal", "P", 5.0, 13.7))
    assert cells[0].centring == "R" and len(cells) == 2


@pytest.mark.parametrize(
    ("text", "system", "expected"),
    [
        ("5.64", "auto", ("cubic", "P", 5.64, 5.64)),
        (" a=5.64 ", "cubic", ("cubic", "P", 5.64, 5.64)),
        ("4.913, 5.405", "auto", ("trigonal", "P", 4.913, 5.405)),
        ("a=4.913,c=5.405", "trigonal", ("trigonal", "P", 4.913, 5.405)),
        ("5.1284,alpha=55.28", "trigonal", ("trigonal", "R", 4.7588, 12.992)),  # corundum
        ("4.594,2.959", "tetragonal", ("tetragonal", "P", 4.594, 2.959)),
        ("3.25,5.207", "hexagonal", ("trigonal", "P", 3.25, 5.207)),  # indexed as any lattice on hexagonal axes
        ("5,5,5,90,90,90", "auto", ("cubic", "P", 5.0, 5.0)),
        ("3.25,3.25,5.207,90,90,120", "auto", ("trigonal", "P", 3.25, 5.207)),
        ("5.145,5.208,5.311,90,99.2,90", "auto", ("monoclinic", "P", 5.145, 5.311)),
        ("5.145,5.208,5.311,90,99.2,90", "triclinic", ("triclinic", "P", 5.145, 5.311)),
    ],
)
def test_cell_option(text, system, expected):
    assert_is(cell_from_option(text, system), *expected)


def test_rhombohedral_option_keeps_the_primitive_cell():
    lattice = cell_from_option("5.13,alpha=55").primitive_lattice
    assert np.linalg.norm(lattice, axis=1) == pytest.approx(5.13)
    assert lattice[0] @ lattice[1] / 5.13**2 == pytest.approx(np.cos(np.radians(55)))


@pytest.mark.parametrize(
    ("text", "system"),
    [
        ("", "auto"),
        ("abc", "auto"),
        ("5.6,", "auto"),
        ("5,6,7", "auto"),
        ("0", "auto"),
        ("-5.6", "auto"),
        ("nan", "auto"),
        ("5.6,alpha=130", "auto"),
        ("5.6,alpha=0", "auto"),
        ("5.6,beta=90", "auto"),
        ("5.6,a=5.7", "auto"),
        ("c=5.6", "auto"),
        ("5,6", "cubic"),
        ("5", "trigonal"),
        ("5;6", "auto"),
        ("5,6,7,90,90,200", "auto"),
        ("5,6,7,30,30,150", "auto"),
        ("5,6,7,90,99,90", "cubic"),
    ],
)
def test_bad_cell_options_say_what_to_do_in_one_line(text, system):
    with pytest.raises(InputError) as error:
        cell_from_option(text, system)
    assert "--cell" in str(error.value)
    assert "\n" not in str(error.value)


def test_real_patterns(shared_data: Path):
    pytest.importorskip("crystalnet.xrd.peaks")
    from crystalnet.xrd.peaks import find_peaks
    from crystalnet.xrd.reader import read_pattern

    records = {record["name"]: record for record in json.loads((shared_data / "index.json").read_text())}
    for name in ("LaB6_660b_lab", "CaF2_CPD", "powdR_QUA_1", "AgCa10P7O28", "XRED_Mn2O3"):
        record = records[name]
        radiation = Radiation(tuple((line["wavelength"], line["weight"]) for line in record["radiation"]))
        cell = index_peaks(find_peaks(read_pattern(shared_data / record["pattern"], radiation)))[0]
        centring = record["spacegroup_symbol"][0]
        assert_is(cell, record["system"], centring, record["a"], record["c"], 0.005)

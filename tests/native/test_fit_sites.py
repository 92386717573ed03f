"""Atoms refined against line intensities: the compiled rounds against those in numpy, and against known crystals."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from crystalnet.crystal.elements import ATOMIC_NUMBER
from crystalnet.crystal.free_sites import FreeSites
from crystalnet.crystal.lattice import Cell
from crystalnet.crystal.library import library
from crystalnet.crystal.wyckoff import groups_on
from crystalnet.ops import fit_sites as op
from crystalnet.ops._native import native, native_cuda
from crystalnet.ops.fit_sites import Fitted, LatticeTargets, fit_sites, reference_fit
from crystalnet.records import AtomSites
from crystalnet.solving.screen import Screen
from crystalnet.xrd.profile import calculated_peaks
from crystalnet.xrd.radiation import parse_wavelength

FORMULAS = ("SiO2", "CaTiO3", "Fe2O3", "ZnO", "ZrO2", "KNO3", "NaCl")
MO = parse_wavelength("0.711", exact=True)


def crystals() -> list[FreeSites]:
    """One of each formula, from seven crystal systems or nearly so."""
    entries = library().entries
    return [library().sites(next(i for i, e in enumerate(entries) if e.formula == f)) for f in FORMULAS]


def numbers(crystal: FreeSites) -> np.ndarray:
    return np.array([ATOMIC_NUMBER[s] for s in crystal.species])


def targets(crystal: FreeSites) -> LatticeTargets:
    """What a perfect pattern to 50° at Mo Kα says; a few lines too weak to be seen."""
    sites = AtomSites(crystal.lattice, crystal.species, crystal.frac_coords)
    peaks = calculated_peaks(sites, MO, np.array([3.0, 50.0]))
    seen = peaks.area > 2e-3 * peaks.area.max()
    fields = ("two_theta", "d_spacing", "area", "fwhm")
    found = Screen(crystal.lattice, 0.0, replace(peaks, **{f: getattr(peaks, f)[seen] for f in fields})).targets()
    assert found is not None
    return found


@pytest.mark.parametrize("crystal", crystals(), ids=FORMULAS)
def test_the_compiled_rounds_are_those_of_the_reference(crystal: FreeSites, monkeypatch: pytest.MonkeyPatch) -> None:
    assert native() is not None
    rng = np.random.default_rng(3)
    lines, own = targets(crystal), numbers(crystal)
    for d_min, hold in ((0.0, 0.0), (1.3, 0.0), (0.0, 20.0)):
        start = Fitted([0.01 * rng.standard_normal(crystal.free)], np.array([0.7]), np.ones(1))
        compiled = fit_sites(lines, [crystal], [own], start, d_min=d_min, rounds=3, hold=hold)
        used = lines.down_to(d_min) if d_min else len(lines.hkl)
        u, b_iso, residual = reference_fit(lines, crystal, own, start.u[0], 0.7, used, 3, hold)
        assert compiled.residual[0] == pytest.approx(residual, rel=1e-3, abs=2e-4)
        assert compiled.b_iso[0] == pytest.approx(b_iso, abs=0.02)
        assert compiled.u[0] == pytest.approx(u, abs=2e-3)
        monkeypatch.setattr(op, "native", lambda: None)
        assert fit_sites(lines, [crystal], [own], start, d_min=d_min, rounds=3, hold=hold).residual[0] == residual
        monkeypatch.undo()


@pytest.mark.parametrize("compiled", [True, False])
def test_the_overall_b_keeps_its_bound(compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Intensities that rise with angle ask for B = −4 Å²."""
    crystal = crystals()[0]
    lines = targets(crystal)
    seen = (lines.target >= 0) & (lines.target < len(lines.amplitude))
    s_squared = np.zeros(len(lines.amplitude))
    s_squared[lines.target[seen]] = lines.s_squared[seen]
    risen = replace(lines, amplitude=lines.amplitude * np.exp(4.0 * s_squared))
    if not compiled:
        monkeypatch.setattr(op, "native", lambda: None)
    for bound in (-1.0, -5.0):
        found = fit_sites(replace(risen, least_b=bound), [crystal], [numbers(crystal)], rounds=20)
        assert found.b_iso[0] == pytest.approx(max(bound, -4.0), abs=0.2)


def close(one: Fitted, two: Fitted) -> None:
    """Equal but for the order of sums in single precision."""
    assert one.residual == pytest.approx(two.residual, rel=1e-3, abs=2e-4)
    assert one.b_iso == pytest.approx(two.b_iso, abs=0.02)
    for u, v in zip(one.u, two.u, strict=True):
        assert u == pytest.approx(v, abs=2e-3)


def perturbed(crystal: FreeSites, count: int) -> Fitted:
    """Starts near the crystal."""
    rng = np.random.default_rng(5)
    return Fitted([0.01 * rng.standard_normal(crystal.free) for _ in range(count)], np.full(count, 0.7), np.ones(count))


def without_symmetry() -> FreeSites:
    """90 free coordinates, whose matrices do not fit in the shared memory of a block."""
    x = np.random.default_rng(2).random((30, 3))
    columns = np.arange(90).reshape(30, 3)
    return FreeSites(
        np.diag([7.0, 8.0, 9.0]), ("O", "Si", "Ca") * 10, x, np.tile(np.eye(3), (30, 1, 1)), columns,
        np.eye(3, dtype=np.int64)[None],
    )  # fmt: skip


def test_a_centre_that_free_coordinates_leave_is_none() -> None:
    """In P2₁ two general orbits may lie opposite each other where a search starts; they part as they move."""
    cell = Cell("monoclinic", "P", 5.15, 5.31, b=5.21, beta=99.2)
    group = next(g for g in groups_on(cell) if g.number == 4)
    crystal = group.crystal(cell.primitive_lattice, ("Zr", "Zr", "O"), (0, 0, 0))
    start = np.array([0.1, 0.2, 0.3, -0.1, 0.7, -0.3, 0.4, 0.05, 0.25])
    assert crystal.free == len(start)
    lines = targets(crystals()[4])
    for rounds in (0, 1):
        found = fit_sites(
            lines, [crystal], [numbers(crystal)], Fitted([start], np.array([0.7]), np.ones(1)), rounds=rounds
        )
        _, _, residual = reference_fit(lines, crystal, numbers(crystal), start, 0.7, len(lines.hkl), rounds)
        assert found.residual[0] == pytest.approx(residual, rel=1e-3)


@pytest.mark.parametrize("team", [1, 3])
def test_the_rounds_of_a_block_are_those_of_the_cpu(team: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the GPU does, by so many threads of the host; in one lattice, crystals of all sizes."""
    module = native()
    assert module is not None
    every = [*crystals(), without_symmetry()]
    own = [numbers(crystal) for crystal in every]
    starts = [perturbed(crystal, 1) for crystal in every]
    start = Fitted([s.u[0] for s in starts], np.full(len(every), 0.7), np.ones(len(every)))
    for lines in (targets(every[0]), targets(every[-1])):
        for d_min, rounds, hold in ((0.0, 0, 0.0), (0.0, 3, 0.0), (1.3, 3, 20.0), (9.0, 3, 0.0)):
            ours = fit_sites(lines, every, own, start, d_min=d_min, rounds=rounds, hold=hold)
            with monkeypatch.context() as patch:
                patch.setattr(op, "native", lambda: SimpleNamespace(fit_sites=module.fit_sites_as_block))
                blocks = fit_sites(lines, every, own, start, d_min=d_min, rounds=rounds, hold=hold, threads=team)
            close(blocks, ours)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("crystal", [*crystals(), without_symmetry()], ids=[*FORMULAS, "P1"])
def test_cuda_equals_cpu(crystal: FreeSites) -> None:
    if native_cuda() is None:
        pytest.skip("built without CUDA")
    lines, many, own, start = targets(crystal), [crystal] * 40, [numbers(crystal)] * 40, perturbed(crystal, 40)
    for d_min in (0.0, 1.3):
        one, two = (
            fit_sites(lines, many, own, start, d_min=d_min, rounds=3, device=torch.device("cuda")) for _ in range(2)
        )
        close(one, fit_sites(lines, many, own, start, d_min=d_min, rounds=3))
        assert np.array_equal(one.residual, two.residual) and np.array_equal(np.array(one.u), np.array(two.u))
    assert fit_sites(lines, [], [], device=torch.device("cuda")).u == []


def test_the_origin_does_not_matter() -> None:
    """A centre of symmetry saves half of the structure factors: wherever it is, and only if every atom has an image."""
    start = Fitted([np.full(7, 0.01)], np.array([0.7]), np.ones(1))
    crystal = next(c for c in crystals() if c.free == 7)
    lines, own = targets(crystal), numbers(crystal)
    here = fit_sites(lines, [crystal], [own], start)
    moved = replace(crystal, frac_coords=crystal.frac_coords + [0.13, 0.21, 0.37])
    there = fit_sites(lines, [moved], [own], start)
    assert there.u[0] == pytest.approx(here.u[0], abs=1e-3)
    assert there.residual[0] == pytest.approx(here.residual[0], rel=1e-3)
    frac_coords = crystal.frac_coords.copy()
    frac_coords[0] += [0.05, 0.0, 0.0]
    broken = replace(crystal, frac_coords=frac_coords)
    used = len(lines.hkl)
    _, _, residual = reference_fit(lines, broken, own, start.u[0], 0.7, used, 3)
    assert fit_sites(lines, [broken], [own], start, rounds=3).residual[0] == pytest.approx(residual, rel=1e-3)


@pytest.mark.parametrize("crystal", crystals(), ids=FORMULAS)
def test_displaced_atoms_come_back(crystal: FreeSites) -> None:
    edge = np.linalg.norm(crystal.lattice, axis=1).max()
    shift = 0.05 / edge * np.random.default_rng(1).standard_normal(crystal.free)
    start = Fitted([shift], np.array([1.0]), np.ones(1))
    found = fit_sites(targets(crystal), [crystal], [numbers(crystal)], start, rounds=30)
    assert found.residual[0] < 0.015 and abs(found.b_iso[0]) < 0.1
    if crystal.free:
        before = fit_sites(targets(crystal), [crystal], [numbers(crystal)], start, rounds=0)
        assert before.residual[0] > 5 * found.residual[0]


@pytest.mark.parametrize("compiled", [True, False])
def test_what_the_lines_hardly_show_is_held(compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise moves oxygen beside lead, unless it is held; lead goes where the lines want it either way."""
    entries = library().entries
    crystal = library().sites(next(i for i, e in enumerate(entries) if e.name == "Anglesite"))
    light, heavy = (np.array([s in symbols for s in crystal.species]) for symbols in ("O", ("Pb",)))
    own, lines = numbers(crystal), targets(crystal)
    noisy = lines.amplitude * np.exp(np.random.default_rng(4).normal(0, 0.15, len(lines.amplitude)))
    lines = replace(lines, amplitude=noisy)
    if not compiled:
        monkeypatch.setattr(op, "native", lambda: None)
    start = Fitted([0.1 / 7 * np.ones(crystal.free)], np.array([0.5]), np.ones(1))

    def moved(hold: float) -> tuple[float, float, float]:
        found = fit_sites(lines, [crystal], [own], start, rounds=20, hold=hold)
        shift = np.linalg.norm((crystal.moved(found.u[0]) - crystal.frac_coords) @ crystal.lattice, axis=1)
        return shift[light].max(), shift[heavy].max(), found.residual[0]

    (free, lead, least), (held, lead_too, residual) = moved(0.0), moved(3.0)
    assert free > 2 * held and max(lead, lead_too) < 0.05
    assert least < residual < 1.5 * least  # of the lines alone


def test_the_residual_is_that_of_the_screen() -> None:
    """One definition: without rounds, B apart, the op says what `intensity_residual` says."""
    for crystal in crystals():
        sites = AtomSites(crystal.lattice, crystal.species, crystal.frac_coords)
        peaks = calculated_peaks(sites, MO, np.array([3.0, 50.0]))
        screen = Screen(crystal.lattice, 0.0, peaks)
        names, groups = np.unique(crystal.species, return_inverse=True)
        x = crystal.frac_coords + 0.02 * np.sin(np.arange(crystal.frac_coords.size)).reshape(-1, 3)
        moved = replace(crystal, frac_coords=x)
        lines = screen.targets()
        assert lines is not None
        values = [
            fit_sites(
                lines,
                [moved],
                [numbers(crystal)],
                Fitted([np.zeros(crystal.free)], np.array([b]), np.ones(1)),
                rounds=0,
            )
            for b in np.linspace(-0.5, 5.0, 23)
        ]
        assert min(v.residual[0] for v in values) == pytest.approx(
            screen.residuals(x, groups, [names.tolist()])[0], abs=2e-3
        )


def test_many_crystals_and_threads_change_nothing() -> None:
    crystal = crystals()[0]
    lines, own = targets(crystal), numbers(crystal)
    rng = np.random.default_rng(0)
    start = Fitted(list(rng.random((12, crystal.free))), np.full(12, 0.5), np.ones(12))
    one, two = (fit_sites(lines, [crystal] * 12, [own] * 12, start, threads=n) for n in (1, 2))
    assert np.array_equal(one.residual, two.residual) and np.array_equal(np.array(one.u), np.array(two.u))
    alone = fit_sites(lines, [crystal], [own], Fitted(start.u[5:6], start.b_iso[5:6], np.ones(1)))
    assert alone.residual[0] == one.residual[5]
    assert fit_sites(lines, [], []).u == []

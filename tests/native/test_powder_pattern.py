"""The pattern kernel against its reference and against pymatgen, the definition of the pattern vector."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from crystalnet.ops._native import native, native_cuda
from crystalnet.ops.powder_pattern import N_BINS, powder_pattern, reference_pattern
from crystalnet.ops.reflections import form_factor_table, reflections

pytest.importorskip("pymatgen")
from pymatgen.analysis.diffraction.xrd import ATOMIC_SCATTERING_PARAMS, XRDCalculator
from pymatgen.core import Element, Lattice, Structure

SYSTEMS = ("cubic", "trigonal", "hexagonal", "tetragonal", "orthorhombic", "monoclinic", "triclinic")


@cache
def small_crystals() -> dict[str, Structure]:
    """One crystal of each kind that needs care: lattice types, equal elements, general positions."""
    hexagonal = Lattice.hexagonal(3.21, 5.21)
    return {
        "Po": Structure(Lattice.cubic(3.359), ["Po"], [[0, 0, 0]]),
        "CsCl": Structure(Lattice.cubic(4.123), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
        "NaCl": Structure.from_spacegroup(
            "Fm-3m", Lattice.cubic(5.6402), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
        ).get_primitive_structure(),
        "Mg": Structure(hexagonal, ["Mg", "Mg"], [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]]),
        "Al2O3": Structure.from_spacegroup(
            "R-3c", Lattice.hexagonal(4.7602, 12.9933), ["Al", "O"], [[0, 0, 0.35216], [0.30624, 0, 0.25]]
        ).get_primitive_structure(),
        "triclinic": Structure(
            Lattice.from_parameters(4.1, 5.3, 6.2, 81, 97, 103),
            ["Si", "O", "O", "U"],
            [[0.11, 0.23, 0.37], [-0.4, 1.3, 0.05], [0.71, 0.52, 0.9], [0.3, 0.8, 0.6]],
        ),
    }


def arrays(structures: list[Structure]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The batch as the op takes it."""
    sizes = torch.tensor([0, *(len(s) for s in structures)])
    return (
        torch.tensor(np.array([s.lattice.matrix for s in structures]).reshape(-1, 3, 3)),
        sizes.cumsum(0),
        torch.tensor(np.concatenate([np.zeros((0, 3)), *(s.frac_coords for s in structures)])),
        torch.tensor([z for s in structures for z in s.atomic_numbers], dtype=torch.int64),
    )


def pymatgen_vector(structure: Structure, wavelength: float = 0.711) -> np.ndarray:
    """The definition, spelled out. 179.98: pymatgen's Lorentz factor at 180 degrees is infinite."""
    calculator = XRDCalculator(wavelength=wavelength, symprec=0)
    pattern = calculator.get_pattern(structure, scaled=True, two_theta_range=(0, 179.98))
    vector = np.zeros(N_BINS)
    np.maximum.at(vector, (np.array(pattern.x) / 180 * N_BINS + 1e-9).astype(int), np.array(pattern.y))
    return vector / vector.max()


def real_crystals(data: Path, per_system: int, max_volume: float) -> list[Structure]:
    """The first small cells of each system, and one large cell."""
    chosen: dict[str, list[dict[str, Any]]] = {s: [] for s in SYSTEMS}
    large: list[dict[str, Any]] = []
    with gzip.open(data / "amcsd_structures.jsonl.gz", "rt") as lines:
        for record in map(json.loads, lines):
            group = chosen[record["system"]]
            if len(group) < per_system and record["volume_per_atom"] * record["nsites"] < max_volume:
                group.append(record)
            elif not large and record["nsites"] >= 100:
                large.append(record)
    records = [r for group in chosen.values() for r in group] + large
    return [Structure(Lattice(r["lattice"]), r["species"], r["frac_coords"]) for r in records]


@pytest.fixture
def reference_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYSTALNET_OPS", "reference")


@pytest.mark.parametrize("name", small_crystals())
def test_equals_pymatgen(name: str) -> None:
    structure = small_crystals()[name]
    batch = arrays([structure])
    ours = powder_pattern(*batch)[0].numpy()
    np.testing.assert_allclose(ours, pymatgen_vector(structure), atol=1e-6)
    np.testing.assert_allclose(ours, reference_pattern(*batch)[0].numpy(), atol=1e-10)
    assert ours.max() == 1


def test_equals_pymatgen_on_real_crystals(shared_data: Path) -> None:
    structures = real_crystals(shared_data, per_system=5, max_volume=120)
    batch = arrays(structures)
    ours = powder_pattern(*batch).numpy()
    np.testing.assert_allclose(ours, reference_pattern(*batch).numpy(), atol=1e-9)
    for structure, vector in zip(structures, ours, strict=True):
        if structure.volume > 120:  # pymatgen takes many seconds on a large cell; the reference covers those
            continue
        theirs = pymatgen_vector(structure)
        np.testing.assert_allclose(vector, theirs, atol=1e-6, err_msg=structure.composition.reduced_formula)


@pytest.mark.parametrize("name", ["NaCl", "Al2O3", "triclinic"])
def test_reflections_equal_pymatgen(name: str) -> None:
    structure = small_crystals()[name]
    lines = reflections(structure.lattice.matrix, structure.frac_coords, list(structure.atomic_numbers), 1.5406, 120)
    theirs = XRDCalculator(1.5406, symprec=0).get_pattern(structure, scaled=False, two_theta_range=(0, 120))
    np.testing.assert_allclose(lines.two_theta, theirs.x, atol=1e-8)
    np.testing.assert_allclose(lines.intensity, theirs.y, rtol=1e-8)
    np.testing.assert_allclose(lines.d_spacing, theirs.d_hkls, rtol=1e-10)
    for hkl, d, multiplicity, families in zip(lines.hkl, lines.d_spacing, lines.multiplicity, theirs.hkls, strict=True):
        assert structure.lattice.d_hkl(hkl) == pytest.approx(d, rel=1e-6)
        assert multiplicity == sum(f["multiplicity"] for f in families)


def test_native_reflections_equal_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    if native() is None:
        pytest.skip("the native module is not built")
    for structure in small_crystals().values():
        arguments = (structure.lattice.matrix, structure.frac_coords, list(structure.atomic_numbers))
        monkeypatch.delenv("CRYSTALNET_OPS", raising=False)
        ours = reflections(*arguments, 0.711, 100, b_iso=0.7, cut=-1)
        monkeypatch.setenv("CRYSTALNET_OPS", "reference")
        theirs = reflections(*arguments, 0.711, 100, b_iso=0.7, cut=-1)
        np.testing.assert_allclose(ours.two_theta, theirs.two_theta, atol=1e-9)
        np.testing.assert_allclose(ours.intensity, theirs.intensity, rtol=1e-9, atol=1e-9 * theirs.intensity.max())
        np.testing.assert_array_equal(ours.multiplicity, theirs.multiplicity)
        present = theirs.intensity > 1e-5 * theirs.intensity.max()
        np.testing.assert_array_equal(ours.hkl[present], theirs.hkl[present])


def test_debye_waller_damps_by_the_formula() -> None:
    cell, atoms = 4.123 * np.eye(3), ([[0, 0, 0], [0.5, 0.5, 0.5]], [55, 17])
    cold, warm = (reflections(cell, *atoms, 1.5406, 90, b_iso=b, cut=-1) for b in (0.0, 1.5))
    s_squared = (0.5 / cold.d_spacing) ** 2
    np.testing.assert_allclose(warm.intensity, cold.intensity * np.exp(-2 * 1.5 * s_squared), rtol=1e-12)


def test_empty_batch_and_crystal_without_atoms() -> None:
    assert powder_pattern(*arrays([])).shape == (0, N_BINS)
    empty = powder_pattern(
        4 * torch.eye(3, dtype=torch.float64)[None],
        torch.tensor([0, 0]),
        torch.zeros(0, 3).double(),
        torch.zeros(0).long(),
    )
    assert torch.equal(empty, torch.zeros(1, N_BINS, dtype=torch.float64))
    # λ > 2d: no line at all
    assert len(reflections(np.eye(3), [[0, 0, 0]], [1], 2.5, 180)) == 0


def test_batch_is_its_crystals_and_threads_do_not_matter() -> None:
    structures = list(small_crystals().values())
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = powder_pattern(*arrays(structures))
        torch.set_num_threads(2)
        two = powder_pattern(*arrays(structures))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(one, two)
    assert torch.equal(one, torch.cat([powder_pattern(*arrays([s])) for s in structures]))


def test_a_line_at_180_degrees_is_outside() -> None:
    # d(100) = λ/2: pymatgen's Lorentz factor makes this the only line of the pattern
    at_edge, beyond = (
        powder_pattern(*arrays([Structure(Lattice.cubic(a), ["Fe"], [[0, 0, 0]])])) for a in (7.11, 7.1101)
    )
    assert (at_edge > 0).sum() > 100
    torch.testing.assert_close(at_edge[:, :200], beyond[:, :200], atol=1e-3, rtol=0)


def test_origin_and_inversion_do_not_matter() -> None:
    structure = small_crystals()["triclinic"]
    lattices, offsets, coords, numbers = arrays([structure])
    expected = powder_pattern(lattices, offsets, coords, numbers)
    moved = powder_pattern(lattices, offsets, 0.37 - coords, numbers)
    torch.testing.assert_close(moved, expected, atol=1e-10, rtol=0)


def test_reference_serves_without_the_native_module(reference_only: None) -> None:
    batch = arrays(list(small_crystals().values())[:2])
    assert native() is None
    assert torch.equal(powder_pattern(*batch), reference_pattern(*batch))


def test_opcheck() -> None:
    batch = arrays(list(small_crystals().values()))
    torch.library.opcheck(torch.ops.crystalnet.powder_pattern.default, (*batch, 0.711, N_BINS))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"atomic_numbers": torch.tensor([11, 120])}, "no X-ray form factor for atomic number 120"),
        ({"lattices": torch.zeros(1, 3, 3).double()}, "span a volume"),
        ({"lattices": torch.eye(3)[None]}, "float64"),
        ({"atom_offsets": torch.tensor([0, 3])}, "atom_offsets"),
        ({"frac_coords": torch.full((2, 3), torch.nan).double()}, "finite"),
        ({"wavelength": 0.0}, "positive"),
        ({"n_bins": 0}, "positive"),
    ],
)
def test_bad_input_is_refused(change: dict[str, Any], message: str) -> None:
    names = ("lattices", "atom_offsets", "frac_coords", "atomic_numbers")
    good = dict(zip(names, arrays([small_crystals()["NaCl"]]), strict=True))
    with pytest.raises(ValueError, match=message):
        powder_pattern(**{**good, **change})


def test_cell_beyond_memory_is_refused() -> None:
    if native() is None:
        pytest.skip("the native module is not built")
    with pytest.raises(ValueError, match="1e8 reflections"):
        reflections(2000 * np.eye(3), [[0, 0, 0]], [1], 0.711, 180)


def test_form_factors_are_pymatgens() -> None:
    table = form_factor_table()
    assert len(table) == 99
    for symbol, pairs in ATOMIC_SCATTERING_PARAMS.items():
        if symbol != "D":
            np.testing.assert_array_equal(table[Element(symbol).Z], pairs)


def test_ops_import_without_pymatgen() -> None:
    code = "import sys, crystalnet.ops.powder_pattern; sys.exit('pymatgen' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_cuda_equals_cpu() -> None:
    if native_cuda() is None:
        pytest.skip("built without CUDA")
    batch = arrays(list(small_crystals().values()))
    ours = powder_pattern(*(t.cuda() for t in batch)).cpu()
    torch.testing.assert_close(ours, powder_pattern(*batch), atol=1e-9, rtol=0)

"""What the network reads off a pattern once the cell is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from crystalnet.crystal.lattice import Cell
from crystalnet.crystal.setting import standard_primitive
from crystalnet.model.intensities import EDGE, Intensities, conventional_axes, reflection_classes
from crystalnet.xrd.vector import pattern_vector
from crystals import SALT

IRON = Structure.from_spacegroup("Im-3m", Lattice.cubic(2.87), ["Fe"], [[0, 0, 0]])
BORIDE = Structure.from_spacegroup("Pm-3m", Lattice.cubic(4.16), ["La", "B"], [[0, 0, 0], [0.2, 0.5, 0.5]])
CORUNDUM = Structure.from_spacegroup(
    "R-3c", Lattice.hexagonal(4.76, 12.99), ["Al", "O"], [[0, 0, 0.352], [0.306, 0, 0.25]]
)
QUARTZ = Structure.from_spacegroup(
    "P3_121", Lattice.hexagonal(4.91, 5.40), ["Si", "O"], [[0.47, 0, 1 / 3], [0.415, 0.27, 0.214]]
)
CRYSTALS = [(SALT, "cubic", "F"), (IRON, "cubic", "I"), (BORIDE, "cubic", "P")]
CRYSTALS += [(CORUNDUM, "trigonal", "R"), (QUARTZ, "trigonal", "P")]


def read(structure: Structure, system: str) -> tuple[torch.Tensor, Intensities]:
    crystal = standard_primitive(structure)
    module = Intensities(system)
    pattern = torch.tensor(pattern_vector(crystal), dtype=torch.float32)[None]
    lattice = torch.tensor(crystal.lattice.matrix)[None]
    return module(pattern, torch.ones_like(pattern), lattice)[0], module


@pytest.mark.parametrize(("structure", "system", "centring"), CRYSTALS, ids=[c[0].formula for c in CRYSTALS])
def test_conventional_axes_of_standard_primitive_cells(structure: Structure, system: str, centring: str) -> None:
    crystal = standard_primitive(structure)
    a, c, which = conventional_axes(torch.tensor(crystal.lattice.matrix)[None], system)
    assert {"cubic": "PIF", "trigonal": "PR"}[system][int(which)] == centring
    assert float(a) == pytest.approx(structure.lattice.a, rel=1e-5)
    assert float(c) == pytest.approx(structure.lattice.c, rel=1e-5)
    cell = Cell(system, centring, float(a), float(c))
    again, _, same = conventional_axes(torch.tensor(cell.primitive_lattice)[None], system)
    assert float(again) == pytest.approx(float(a)) and int(same) == int(which)


@pytest.mark.parametrize(("structure", "system", "centring"), CRYSTALS, ids=[c[0].formula for c in CRYSTALS])
def test_squared_structure_factors_of_lines_that_stand_alone(structure: Structure, system: str, centring: str) -> None:
    """Against |F|² summed over the atoms, for the low classes that share their bin with nobody."""
    from crystalnet.crystal.elements import ATOMIC_NUMBER
    from crystalnet.ops.reflections import reflections

    crystal = standard_primitive(structure)
    told, module = read(structure, system)
    n = module.told
    squared, share = told[n : 2 * n].numpy(), told[3 * n : 4 * n].numpy()
    numbers = np.array([ATOMIC_NUMBER[s.specie.symbol] for s in crystal])
    lines = reflections(crystal.lattice.matrix, crystal.frac_coords, numbers, 0.711, 179.9)
    theta = np.radians(lines.two_theta / 2)
    classes, counts, _ = reflection_classes(system)
    a, c, which = (t.item() for t in conventional_axes(torch.tensor(crystal.lattice.matrix)[None], system))
    first, second = (1 / a**2, 0.0) if system == "cubic" else (4 / 3 / a**2, 1 / c**2)
    d = 1 / np.sqrt(classes[:n, 0] * first + classes[:n, 1] ** 2 * second)
    lorentz_polarisation = (1 + np.cos(2 * theta) ** 2) / (np.sin(theta) ** 2 * np.cos(theta))
    bins = module._bins(torch.tensor([a]), torch.tensor([c]))[0, :n].numpy() % 1
    inner = (bins > EDGE) & (bins < 1 - EDGE)  # near an edge the next bin may be read
    expected, found = [], []
    for i in np.flatnonzero((share == 1) & (d > 0.8) & inner):
        here = np.abs(lines.d_spacing - d[i]) < 1e-6
        expected.append((lines.intensity[here] / lorentz_polarisation[here]).sum() / counts[int(which), i])
        found.append(squared[i])
    expected = np.array(expected) / max(expected) * max(found)
    assert len(found) > 2
    # Lorentz-polarisation is taken at the class's own 2θ, so only the vector's float32 is between the two.
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_absent_and_unobserved_are_told_apart() -> None:
    _, module = read(SALT, "cubic")
    crystal = standard_primitive(SALT)
    pattern = torch.tensor(pattern_vector(crystal), dtype=torch.float32)[None]
    mask = torch.zeros_like(pattern)
    mask[:, :200] = 1
    told = module(pattern * mask, mask, torch.tensor(crystal.lattice.matrix)[None])[0]
    n = module.told
    classes, counts, _ = reflection_classes("cubic")
    seen = told[2 * n : 3 * n].bool().numpy()
    allowed = counts[2, :n] > 0  # F
    assert not seen[~allowed].any() and seen[allowed][0] and not seen[allowed][-1]


def test_an_unknown_cell_tells_nothing() -> None:
    module = Intensities("trigonal")
    pattern = torch.rand(2, 1024)
    lattice = torch.stack([torch.zeros(3, 3), torch.tensor(standard_primitive(QUARTZ).lattice.matrix).float()])
    told = module(pattern, torch.ones_like(pattern), lattice)
    assert not told[0].any() and told[1].any() and told.isfinite().all()


def test_the_size_of_the_cell_changes_only_the_numbers_that_say_so() -> None:
    small, module = read(IRON, "cubic")
    large, _ = read(Structure.from_spacegroup("Im-3m", Lattice.cubic(2.95), ["Fe"], [[0, 0, 0]]), "cubic")
    n = module.told
    np.testing.assert_allclose(small[: n // 8], large[: n // 8], atol=0.05)  # form factors at another sinθ/λ, no more

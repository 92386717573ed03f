"""What `crystalnet density` and `crystalnet simulate` write from a structure file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crystalnet.data.files import read_structure
from crystalnet.density.cell import standard_primitive
from crystalnet.density.promolecule import promolecule
from crystalnet.elements import ATOMIC_NUMBER
from crystalnet.ops.reflections import reflections
from crystalnet.records import AtomSites, DensityGrid, InputError
from crystalnet.whole_file import begins_with, refuse_foreign, replacing
from crystalnet.xrd.profile import simulate_profile
from crystalnet.xrd.radiation import parse_wavelength

PROFILE_HEAD, LINES_HEAD = "# simulated from", "# lines of"  # what a pattern of ours begins with


def density_file(structure: Path, grid: int, cell: str, out: Path | None) -> str:
    """Write the promolecule of a structure file (.npz, .cube or CHGCAR); returns a line about it."""
    from crystalnet.report import refuse_foreign_density, write_density

    if cell not in ("primitive", "as-given"):
        raise InputError(f"--cell {cell!r}: choose primitive or as-given")
    path = out or Path(structure.stem + ".npz")
    refuse_foreign_density(path, structure)
    crystal = read_structure(structure)
    if cell == "primitive":
        crystal = standard_primitive(crystal)
    density = DensityGrid(promolecule(crystal, grid), crystal.lattice.matrix)
    write_density(density, AtomSites.from_structure(crystal), path)
    electrons = density.values.sum() * crystal.volume / grid**3
    return f"{path}: {grid}³ points, {electrons:.2f} valence electrons in {crystal.volume:.3f} Å³"


def simulated_file(structure: Path, wavelength: str, measured_like: bool, seed: int, out: Path | None) -> str:
    """The pattern of a structure file as text: a profile, or a table of lines; written to `out` where given."""
    radiation = parse_wavelength(wavelength, exact=True)
    if out is not None:
        refuse_foreign(out, begins_with(PROFILE_HEAD, LINES_HEAD), reads=structure)
    sites = AtomSites.from_structure(read_structure(structure))
    if measured_like:
        profile = simulate_profile(sites, radiation, measured_like=True, seed=seed)
        head = [f"{PROFILE_HEAD} {structure.name}, seed {seed}, {wavelength}", "# two_theta(deg) intensity(counts)"]
        rows = [f"{x:.4f} {y:.2f}" for x, y in zip(profile.two_theta, profile.intensity, strict=True)]
    else:
        numbers = np.array([ATOMIC_NUMBER[s] for s in sites.species])
        lines = reflections(sites.lattice, sites.frac_coords, numbers, radiation.wavelength, 179.9)
        strength = 100 * lines.intensity / lines.intensity.max()
        head = [f"{LINES_HEAD} {structure.name} at {radiation.wavelength} Å", "# two_theta(deg) intensity d(Å) h k l"]
        rows = [
            f"{x:.4f} {y:.4f} {d:.5f} {h} {k} {m}"
            for x, y, d, (h, k, m) in zip(lines.two_theta, strength, lines.d_spacing, lines.hkl, strict=True)
        ]
    text = "\n".join(head + rows) + "\n"
    if out is None:
        return text
    with replacing(out) as partial:
        partial.write_text(text)
    return f"{out}: {len(rows)} {'points' if measured_like else 'lines'}"

"""`crystalnet simulate`: the pattern of a known structure."""

from __future__ import annotations

from pathlib import Path

from crystalnet.crystal.elements import atomic_numbers
from crystalnet.data.structure_files import read_structure
from crystalnet.ops.reflections import reflections
from crystalnet.records import AtomSites
from crystalnet.runtime.whole_file import begins_with, refuse_foreign, replacing
from crystalnet.xrd.profile import simulate_profile
from crystalnet.xrd.radiation import parse_wavelength

PROFILE_HEAD, LINES_HEAD = "# simulated from", "# lines of"  # what a pattern of ours begins with


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
        numbers = atomic_numbers(sites.species)
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

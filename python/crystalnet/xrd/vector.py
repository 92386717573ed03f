"""The pattern vector: 1024 bins of 180/1024° at Mo Kα 0.711 Å, each the strongest line in it, highest = 1.

Of a known crystal it is calculated (`crystalnet.ops.powder_pattern`); of a measured pattern it is converted line by
line, and a mask says which bins were observed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crystalnet.elements import ATOMIC_NUMBER
from crystalnet.records import Peaks
from crystalnet.xrd.profile import polarisation_ratio

if TYPE_CHECKING:
    from pymatgen.core import Structure

MO_KA = 0.711  # Å (paper, Methods)
N_BINS = 1024


def pattern_vector(structure: Structure) -> np.ndarray:
    """(1024,) float64 of an ordered pymatgen Structure; equals `XRDCalculator(wavelength=0.711, symprec=0)`, binned."""
    import torch

    from crystalnet.ops.powder_pattern import powder_pattern

    numbers = [ATOMIC_NUMBER[site.specie.symbol] for site in structure]
    return powder_pattern(
        torch.tensor(structure.lattice.matrix)[None],
        torch.tensor([0, len(numbers)]),
        torch.tensor(structure.frac_coords),
        torch.tensor(numbers),
    )[0].numpy()


def lorentz_polarisation(two_theta: np.ndarray) -> np.ndarray:
    """(1 + cos²2θ) / (sin²θ cosθ) of an unpolarised source."""
    theta = np.deg2rad(two_theta) / 2
    return (1 + np.cos(2 * theta) ** 2) / (np.sin(theta) ** 2 * np.cos(theta))


def observed_vector(peaks: Peaks, zero_shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Pattern vector and mask, (1024,) float32 each, of measured lines.

    d of each line comes from its own wavelength after the zero shift (degrees, as in `Cell`); its area is taken from
    the source's Lorentz-polarisation to Mo Kα's. Lines that Mo Kα cannot reach (d < 0.356 Å) are left out.
    """
    wavelength = peaks.radiation.wavelength
    two_theta = peaks.two_theta - zero_shift
    d = wavelength / (2 * np.sin(np.deg2rad(two_theta) / 2))
    reachable = (d > MO_KA / 2 * 1.0001) & (two_theta > 0)
    d, two_theta, area = d[reachable], two_theta[reachable], peaks.area[reachable]
    at_mo = 2 * np.rad2deg(np.arcsin(MO_KA / (2 * d)))
    source = lorentz_polarisation(two_theta) * polarisation_ratio(two_theta, peaks.radiation)
    factor = lorentz_polarisation(at_mo) / source
    vector = np.zeros(N_BINS, dtype=np.float32)
    np.maximum.at(vector, (at_mo / 180 * N_BINS).astype(int), np.maximum(area * factor, 0))
    if vector.max() > 0:
        vector /= vector.max()

    centre = np.deg2rad((np.arange(N_BINS) + 0.5) * 180 / N_BINS)
    bin_d = MO_KA / (2 * np.sin(centre / 2))
    shortest = wavelength / (2 * np.sin(np.deg2rad(min(peaks.two_theta_max, 179.9)) / 2))
    longest = wavelength / (2 * np.sin(np.deg2rad(max(peaks.two_theta_min, 0.05)) / 2))
    mask = ((bin_d >= shortest) & (bin_d <= longest)).astype(np.float32)
    return vector, np.maximum(mask, vector > 0).astype(np.float32)

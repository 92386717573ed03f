"""The pattern vector: 1024 bins of 180/1024° at Mo Kα 0.711 Å, each the strongest line in it, highest = 1.

Of a known crystal it is calculated (`crystalnet.ops.powder_pattern`); of a measured pattern it is converted line by
line, and a mask says which bins were observed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crystalnet.bragg import (
    BIN,
    MO_KA,
    N_BINS,
    bin_of,
    bragg_angle,
    d_of_two_theta,
    lorentz_polarisation,
    polarisation_ratio,
    sine_of_d,
)
from crystalnet.crystal.elements import atomic_numbers
from crystalnet.records import Peaks

if TYPE_CHECKING:
    from pymatgen.core import Structure


def pattern_vector(structure: Structure) -> np.ndarray:
    """(1024,) float64 of an ordered pymatgen Structure; equals `XRDCalculator(wavelength=0.711, symprec=0)`, binned.

    >>> from pymatgen.core import Lattice, Structure
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> vector = pattern_vector(salt)
    >>> (vector > 0.5).nonzero()[0].tolist()  # bins of (200) at 14.5° and (220) at 20.5°
    [82, 116]
    """
    import torch

    from crystalnet.ops.powder_pattern import powder_pattern

    numbers = atomic_numbers([site.specie.symbol for site in structure])
    vectors = powder_pattern(
        torch.tensor(structure.lattice.matrix)[None],
        torch.tensor([0, len(numbers)]),
        torch.tensor(structure.frac_coords),
        torch.tensor(numbers),
    )
    vector: np.ndarray = vectors[0].numpy()
    return vector


def observed_vector(peaks: Peaks, zero_shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Pattern vector of measured lines, and which of its bins were observed.

    Parameters
    ----------
    peaks : Peaks
    zero_shift : float
        Degrees, as in `Cell`.

    Returns
    -------
    vector : ndarray, shape (1024,), float32
        The area of each line is taken from the source's Lorentz-polarisation to Mo Kα's. Lines that Mo Kα cannot
        reach (d < 0.356 Å) are left out.
    mask : ndarray, shape (1024,), float32
        1 where a line would have been seen.
    """
    wavelength = peaks.radiation.wavelength
    two_theta = peaks.two_theta - zero_shift
    d = d_of_two_theta(two_theta, wavelength)
    reachable = (d > MO_KA / 2 * 1.0001) & (two_theta > 0)
    d, two_theta, area = d[reachable], two_theta[reachable], peaks.area[reachable]
    theta, theta_mo = np.deg2rad(two_theta) / 2, bragg_angle(sine_of_d(d, MO_KA))
    at_source = lorentz_polarisation(np.sin(theta), np.cos(theta)) * polarisation_ratio(two_theta, peaks.radiation)
    factor = lorentz_polarisation(np.sin(theta_mo), np.cos(theta_mo)) / at_source
    vector = np.zeros(N_BINS, dtype=np.float32)
    bins = bin_of(2 * np.rad2deg(theta_mo))
    np.maximum.at(vector, bins, np.maximum(area * factor, 0))
    if vector.max() > 0:
        vector /= vector.max()

    bin_d = d_of_two_theta((np.arange(N_BINS) + 0.5) * BIN, MO_KA)
    shortest = d_of_two_theta(min(peaks.two_theta_max, 179.9), wavelength)
    longest = d_of_two_theta(max(peaks.two_theta_min, 0.05), wavelength)
    mask = ((bin_d >= shortest) & (bin_d <= longest)).astype(np.float32)
    return vector, np.maximum(mask, vector > 0).astype(np.float32)

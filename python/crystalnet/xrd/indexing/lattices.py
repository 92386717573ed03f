"""The Bravais lattices in the order of the kernel's table, and cells as the kernel has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crystalnet.bragg import inverse_d_squared, two_theta_of_inverse_d
from crystalnet.crystal.lattice import Cell, edges_and_angles
from crystalnet.crystal.systems import system_named
from crystalnet.ops.index_cells import CELL, LATTICE_ROWS
from crystalnet.records import Peaks


@dataclass(frozen=True)
class Lattice:
    """One Bravais lattice."""

    system: str
    centring: str

    @property
    def free(self) -> int:
        """Number of metric parameters that the lattice leaves free."""
        return len(system_named(self.system).free)

    @property
    def lattice_system(self) -> str:
        """Its name among the seven: primitive lattices on hexagonal axes are hexagonal, rhombohedral ones trigonal."""
        return "hexagonal" if (self.system, self.centring) == ("trigonal", "P") else self.system


#: "trigonal" P is any primitive lattice on hexagonal axes.
LATTICES = tuple(Lattice(system, centring) for system, centring, _ in LATTICE_ROWS)
_ROWS = {(lattice.system, lattice.centring): row for row, lattice in enumerate(LATTICES)}
#: Places of A … F in the reciprocal metric tensor.
_PLACES = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


def row_of(system: str, centring: str) -> int:
    """The kernel's number of a lattice type."""
    return _ROWS[system, centring]


def chosen(systems: Sequence[str]) -> np.ndarray:
    """(rows,) bool: the lattice types of crystal systems, those of hexagonal crystals with "hexagonal" too."""
    names = {lattice for name in systems for lattice in _lattices_of(name)}
    return np.array([(row.system, row.centring) in names for row in LATTICES])


def _lattices_of(system: str) -> list[tuple[str, str]]:
    if system == "hexagonal":
        return [("trigonal", "P")]
    return [(row.system, row.centring) for row in LATTICES if row.system == system]


def metric_of(metric_tensor: np.ndarray) -> np.ndarray:
    """(6,) A … F of Q(hkl), 1/Å², from the scalar products (3, 3) of the axes, Å²."""
    reciprocal = np.linalg.inv(metric_tensor)
    return np.array([reciprocal[place] * (1 if place[0] == place[1] else 2) for place in _PLACES])


def reciprocal_tensor(metric: np.ndarray) -> np.ndarray:
    """(3, 3) 1/Å² from A … F."""
    tensor = np.zeros((3, 3))
    for value, (i, j) in zip(metric, _PLACES, strict=True):
        tensor[i, j] = tensor[j, i] = value if i == j else value / 2
    return tensor


def axes_of(metric: np.ndarray) -> np.ndarray:
    """(3, 3) conventional axes in Å as rows, in an orientation of their own."""
    return np.asarray(np.linalg.cholesky(np.linalg.inv(reciprocal_tensor(metric))))


def cell_of(state: np.void, n_lines: int = 0) -> Cell:
    """The Cell of a `CELL`."""
    lattice = LATTICES[int(state["lattice"])]
    a, b, c, alpha, beta, gamma = edges_and_angles(np.linalg.inv(reciprocal_tensor(state["metric"]))).tolist()
    return Cell(
        lattice.system,
        lattice.centring,
        a=a,
        b=b,
        c=c,
        alpha=alpha,
        beta=beta,
        gamma=gamma,
        zero_shift=float(state["zero"]),
        figure_of_merit=float(state["merit"]),
        n_indexed=int(state["found"]),
        n_lines=n_lines,
    )


def state_of(cell: Cell) -> np.ndarray:
    """(1,) of `CELL`, unrated."""
    state = np.zeros(1, CELL)
    state["lattice"] = row_of(cell.system, cell.centring)
    state["metric"] = metric_of(cell.metric_tensor)
    state["zero"] = cell.zero_shift
    return state


def line_indices(cell: Cell, q_max: float) -> tuple[np.ndarray, np.ndarray]:
    """hkl (m, 3) of one of each pair ±hkl that the centring allows, and their Q (m,) in 1/Å², ascending up to q_max."""
    tensor = reciprocal_tensor(metric_of(cell.metric_tensor))
    reach = np.floor(np.sqrt(np.diag(np.linalg.inv(tensor)) * q_max)).astype(int)
    h, k, m = (x.ravel() for x in np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"))
    hkl = np.column_stack([h, k, m])
    half = (h > 0) | ((h == 0) & (k > 0)) | ((h == 0) & (k == 0) & (m > 0))
    allowed = {
        "P": h == h,
        "A": (k + m) % 2 == 0,
        "C": (h + k) % 2 == 0,
        "I": (h + k + m) % 2 == 0,
        "F": ((h + k) % 2 == 0) & ((k + m) % 2 == 0),
        "R": (-h + k + m) % 3 == 0,
    }[cell.centring]
    hkl = hkl[half & allowed]
    q = np.einsum("ni,ij,nj->n", hkl, tensor, hkl)
    order = np.argsort(q, kind="stable")
    order = order[q[order] <= q_max]
    return hkl[order], q[order]


def line_positions(cell: Cell, peaks: Peaks) -> np.ndarray:
    """Where all lines of a cell lie in the observed range; no extinctions but the centring's.

    Returns
    -------
    ndarray, shape (n,)
        2θ in degrees, ascending.
    """
    wavelength = peaks.radiation.wavelength
    _, q = line_indices(cell, inverse_d_squared(peaks.two_theta_max - cell.zero_shift, wavelength))
    distinct = q[np.diff(q, prepend=0.0) > 1e-7 * q]
    positions: np.ndarray = two_theta_of_inverse_d(np.sqrt(distinct), wavelength) + cell.zero_shift
    return positions[positions > peaks.two_theta_min]

"""Cells and lattices: nearest images, metric, holohedry."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np

from crystalnet.crystal.systems import system_named

TRANSLATION_STEPS = 24  # of operations and shifts between settings: multiples of 1/24 from a standard origin
METRIC_STEPS = 1e9  # of a metric tensor, relative to its largest length: fine enough for the edges of a tall cell


#: Rows: primitive axes in units of the conventional ones, pymatgen's standard settings (R: obverse).
PRIMITIVE_AXES = {
    "P": np.eye(3),
    "R": np.array([[2.0, 1, 1], [-1, 1, 1], [-1, -2, 1]]) / 3,
    "I": np.array([[-1.0, 1, 1], [1, -1, 1], [1, 1, -1]]) / 2,
    "F": np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2,
    "A": np.array([[2.0, 0, 0], [0, 1, -1], [0, 1, 1]]) / 2,
    "C": np.array([[1.0, 1, 0], [-1, 1, 0], [0, 0, 2]]) / 2,
}


@dataclass(frozen=True)
class Cell:
    """A cell on conventional axes (hexagonal ones for trigonal and hexagonal lattices), with how well it was indexed.

    The system's free parameters are given; the others follow from them whatever is given for them, so that
    `dataclasses.replace(cell, a=...)` of a cubic cell moves b and c along.

    Attributes
    ----------
    system : str
        A name of `crystalnet.crystal.systems`; "trigonal" as indexed is any lattice on hexagonal axes.
    centring : str
        P, I, F, A, C, or R (obverse setting).
    a, b, c : float
        Edges, Å.
    alpha, beta, gamma : float
        Angles, degrees.
    zero_shift : float
        Degrees, added to calculated 2θ to meet the measured one.
    figure_of_merit : float
        de Wolff's M over the indexed lines.
    n_indexed, n_lines : int
        So many of so many lines were explained.

    Raises
    ------
    ValueError
        If a free parameter is missing.

    Examples
    --------
    >>> Cell("trigonal", "R", a=4.759, c=12.993).gamma
    120.0
    """

    system: str
    centring: str
    a: float
    c: float = None  # type: ignore[assignment]  # None where it is not free: filled in
    zero_shift: float = 0.0
    figure_of_merit: float = float("nan")
    n_indexed: int = 0
    n_lines: int = 0
    b: float = None  # type: ignore[assignment]
    alpha: float = None  # type: ignore[assignment]
    beta: float = None  # type: ignore[assignment]
    gamma: float = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        given = {name: getattr(self, name) for name in ("a", "b", "c", "alpha", "beta", "gamma")}
        for name, value in system_named(self.system).parameters(given).items():
            object.__setattr__(self, name, value)

    @property
    def free(self) -> tuple[str, ...]:
        """Names of the parameters that the system leaves free: the fewer, the higher the symmetry of the metric."""
        return system_named(self.system).free

    @property
    def metric_tensor(self) -> np.ndarray:
        """(3, 3) scalar products of the conventional axes, Å²."""
        lattice = self.conventional_lattice
        return np.asarray(lattice @ lattice.T)

    def d_spacing(self, hkl: np.ndarray) -> np.ndarray:
        """(...) spacings in Å of planes hkl (..., 3), indexed on the conventional axes."""
        reciprocal = np.linalg.inv(self.metric_tensor)
        return np.asarray(1 / np.sqrt(np.einsum("...i,ij,...j->...", hkl, reciprocal, hkl)))

    @property
    def conventional_lattice(self) -> np.ndarray:
        """(3, 3) rows in Å, in pymatgen's conventional setting."""
        a, b, c = self.a, self.b, self.c
        if system_named(self.system).gamma == 120:
            return np.array([[a / 2, -a * np.sqrt(3) / 2, 0], [a / 2, a * np.sqrt(3) / 2, 0], [0, 0, c]])
        if self.alpha == self.beta == self.gamma == 90:
            return np.diag([a, b, c])
        return axes_of(a, b, c, self.alpha, self.beta, self.gamma)

    @property
    def primitive_lattice(self) -> np.ndarray:
        """(3, 3) rows in Å: pymatgen's standard primitive axes of the centring."""
        if self.centring == "R":
            return _rhombohedral_axes(self.a, self.c)
        return np.asarray(PRIMITIVE_AXES[self.centring] @ self.conventional_lattice)

    @property
    def primitive_volume(self) -> float:
        """Å³."""
        return float(abs(np.linalg.det(self.primitive_lattice)))


def axes_of(a: float, b: float, c: float, alpha: float, beta: float, gamma: float) -> np.ndarray:
    """(3, 3) axes as rows, Å, of a cell: c along z, a in the xz plane, so that b of a monoclinic cell is along y."""
    cos_alpha, cos_beta, cos_gamma = np.cos(np.radians([alpha, beta, gamma]))
    sin_beta = np.sin(np.radians(beta))
    across = (cos_gamma - cos_alpha * cos_beta) / sin_beta
    upright = np.sqrt(1 - cos_alpha**2 - across**2)
    return np.array(
        [
            [a * sin_beta, 0, a * cos_beta],
            [b * across, b * upright, b * cos_alpha],
            [0, 0, c],
        ]
    )


def _rhombohedral_axes(a: float, c: float) -> np.ndarray:
    """(3, 3) primitive axes of an R lattice with a, c on hexagonal axes, Å."""
    edge = np.sqrt(a * a / 3 + c * c / 9)
    alpha = 2 * np.arcsin(3 / (2 * np.sqrt(3 + (c / a) ** 2)))
    half = alpha / 2
    last = edge * np.cos(alpha) / np.cos(half)
    return np.array(
        [
            [edge * np.cos(half), -edge * np.sin(half), 0],
            [edge * np.cos(half), edge * np.sin(half), 0],
            [last, 0, edge * np.sqrt(1 - (np.cos(alpha) / np.cos(half)) ** 2)],
        ]
    )


def nearest_image(difference: np.ndarray) -> np.ndarray:
    """Fractional differences (..., 3) moved into the cell around the origin, each coordinate by a whole number.

    The shortest image wherever that is shorter than half of the shortest lattice vector, however skewed the cell; of
    longer ones in a skewed cell another image may be shorter; who asks for these adds the images beside.
    """
    image: np.ndarray = difference - np.round(difference)
    return image


def image_beside(points: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Of each of points (..., 3), fractional, the image nearest to x, as `nearest_image` understands it."""
    image: np.ndarray = points - np.round(points - x)
    return image


def edges_and_angles(gram: np.ndarray) -> np.ndarray:
    """(6,) a, b, c in Å and α, β, γ in degrees of axes whose products are the Gram matrix (3, 3)."""
    edges = np.sqrt(np.diag(gram))
    cosines = (gram / np.outer(edges, edges))[[1, 0, 0], [2, 2, 1]]
    return np.concatenate([edges, np.degrees(np.arccos(np.clip(cosines, -1, 1)))])


def periodic_distances(x: np.ndarray, y: np.ndarray, lattice: np.ndarray) -> np.ndarray:
    """(len(x), len(y)) Å between points at fractional coordinates, of nearest images."""
    lengths: np.ndarray = np.linalg.norm(nearest_image(x[:, None] - y[None]) @ lattice, axis=-1)
    return lengths


def one_of_each(points: np.ndarray, lattice: np.ndarray, tolerance: float) -> np.ndarray:
    """Indices of points (m, 3), the first of those that fall together within the tolerance (Å), cells apart or not."""
    together = periodic_distances(points, points, lattice) < tolerance
    return np.flatnonzero(together.argmax(axis=1) == np.arange(len(points)))


def on_special_position(x: np.ndarray, images: np.ndarray, lattice: np.ndarray, tolerance: float) -> np.ndarray:
    """A point x (3,) moved to the mean of its images (m, 3) that fall together with it within the tolerance (Å)."""
    apart = nearest_image(images - x)
    return np.asarray(x + apart[np.linalg.norm(apart @ lattice, axis=1) < tolerance].mean(axis=0))


def holohedry(lattice: np.ndarray, tolerance: float = 1e-3) -> np.ndarray:
    """Integer matrices that preserve the metric of a lattice: (m, 3, 3); they act on fractional columns, x' = P x.

    lattice (3, 3) Å rows. tolerance relative to the edges that a length or a product is of. 48 for cubic lattices,
    12 for rhombohedral, 24 for hexagonal ones.
    """
    metric = lattice @ lattice.T
    # Whatever its size, a lattice of one shape is worked out once.
    shape = np.round(metric / np.diag(metric).max() * METRIC_STEPS).astype(np.int64)
    return _holohedry_of(shape.tobytes(), tolerance)


@lru_cache(maxsize=256)
def _holohedry_of(shape: bytes, tolerance: float) -> np.ndarray:
    metric = np.frombuffer(shape, dtype=np.int64).reshape(3, 3) / METRIC_STEPS
    vectors = np.array(list(product((-2, -1, 0, 1, 2), repeat=3)))
    lengths = np.einsum("ni,ij,nj->n", vectors, metric, vectors)
    edges = np.sqrt(np.diag(metric))
    slack = tolerance * np.outer(edges, edges)
    columns = [vectors[np.abs(lengths - metric[i, i]) < slack[i, i]] for i in range(3)]
    found = []
    for a, b in product(columns[0], columns[1]):
        if abs(a @ metric @ b - metric[0, 1]) > slack[0, 1]:
            continue
        for c in columns[2]:
            if abs(a @ metric @ c - metric[0, 2]) < slack[0, 2] and abs(b @ metric @ c - metric[1, 2]) < slack[1, 2]:
                found.append(np.column_stack([a, b, c]))
    return np.array(found)

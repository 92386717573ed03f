"""A picture of a density and its atoms: a ray through each pixel, parallel projection."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from crystalnet.records import AtomSites, DensityGrid
from crystalnet.report.view import drawn_atoms

PIXELS = 256  # a side; about the dots a picture gets in the figure
STEPS = 44  # samples a ray inside the cell; crossings are interpolated between them
LIGHT = np.array([0.3, 0.4, 0.87])  # right, up, to the viewer; a unit vector
SHEER = 0.45  # opacity of the outer surface


def camera(toward: np.ndarray, up: np.ndarray) -> np.ndarray:
    """The axes of a picture, (3, 3) rows right, up, to the viewer, from Cartesian vectors to the viewer and upwards."""
    depth = toward / np.linalg.norm(toward)
    right = np.cross(up, depth)
    right /= np.linalg.norm(right)
    return np.array([right, np.cross(depth, right), depth])


def render(
    grid: DensityGrid,
    atoms: AtomSites,
    frame: np.ndarray,
    side: float,
    levels: tuple[float, float] | None,
    colours: Mapping[str, str],
    surface: str,
    radii: Mapping[str, float],
) -> np.ndarray:
    """A picture of a cell in parallel projection.

    Parameters
    ----------
    grid
        Density, values in e/Å³.
    atoms
        Sites in the same cell.
    frame
        (3, 3) rows right, up, to the viewer, as `camera` gives them.
    side
        Å, of the square window, which is centred on the cell.
    levels
        e/Å³ of a sheer and of a solid surface; None: atoms only.
    colours, surface
        Colours of the elements and of the surfaces.
    radii
        Å, of the atoms by element.

    Returns
    -------
    ndarray
        (PIXELS, PIXELS, 4) red, green, blue, opacity in 0 to 1, the lower row first.

    Notes
    -----
    Triangles by marching cubes, drawn by matplotlib, were tried instead: they take nearly twice as long, show seams in
    the sheer surface, and are sorted by their centres, so that atoms shine through.
    """
    picture = _Picture(frame, side, grid.lattice)
    picture.draw_atoms(atoms, colours, radii)
    if levels is not None:
        picture.draw_surfaces(grid.values, levels, surface)
    return np.dstack([picture.colour, picture.alpha])


class _Picture:
    """Colour, opacity and depth (Å towards the viewer) of every pixel of a window centred on a cell."""

    def __init__(self, frame: np.ndarray, side: float, lattice: np.ndarray) -> None:
        self.frame, self.lattice, self.pixel = frame, lattice, side / PIXELS
        self.centre = lattice.sum(axis=0) / 2
        self.ticks = (np.arange(PIXELS) + 0.5) / PIXELS * side - side / 2
        self.right, self.up = np.meshgrid(self.ticks, self.ticks)
        self.colour = np.ones((PIXELS, PIXELS, 3))
        self.depth = np.full((PIXELS, PIXELS), -np.inf)
        self.alpha = np.zeros((PIXELS, PIXELS))

    def draw_atoms(self, atoms: AtomSites, colours: Mapping[str, str], radii: Mapping[str, float]) -> None:
        """Balls, where they are nearer than what is drawn."""
        from matplotlib.colors import to_rgb

        symbols, coords = drawn_atoms(atoms)
        for symbol, xyz in zip(symbols, (coords @ self.lattice - self.centre) @ self.frame.T, strict=True):
            radius = radii[symbol]
            reach = radius + self.pixel
            rows, columns = (slice(*np.searchsorted(self.ticks, (v - reach, v + reach))) for v in (xyz[1], xyz[0]))
            across, along = self.right[rows, columns] - xyz[0], self.up[rows, columns] - xyz[1]
            height = np.sqrt(np.clip(radius**2 - across**2 - along**2, 0, None))
            cover = np.clip((radius - np.hypot(across, along)) / self.pixel + 0.5, 0, 1)  # smooth outlines
            nearer = (cover > 0) & (xyz[2] + height > self.depth[rows, columns])
            self.depth[rows, columns][nearer] = xyz[2] + height[nearer]
            normal = np.stack([across, along, height], axis=-1)[nearer] / radius
            part = cover[nearer][:, None]
            ball = _lit(np.array(to_rgb(colours[symbol])), normal)
            self.colour[rows, columns][nearer] = part * ball + (1 - part) * self.colour[rows, columns][nearer]
        self.alpha[np.isfinite(self.depth)] = 1.0

    def draw_surfaces(self, density: np.ndarray, levels: tuple[float, float], surface: str) -> None:
        """The solid surface, then the sheer one over it, where they are nearer than what is drawn.

        A ray is a line x = start + t·step in fractional coordinates; it is in the cell where 0 ≤ x ≤ 1.
        """
        from matplotlib.colors import to_rgb

        inverse = np.linalg.inv(self.lattice)
        window = np.stack([self.right, self.up, np.zeros_like(self.up)], axis=-1)
        start = (window @ self.frame + self.centre) @ inverse
        step = self.frame[2] @ inverse
        safe = np.where(np.abs(step) < 1e-9, 1e-9, step)
        walls = np.stack([-start / safe, (1 - start) / safe])
        near, far = walls.max(axis=0).min(axis=-1), walls.min(axis=0).max(axis=-1)
        hit = near > far
        start, near, far = start[hit], near[hit], far[hit]
        entered = np.argmin(walls.max(axis=0), axis=-1)[hit]  # through which of the three walls
        # Cube roots are nearly linear between samples where a density falls off steeply.
        field = np.cbrt(np.clip(np.pad(density, (0, 1), mode="wrap"), 0, None)).astype(np.float32)
        share = np.linspace(0, 1, STEPS)
        t = near[:, None] * (1 - share) + far[:, None] * share
        sampled = _sampled(field, start[:, None, :] + t[..., None] * step)
        slope = np.stack(np.gradient(field), axis=0)
        base = np.array(to_rgb(surface))
        for level, opacity in zip(levels[::-1], (1.0, SHEER), strict=True):
            inside = sampled >= np.cbrt(level)
            first = inside.argmax(axis=1)
            rays = np.flatnonzero(inside[np.arange(len(first)), first])
            k = first[rays]
            before, at = sampled[rays, np.maximum(k - 1, 0)], sampled[rays, k]
            back = np.where(k > 0, (at - np.cbrt(level)) / np.maximum(at - before, 1e-12), 0.0)
            z = t[rays, k] + back * (near[rays] - far[rays]) / (STEPS - 1)
            points = start[rays] + z[:, None] * step
            normal = -np.stack([_sampled(s, points) for s in slope], axis=-1) * (np.array(field.shape) - 1)
            cut = k == 0  # the cell's wall cuts the surface open: the wall's own direction
            normal[cut] = np.eye(3)[entered[rays[cut]]] * np.sign(step[entered[rays[cut]]])[:, None]
            normal = normal @ inverse.T @ self.frame.T
            normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
            row, column = (index[rays] for index in np.nonzero(hit))
            front = z > self.depth[row, column]
            where = row[front], column[front]
            shade = _lit(base if opacity == 1.0 else 1 - 0.75 * (1 - base), normal[front])
            self.colour[where] = opacity * shade + (1 - opacity) * self.colour[where]
            self.alpha[where] = 1.0
            if opacity == 1.0:
                self.depth[where] = z[front]


def _lit(colour: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Colour under one lamp, with a little gloss."""
    facing = np.clip(normal @ LIGHT, 0, 1)[:, None]
    return np.asarray(np.clip(colour * (0.45 + 0.6 * facing) + 0.25 * facing**24, 0, 1))


def _sampled(field: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Trilinear values of a map with both ends of each axis included, at fractional coordinates (..., 3)."""
    from scipy.ndimage import map_coordinates

    scale = np.array(field.shape) - 1
    flat = (points * scale).reshape(-1, 3).T
    return np.asarray(map_coordinates(field, flat, order=1, mode="nearest")).reshape(points.shape[:-1])

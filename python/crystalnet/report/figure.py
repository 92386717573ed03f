"""figure.png: the pattern and its fit, the density seen from three directions, the structure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crystalnet.records import DensityGrid, Solution
from crystalnet.report.render import camera, render
from crystalnet.report.view import (
    ACCENT,
    DIFFERENCE,
    INK,
    MUTED,
    SURFACE,
    TICKS,
    View,
    cell_edges,
    drawn_points,
    element_colours,
    level_holding,
    redrawn,
    symbol_parts,
)
from crystalnet.runtime.pool import Map

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


STRUCTURE = "structure"  # title of the picture without surfaces
SHARES = (0.75, 0.4)  # of the electrons inside the sheer and the solid surface
PATTERN_POINTS = 6000  # more than the dots across the figure
POINTS = 64_000  # of the density's grid as drawn; more shows nothing at this size


@dataclass(frozen=True)
class Scene:
    """A direction from which the first candidate is seen, and its picture."""

    title: str
    frame: np.ndarray  # (3, 3) as `camera` gives it
    side: float  # Å, of the window
    pixels: np.ndarray  # (PIXELS, PIXELS, 4) as `render` gives it; () before


def draw_scenes(solution: Solution, views: Sequence[View], mapped: Map = map) -> list[Scene]:
    """The pictures of the first candidate's density and atoms, which several processes may share.

    Parameters
    ----------
    solution
        What `solve` found.
    views
        Its candidates ready to be drawn, the best first.
    mapped
        The built-in map, or one over several processes (`pool.helped`).

    Returns
    -------
    list of Scene
        Empty where there is no candidate.
    """
    if not views:
        return []
    best, grid, levels = views[0], *_drawn_density(views[0])
    colours = element_colours(solution.candidates)
    radii = {symbol: _radius(symbol) for symbol in set(best.atoms.species)}
    tilt = ((1.0, 0.45, 0.35), (0, 0, 1))
    seen = [("along [" + "".join(map(str, toward)) + "]", toward, up, 0.22) for toward, up in _directions(grid.lattice)]
    seen += [(STRUCTURE, *tilt, 0.4)] if len(best.atoms) else []
    edges = cell_edges(grid.lattice) - grid.lattice.sum(axis=0) / 2
    scenes, calls = [], []
    for title, toward, up, ball in seen:
        frame = camera(np.array(toward) @ grid.lattice, np.array(up) @ grid.lattice)
        balls = {symbol: ball * radius for symbol, radius in radii.items()}
        side = 2 * (1.02 * float(np.abs((edges @ frame.T)[:, :, :2]).max()) + max(balls.values(), default=0.0))
        scenes.append(Scene(title, frame, side, np.zeros(0)))
        calls.append((grid, best.atoms, frame, side, None if title == STRUCTURE else levels, colours, SURFACE, balls))
    pictures = mapped(render, *zip(*calls, strict=True))
    return [replace(scene, pixels=pixels) for scene, pixels in zip(scenes, pictures, strict=True)]


def write_figure(solution: Solution, views: Sequence[View], scenes: Sequence[Scene], path: Path) -> None:
    """Write figure.png: the best candidate, or only the pattern and its lines where there is none.

    Parameters
    ----------
    solution
        What `solve` found.
    views
        Its candidates ready to be drawn, the best first.
    scenes
        As `draw_scenes` gives them.
    path
        A PNG file.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6.9 if views else 3.6), dpi=150, facecolor="white")
    if views:
        _pattern(figure.add_axes((0.075, 0.5, 0.91, 0.455)), solution, views[0])
        _density(figure, solution, views[0], scenes)
    else:
        _pattern(figure.add_axes((0.075, 0.14, 0.91, 0.76)), solution, None)
    figure.savefig(path, format="png")


def _pattern(axes: Axes, solution: Solution, best: View | None) -> None:
    pattern = solution.pattern
    shown = drawn_points(pattern.intensity, PATTERN_POINTS)
    two_theta, intensity = pattern.two_theta[shown], pattern.intensity[shown]
    axes.plot(two_theta, intensity, ".-", ms=2.2, lw=0.3, color="#39434d", label="measured")
    top = float(np.nanmax(pattern.intensity, initial=0.0)) or 1.0
    ticks, colour, label = solution.peaks.two_theta, DIFFERENCE, "lines found in the pattern"
    title = Path(pattern.file).name if pattern.file else "powder pattern"
    if best:
        candidate, fit = best.candidate, best.candidate.fit
        ticks, colour, label = fit.hkl_two_theta, TICKS, "allowed reflections"
        if len(fit.calculated):
            axes.plot(two_theta, fit.calculated[shown], lw=1.0, color=ACCENT, label="calculated")
            difference = intensity - fit.calculated[shown]
            offset = -0.12 * top - float(np.nanmax(difference, initial=0.0))
            axes.axhline(offset, lw=0.5, color=MUTED)
            axes.plot(two_theta, difference + offset, lw=0.7, color=DIFFERENCE, label="difference")
        rwp = f", $R_{{wp}}$ = {100 * fit.rwp:.1f} %" if np.isfinite(fit.rwp) else ""
        title += f": {formula_label(candidate.formula)}, {_symbol(candidate.space_group_symbol)}{rwp}"
    axes.plot(ticks, np.full(len(ticks), -0.06 * top), "|", ms=6, mew=0.8, color=colour, label=label)
    axes.set(xlabel="2θ / degrees", ylabel="intensity", xlim=(pattern.two_theta[0], pattern.two_theta[-1]))
    axes.set_yticks([tick for tick in axes.get_yticks() if 0 <= tick <= 1.05 * top])  # the difference has its own zero
    axes.set_title(title, fontsize=11, color=INK, loc="left")
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="upper right", ncols=4)


def _density(figure: Figure, solution: Solution, best: View, scenes: Sequence[Scene]) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.lines import Line2D

    colours = element_colours(solution.candidates)
    grid, levels = _drawn_density(best)
    edges = cell_edges(grid.lattice) - grid.lattice.sum(axis=0) / 2
    for column, scene in enumerate(scenes):
        axes = figure.add_axes((0.02 + 0.243 * column, 0.06, 0.236, 0.342))
        half = scene.side / 2
        axes.imshow(scene.pixels, origin="lower", extent=(-half, half, -half, half), interpolation="bilinear")
        lines = list((edges @ scene.frame.T)[:, :, :2])
        axes.add_collection(
            LineCollection(lines, colors=MUTED, linewidths=0.7, zorder=0 if scene.title == STRUCTURE else 2)
        )
        axes.text(0.5, 1.0, scene.title, transform=axes.transAxes, ha="center", va="bottom", fontsize=9, color=INK)
        axes.axis("off")
    handles = [
        Line2D([], [], marker="o", ls="", ms=7, color=colours[e], label="X (unexplained)" if e == "X" else e)
        for e in sorted(set(best.atoms.species))
    ]
    figure.legend(handles=handles, fontsize=8.5, frameon=False, loc="lower right", ncols=6, bbox_to_anchor=(0.99, 0.0))
    surfaces = [
        f"{level:.3g} e/Å³ ({100 * share:.0f} % of the electrons)" for level, share in zip(levels, SHARES, strict=True)
    ]
    text = "Valence density (DFT sense); surfaces at " + " and ".join(surfaces)
    figure.text(0.02, 0.018, text, fontsize=8.5, color=INK)


def _drawn_density(best: View) -> tuple[DensityGrid, tuple[float, float]]:
    """The density on the points drawn, and the levels of its sheer and its solid surface."""
    grid = DensityGrid(redrawn(best.grid, POINTS), best.grid.lattice)
    return grid, (level_holding(grid.values, SHARES[0]), level_holding(grid.values, SHARES[1]))


def _directions(lattice: np.ndarray) -> list[tuple[tuple[float, ...], tuple[float, ...]]]:
    """Three directions to the viewer with what points up: of a cube, or down c and from two sides of hexagonal axes."""
    if abs(lattice[0] @ lattice[1]) < 1e-3 * np.linalg.norm(lattice[0]) ** 2:
        return [((1, 0, 0), (0, 0, 1)), ((1, 1, 0), (0, 0, 1)), ((1, 1, 1), (0, 0, 1))]
    return [((0, 0, 1), (1, 2, 0)), ((1, 0, 0), (0, 0, 1)), ((2, 1, 0), (0, 0, 1))]


def _radius(symbol: str) -> float:
    """Å; pymatgen's atomic radius, 1.4 where it has none."""
    from pymatgen.core.periodic_table import Element

    return float((None if symbol == "X" else Element(symbol).atomic_radius) or 1.4)


def formula_label(formula: str) -> str:
    """A formula with its numbers below the line, as matplotlib writes it."""
    return "".join(f"$_{{{c}}}$" if c.isdigit() or c == "." else c for c in formula)


def _symbol(symbol: str) -> str:
    wrap = {"bar": r"\bar{%s}", "sub": "_{%s}", "text": "%s"}
    return "$" + "".join(wrap[kind] % text for kind, text in symbol_parts(symbol)) + "$"

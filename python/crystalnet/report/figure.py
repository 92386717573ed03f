"""figure.png: the pattern and its fit, the density seen from three directions, the structure."""

from __future__ import annotations

from collections.abc import Sequence
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

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


SHARES = (0.75, 0.4)  # of the electrons inside the sheer and the solid surface
PATTERN_POINTS = 6000  # more than the dots across the figure
POINTS = 64_000  # of the density's grid as drawn; more shows nothing at this size


def write_figure(solution: Solution, views: Sequence[View], path: Path) -> None:
    """Write figure.png: the best candidate, or only the pattern and its lines where there is none.

    Parameters
    ----------
    solution
        What `solve` found.
    views
        Its candidates ready to be drawn, the best first.
    path
        A PNG file.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6.9 if views else 3.6), dpi=150, facecolor="white")
    if views:
        _pattern(figure.add_axes((0.075, 0.5, 0.91, 0.455)), solution, views[0])
        _density(figure, solution, views[0])
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
        title += f": {_formula(candidate.formula)}, {_symbol(candidate.space_group_symbol)}{rwp}"
    axes.plot(ticks, np.full(len(ticks), -0.06 * top), "|", ms=6, mew=0.8, color=colour, label=label)
    axes.set(xlabel="2θ / degrees", ylabel="intensity", xlim=(pattern.two_theta[0], pattern.two_theta[-1]))
    axes.set_yticks([tick for tick in axes.get_yticks() if 0 <= tick <= 1.05 * top])  # the difference has its own zero
    axes.set_title(title, fontsize=11, color=INK, loc="left")
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="upper right", ncols=4)


def _density(figure: Figure, solution: Solution, best: View) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.lines import Line2D

    colours = element_colours(solution.candidates)
    grid = DensityGrid(redrawn(best.grid, POINTS), best.grid.lattice)
    levels = level_holding(grid.values, SHARES[0]), level_holding(grid.values, SHARES[1])
    radii = {symbol: _radius(symbol) for symbol in set(best.atoms.species)}
    tilt = ((1.0, 0.45, 0.35), (0, 0, 1))
    scenes = [("along [" + "".join(map(str, seen)) + "]", seen, up, 0.22) for seen, up in _directions(grid.lattice)]
    scenes += [("structure", *tilt, 0.4)] if len(best.atoms) else []
    edges = cell_edges(grid.lattice) - grid.lattice.sum(axis=0) / 2
    frames = [camera(np.array(seen) @ grid.lattice, np.array(up) @ grid.lattice) for _, seen, up, _ in scenes]
    for column, ((title, _, _, ball), frame) in enumerate(zip(scenes, frames, strict=True)):
        axes = figure.add_axes((0.02 + 0.243 * column, 0.06, 0.236, 0.342))
        balls = {symbol: ball * radius for symbol, radius in radii.items()}
        shown = None if title == "structure" else levels
        lines = (edges @ frame.T)[:, :, :2]
        side = 2 * (1.02 * float(np.abs(lines).max()) + max(balls.values(), default=0.0))
        picture = render(grid, best.atoms, frame, side, shown, colours, SURFACE, balls)
        half = side / 2
        axes.imshow(picture, origin="lower", extent=(-half, half, -half, half), interpolation="bilinear")
        axes.add_collection(LineCollection(list(lines), colors=MUTED, linewidths=0.7, zorder=2 if shown else 0))
        axes.text(0.5, 1.0, title, transform=axes.transAxes, ha="center", va="bottom", fontsize=9, color=INK)
        axes.axis("off")
    handles = [
        Line2D([], [], marker="o", ls="", ms=7, color=colours[e], label="X (unexplained)" if e == "X" else e)
        for e in sorted(radii)
    ]
    figure.legend(handles=handles, fontsize=8.5, frameon=False, loc="lower right", ncols=6, bbox_to_anchor=(0.99, 0.0))
    surfaces = [
        f"{level:.3g} e/Å³ ({100 * share:.0f} % of the electrons)" for level, share in zip(levels, SHARES, strict=True)
    ]
    text = "Valence density (DFT sense); surfaces at " + " and ".join(surfaces)
    figure.text(0.02, 0.018, text, fontsize=8.5, color=INK)


def _directions(lattice: np.ndarray) -> list[tuple[tuple[float, ...], tuple[float, ...]]]:
    """Three directions to the viewer with what points up: of a cube, or down c and from two sides of hexagonal axes."""
    if abs(lattice[0] @ lattice[1]) < 1e-3 * np.linalg.norm(lattice[0]) ** 2:
        return [((1, 0, 0), (0, 0, 1)), ((1, 1, 0), (0, 0, 1)), ((1, 1, 1), (0, 0, 1))]
    return [((0, 0, 1), (1, 2, 0)), ((1, 0, 0), (0, 0, 1)), ((2, 1, 0), (0, 0, 1))]


def _radius(symbol: str) -> float:
    """Å; pymatgen's atomic radius, 1.4 where it has none."""
    from pymatgen.core.periodic_table import Element

    return float((None if symbol == "X" else Element(symbol).atomic_radius) or 1.4)


def _formula(formula: str) -> str:
    return "".join(f"$_{{{c}}}$" if c.isdigit() or c == "." else c for c in formula)


def _symbol(symbol: str) -> str:
    wrap = {"bar": r"\bar{%s}", "sub": "_{%s}", "text": "%s"}
    return "$" + "".join(wrap[kind] % text for kind, text in symbol_parts(symbol)) + "$"

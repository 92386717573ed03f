"""The paper's figures 2–5 of an evaluated set: densities of truth and guesses, the crystals chosen by rule.

A density is drawn as the paper draws it: fractional coordinates on a cube (CMED), whatever the cell. Guesses are
aligned with the truth as in protocol `ranked`, and drawn at the truth's two levels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crystalnet.crystal.lattice import Cell, holohedry
from crystalnet.evaluation.evaluate import Evaluation, Progress
from crystalnet.evaluation.metrics import aligned, map_scores
from crystalnet.evaluation.options import GIVEN
from crystalnet.evaluation.paper_tables import ROW_NAMES
from crystalnet.evaluation.question import Question
from crystalnet.records import AtomSites, DensityGrid
from crystalnet.report.figure import POINTS, SHARES, formula_label
from crystalnet.report.render import camera, render
from crystalnet.report.view import INK, MUTED, SURFACE, cell_edges, level_holding, redrawn
from crystalnet.runtime.whole_file import PICTURE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


Row = dict[str, Any]
CUBE = np.eye(3)  # the CMED's axes as drawn
VIEWS = ((1.0, 0.45, 0.35), (1.0, 0.0, 0.0), (1.0, 1.0, 1.0))  # toward the viewer; the first where there is one only
BEST, WORST = (0.5, 1.0), (0.0, 0.1)  # quantiles of ssim.ranked that successes and failures are drawn from
SHOWN = 6  # successes, and failures, in figures 3 and 4
VARIATIONS = 3  # guesses in figure 2
ABLATED = 4  # crystals in figure 5, one from each quarter
STRIP = 128  # pixels of a pattern's strip, 8 bins each: a line stays visible
INCH = 1.5  # a panel's side
SUCCESSES = {"cubic": 3, "trigonal": 4}  # number of the paper's figure of successes and failures


def choose(rows: Sequence[Row], quantiles: tuple[float, float], count: int, seed: int) -> list[Row]:
    """A seeded draw among the crystals between two quantiles of ssim.ranked, best first; at least one."""
    ordered = sorted(rows, key=lambda row: (row["ssim"]["ranked"], str(row["id"])))
    low, high = (round(q * len(ordered)) for q in quantiles)
    among = ordered[min(low, len(ordered) - 1) : max(high, low + 1)]
    drawn = np.random.default_rng(seed).choice(len(among), min(count, len(among)), replace=False)
    return [among[i] for i in sorted(drawn.tolist(), reverse=True)]


def write_figures(
    runs: Sequence[tuple[Evaluation, Sequence[Row]]], out: Path, progress: Progress = lambda done, total: None
) -> list[Path]:
    """Figures 2, 3 (cubic) or 4 (trigonal), and 5 of each run, one crystal system each; returns the paths."""
    out.mkdir(parents=True, exist_ok=True)
    drawings: list[tuple[Path, Callable[[Evaluation, Sequence[Row]], Figure], Evaluation, Sequence[Row]]] = []
    for evaluation, rows in runs:
        kinds = (variations, successes_and_failures, ablations)
        paths = figure_paths(out, evaluation.options.system)
        drawings += [(path, draw, evaluation, rows) for path, draw in zip(paths, kinds, strict=False)]
    for done, (path, draw, evaluation, rows) in enumerate(drawings, 1):
        draw(evaluation, rows).savefig(path, dpi=130, metadata=PICTURE)
        progress(done, len(drawings))
    return [path for path, *_ in drawings]


def figure_paths(out: Path, system: str) -> list[Path]:
    """Where the figures of a crystal system go: variations, successes and failures, ablations; none of the others."""
    numbers = (2, SUCCESSES[system], 5) if system in SUCCESSES else ()
    return [out / f"figure-{number}-{system}.png" for number in numbers]


def variations(evaluation: Evaluation, rows: Sequence[Row]) -> Figure:
    """Figure 2: truth and the first guesses of a success and a failure from three sides."""
    seed = evaluation.options.seed
    chosen = choose(rows, BEST, 1, seed) + choose(rows, WORST, 1, seed)
    count = min(VARIATIONS, evaluation.options.guesses)
    figure, axes = _grid(len(chosen) * len(VIEWS), 1 + count, "Variational reconstructions seen from three sides")
    for number, row in enumerate(chosen):
        asked, maps = _drawn(evaluation, row, evaluation.options.guesses)
        panels = [(asked.density, _name(row))]
        panels += [(m, f"guess {i}, SSIM {_ssim(asked, m):.3f}") for i, m in enumerate(maps[:count], 1)]
        for line, toward in enumerate(VIEWS):
            for column, (values, title) in enumerate(panels):
                _density(axes[number * len(VIEWS) + line, column], asked, values, toward, "" if line else title)
    return _with_rule(figure, "one from the better half, one from the worst tenth", evaluation)


def successes_and_failures(evaluation: Evaluation, rows: Sequence[Row]) -> Figure:
    """Figures 3 and 4: truth and first-ranked guess with the pattern; successes left, failures right."""
    seed = evaluation.options.seed
    panels = choose(rows, BEST, SHOWN, seed), choose(rows, WORST, SHOWN, seed)
    title = f"{evaluation.options.system.capitalize()} system: successes (left) and failures (right)"
    figure, axes = _grid(max(map(len, panels)), 4, title)
    for side, chosen in enumerate(panels):
        for line, row in enumerate(chosen):
            asked, maps = _drawn(evaluation, row, evaluation.options.guesses)
            guess = maps[row["ranked_first"] - 1]
            _density(axes[line, 2 * side], asked, asked.density, VIEWS[0], _name(row))
            _density(axes[line, 2 * side + 1], asked, guess, VIEWS[0], f"SSIM {_ssim(asked, guess):.3f}")
            strip = axes[line, 2 * side + 1].inset_axes((0.06, -0.03, 0.88, 0.06))
            lines = np.sqrt(asked.vector(None)[0].reshape(STRIP, -1).max(1))
            strip.imshow(lines[None], aspect="auto", cmap="magma")
            strip.set_axis_off()
    text = "Strips: the lines of 0–180° at Mo Kα, √intensity. "
    return _with_rule(figure, f"up to {SHOWN} from the better half and from the worst tenth", evaluation, text)


def ablations(evaluation: Evaluation, rows: Sequence[Row]) -> Figure:
    """Figure 5: truth and the latent mean's density at each level of what is given of the chemistry."""
    quarters = [(q / ABLATED, (q + 1) / ABLATED) for q in reversed(range(ABLATED))]
    drawn = {id(row): row for quarter in quarters for row in choose(rows, quarter, 1, evaluation.options.seed)}
    figure, axes = _grid(len(drawn), 1 + len(GIVEN), f"{evaluation.options.system.capitalize()} system: what is told")
    for line, row in enumerate(drawn.values()):
        for column, given in enumerate(GIVEN, 1):
            asked, (guess,) = _drawn(evaluation, row, 1, given)
            _density(axes[line, column], asked, guess, VIEWS[0], f"{ROW_NAMES[given]}: {_ssim(asked, guess):.3f}")
        _density(axes[line, 0], asked, asked.density, VIEWS[0], _name(row))
    return _with_rule(figure, "one from each quarter", evaluation, "Numbers: SSIM of guess 1. ")


def _drawn(evaluation: Evaluation, row: Row, count: int, given: str | None = None) -> tuple[Question, list[np.ndarray]]:
    """The question and its guesses once more, as scored, aligned with the truth."""
    key = [row[name] for name in ("id", "formula", "space_group")]
    record = next(r for r in evaluation.targets.records if [r.get("id"), r["formula"], r.get("space_group")] == key)
    asked = evaluation.question(record, given)
    maps = evaluation.own.densities(asked, Cell(**row["cell"]) if row["cell"] else None, count)
    point_group = holohedry(asked.structure.lattice.matrix)
    return asked, [aligned(asked.density, guess, point_group) for guess in maps]


def _ssim(asked: Question, guess: np.ndarray) -> float:
    return map_scores(asked.density, guess)["ssim"]


def _name(row: Row) -> str:
    return f"{formula_label(row['formula'])}, {row['space_group']}"


def _grid(lines: int, columns: int, title: str) -> tuple[Figure, np.ndarray]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(INCH * columns, (INCH + 0.2) * lines + 0.75), facecolor="white")
    top = 1 - 0.55 / figure.get_figheight()
    axes = figure.subplots(lines, columns, squeeze=False)
    figure.subplots_adjust(0.01, 0.32 / figure.get_figheight(), 0.99, top, wspace=0.02, hspace=0.13)
    figure.suptitle(title, fontsize=10, color=INK, x=0.01, ha="left", y=1 - 0.05 / figure.get_figheight(), va="top")
    for axis in axes.flat:
        axis.set_axis_off()
    return figure, axes


def _with_rule(figure: Figure, rule: str, evaluation: Evaluation, text: str = "") -> Figure:
    """The line below a figure: how its crystals were chosen."""
    drawn = f"Crystals drawn by ssim.ranked: {rule} (seed {evaluation.options.seed})."
    surfaces = f"Surfaces enclose {SHARES[0]:.0%} and {SHARES[1]:.0%} of the true electrons."
    figure.text(0.01, 0.003, f"{drawn}\n{text}{surfaces}", fontsize=6, color=MUTED, va="bottom")
    return figure


def _density(axes: Axes, asked: Question, values: np.ndarray, toward: tuple[float, float, float], title: str) -> None:
    """One map in its cube."""
    from matplotlib.collections import LineCollection

    levels = level_holding(asked.density, SHARES[0]), level_holding(asked.density, SHARES[1])
    grid = DensityGrid(redrawn(DensityGrid(values, CUBE), POINTS), CUBE)
    frame = camera(np.array(toward), np.array((0.0, 0.0, 1.0)))
    lines = ((cell_edges(CUBE) - CUBE.sum(0) / 2) @ frame.T)[:, :, :2]
    half = 1.03 * float(np.abs(lines).max())
    picture = render(grid, AtomSites(CUBE, (), np.zeros((0, 3))), frame, 2 * half, levels, {}, SURFACE, {})
    axes.imshow(picture, origin="lower", extent=(-half, half, -half, half), interpolation="bilinear")
    axes.add_collection(LineCollection(list(lines), colors=MUTED, linewidths=0.5, zorder=2))
    axes.set_title(title, fontsize=7, color=INK, pad=2)

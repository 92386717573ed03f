"""The measured profile with its lines and the chosen range, as plotly takes it."""

from __future__ import annotations

from typing import Any

import numpy as np

from crystalnet.app.entry import Entry

INK, MUTED, ACCENT, TICKS = "#1f2933", "#8a94a0", "#c0392b", "#009e73"  # as in the report
OUTSIDE = "rgba(120,130,140,0.22)"
TICKS_AT = -0.035  # of the highest point
POINTS = 20_000  # more are thinned, with the lowest and highest of each window kept


def figure(entry: Entry, drag: str, root: bool) -> dict[str, Any]:
    """What to draw.

    Parameters
    ----------
    entry : Entry
        One that could be read.
    drag : {"zoom", "select"}
        What the mouse does.
    root : bool
        Whether the square root of the intensity is drawn, which shows weak lines.
    """
    assert entry.pattern is not None
    x, y = _thinned(entry.pattern.two_theta, entry.pattern.intensity)
    y = np.sqrt(np.clip(y, 0, None)) if root else y
    top = float(y.max())
    traces: list[dict[str, Any]] = [
        {
            "x": np.round(x, 5).tolist(), "y": np.round(y, 4).tolist(), "mode": "lines", "name": "measured",
            "line": {"color": INK, "width": 1}, "hovertemplate": "%{x:.3f}°  %{y:.6g}<extra></extra>",
        }
    ]  # fmt: skip
    if entry.found is not None:
        lines = entry.found.peaks.two_theta
        above = np.interp(lines, x, y) + 0.03 * top
        rejected = np.isin(np.arange(len(lines)), list(entry.rejected))
        for name, which, marker in (
            ("lines", ~rejected, {"symbol": "triangle-down", "size": 7, "color": ACCENT}),
            ("rejected", rejected, {"symbol": "x-thin", "size": 8, "line": {"color": MUTED, "width": 2}}),
        ):
            if which.any():
                traces.append(_marks(name, lines[which], above[which], marker))
        if entry.found.positions:
            number = entry.picked or 0
            at = np.array(entry.found.positions[number])
            marker = {"symbol": "line-ns", "size": 8, "line": {"color": TICKS, "width": 1.2}}
            traces.append(_marks(f"cell {number + 1}", at, np.full(len(at), TICKS_AT * top), marker))
    return {
        "data": traces,
        "layout": {
            "margin": {"l": 64, "r": 12, "t": 8, "b": 44},
            "height": 380,
            "font": {"family": "system-ui, sans-serif", "size": 12.5, "color": INK},
            "xaxis": {"title": {"text": "2θ (°)"}, "showgrid": False, "linecolor": INK, "ticks": "outside"},
            "yaxis": {
                "title": {"text": "√intensity" if root else "intensity"},
                "gridcolor": "#e4e8ec",
                "zeroline": False,
            },
            "plot_bgcolor": "white",
            "dragmode": drag,
            "selectdirection": "h",
            "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.0, "yanchor": "bottom"},
            "showlegend": len(traces) > 1,
            "shapes": _outside(entry, float(x[0]), float(x[-1])),
            "uirevision": f"{entry.number} {root}",  # a zoom survives all else that changes
        },
        "config": {"displaylogo": False, "modeBarButtonsToRemove": ["lasso2d", "select2d", "toImage"]},
    }


def _marks(name: str, x: np.ndarray, y: np.ndarray, marker: dict[str, Any]) -> dict[str, Any]:
    hover = "%{x:.3f}°<extra>" + name + "</extra>"
    return {
        "x": np.round(x, 4).tolist(), "y": y.tolist(), "mode": "markers", "name": name, "marker": marker,
        "hovertemplate": hover,
    }  # fmt: skip


def _outside(entry: Entry, first: float, last: float) -> list[dict[str, Any]]:
    """What is not used, greyed."""
    low, high = entry.request.low, entry.request.high
    spans = [(first, low)] if low is not None and low > first else []
    spans += [(high, last)] if high is not None and high < last else []
    return [
        {
            "type": "rect",
            "x0": a,
            "x1": b,
            "y0": 0,
            "y1": 1,
            "yref": "paper",
            "fillcolor": OUTSIDE,
            "line": {"width": 0},
        }
        for a, b in spans
    ]


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if len(x) <= POINTS:
        return x, y
    from crystalnet.report.view import drawn_points

    shown = drawn_points(y, POINTS)
    return x[shown], y[shown]

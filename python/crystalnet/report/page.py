"""report.html: one self-contained page that works offline."""

from __future__ import annotations

import base64
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from crystalnet.crystal.systems import system_of
from crystalnet.records import Candidate, DensityGrid, Solution
from crystalnet.report.agreement import WHAT_THEY_MEAN
from crystalnet.report.numbers import with_esd
from crystalnet.report.reasons import WHY, confidence_in_words, percent, verdict
from crystalnet.report.reflections_file import reflections, rows
from crystalnet.report.view import (
    SPREAD,
    SURFACE,
    View,
    cell_edges,
    drawn_atoms,
    drawn_points,
    element_colours,
    redrawn,
    symbol_parts,
)

# The page must stay below 6 MB, of which plotly.js takes 4.8: the best candidate gets the finer map, and the
# isosurfaces are made in the page (two bytes a grid point; precomputed meshes took ten times as much).
FIRST, OTHERS, SPREADS = 64_000, 27_000, 22_000  # grid points of a density, and of an uncertainty map (one byte each)
POINTS = 5000  # of the pattern; a screen has fewer columns
REFLECTIONS = 150  # rows of the page's table; the CSV has all
VALENCE = (
    "The density shown is a valence density in the sense of density functional theory: the electrons that a"
    " pseudopotential calculation treats as valence. It is"
    " not the total X-ray density: core electrons are left out."
)
SOURCES = {
    "known": "known: a crystal that somebody has measured, found in the library and refined, not solved",
    "network": "network: atoms read off the density that the network predicted",
    "catalogue": "catalogue: a known structure type with the elements put in",
    "search": "search: atoms on Wyckoff positions, from random starts",
}
GREEK = {"alpha": "α", "beta": "β", "gamma": "γ"}
UNKNOWN = "X: density that none of the given elements explains. An element may be missing from the list."


def write_page(solution: Solution, content: Mapping[str, Any], views: Sequence[View], path: Path) -> None:
    """Write report.html.

    Parameters
    ----------
    solution
        What `solve` found.
    content
        The content of solution.json.
    views
        The candidates ready to be drawn, in the order of solution.json.
    path
        The file, written over.
    """
    from plotly.offline import get_plotlyjs

    template = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    data = json.dumps(_data(solution, views), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    parts = {"TITLE": escape(_title(content)), "BODY": _body(solution, content, views), "DATA": data}
    page, tail = template.split("@PLOTLY@")
    for name, text in parts.items():
        page, tail = page.replace(f"@{name}@", text), tail.replace(f"@{name}@", text)
    path.write_text(page + get_plotlyjs() + tail, encoding="utf-8")


def _title(content: Mapping[str, Any]) -> str:
    file = content["pattern"]["file"]
    return f"CrystalNet: {Path(file).name if file else 'powder pattern'}"


# --- what the scripts draw


def _packed(values: np.ndarray, kind: str = "<f4") -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype=kind).tobytes()).decode("ascii")


def _data(solution: Solution, views: Sequence[View]) -> dict[str, Any]:
    pattern = solution.pattern
    shown = drawn_points(pattern.intensity, POINTS)
    colours = element_colours(solution.candidates)
    return {
        "two_theta": _packed(pattern.two_theta[shown]),
        "measured": _packed(np.nan_to_num(pattern.intensity[shown])),
        "peaks": [round(float(v), 4) for v in solution.peaks.two_theta],
        "colours": {"density": SURFACE, "spread": SPREAD},
        "candidates": [_candidate(v, shown, colours, OTHERS if i else FIRST) for i, v in enumerate(views)],
    }


def _candidate(shown: View, points: np.ndarray, colours: Mapping[str, str], size: int) -> dict[str, Any]:
    fit, lattice = shown.candidate.fit, shown.grid.lattice
    fitted = len(fit.calculated) > 0
    return {
        "calculated": _packed(np.nan_to_num(fit.calculated[points])) if fitted else None,
        "background": _packed(np.nan_to_num(fit.background[points])) if fitted else None,
        "hkl": [round(float(v), 4) for v in fit.hkl_two_theta],
        "lattice": np.round(lattice, 6).tolist(),
        "edges": np.round(cell_edges(lattice), 4).tolist(),
        "atoms": _atoms(shown, colours),
        "eye": _eye(lattice),
        "density": _map(shown.grid, size, "<u2"),
        "spread": None if shown.spread is None else _map(shown.spread, SPREADS, "u1"),
    }


def _map(grid: DensityGrid, size: int, kind: str) -> dict[str, Any]:
    """A map for the page: cube roots over the largest, even steps from the core to the space between the atoms."""
    values = np.clip(redrawn(grid, size), 0, None)
    top = float(values.max()) or 1.0
    steps = np.round(np.cbrt(values / top) * np.iinfo(kind).max)
    return {"shape": values.shape, "top": top, "values": _packed(steps, kind)}


def _atoms(shown: View, colours: Mapping[str, str]) -> list[dict[str, Any]]:
    symbols, coords = drawn_atoms(shown.atoms)
    xyz = np.round(coords @ shown.grid.lattice, 4)
    # Markers have a size in pixels: about a tenth of the cell edge, smaller where there are many atoms.
    size = float(np.clip(46 / max(len(symbols), 1) ** (1 / 3), 5, 14))
    groups: dict[str, list[int]] = defaultdict(list)
    for i, symbol in enumerate(symbols):
        groups[symbol].append(i)
    return [
        {
            "element": element,
            "colour": colours[element],
            "size": round(size, 1),
            "x": xyz[rows, 0].tolist(),
            "y": xyz[rows, 1].tolist(),
            "z": xyz[rows, 2].tolist(),
            "label": [f"{element} ({', '.join(f'{v:.3f}' for v in coords[i])})" for i in rows],
        }
        for element, rows in groups.items()
    ]


def _eye(lattice: np.ndarray) -> dict[str, float]:
    """A camera a little off the a axis, so that no two edges of the cell fall on each other."""
    a, b, c = lattice / np.linalg.norm(lattice, axis=1)[:, None]
    eye = a + 0.45 * b + 0.35 * c
    return {name: float(v) for name, v in zip("xyz", 2.0 * eye / np.linalg.norm(eye), strict=True)}


# --- what can be read without them


def _body(solution: Solution, content: Mapping[str, Any], views: Sequence[View]) -> str:
    candidates = content["candidates"]
    sections = [
        f"<h1>{escape(_title(content).removeprefix('CrystalNet: '))}</h1>",
        f'<p class="muted">Structure from powder data by CrystalNet {escape(content["crystalnet"])}</p>',
        *(f'<div class="banner">{escape(text)}</div>' for text in _warnings(solution, content, views)),
    ]
    if candidates:
        sections += [_answer(candidates[0], views[0].candidate.evidence), _table(candidates)]
        buttons = "".join(
            f'<button type="button" role="tab">{c["rank"]} &ensp;{formula_html(c["formula"])}</button>'
            for c in candidates
        )
        sections.append(f'<div class="tabs" role="tablist" aria-label="candidates">{buttons}</div>')
    else:
        sections.append(
            "<p>No candidate was found. The measured pattern and the lines found in it are below: where lines have no"
            " mark, or marks no line, the pattern is too noisy or too coarse for its cell to be found.</p>"
        )
    sections.append(
        '<h2>Pattern</h2><div class="plot"><div id="pattern"></div></div>'
        '<p class="control noprint"><label><input type="checkbox" id="root"> square root of the intensity'
        f" (shows the weak lines)</label>{_beside(candidates)}</p>"
    )
    if candidates:
        colours = element_colours(solution.candidates)
        panels = "".join(_panel(c, v, i, colours) for i, (c, v) in enumerate(zip(candidates, views, strict=True)))
        sections.append(
            '<h2>Density and structure</h2><div class="columns"><div class="plot"><div id="scene"></div>'
            '<div class="control noprint" role="radiogroup" aria-label="map">'
            '<label><input type="radio" name="map" value="density" checked> density</label>'
            '<label><input type="radio" name="map" value="spread"> where the guesses differ</label></div>'
            '<div class="control"><label for="level">level</label>'
            '<input type="range" id="level" min="20" max="95" step="1" value="70">'
            '<output id="levelText" for="level"></output></div>'
            '<p class="note">Drag to turn, scroll to zoom.'
            f" {escape(VALENCE)} {escape(_spread(solution))}</p></div><div>{panels}</div></div>"
        )
    sections += [_given(solution, content), _footer(content, bool(len(solution.guesses) or solution.candidates))]
    return "\n".join(sections)


def _beside(candidates: Sequence[Mapping[str, Any]]) -> str:
    """A choice of a candidate whose pattern is drawn over the one that is shown."""
    if len(candidates) < 2:
        return ""
    named = (f"{c['rank']}: {c['formula']} {c['space_group']['symbol']}" for c in candidates)
    options = "".join(f'<option value="{i}">{escape(name)}</option>' for i, name in enumerate(named))
    return (
        '<label>compare with candidate <select id="beside"><option value="">none</option>'
        f'{options}</select></label><span id="besideText"></span>'
    )


def _warnings(solution: Solution, content: Mapping[str, Any], views: Sequence[View]) -> list[str]:
    found = list(dict.fromkeys(solution.warnings))
    for entry, shown in zip(content["candidates"], views, strict=True):
        if not shown.overlay:
            found.append(
                f"Candidate {entry['rank']}: the density is shown in its own cell, without the atoms, because"
                " it does not repeat with the cell of the structure."
            )
    return found


def _answer(best: Mapping[str, Any], evidence: Mapping[str, float]) -> str:
    free = system_of(best["space_group"]["number"]).free
    cell = ", ".join(f"{GREEK.get(name, name)} = {_cell(best, name)} {'Å' if name in 'abc' else '°'}" for name in free)
    items = [
        ("best candidate", formula_html(best["formula"])),
        (
            "space group",
            f"{symbol_html(best['space_group']['symbol'])} (no. {best['space_group']['number']})",
        ),
        ("cell", cell),
        *([("structure type", escape(best["structure_type"]["text"]))] if best["structure_type"] else []),
        ("misfit R<sub>wp</sub>, background excluded", percent(best["rwp"], 1)),
        ("confidence", confidence_in_words(best["confidence"])),
    ]
    cells = "".join(f"<div><span>{k}</span><b>{v}</b></div>" for k, v in items)
    return f'<div class="answer">{cells}<p>{verdict(best["confidence"], evidence)}</p></div>'


def _table(candidates: Sequence[Mapping[str, Any]]) -> str:
    heads = [
        "#",
        "formula",
        "space group",
        "a / Å",
        "b / Å",
        "c / Å",
        "α, β, γ / °",
        "R<sub>wp</sub>",
        "score",
        "confidence",
        "found by",
        "files",
    ]
    numeric = {3, 4, 5, 7, 8, 9}
    rows = []
    for c in candidates:
        angles = ", ".join(_cell(c, name) for name in GREEK)
        values = [
            str(c["rank"]),
            formula_html(c["formula"]),
            f"{symbol_html(c['space_group']['symbol'])} ({c['space_group']['number']})",
            *(_cell(c, name) for name in "abc"),
            angles,
            percent(c["rwp"], 1),
            with_esd(c["score"], decimals=3),
            confidence_in_words(c["confidence"]),
            escape(f"{c['source']}: {c['reference']}" if c.get("reference") else str(c["source"])),
            f'<a href="{escape(c["cif"])}">CIF</a> <a href="{escape(c["density"])}">cube</a>'
            + (f' <a href="{escape(c["reflections"])}">hkl</a>' if c["reflections"] else ""),
        ]
        cells = "".join(f'<td class="n">{v}</td>' if i in numeric else f"<td>{v}</td>" for i, v in enumerate(values))
        rows.append(f'<tr tabindex="0">{cells}</tr>')
    head = "".join(f'<th class="n">{h}</th>' if i in numeric else f"<th>{h}</th>" for i, h in enumerate(heads))
    sources = "; ".join(SOURCES[s] for s in dict.fromkeys(str(c["source"]) for c in candidates) if s in SOURCES)
    return (
        f'<h2>Candidates</h2><div class="wide"><table id="candidates"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        '<p class="note">Best first by what the pattern says: the score is the misfit, lower for known crystals and'
        " types, higher for many atoms, charges that do not balance, unlikely volumes and bonds, and elements that were"
        " not given. The confidence is each candidate's own, without regard"
        f" to the others'. Found by {escape(sources)}."
        '<span class="noprint"> Choose a line to see it below.</span></p>'
    )


def _panel(entry: Mapping[str, Any], shown: View, index: int, colours: Mapping[str, str]) -> str:
    sites = "".join(
        f'<tr><td><i class="dot" style="background:{colours[site["element"]]}"></i>'
        f"{escape(site['element'])}{' (unexplained)' if site.get('unexplained') else ''}</td>"
        f'<td class="n">{site["multiplicity"]}{escape(str(site["wyckoff"]))}</td>'
        + "".join(f'<td class="n">{with_esd(site[axis], site["esd"][axis])}</td>' for axis in "xyz")
        + "</tr>"
        + f'<tr class="bonds"><td colspan="5">{_neighbours(site["neighbours"])}</td></tr>'
        for site in entry["sites"]
    )
    heads = "".join(f'<th class="n">{name}</th>' for name in ("Wyckoff", "x", "y", "z"))
    unexplained = any(site.get("unexplained") for site in entry["sites"])
    unknown = f'<p class="note">{UNKNOWN}</p>' if unexplained else ""
    volume = shown.candidate.conventional.volume
    atoms = len(shown.candidate.conventional)
    return (
        f'<div class="panel" role="tabpanel"{" hidden" if index else ""}><h3>Candidate {entry["rank"]}:'
        f" {formula_html(entry['formula'])}, {symbol_html(entry['space_group']['symbol'])}</h3>"
        f"<p>V = {volume:.2f} Å³, {atoms} atoms in the conventional cell"
        f"{f', {volume / atoms:.2f} Å³ an atom' if atoms else ''}"
        f"{_refined(entry)}</p>{_type(entry)}"
        f'<div class="wide"><table><thead><tr><th>element</th>{heads}</tr></thead>'
        f"<tbody>{sites}</tbody></table></div>{unknown}{_agreement(entry)}"
        f"{_reflections(entry, shown.candidate)}{_why(shown.candidate.evidence)}</div>"
    )


def _cell(entry: Mapping[str, Any], name: str) -> str:
    """A cell parameter; an angle that symmetry fixes as it is."""
    fixed = name in GREEK and name not in entry["esd"]
    return f"{entry['lattice'][name]:.4g}" if fixed else with_esd(entry["lattice"][name], entry["esd"].get(name))


def _neighbours(found: Sequence[Mapping[str, Any]]) -> str:
    """6 × O at 2.1056, 2.1101 Å: neighbours of one element together, nearest first."""
    elements: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for one in found:
        elements[one["element"]].append(one)
    number = sum(one["count"] for one in found)
    said = [f"{escape(element)} at {', '.join(map(_distance, ones))}" for element, ones in elements.items()]
    return f"{number} neighbour{'' if number == 1 else 's'}: {'; '.join(said)} Å"


def _distance(one: Mapping[str, Any]) -> str:
    return f"{one['distance']:.3f}" + (f" (×{one['count']})" if one["count"] > 1 else "")


def _type(entry: Mapping[str, Any]) -> str:
    found = entry["structure_type"]
    if found is None:
        return ""
    return f'<p>{escape(found["text"])} <span class="muted">({escape(found["label"])})</span></p>'


def _refined(entry: Mapping[str, Any]) -> str:
    """Zero shift and displacement, where they were refined."""
    found, esd = entry["refined"], entry["esd"]
    if found is None:
        return ""
    zero = with_esd(found["zero_shift"], esd.get("zero_shift"), decimals=3)
    return f"; zero shift {zero}°, B = {with_esd(found['b_iso'], esd.get('b_iso'), decimals=2)} Å²"


def _agreement(entry: Mapping[str, Any]) -> str:
    """The figures that Rietveld programs give, and how they differ from ours."""
    found = entry["agreement"]
    if found is None:
        return ""
    shown = [
        ("R<sub>wp</sub>, background excluded", percent(entry["rwp"], 1)),
        ("R<sub>wp</sub>, background included", percent(found["rwp_background_included"], 1)),
        ("R<sub>exp</sub>", percent(found["r_expected"], 1)),
        ("χ²", with_esd(found["chi_squared"], decimals=2)),
        ("R<sub>Bragg</sub>", percent(found["r_bragg"], 1)),
        ("refined parameters", str(found["parameters"])),
    ]
    cells = "".join(f'<tr><td class="w">{name}</td><td class="n">{value}</td></tr>' for name, value in shown)
    words = re.sub(r"R(wp|exp)", r"R<sub>\1</sub>", WHAT_THEY_MEAN)
    return (
        '<h3 class="why">Agreement with the pattern</h3>'
        f'<table class="why"><tbody>{cells}</tbody></table><p class="note">{words}</p>'
    )


def _reflections(entry: Mapping[str, Any], candidate: Candidate) -> str:
    """The table of reflections, folded."""
    lines = reflections(candidate)
    if lines is None:
        return ""
    heads = ("h", "k", "l", "m", "d / Å", "2θ / °", "I<sub>obs</sub>", "I<sub>calc</sub>")
    body = "".join(
        "<tr>" + "".join(f'<td class="n">{value or "–"}</td>' for value in row[: len(heads)]) + "</tr>"
        for row in rows(lines)[:REFLECTIONS]
    )
    head = "".join(f'<th class="n">{name}</th>' for name in heads)
    first = f"The first {REFLECTIONS}; all" if len(lines) > REFLECTIONS else "All"
    return (
        f"<details><summary>Reflections ({len(lines)})</summary>"
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        f'<p class="note">{first} are in <a href="{escape(entry["reflections"])}">{escape(entry["reflections"])}</a>.'
        " Areas over all wavelengths, the strongest calculated one 100; 2θ of the first wavelength, with the zero"
        " shift. The observed intensity of lines that overlap is shared among them as calculated.</p></details>"
    )


def _why(evidence: Mapping[str, float]) -> str:
    """What the confidence was calculated from, in plain words."""
    known = [(reason.label, reason.said(evidence[name])) for name, reason in WHY.items() if name in evidence]
    if not known:
        return ""
    rows = "".join(f'<tr><td class="w">{label}</td><td class="n">{value}</td></tr>' for label, value in known)
    return f'<h3 class="why">Why this confidence</h3><table class="why"><tbody>{rows}</tbody></table>'


def _spread(solution: Solution) -> str:
    mean = float(np.mean(np.abs(solution.guesses))) if len(solution.guesses) else 0.0
    if len(solution.guesses) < 2 or mean <= 0:
        return ""
    ratio = float(np.mean(solution.spread)) / mean
    number, share = len(solution.guesses), percent(ratio, 0)
    return (
        f"The {number} guesses of the network differ by {share} of the mean density on average; the other map shows"
        " where (their standard deviation)."
    )


def _given(solution: Solution, content: Mapping[str, Any]) -> str:
    given, pattern = content["given"], content["pattern"]
    elements = given["elements"]
    wavelength = f"{with_esd(given['wavelength_angstrom'], decimals=6)} Å"
    wavelength += " (assumed: Cu Kα)" if given["wavelength_assumed"] else ""
    rows = [
        ("pattern", escape(str(pattern["file"] or "given as arrays"))),
        (
            "range",
            f"{pattern['points']} points, {with_esd(pattern['two_theta_min'], decimals=3)}° to"
            f" {with_esd(pattern['two_theta_max'], decimals=3)}° 2θ, {pattern['peaks']} lines found",
        ),
        ("wavelength", wavelength),
        ("elements", escape(", ".join(elements)) if elements else "not given"),
        ("formula", formula_html(given["formula"]) if given["formula"] else "not given"),
        ("crystal system", escape(str(given["system"])) if given["system"] else "not given"),
    ]
    cell = solution.cell
    if cell is not None:
        shown = [(name, getattr(cell, name)) for name in cell.free]
        size = ", ".join(f"{name} = {x:.4f} Å" if name in "abc" else f"{name} = {x:.3f}°" for name, x in shown)
        merit = f", de Wolff M = {cell.figure_of_merit:.0f}" if np.isfinite(cell.figure_of_merit) else ""
        lines = f", {cell.n_indexed} of {cell.n_lines} lines explained" if cell.n_lines else ""
        rows.append(("indexed cell", f"{escape(cell.system)} {escape(cell.centring)}, {size}{merit}{lines}"))
    model = content["model"]
    if model["file"]:
        digest = f" (sha256 {escape(str(model['sha256'])[:12])}…)" if model["sha256"] else ""
        rows.append(("model", escape(Path(str(model["file"])).name) + digest))
    seconds: Mapping[str, float | None] = content["seconds"]
    if seconds:
        spent = {stage: s for stage, s in seconds.items() if s and np.isfinite(s)}
        stages = ", ".join(f"{stage} {s:.2f} s" for stage, s in spent.items())
        rows.append(("time", f"{sum(spent.values()):.1f} s: {escape(stages)}"))
    body = "".join(f'<tr><td class="k">{key}</td><td class="w">{value}</td></tr>' for key, value in rows)
    return f"<h2>What was given and found on the way</h2><table><tbody>{body}</tbody></table>"


def _footer(content: Mapping[str, Any], densities: bool) -> str:
    files = ["solution.json", "figure.png"] + (["density.npz"] if densities else [])
    links = ", ".join(f'<a href="{name}">{name}</a>' for name in files)
    return f"<footer>CrystalNet {escape(str(content['crystalnet']))}. In the same folder: {links}.</footer>"


def formula_html(formula: str | None) -> str:
    """Zr3Sb4Pt3 with its numbers as subscripts."""
    return re.sub(r"([\d.]+)", r"<sub>\1</sub>", escape(formula or "–"))


def symbol_html(symbol: str) -> str:
    """A space group symbol with bars and subscripts."""
    wrap = {"bar": '<span class="bar">{}</span>', "sub": "<sub>{}</sub>", "text": "{}"}
    return "".join(wrap[kind].format(escape(text)) for kind, text in symbol_parts(symbol))

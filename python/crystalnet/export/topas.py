"""TOPAS: an input file of launch mode (.inp), and its data (.xye)."""

from __future__ import annotations

from math import acos, degrees, sqrt

import numpy as np

from crystalnet.crystal.systems import system_of
from crystalnet.export.project import Project
from crystalnet.export.tables import columns

BACKGROUND_TERMS = 10
RADIUS = 217.5  # mm, of the goniometer; positions are corrected by the zero alone, so that it does not matter
EDGES = {"a": "a", "b": "b", "c": "c", "al": "alpha", "be": "beta", "ga": "gamma"}


def topas(project: Project) -> dict[str, str]:
    """Files of a TOPAS project by their names."""
    return {f"{project.name}.inp": control(project), f"{project.name}.xye": columns(project)}


def control(project: Project) -> str:
    """The input file: refines background, scale, zero and cell (@) at first."""
    fit, group = project.refined, project.crystal.space_group
    two_theta = project.pattern.two_theta
    place = 2 * (two_theta - two_theta[0]) / np.ptp(two_theta) - 1
    background = np.polynomial.chebyshev.chebfit(place, project.background, BACKGROUND_TERMS - 1)
    strongest = project.radiation.lines[0][1]
    polarisation = project.radiation.polarisation
    widths = (fit.u, fit.v, fit.w, 0.0, fit.y, fit.x)  # U V W Z X Y: X belongs to tanθ, Y to 1/cosθ
    text = [
        f"' {project.title}",
        *(f"' {remark}" for remark in project.remarks),
        "' @ is refined: background, zero, cell and scale. Next: @ before x, y, z, beq and the widths.",
        "r_wp 0",
        "iters 100000",
        f'xdd "{project.name}.xye" xye_format',
        "  weighting = 1 / SigmaYobs^2;",
        "  bkg @ " + " ".join(f"{term:.6g}" for term in background),
        f"  Rp {RADIUS} Rs {RADIUS}",
        f"  Zero_Error(@, {fit.zero_shift:.6f})",
        f"  LP_Factor({degrees(acos(sqrt(polarisation))):.4f})",
        "  lam ymin_on_ymax 0.0001",
        *(f"    la {weight / strongest:.6f} lo {length:.7f} lh 1e-6" for length, weight in project.radiation.lines),
        "  str",
        f'    phase_name "{project.formula}"',
        f'    space_group "{group.xhm().replace(" ", "")}"',
        *_cell(project),
        f"    scale @ {fit.scale / (1 + polarisation):.8g}",
        "    TCHZ_Peak_Type(" + ", ".join(f", {width:.8g}" for width in widths) + ")",
        "    r_bragg 0",
    ]
    for site in project.atoms:
        x, y, z = (f"{value:.8f}" for value in site.x)
        where = f"num_posns {site.multiplicity} x {x} y {y} z {z}"
        text.append(f"    site {site.label} {where} occ {site.element} 1 beq {fit.b_iso:.5f}")
    return "\n".join(text) + "\n"


def _cell(project: Project) -> list[str]:
    """Edges and angles; those that symmetry ties to a follow it, those that it fixes have no @."""
    system = system_of(project.crystal.space_group.number)
    lines = []
    for (key, name), value in zip(EDGES.items(), project.crystal.cell, strict=True):
        tied = name in "abc" and name not in system.free
        lines.append(f"    {key} = Get(a);" if tied else f"    {key} {'@ ' * (name in system.free)}{value:.6f}")
    return lines

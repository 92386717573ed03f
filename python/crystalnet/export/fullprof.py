"""FullProf: a control file (.pcr) in the layout of one pattern, and its data (.dat, 2θ intensity esd, Ins = 10)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import count

import numpy as np

from crystalnet.crystal.systems import system_of
from crystalnet.export.project import Project
from crystalnet.export.tables import columns

BACKGROUND_POINTS = 24
CYCLES = 10
ONE_HALF = 0.5  # FullProf's K of an unpolarised beam: Lp ∝ 1 − K + K·Cthm·cos²2θ
EDGES = ("a", "b", "c", "alpha", "beta", "gamma")


def fullprof(project: Project) -> dict[str, str]:
    """Files of a FullProf project by their names."""
    return {f"{project.name}.pcr": control(project), f"{project.name}.dat": data(project)}


def data(project: Project) -> str:
    """The pattern under the six lines of head that Ins = 10 begins with."""
    lines = ", ".join(f"{wavelength:.6f}" for wavelength, _ in project.radiation.lines)
    head = [
        "XYDATA",
        "INTER 1.0 1.0 0 0.0",
        f"TITLE {project.title}",
        f"! wavelengths {lines} A",
        "! 2theta Y sigma",
        "!",
    ]
    return "\n".join(head) + "\n" + columns(project)


def control(project: Project) -> str:
    """The control file: refines background, scale, zero and cell at first.

    A codeword is 10 · number of the parameter + its multiplier, 0 for what is kept. An occupancy is the multiplicity of
    the site over that of the general position. X belongs to tanθ and Y to 1/cosθ.
    """
    group, fit, atoms = project.crystal.space_group, project.refined, project.atoms
    numbers = count(1)
    codes = (10.0 * number + 1 for number in numbers)
    two_theta = project.pattern.two_theta
    (first, weight), (second, other) = (*project.radiation.lines, (project.radiation.wavelength, 0.0))[:2]
    general = len(group.operations())
    background = list(_background(project, codes))
    scale_code, zero_code, cell_codes = next(codes), next(codes), _cell_codes(group.number, codes)
    refined = next(numbers) - 1
    scattering = list(_anomalous(project))
    text = [
        f"COMM {project.title}",
        *(f"! {remark}" for remark in project.remarks),
        f"! Files => DAT-file: {project.name}.dat,  PCR-file: {project.name}",
        "!Job Npr Nph Nba Nex Nsc Nor Dum Iwg Ilo Ias Res Ste Nre Cry Uni Cor Opt Aut",
        _row((0, 7, 1, len(background), 0, len(scattering), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), 3),
        "!",
        "!Ipr Ppl Ioc Mat Pcr Ls1 Ls2 Ls3 NLI Prf Ins Rpa Sym Hkl Fou Sho Ana",
        _row((0, 0, 1, 0, 1, 0, 4, 0, 0, 1, 10, 0, 0, 0, 0, 0, 0), 3),
        "!",
        "! Lambda1  Lambda2    Ratio    Bkpos    Wdt    Cthm     muR   AsyLim   Rpolarz  2nd-muR -> Patt# 1",
        f" {first:.6f} {second:.6f} {other / weight:.5f} {two_theta.mean():.3f} 30.0000"
        f" {project.radiation.polarisation:.4f}  0.0000   0.00    {ONE_HALF:.4f}  0.0000",
        "!",
        "!NCY  Eps  R_at  R_an  R_pr  R_gl     Thmin       Step       Thmax    PSD    Sent0",
        f" {CYCLES}  0.10  1.00  1.00  1.00  1.00 {two_theta[0]:.4f} {np.median(np.diff(two_theta)):.6f}"
        f" {two_theta[-1]:.4f}   0.000   0.000",
        "!",
        "!2Theta/TOF/E(Kev)   Background  for Pattern#  1",
        *background,
        *(["!", "! Anomalous scattering: Nam  f'  f''  Ity", *scattering] if scattering else []),
        "!",
        f" {refined}    !Number of refined parameters",
        "!",
        "!  Zero    Code    SyCos    Code   SySin    Code  Lambda     Code MORE ->Patt# 1",
        f" {fit.zero_shift:.5f} {zero_code:.1f}  0.00000    0.0  0.00000    0.0 0.000000    0.00   0",
        "!" + "-" * 79,
        "!  Data for PHASE number:   1  ==> Current R_Bragg for Pattern#  1:     0.00",
        "!" + "-" * 79,
        project.formula,
        "!",
        "!Nat Dis Ang Pr1 Pr2 Pr3 Jbt Irf Isy Str Furth       ATZ    Nvk Npr More",
        f" {len(atoms)}   0   0 0.0 0.0 1.0   0   0   0   0   0 {_mass(project):.3f}   0   7   0",
        "!",
        f"{group.hm}                   <--Space group symbol",
        "!Atom   Typ       X        Y        Z     Biso       Occ     In Fin N_t Spc /Codes",
    ]
    for site in atoms:
        x, y, z = (f"{value:.6f}" for value in site.x)
        numbers_of_site = f"{x} {y} {z} {fit.b_iso:.5f} {site.multiplicity / general:.8f}"
        text += [
            f"{site.label:<6} {site.element.upper():<4} {numbers_of_site}   0   0   0    0",
            "                0.00     0.00     0.00    0.00       0.00",
        ]
    text += [
        "!-------> Profile Parameters for Pattern #  1",
        "!  Scale        Shape1      Bov      Str1      Str2      Str3   Strain-Model",
        f" {fit.scale:.6g}   0.00000   0.00000   0.00000   0.00000   0.00000       0",
        f" {scale_code:.5f}     0.000     0.000     0.000     0.000     0.000",
        "!       U         V          W           X          Y        GauSiz   LorSiz Size-Model",
        f" {fit.u:.6f} {fit.v:.6f} {fit.w:.6f} {fit.y:.6f} {fit.x:.6f}   0.000000   0.000000    0",
        "      0.000      0.000      0.000      0.000      0.000      0.000      0.000",
        "!     a          b         c        alpha      beta       gamma      #Cell Info",
        _row([f"{value:.6f}" for value in project.crystal.cell], 11),
        _row([f"{code:.5f}" for code in cell_codes], 11),
        "!  Pref1    Pref2      Asy1     Asy2     Asy3     Asy4      S_L      D_L",
        "  0.00000  0.00000  0.00000  0.00000  0.00000  0.00000  0.00000  0.00000",
        "     0.00     0.00     0.00     0.00     0.00     0.00     0.00     0.00",
        "!  2Th1/TOF1    2Th2/TOF2  Pattern to plot",
        f" {two_theta[0]:.3f} {two_theta[-1]:.3f}       1",
    ]
    return "\n".join(text) + "\n"


def _row(values: Sequence[object], width: int) -> str:
    return " " + " ".join(f"{value:>{width}}" for value in values)


def _background(project: Project, codes: Iterator[float]) -> Iterator[str]:
    """Points of the curve under the lines, refined, between which FullProf interpolates."""
    two_theta = project.pattern.two_theta
    for x in np.linspace(two_theta[0], two_theta[-1], BACKGROUND_POINTS):
        yield f" {x:12.4f} {np.interp(x, two_theta, project.background):14.4f} {next(codes):12.2f}"


def _cell_codes(space_group: int, codes: Iterator[float]) -> list[float]:
    """Codewords of a, b, c, α, β, γ: what symmetry makes equal shares one, and so does γ = 120° with a.

    FullProf refines the reciprocal metric, in which a*b*cosγ* of hexagonal axes moves with a*².
    """
    system = system_of(space_group)
    own = {name: next(codes) for name in system.free}
    fixed = dict.fromkeys(("alpha", "beta"), 0.0) | {"gamma": own["a"] if system.gamma != 90.0 else 0.0}
    return [own.get(name, fixed.get(name, own["a"])) for name in EDGES]


def _anomalous(project: Project) -> Iterator[str]:
    """f′ and f″ of each element at Kα1, as the refinement had them: FullProf has its own for a few tubes only.

    Next to an absorption edge there are none, and FullProf is left to its own.
    """
    from rietx.crystallography.dispersion import resolve

    for symbol in dict.fromkeys(site.element for site in project.atoms):
        with suppress(KeyError, ValueError):
            factor = resolve([symbol], (project.radiation.wavelength,))[symbol]
            yield f" {symbol.lower():<4} {factor.real:10.5f} {factor.imag:10.5f}  2"


def _mass(project: Project) -> float:
    """ATZ, by which FullProf gives weight fractions: the mass of the cell's content, g/mol."""
    import gemmi

    return float(sum(site.multiplicity * gemmi.Element(site.element).weight for site in project.atoms))

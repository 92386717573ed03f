"""Jana2020: the CIF and the data that its wizard imports, and what to answer there.

Its own m40, m50, m41 and m90 depend on the version, and it makes them itself.
"""

from __future__ import annotations

from crystalnet.export.project import Project
from crystalnet.export.tables import columns, crystal_cif

README = """{title}
{remarks}
{name}.cif  the crystal, in the standard setting {symbol}
{name}.dat  the pattern: 2theta (degrees), intensity, its esd; {points} points

In Jana2020:
1. Structure > New: choose this folder and a name for the structure.
2. The import wizard asks for data: Powder data > various CW formats > {name}.dat,
   free format of 2th, I and sig(I).
3. Radiation: X-rays, {beam};
   polarisation: {polarisation}.
4. Structure: import the model from CIF > {name}.cif.
5. Refinement: begin with background, scale, zero and cell. The pattern was solved with
   a zero of {zero:.4f} degrees (measured 2theta = calculated + zero), B = {b_iso:.2f} A^2,
   Gaussian FWHM^2 = {u:.6f} tan^2 + {v:.6f} tan + {w:.6f} degrees^2,
   Lorentzian FWHM = {x:.6f} / cos + {y:.6f} tan degrees, of theta.
"""


def jana(project: Project) -> dict[str, str]:
    """Files for Jana2020 by their names."""
    fit, radiation, name = project.refined, project.radiation, project.name
    beam = f"wavelength {radiation.wavelength:.6f} A"
    if len(radiation.lines) > 1:
        (_, weight), (second, other) = radiation.lines[:2]
        beam = f"doublet {radiation.wavelength:.6f} and {second:.6f} A, I(2)/I(1) = {other / weight:.3f}"
    readme = README.format(
        title=project.title,
        remarks="".join(f"{remark}\n" for remark in project.remarks),
        name=name,
        symbol=project.crystal.space_group.xhm(),
        points=len(project.pattern.two_theta),
        beam=beam,
        polarisation=_polarisation(radiation.polarisation),
        zero=fit.zero_shift,
        b_iso=fit.b_iso,
        u=fit.u,
        v=fit.v,
        w=fit.w,
        x=fit.x,
        y=fit.y,
    )
    return {f"{name}.cif": crystal_cif(project), f"{name}.dat": columns(project), "README.txt": readme}


def _polarisation(factor: float) -> str:
    """In words: (1 + K cos²2θ) with K = 1 for a bare tube and 0 for a synchrotron's horizontal beam."""
    if factor == 1.0:
        return "none of the beam (no monochromator)"
    return f"1 + {factor:.4f} cos^2(2theta), as behind a monochromator (0: linearly polarised, a synchrotron)"

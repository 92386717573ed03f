"""GSAS-II: instrument parameters, pattern, CIF, and a script that makes the .gpx of them and refines it."""

from __future__ import annotations

from math import log

from crystalnet.export.project import Project
from crystalnet.export.tables import columns, crystal_cif

BACKGROUND_TERMS = 8
VARIANCE = 1e4 / (8 * log(2))  # from FWHM² in degrees² to a variance in centidegrees²
SCRIPT = '''"""Make {name}.gpx and refine background, scale, zero and cell: python {name}.py

{title}
{remarks}Run it with the Python that GSAS-II is installed in; open {name}.gpx in GSAS-II afterwards and go on with
coordinates, U and profile.
"""

from pathlib import Path

try:
    from GSASII import GSASIIscriptable as gsas2
except ImportError:  # older installations, with GSASII/ itself in PYTHONPATH
    import GSASIIscriptable as gsas2

here = Path(__file__).resolve().parent
project = gsas2.G2Project(newgpx=str(here / "{name}.gpx"))
pattern = project.add_powder_histogram(
    str(here / "{name}.xye"), str(here / "{name}.instprm"), fmthint="Topas xye"
)
phase = project.add_phase(str(here / "{name}.cif"), phasename="{name}", histograms=[pattern], fmthint="CIF")
# The widths of the .instprm are those of the sample's lines: none is to be added. Size in micrometres, strain in 1e-6.
phase.setSampleProfile(0, "size", "isotropic", 10.0)
phase.setSampleProfile(0, "microstrain", "isotropic", 0.0)
background = {{"type": "chebyschev-1", "no. coeffs": {terms}, "refine": True}}
project.do_refinements(
    [
        {{"set": {{"Background": background, "Sample Parameters": ["Scale"]}}}},
        {{"set": {{"Cell": True, "Instrument Parameters": ["Zero"]}}}},
    ]
)
print(f"{name}: Rwp {{pattern.get_wR():.2f}} %, cell {{phase.get_cell()}}")
'''


def gsas2(project: Project) -> dict[str, str]:
    """Files of a GSAS-II project by their names.

    GSAS-II takes a space group in its reference setting whatever operations a CIF lists, which is the setting here.
    """
    remarks = "".join(f"{remark}\n" for remark in project.remarks)
    name = project.name
    return {
        f"{name}.cif": crystal_cif(project),
        f"{name}.xye": columns(project),
        f"{name}.instprm": instrument(project),
        f"{name}.py": SCRIPT.format(name=name, title=project.title, remarks=remarks, terms=BACKGROUND_TERMS),
    }


def instrument(project: Project) -> str:
    """The diffractometer: variances U, V, W in centidegrees², X (1/cosθ) and Y (tanθ) in centidegrees.

    Zero is in degrees. What the fit has no counterpart of is GSAS-II's own start.
    """
    fit, lines = project.refined, project.radiation.lines
    if len(lines) == 1:
        beam = {"Lam": lines[0][0]}
    else:
        (first, weight), (second, other) = lines[:2]
        beam = {"Lam1": first, "Lam2": second, "I(L2)/I(L1)": other / weight}
    values = beam | {
        "Zero": fit.zero_shift,
        "Polariz.": 1 / (1 + project.radiation.polarisation),
        "U": VARIANCE * fit.u,
        "V": VARIANCE * fit.v,
        "W": VARIANCE * fit.w,
        "X": 100 * fit.x,
        "Y": 100 * fit.y,
        "Z": 0.0,
        "SH/L": 0.002,  # axial divergence: GSAS-II's own start, the fit has symmetric lines
        "Azimuth": 0.0,
        "Gonio. radius": 200.0,  # mm, GSAS-II's own start
    }
    head = f"#GSAS-II instrument parameter file of {project.title}\n"  # a further # would begin another bank
    return head + "Type:PXC\nBank:1.0\n" + "".join(f"{key}:{value:.8g}\n" for key, value in values.items())

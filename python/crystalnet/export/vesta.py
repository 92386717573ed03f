"""VESTA: the crystal and its density, which it opens as they are."""

from __future__ import annotations

from crystalnet.export.project import Project

README = """{title}

{name}.cube  the valence density in e/A^3, with the atoms: File > Open shows both, the isosurface among
             Properties > Isosurfaces. It has no symmetry: every atom of the cell is listed.
{name}.cif   the crystal with its space group, in the axes and origin of the cube: File > Open for bonds,
             distances and site symmetry; Edit > Edit Data > Volumetric Data adds the cube to it.
"""


def vesta(project: Project) -> dict[str, str]:
    """Files for VESTA by their names, in the axes and origin of the density."""
    return {
        f"{project.name}.cube": project.density.read_text(encoding="ascii"),
        f"{project.name}.cif": project.cif.read_text(encoding="utf-8"),
        "README.txt": README.format(title=project.title, name=project.name),
    }

"""The files that several programs read alike: the pattern in columns, and the crystal as CIF."""

from __future__ import annotations

import io
from math import pi

import numpy as np

from crystalnet.export.project import Project


def columns(project: Project) -> str:
    """2θ in degrees, intensity and its esd, a line a point; no head, which TOPAS and Jana2020 would not pass over."""
    pattern, text = project.pattern, io.StringIO()
    np.savetxt(text, np.column_stack([pattern.two_theta, pattern.intensity, pattern.sigma]), "%11.6f %14.6g %12.6g")
    return text.getvalue()


def crystal_cif(project: Project) -> str:
    """The crystal in its reference setting, symbol and operations telling the same.

    The symbol stands twice: bare, for programs without origin suffixes, and with the suffix that leaves no doubt.
    """
    import gemmi

    group, b_iso = project.crystal.space_group, project.refined.b_iso
    block = gemmi.cif.Block(project.name)
    quote = gemmi.cif.quote
    block.set_pair("_pd_phase_name", quote(project.title))
    block.set_pair("_symmetry_space_group_name_H-M", quote(group.hm))
    block.set_pair("_space_group_name_H-M_alt", quote(group.xhm()))
    block.set_pair("_space_group_name_Hall", quote(group.hall))
    block.set_pair("_symmetry_Int_Tables_number", str(group.number))
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    for name, value in zip(names, project.crystal.cell, strict=True):
        block.set_pair(f"_cell_{name}", f"{value:.6f}")
    operations = block.init_loop("_symmetry_equiv_", ["pos_as_xyz"])
    for operation in group.operations():
        operations.add_row([quote(operation.triplet())])
    tags = [
        "label",
        "type_symbol",
        "fract_x",
        "fract_y",
        "fract_z",
        "occupancy",
        "symmetry_multiplicity",
        "U_iso_or_equiv",
    ]
    atoms = block.init_loop("_atom_site_", tags)
    for site in project.atoms:
        where = [f"{x:.8f}" for x in site.x]
        u_iso = f"{b_iso / (8 * pi**2):.6f}"
        atoms.add_row([site.label, site.element, *where, "1", str(site.multiplicity), u_iso])
    head = "".join(f"# {remark}\n" for remark in project.remarks)
    return head + str(block.as_string())

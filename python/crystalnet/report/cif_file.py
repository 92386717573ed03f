"""The CIF of a candidate: structure, refinement, reflections and pattern, by the core and powder dictionaries."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crystalnet import __version__
from crystalnet.crystal.lattice import TRANSLATION_STEPS, axes_of, on_special_position
from crystalnet.crystal.symmetry import (
    SYMPREC_PLACED,
    SYMPRECS,
    bare_symmetry,
    operation,
)
from crystalnet.crystal.systems import system_of
from crystalnet.records import AtomSites, Candidate, Pattern, Radiation
from crystalnet.report.agreement import agreement
from crystalnet.report.esds import cell_parameters, esd_of_atoms, esd_of_cell, same_axes
from crystalnet.report.numbers import with_esd
from crystalnet.xrd.emission_lines import tube_of

if TYPE_CHECKING:
    import gemmi

OFF_STEPS = 0.25  # of such a step: farther off, the origin is no standard one
COORDINATE_DECIMALS = 5  # at least: rounded more, atoms leave their special positions for a reader's tolerance of 1e-4
AVOGADRO = 0.602214076  # molecules in a mole, times Å³ in a cm³
STEP_TOLERANCE = 1e-4  # degrees, in which a scan's steps are equal


def write_cif(
    candidate: Candidate, path: Path, pattern: Pattern, radiation: Radiation, title: str = "candidate"
) -> None:
    """Write a candidate as CIF, in the axes and origin of `candidate.conventional`.

    Parameters
    ----------
    candidate : Candidate
        Where no tolerance reproduces its space group, the file lists every atom in P 1.
    path : Path
        The file, written over.
    pattern : Pattern
        What it was refined on.
    radiation : Radiation
        As refinement took it: the data may have said whether Kα2 is there.
    title : str
        Said in the comment at its head, and the name of the data block.

    Notes
    -----
    A site of unexplained density has the type symbol X and `_atom_site_calc_flag dum`, a dummy site in the CIF core
    dictionary. What was not refined is left out; what only the user knows, the temperature, is "?".
    """
    import gemmi

    document = gemmi.cif.Document()
    block = document.add_new_block(title.replace(" ", "_"))
    crystal = _Crystal.of(candidate)
    _about(block, candidate)
    _chemistry(block, candidate.conventional)
    _cell_and_symmetry(block, candidate, crystal)
    _radiation(block, radiation)
    _atoms(block, candidate, crystal)
    refined = candidate.fit.lines is not None
    if refined:
        _refinement(block, candidate, pattern, radiation)
        _reflections(block, candidate)
    _range(block, pattern)
    rwp = f"{100 * candidate.fit.rwp:.2f} %" if np.isfinite(candidate.fit.rwp) else "unknown"
    head = [
        "#\\#CIF_1.1",
        f"# CrystalNet {__version__}, {title} ({candidate.source}), Rwp {rwp}, background excluded",
    ]
    if "X" in candidate.conventional.species:
        head.append("# Sites X: density that none of the given elements explains")
    options = gemmi.cif.WriteOptions()
    options.align_pairs = 34
    text = "\n".join(head) + "\n" + document.as_string(options)
    path.write_text(text + _profile(candidate, pattern), encoding="ascii")


@dataclass(frozen=True)
class _Crystal:
    """Operations, and one atom of each orbit on its exact position.

    triplets: operations as "x,y,z". group: gemmi's, None where these axes and origin have no name. atoms: indices into
    the sites. positions, multiplicity, wyckoff: of these.
    """

    triplets: list[str]
    group: gemmi.SpaceGroup | None
    atoms: list[int]
    positions: np.ndarray
    multiplicity: list[int]
    wyckoff: list[str]

    @classmethod
    def of(cls, candidate: Candidate) -> _Crystal:
        import gemmi

        sites = candidate.conventional
        for tolerance in SYMPRECS:
            found = bare_symmetry(sites, tolerance)
            if found is None or found.number != candidate.space_group_number:
                continue
            steps = np.round(TRANSLATION_STEPS * found.translations)
            if np.abs(TRANSLATION_STEPS * found.translations - steps).max() > OFF_STEPS:
                continue
            operations = [operation(r, t) for r, t in zip(found.rotations, steps, strict=True)]
            atoms = np.unique(found.crystallographic_orbits, return_index=True)[1].tolist()
            rotations, translations = found.rotations, steps / TRANSLATION_STEPS
            x = [_on_position(sites, sites.frac_coords[i], rotations, translations) for i in atoms]
            return cls(
                [operation.triplet() for operation in operations],
                gemmi.find_spacegroup_by_ops(gemmi.GroupOps(operations)),
                atoms,
                np.array(x),
                [int((found.crystallographic_orbits == found.crystallographic_orbits[i]).sum()) for i in atoms],
                [found.wyckoffs[i] for i in atoms],
            )
        every = list(range(len(sites)))
        one = gemmi.find_spacegroup_by_number(1)
        return cls(["x,y,z"], one, every, sites.frac_coords, [1] * len(sites), ["a"] * len(sites))


def _on_position(sites: AtomSites, x: np.ndarray, rotations: np.ndarray, translations: np.ndarray) -> np.ndarray:
    """The atom at x moved to where its site symmetry wants it exactly, within [0, 1)."""
    exact = on_special_position(x, rotations @ x + translations, sites.lattice, 2 * SYMPREC_PLACED)
    return np.asarray(np.round(exact, 12) % 1.0)


def _about(block: gemmi.cif.Block, candidate: Candidate) -> None:
    source = f"{candidate.source}: {candidate.reference}" if candidate.reference else candidate.source
    _set(block, "_audit_creation_method", f"CrystalNet {__version__}")
    _set(block, "_computing_structure_solution", f"CrystalNet {__version__} ({source})")
    if candidate.fit.lines is not None:
        _set(block, "_computing_structure_refinement", f"rietx {version('rietx')}")


def _chemistry(block: gemmi.cif.Block, sites: AtomSites) -> None:
    """Formula, formula units and density of what has an element."""
    from pymatgen.core import Element

    counts = Counter(symbol for symbol in sites.species if symbol != "X")
    if not counts:
        return
    units = math.gcd(*counts.values())
    # Hill's order: carbon, then hydrogen where there is carbon, the others by the alphabet.
    first = ["C", "H"] if "C" in counts else []
    order = [s for s in first if s in counts] + sorted(counts.keys() - set(first))
    hill = " ".join(f"{s}{counts[s] // units if counts[s] > units else ''}" for s in order)
    weight = sum(n * float(Element(s).atomic_mass) for s, n in counts.items())
    _set(block, "_chemical_formula_sum", hill)
    _set(block, "_chemical_formula_moiety", hill)
    _set(block, "_chemical_formula_weight", f"{weight / units:.3f}")
    _set(block, "_cell_formula_units_Z", units)
    if "X" not in sites.species:
        _set(block, "_exptl_crystal_density_diffrn", f"{weight / AVOGADRO / sites.volume:.3f}")


def _cell_and_symmetry(block: gemmi.cif.Block, candidate: Candidate, crystal: _Crystal) -> None:
    values, esd = cell_parameters(candidate.conventional.lattice), esd_of_cell(candidate)
    for name, value in values.items():
        kind = "length" if name in "abc" else "angle"
        _set(block, f"_cell_{kind}_{name}", _number(value, esd.get(name)))
    volume_esd = esd_of_volume(candidate)
    _set(block, "_cell_volume", with_esd(candidate.conventional.volume, volume_esd, decimals=4))
    _set(block, "_cell_measurement_temperature", None)
    number = candidate.space_group_number if len(crystal.triplets) > 1 else 1
    _set(block, "_space_group_crystal_system", system_of(number).name)
    _set(block, "_space_group_IT_number", number)
    if crystal.group is not None:
        _set(block, "_space_group_name_H-M_alt", crystal.group.xhm())
        _set(block, "_space_group_name_Hall", crystal.group.hall)
    loop = block.init_loop("_space_group_symop_", ["id", "operation_xyz"])
    for i, triplet in enumerate(crystal.triplets, start=1):
        loop.add_row([str(i), f"'{triplet}'"])


def esd_of_volume(candidate: Candidate) -> float | None:
    """Å³: the esds of the free cell parameters, taken as independent; None where none was refined."""
    values, esd = cell_parameters(candidate.conventional.lattice), esd_of_cell(candidate)
    system = system_of(candidate.space_group_number)

    def volume(changed: dict[str, float | None]) -> float:
        return float(np.linalg.det(axes_of(*system.parameters({**values, **changed}).values())))

    parts = [(volume({n: values[n] + s}) - volume({n: values[n] - s})) / 2 for n, s in esd.items() if n in system.free]
    return float(np.linalg.norm(parts)) if parts else None


def _radiation(block: gemmi.cif.Block, radiation: Radiation) -> None:
    _set(block, "_diffrn_ambient_temperature", None)
    _set(block, "_diffrn_radiation_probe", "x-ray")
    tube = tube_of(radiation.wavelength)
    if tube is not None:
        _set(block, "_diffrn_radiation_type", f"{tube} K\\a" + ("" if len(radiation.lines) > 1 else "~1~"))
    if len(radiation.lines) == 1:
        _set(block, "_diffrn_radiation_wavelength", f"{radiation.wavelength:.6f}")
        return
    loop = block.init_loop("_diffrn_radiation_wavelength", ["_id", "", "_wt"])
    for i, (wavelength, weight) in enumerate(radiation.lines, start=1):
        loop.add_row([str(i), f"{wavelength:.6f}", f"{weight / radiation.lines[0][1]:.4g}"])


def _atoms(block: gemmi.cif.Block, candidate: Candidate, crystal: _Crystal) -> None:
    import gemmi

    sites, esd = candidate.conventional, esd_of_atoms(candidate)
    kinds = sorted(set(sites.species))
    loop = block.init_loop("_atom_type_", ["symbol", "number_in_cell"])
    for symbol in kinds:
        loop.add_row([symbol, str(sites.species.count(symbol))])
    b_iso, b_esd = candidate.fit.refined.get("b_iso"), candidate.fit.esd.get("b_iso")
    names = ["label", "type_symbol", "symmetry_multiplicity", "Wyckoff_symbol", "fract_x", "fract_y", "fract_z"]
    names += ["occupancy", "calc_flag"] + (["B_iso_or_equiv", "adp_type"] if b_iso is not None else [])
    loop = block.init_loop("_atom_site_", names)
    labels: Counter[str] = Counter()
    for k, atom in enumerate(crystal.atoms):
        symbol = sites.species[atom]
        labels[symbol] += 1
        place = [
            _number(x, s, least=COORDINATE_DECIMALS)
            for x, s in zip(crystal.positions[k].tolist(), esd[atom].tolist(), strict=True)
        ]
        row = [f"{symbol}{labels[symbol]}", symbol, str(crystal.multiplicity[k]), crystal.wyckoff[k], *place]
        row += ["1", "dum" if symbol == "X" else "d"]
        # The dictionary knows no B below 0, which absorption and texture ask for: `_refinement` says it in words.
        row += [] if b_iso is None else [with_esd(b_iso, b_esd, decimals=3) if b_iso >= 0 else "?", "Biso"]
        loop.add_row([value if value == "?" else gemmi.cif.quote(value) for value in row])


def _refinement(block: gemmi.cif.Block, candidate: Candidate, pattern: Pattern, radiation: Radiation) -> None:
    fit, found = candidate.fit, agreement(candidate.fit, pattern)
    _set(block, "_pd_calc_method", "Rietveld refinement")
    _set(block, "_refine_ls_structure_factor_coef", "Inet")
    _set(block, "_refine_ls_matrix_type", "full")
    _set(block, "_refine_ls_weighting_scheme", "sigma")
    _set(block, "_refine_ls_weighting_details", "w = 1/s.u.(y)^2^")
    if found is not None:
        _set(block, "_pd_proc_ls_prof_R_factor", f"{found.rp:.4f}")
        _set(block, "_pd_proc_ls_prof_wR_factor", f"{found.rwp:.4f}")
        _set(block, "_pd_proc_ls_prof_wR_expected", f"{found.expected:.4f}")
        _set(block, "_refine_ls_goodness_of_fit_all", f"{math.sqrt(found.chi_squared):.3f}")
        if found.bragg is not None:
            _set(block, "_refine_ls_R_I_factor", f"{found.bragg:.4f}")
    _set(block, "_refine_ls_number_parameters", fit.parameters)
    widths = [f"{n.upper()} = {with_esd(fit.refined.get(n), fit.esd.get(n), decimals=5)}" for n in "uvwxy"]
    _set(block, "_pd_proc_ls_profile_function", f"Thompson-Cox-Hastings pseudo-Voigt, {', '.join(widths)} (degrees)")
    _set(block, "_pd_proc_ls_background_function", "penalised spline (arPLS) plus Chebyshev polynomial")
    _set(block, "_pd_proc_ls_pref_orient_corr", "none")
    # The dictionary's offset is added to the measured angles, ours to the calculated ones.
    _set(block, "_pd_calib_2theta_offset", with_esd(-fit.zero_shift, fit.esd.get("zero_shift"), decimals=4))
    details = (
        f"\nRwp without the background in the denominator, by which CrystalNet ranks, is {fit.rwp:.4f}.\n"
        "S.u.s are multiplied by the factor of Berar & Lelann (1991) for serially correlated residuals.\n"
        "One isotropic displacement parameter stands for all atoms. Coordinates are held softly to their start."
    )
    if fit.refined.get("b_iso", 0) < 0:
        details += f"\nIt was refined to B = {with_esd(fit.refined['b_iso'], fit.esd.get('b_iso'), decimals=3)} A^2^."
    if (fit.background < 0).any() or (fit.calculated < 0).any():
        details += "\nCalculated intensities and backgrounds below 0 are listed as 0."
    details += "\nThe wavelength was assumed." if radiation.assumed else ""
    _set(block, "_pd_proc_ls_special_details", details)


def _range(block: gemmi.cif.Block, pattern: Pattern) -> None:
    if not len(pattern):
        return
    _set(block, "_pd_meas_2theta_range_min", f"{pattern.two_theta[0]:.5f}")
    _set(block, "_pd_meas_2theta_range_max", f"{pattern.two_theta[-1]:.5f}")
    steps = np.diff(pattern.two_theta)
    if len(steps) and np.ptp(steps) < STEP_TOLERANCE:
        _set(block, "_pd_meas_2theta_range_inc", f"{steps.mean():.6f}")
    _set(block, "_pd_meas_number_of_points", len(pattern))
    _set(block, "_pd_proc_number_of_points", len(pattern))


def _reflections(block: gemmi.cif.Block, candidate: Candidate) -> None:
    lines = candidate.fit.lines
    if lines is None or not len(lines) or not same_axes(candidate):
        return
    _set(block, "_refine_ls_number_reflns", len(lines))
    _set(block, "_refine_ls_d_res_high", f"{lines.d_spacing.min():.4f}")
    _set(block, "_refine_ls_d_res_low", f"{lines.d_spacing.max():.4f}")
    names = ["index_h", "index_k", "index_l", "d_spacing", "symmetry_multiplicity", "F_squared_calc", "F_squared_meas"]
    ratio = np.divide(lines.observed, lines.calculated, out=np.full(len(lines), np.nan), where=lines.calculated > 0)
    loop = block.init_loop("_refln_", names)
    columns = (lines.hkl, lines.d_spacing, lines.multiplicity, lines.f_squared, lines.f_squared * ratio)
    for hkl, d, multiplicity, calculated, measured in zip(*(c.tolist() for c in columns), strict=True):
        shown = f"{measured:.2f}" if math.isfinite(measured) else "."
        loop.add_row([*map(str, hkl), f"{d:.5f}", str(multiplicity), f"{calculated:.2f}", shown])


def _profile(candidate: Candidate, pattern: Pattern) -> str:
    """The loop of the measured and calculated profiles: by far the most of the file, printed at one go.

    The dictionary knows no calculated intensity below 0: a background that falls below is written as 0.
    """
    names = ["_pd_meas_2theta_scan", "_pd_meas_intensity_total", "_pd_proc_ls_weight"]
    columns = [pattern.two_theta, pattern.intensity, pattern.sigma**-2.0]
    if not len(pattern):
        return ""
    fit, form = candidate.fit, "%.5f %.8g %.5g"
    if fit.lines is not None:
        names += ["_pd_calc_intensity_total", "_pd_proc_intensity_bkg_calc"]
        columns += [np.maximum(fit.calculated, 0), np.maximum(fit.background, 0)]
        form += " %.6g %.6g"
    body = ((form + "\n") * len(pattern)) % tuple(np.column_stack(columns).ravel().tolist())
    return "\nloop_\n" + "\n".join(names) + "\n" + body


def _number(value: float, esd: float | None, least: int = 0) -> str:
    """A value with its esd; without one in as few decimals as say it, so that 1/2 and 90° are seen to be exact."""
    shown = with_esd(value, esd, decimals=8, least=least)
    return shown if "(" in shown else shown.rstrip("0").rstrip(".")


def _set(block: gemmi.cif.Block, tag: str, value: str | int | None) -> None:
    """A tag with its value: text of any characters is brought to ASCII and quoted as it needs; None is not known."""
    import gemmi

    if value is None:
        block.set_pair(tag, "?")
        return
    plain = unicodedata.normalize("NFKD", str(value).replace("–", "-")).encode("ascii", "ignore").decode()
    block.set_pair(tag, gemmi.cif.quote(plain))

"""The radiation in a powder CIF."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystalnet.records import InputError, Radiation
from crystalnet.xrd.emission_lines import WAVELENGTH_RANGE
from crystalnet.xrd.header.decision import decided, polarised
from crystalnet.xrd.header.facts import Facts, read_line
from crystalnet.xrd.units import in_angstrom

if TYPE_CHECKING:
    import gemmi


def radiation_of_cif(name: str, text: str) -> Radiation | None:
    """The radiation in the data blocks of a pdCIF; None where they say nothing.

    Parameters
    ----------
    name : str
        Of the file, for messages.
    text : str
        The whole CIF.

    Raises
    ------
    InputError
        Where a block holds neutron data.
    """
    import gemmi

    for block in gemmi.cif.read_string(text):
        if _of_neutrons(block, "_diffrn_radiation_probe") or _of_neutrons(block, "_diffrn_radiation_type"):
            raise InputError(f"{name}: holds neutron data; give an X-ray pattern")
        found = _block_radiation(block)
        if found is not None:
            return found
    return None


def _of_neutrons(block: gemmi.cif.Block, tag: str) -> bool:
    return any("neutron" in value.lower() for value in block.find_values(tag))


def _block_radiation(block: gemmi.cif.Block) -> Radiation | None:
    """The radiation in one data block: its wavelengths with their weights, else what the words of its tags say."""
    import gemmi

    def texts(*tags: str) -> list[str]:
        found = [value for tag in tags for value in block.find_values(tag)]
        return [gemmi.cif.as_string(value) for value in found if value not in ("?", ".")]

    facts = Facts()
    for said in texts("_diffrn_radiation_type", "_diffrn_radiation.type", "_diffrn_source", "_diffrn_source_type"):
        read_line(f"radiation: {said}", facts)
    for target in texts("_diffrn_source_target"):
        read_line(f"target: {target}", facts)
    for crystal in texts(
        "_diffrn_radiation_monochromator", "_pd_instr_monochr_pre_spec", "_pd_instr_monochr_post_spec"
    ):
        read_line(f"monochromator: {crystal}", facts)
    for angle in texts("_pd_instr_2theta_monochr_pre", "_pd_instr_2theta_monochr_post"):
        read_line(f"monochromator 2theta = {angle}", facts)
    for ratio in texts("_diffrn_radiation_polarisn_ratio"):
        # The dictionary's ratio is I⊥/I∥ = 1/K, at least 1; GSAS writes the share I⊥/(I⊥ + I∥) there.
        value = gemmi.cif.as_number(ratio)
        if value >= 1:
            facts.polarisation = 1 / value
        elif 0.5 <= value < 1:
            facts.polarisation = (1 - value) / value
    wavelengths = [
        (value.split("(")[0], gemmi.cif.as_number(value))
        for value in texts("_diffrn_radiation_wavelength", "_diffrn_radiation_wavelength.value")
    ]
    wavelengths = [w for w in wavelengths if WAVELENGTH_RANGE[0] <= w[1] <= WAVELENGTH_RANGE[1]]
    if len(wavelengths) > 1:
        # Authors list the tube's doublet behind a Kα1 monochromator too: the data decide.
        weights = [gemmi.cif.as_number(w) for w in texts("_diffrn_radiation_wavelength_wt")]
        if len(weights) != len(wavelengths) or not all(w >= 0 for w in weights) or not any(weights):
            weights = [2.0, 1.0] + [0.0] * (len(wavelengths) - 2)
        pairs = sorted(zip([w for _, w in wavelengths], weights, strict=True), key=lambda line: -line[1])
        lines = tuple((value, weight / pairs[0][1]) for value, weight in pairs if weight > 0)
        return polarised(Radiation(lines, kalpha2_known=len(lines) == 1), facts)
    for digits, _ in wavelengths:
        facts.bare.append(in_angstrom(digits, "å"))
    return decided(facts)

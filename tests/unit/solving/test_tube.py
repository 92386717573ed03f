"""Which tube: simulated patterns whose wavelength nobody said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from crystalnet.crystal.lattice import Cell
from crystalnet.records import AtomSites, Pattern, Peaks
from crystalnet.solving.from_catalogue import Catalogue
from crystalnet.solving.proposals import Proposal
from crystalnet.solving.tube import MOST_LEAD, Tube, likeliest_tube, wavelength_lead
from crystalnet.xrd.emission_lines import TUBES
from crystalnet.xrd.indexing.index import index_peaks
from crystalnet.xrd.profile import simulate_profile
from crystalnet.xrd.radiation import assumed_cu, doublet
from solved_salt import PATTERN

CUPRITE = Structure.from_spacegroup("Pn-3m", Lattice.cubic(4.27), ["O", "Cu"], [[0.25, 0.25, 0.25], [0, 0, 0]])


def unsaid(anode: str, structure: Structure = CUPRITE) -> Pattern:
    """A laboratory pattern with this tube, taken for copper's; 20° to 100° there."""
    source = doublet(*TUBES[anode])
    two_theta = np.arange(20.0, 100.0, 0.02) * min(source.wavelength / 1.5406, 1.4)
    made = simulate_profile(AtomSites.from_structure(structure), source, two_theta, measured_like=True, seed=4)
    return replace(made, radiation=assumed_cu())


def found(pattern: Pattern, elements: tuple[str, ...] = ("Cu", "O")) -> Tube | None:
    def types(cell: Cell, peaks: Peaks) -> list[Proposal]:
        return Catalogue(own=False).proposals(cell, peaks, elements)

    return likeliest_tube(pattern, lambda peaks: index_peaks(peaks, ("cubic",))[:2], (types,))


@pytest.mark.parametrize("anode", ["Cu", "Co", "Mo"])
def test_the_tube_is_the_one_with_which_the_sample_makes_sense(anode: str) -> None:
    tube = found(unsaid(anode))
    assert tube is not None and tube.anode == anode
    assert tube.radiation.assumed and tube.radiation.wavelength == TUBES[anode][0]
    assert 0 < tube.lead <= MOST_LEAD and tube.volumes[0][0] == anode
    assert f"{anode} Kα suits the sample" in tube.remark and "--wavelength" in tube.remark


def test_a_tube_that_leads_by_little_is_said_to() -> None:
    tube = Tube("Cu", assumed_cu(), 0.1, (("Cu", 1.0), ("Co", None)))
    assert "another does nearly as well" in tube.remark and "Cu 1.00" in tube.remark
    assert "another" not in replace(tube, lead=1.0).remark


def test_where_nothing_fits_no_tube_is_named() -> None:
    assert likeliest_tube(unsaid("Cu"), lambda peaks: [], ()) is None


def test_who_says_the_wavelength_is_believed() -> None:
    assumed = replace(PATTERN, radiation=assumed_cu())
    tube = Tube("Cu", assumed_cu(), 0.4, ())
    assert wavelength_lead(PATTERN, None) == MOST_LEAD
    assert wavelength_lead(assumed, tube) == 0.4
    assert wavelength_lead(assumed, None) == 0.0

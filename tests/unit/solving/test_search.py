"""The search where no known type explains the lines, and crystals that somebody has measured."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Structure

from crystalnet.crystal.lattice import Cell
from crystalnet.crystal.library import library
from crystalnet.crystal.wyckoff import groups_on
from crystalnet.data.files import fetch_files
from crystalnet.data.splits import Splits
from crystalnet.records import AtomSites, Peaks
from crystalnet.solving import arrangements, contents
from crystalnet.solving import from_search as search
from crystalnet.solving.analogues import Analogues
from crystalnet.solving.extinction import likely_groups
from crystalnet.solving.from_catalogue import Catalogue
from crystalnet.solving.from_known import known_proposals
from crystalnet.solving.from_search import search_proposals
from crystalnet.solving.proposals import same_composition
from crystalnet.solving.screen import Screen
from crystalnet.xrd.profile import calculated_peaks
from crystalnet.xrd.radiation import parse_wavelength
from crystals import BADDELEYITE, RUTILE

MO = parse_wavelength("0.711", exact=True)
MONOCLINIC = Cell("monoclinic", "P", 5.15, 5.31, b=5.21, beta=99.2)


def lines_of(structure: Structure) -> Peaks:
    return calculated_peaks(AtomSites.from_structure(structure), MO, np.array([3.0, 60.0]))


def known_to(elements: Sequence[str]) -> Analogues:
    return Analogues(elements, Catalogue(own=False).crystals())


def same(found: AtomSites, truth: Structure) -> bool:
    return bool(StructureMatcher().fit(found.structure(), truth))


@pytest.mark.parametrize(
    ("cell", "truth", "amounts"),
    [
        (MONOCLINIC, BADDELEYITE, {"Zr": 1.0, "O": 2.0}),
        (Cell("tetragonal", "P", 4.594, 2.959), RUTILE, {"Ti": 1.0, "O": 2.0}),
        (Cell("tetragonal", "P", 4.594, 2.959), RUTILE, None),
    ],
    ids=["baddeleyite", "rutile", "rutile-by-elements"],
)
def test_a_crystal_of_no_type_is_found(cell: Cell, truth: Structure, amounts: dict[str, float] | None) -> None:
    elements = sorted({site.specie.symbol for site in truth})
    found = search_proposals(cell, lines_of(truth), known_to(elements), amounts, seconds=60.0)
    assert found[0].residual < search.SOLVED and same(found[0].sites, truth)
    assert {p.source for p in found} == {"search"} and found[0].cell == cell


def test_a_search_keeps_its_time() -> None:
    """A cell that holds no such crystal is given up when time is over, a round of starts later at most."""
    started = time.monotonic()
    found = search_proposals(replace(MONOCLINIC, a=5.6), lines_of(BADDELEYITE), known_to(("Zr", "O")), seconds=1.0)
    assert time.monotonic() - started < 3.0
    assert all(p.residual > search.SOLVED for p in found)
    assert search_proposals(MONOCLINIC, lines_of(BADDELEYITE), known_to(("Zr", "O")), {"Zr": 1.0, "O": 1.23456}) == []


def test_contents_come_by_volume() -> None:
    zirconia = known_to(("Zr", "O"))
    cells = contents.contents_of(zirconia, MONOCLINIC.primitive_volume, {"Zr": 1.0, "O": 2.0})
    assert cells[0][1] == {"Zr": 4, "O": 8} and cells[0][0] < 1
    assert all(a <= b for (a, _), (b, _) in pairwise(cells))
    assert contents.contents_of(zirconia, 3.0, {"Zr": 1.0, "O": 2.0}) == []
    water = contents.contents_of(zirconia, MONOCLINIC.primitive_volume, {"Zr": 1.0, "O": 3.0, "H": 2.0})
    assert water[0][1] == {"Zr": 2, "O": 6}  # hydrogen takes room but is no atom to be placed
    assert contents.formula_unit({"A": 1.0, "B": 1.5, "C": 0.5}) == {"A": 2, "B": 3, "C": 1}
    assert contents.formula_unit({"Fe": 4, "O": 6}) == {"Fe": 2, "O": 3}
    assert contents.formula_unit({"A": 1.0, "B": 0.7312}) is None


def test_few_free_coordinates_wait_longer_for_another_round() -> None:
    waits = [search._wait(free) for free in range(31)]
    assert waits[0] == waits[4] == 4.0 and waits[11] == waits[30] == 0.5
    assert waits == sorted(waits, reverse=True)


def test_the_group_of_the_absences_comes_first() -> None:
    targets = Screen(MONOCLINIC.primitive_lattice, 0.0, lines_of(BADDELEYITE)).targets()
    assert targets is not None
    ordered = likely_groups(groups_on(MONOCLINIC), targets, lines_of(BADDELEYITE))
    assert ordered[0][0] == 0.0 and ordered[0][1].number == 14
    allowed = targets.target[~ordered[0][1].absent(targets.hkl)]
    assert set(range(len(targets.amplitude))) <= set(allowed.tolist())  # every line that is seen


def test_combinations_hold_the_atoms_once_and_in_order() -> None:
    group = next(g for g in groups_on(MONOCLINIC) if g.number == 14)
    stream = list(islice(arrangements._combinations(group, {"Zr": 4, "O": 8}), 200))
    costs = [cost for cost, _ in stream]
    assert costs == sorted(costs)
    fixed = {i for i, p in enumerate(group.positions) if p.free == 0}
    for _, letters in stream:
        held = Counter[str]()
        for symbol, i in letters:
            held[symbol] += len(group.positions[i])
        assert held == {"Zr": 4, "O": 8}
        assert max(Counter(i for _, i in letters if i in fixed).values(), default=0) <= 1
    forms = {min(tuple(sorted((s, p[i]) for s, i in letters)) for p in group.permutations) for _, letters in stream}
    assert len(forms) == len(stream)  # another choice of the origin is no other combination


def test_what_is_likely_is_tried_before_what_is_not() -> None:
    groups = likely_groups(
        groups_on(MONOCLINIC),
        Screen(MONOCLINIC.primitive_lattice, 0.0, lines_of(BADDELEYITE)).targets(),  # type: ignore[arg-type]
        lines_of(BADDELEYITE),
    )
    cells = contents.contents_of(known_to(("Zr", "O")), MONOCLINIC.primitive_volume, {"Zr": 1.0, "O": 2.0})
    first = list(islice(arrangements.arrangements(groups, cells), 30))
    costs = [cost for cost, _, _ in first]
    assert costs == sorted(costs) and all(map(math.isfinite, costs))
    (truth,) = [g.positions for _, g, letters in first if g.number == 14 and len(letters) == 3][:1]
    assert truth[-1].letter == "e"


def test_laue_equivalents_are_summed() -> None:
    targets = Screen(MONOCLINIC.primitive_lattice, 0.0, lines_of(BADDELEYITE)).targets()
    assert targets is not None
    group = next(g for g in groups_on(MONOCLINIC) if g.number == 14)
    few = search._independent(targets, group.laue)
    assert len(few.hkl) < 0.7 * len(targets.hkl) and few.weight.sum() == pytest.approx(targets.weight.sum())
    assert (np.diff(few.s_squared) >= 0).all()


# --- known crystals ---------------------------------------------------------------------------------------------------


def test_a_known_crystal_is_found_without_a_cell() -> None:
    """Of another lab, 1 % larger, and beside a foreign line."""
    warm = BADDELEYITE.copy()
    warm.scale_lattice(BADDELEYITE.volume * 1.03)
    peaks = lines_of(warm)
    found = known_proposals(Catalogue(own=False), peaks, ("O", "Zr"))
    best = found[0]
    assert best.source == "known" and best.residual < 0.08 and same(best.sites, warm)
    assert best.reference is not None and best.reference.startswith("Baddeleyite")
    assert best.cell.primitive_volume == pytest.approx(warm.volume, rel=2e-3)
    assert known_proposals(Catalogue(own=False), peaks, ("O", "Zr"), {"Zr": 1.0, "O": 2.0})[0].origin == best.origin
    assert known_proposals(Catalogue(own=False), peaks, ("O", "Zr"), {"Zr": 1.0, "O": 1.0}) == []
    assert known_proposals(Catalogue(own=False, without_formula={"Zr": 2, "O": 4}), peaks, ("O", "Zr")) == []
    assert known_proposals(Catalogue(own=False), peaks, ("O", "Ti")) == []
    assert known_proposals(Catalogue(own=False), peaks, ("O", "Zr", "H"))  # hydrogen may be missing


def test_a_crystal_of_the_users_own_files_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In each of the systems that the files have, whatever networks there are."""
    monkeypatch.setenv("CRYSTALNET_DATA", str(tmp_path))
    named = BADDELEYITE.copy()
    named.replace_species({"Zr": "U", "O": "Se"})  # nobody's
    named.scale_lattice(1.6 * named.volume)
    named.to(str(tmp_path / "mine.cif"))
    folders = {system: tmp_path / system for system in ("cubic", "monoclinic")}
    made = fetch_files(
        folders, (tmp_path / "mine.cif",), None, dict.fromkeys(folders, Splits()), lambda done, all_: None
    )
    assert made == {"monoclinic": 1} and not (tmp_path / "cubic").exists()
    best = known_proposals(Catalogue(), lines_of(named), ("Se", "U"))[0]
    assert best.source == "known" and same(best.sites, named) and best.reference == "mine.cif, your own file"
    assert known_proposals(Catalogue(own=False), lines_of(named), ("Se", "U")) == []


def test_calculated_crystals_are_types_but_not_known() -> None:
    calculated = next(i for i, e in enumerate(library().entries) if e.formula == "NaCl")
    assert not library().entries[calculated].measured
    crystal = library().sites(calculated)
    peaks = lines_of(AtomSites(crystal.lattice, crystal.species, crystal.frac_coords).structure())
    assert known_proposals(Catalogue(own=False), peaks, ("Na", "Cl")) == []


def test_compositions_are_compared_without_a_missing_hydrogen() -> None:
    assert same_composition({"Fe": 1, "O": 2, "H": 1}, {"Fe": 1, "O": 2})
    assert same_composition({"Si": 3, "O": 6}, {"Si": 1, "O": 2})
    assert not same_composition({"Fe": 1, "O": 2, "H": 1}, {"Fe": 1, "O": 2, "H": 2})
    assert not same_composition({"Si": 1, "O": 2}, {"Ge": 1, "O": 2})


def test_crystals_of_both_hands_count_for_one_group() -> None:
    """Searched is the lower group of each pair that mirrors exchange; the library's quartz may be of either."""
    usage = arrangements._usage()
    right = sum(e.space_group in (152, 154) for e in library().entries)
    orbits = sum(usage[152].values())
    assert 154 not in usage and orbits >= right > sum(e.space_group == 152 for e in library().entries)

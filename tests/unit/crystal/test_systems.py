"""The table of crystal systems."""

import pytest

from crystalnet.crystal.systems import CRYSTAL_SYSTEMS, LEARNT, SYSTEMS, system_named, system_of


def test_every_space_group_has_one_system() -> None:
    numbers = sorted(number for system in CRYSTAL_SYSTEMS for number in system.space_groups)
    assert numbers == list(range(1, 231))
    for system in CRYSTAL_SYSTEMS:
        assert all(system_of(number) is system for number in system.space_groups)
        assert system_named(system.name) is system


@pytest.mark.parametrize("number", [0, 231])
def test_no_such_space_group(number: int) -> None:
    with pytest.raises(ValueError, match="1 to 230"):
        system_of(number)


def test_systems_and_centrings_are_those_of_gemmi() -> None:
    gemmi = pytest.importorskip("gemmi")
    for number in range(1, 231):
        group, system = gemmi.find_spacegroup_by_number(number), system_of(number)
        assert group.crystal_system_str() == system.name
        assert group.centring_type() in system.centrings


def test_all_seven_are_offered_and_two_are_learnt() -> None:
    assert len(SYSTEMS) == 7
    assert LEARNT == ("cubic", "trigonal")


def test_trigonal_lattices_are_of_hexagonal_crystals_too() -> None:
    trigonal = system_named("trigonal")
    assert [n for n in range(1, 231) if trigonal.may_have(n)] == list(range(143, 195))
    assert [n for n in range(1, 231) if system_named("cubic").may_have(n)] == list(range(195, 231))

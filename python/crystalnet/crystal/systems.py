"""The seven crystal systems, a row each: what a system allows is looked up here, never asked by its name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CrystalSystem:
    """One crystal system in its conventional setting (International Tables A: unique axis b, hexagonal axes).

    Attributes
    ----------
    name : str
        The system's name, lower case.
    space_groups : range
        Numbers of its space groups.
    centrings : tuple of str
        Centrings of its conventional cells; A and C settings of one lattice are both named.
    free : tuple of str
        Metric parameters that symmetry leaves free, in the order in which they are shown.
    gamma : float
        γ in degrees where it is not free; α and β are then 90°.
    learnt : bool
        Whether the package has a network for it; crystals of all systems are solved.
    with_lattices_of : tuple of str
        Further systems with crystals on the same lattices. Trigonal and hexagonal crystals share the primitive lattice
        on hexagonal axes: its lines do not tell them apart, and an indexed "trigonal" cell stands for both.
    """

    name: str
    space_groups: range
    centrings: tuple[str, ...]
    free: tuple[str, ...]
    gamma: float = 90.0
    learnt: bool = False
    with_lattices_of: tuple[str, ...] = ()

    def may_have(self, space_group: int) -> bool:
        """Whether a crystal of this space group may have a cell that is indexed as this system."""
        systems = (self, *(system_named(name) for name in self.with_lattices_of))
        return any(space_group in system.space_groups for system in systems)

    def parameters(self, given: dict[str, float | None]) -> dict[str, float]:
        """The six cell parameters (Å, degrees) of the free ones: others of `given` are replaced by what symmetry asks.

        Raises
        ------
        ValueError
            If a free parameter is missing.
        """
        fixed = {"alpha": 90.0, "beta": 90.0, "gamma": self.gamma}
        parameters: dict[str, float] = {}
        for name in ("a", "b", "c", "alpha", "beta", "gamma"):
            if name not in self.free:
                parameters[name] = fixed[name] if name in fixed else parameters["a"]
                continue
            value = given.get(name)
            if value is None:
                raise ValueError(f"a {self.name} cell needs {', '.join(self.free)}: {name} is missing")
            parameters[name] = value
        return parameters


CRYSTAL_SYSTEMS = (
    CrystalSystem("cubic", range(195, 231), ("P", "I", "F"), ("a",), learnt=True),
    CrystalSystem("hexagonal", range(168, 195), ("P",), ("a", "c"), gamma=120.0),
    CrystalSystem(
        "trigonal",
        range(143, 168),
        ("P", "R"),
        ("a", "c"),
        gamma=120.0,
        learnt=True,
        with_lattices_of=("hexagonal",),
    ),
    CrystalSystem("tetragonal", range(75, 143), ("P", "I"), ("a", "c")),
    CrystalSystem("orthorhombic", range(16, 75), ("P", "A", "C", "I", "F"), ("a", "b", "c")),
    CrystalSystem("monoclinic", range(3, 16), ("P", "C"), ("a", "b", "c", "beta")),
    CrystalSystem("triclinic", range(1, 3), ("P",), ("a", "b", "c", "alpha", "beta", "gamma")),
)
SYSTEMS = tuple(system.name for system in CRYSTAL_SYSTEMS)
LEARNT = tuple(system.name for system in CRYSTAL_SYSTEMS if system.learnt)  # what a network can be trained for
_BY_NAME = {system.name: system for system in CRYSTAL_SYSTEMS}


def system_named(name: str) -> CrystalSystem:
    """The row of a crystal system; KeyError for none of the seven names."""
    return _BY_NAME[name]


def indexed_as(name: str) -> str:
    """The system as which crystals of system `name` are indexed where their lattice is primitive."""
    return next((system.name for system in CRYSTAL_SYSTEMS if name in system.with_lattices_of), name)


def system_of(space_group: int) -> CrystalSystem:
    """The crystal system of a space group number, 1 to 230; ValueError for any other."""
    for system in CRYSTAL_SYSTEMS:
        if space_group in system.space_groups:
            return system
    raise ValueError(f"there is no space group {space_group}: the numbers run from 1 to 230")

"""The elements: symbols, atomic and Mendeleev numbers. Nothing from data set to checkpoint needs pymatgen for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np

SYMBOLS: tuple[str, ...] = tuple(
    (
        "X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr "
        "Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb "
        "Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf "
        "Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og "
    ).split()
)
ATOMIC_NUMBER: dict[str, int] = {symbol: z for z, symbol in enumerate(SYMBOLS)}


def atomic_numbers(species: Sequence[str]) -> np.ndarray:
    """Atomic numbers (N,) int64 of N symbols; 0 for the unexplained "X"."""
    return np.array([ATOMIC_NUMBER[symbol] for symbol in species], dtype=np.int64)


def visible(elements: Iterable[str]) -> tuple[str, ...]:
    """Without hydrogen, of which no pattern shows where it is."""
    return tuple(symbol for symbol in elements if symbol != "H")


@cache
def mendeleev_number(element: str) -> float:
    """Place of an element on Pettifor's chemical scale (Solid State Commun. 51, 31, 1984); neighbours are alike."""
    from pymatgen.core import Element

    return float(Element(element).mendeleev_no)

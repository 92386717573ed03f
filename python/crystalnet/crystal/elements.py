"""Element symbols by atomic number, so that nothing from data set to checkpoint needs pymatgen."""

from __future__ import annotations

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


def atomic_numbers(species: tuple[str, ...]) -> np.ndarray:
    """(N,) int64; 0 for the unexplained "X"."""
    from gemmi import Element

    return np.array([Element(symbol).atomic_number for symbol in species], dtype=np.int64)

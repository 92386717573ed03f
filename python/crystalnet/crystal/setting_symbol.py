"""The Hermann–Mauguin symbol of a space group in the setting that it has on given axes: P2_1/n, not P2_1/c."""

from __future__ import annotations

import re
from functools import cache

import numpy as np

from crystalnet.crystal.lattice import PRIMITIVE_AXES, nearest_image
from crystalnet.crystal.lattice_maps import code_of
from crystalnet.crystal.wyckoff import TELLING, Group

_MONOCLINIC = range(3, 16)
_DOUBLE_GLIDES = (39, 41, 64, 67, 68)  # the planes along the centred face glide both ways: e, since 1992


def setting_symbol(group: Group, centring: str) -> str:
    """The symbol on the conventional axes of a cell; an underscore stands before a screw's number.

    Parameters
    ----------
    group : Group
        On primitive axes.
    centring : str
        Of the cell: P, A, C, I, F or R (hexagonal axes).

    Returns
    -------
    str
        Of the setting that International Tables A (table 1.5.4.4) list, where the axes are one of theirs; else of the
        group's standard setting.
    """
    to_primitive = PRIMITIVE_AXES[centring]
    hkl = TELLING @ to_primitive.T
    whole = np.abs(nearest_image(hkl)).max(axis=1) < 1e-6
    absent = np.ones(len(hkl), bool)  # by the centring
    absent[whole] = group.absent(np.rint(hkl[whole]).astype(np.int64))
    turned = to_primitive.T @ group.rotations @ np.linalg.inv(to_primitive.T)
    own = (frozenset(code_of(np.rint(turned).astype(np.int64)).tolist()), absent.tobytes())
    symbols = _settings(group.number)
    return symbols.get(own) or next(iter(symbols.values()))


@cache
def _settings(number: int) -> dict[tuple[frozenset[int], bytes], str]:
    """The symbols of a group's tabulated settings, the standard one first, by rotations and absent reflections."""
    import gemmi

    found: dict[tuple[frozenset[int], bytes], str] = {}
    standard = gemmi.get_spacegroup_reference_setting(number)
    for setting in [standard, *(s for s in gemmi.spacegroup_table() if s.number == number)]:
        operations = setting.operations()
        rotations = np.array([op.rot for op in operations.sym_ops]) // gemmi.Op.DEN
        absent = np.array([operations.is_systematically_absent(h) for h in TELLING.tolist()])
        found.setdefault((frozenset(code_of(rotations).tolist()), absent.tobytes()), _written(setting.hm, number))
    return found


def _written(symbol: str, number: int) -> str:
    """gemmi's "P 1 21/n 1" as P2_1/n, its "C m c a" as Cmce."""
    centring, *parts = symbol.split()
    if number in _DOUBLE_GLIDES:
        parts["ABC".index(centring)] = "e"
    if number in _MONOCLINIC and parts[::2] == ["1", "1"]:  # b is the unique axis
        parts = parts[1:2]
    return centring + "".join(re.sub(r"^([2346])([1-5])", r"\1_\2", part) for part in parts)

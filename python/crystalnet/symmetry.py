"""Facts of space groups that more than one room needs."""

from __future__ import annotations

# Upper members of the eleven enantiomorphic pairs, which a powder pattern cannot tell from the lower ones
# (International Tables for Crystallography A, 1.3.3).
ENANTIOMORPHS = {
    78: 76, 95: 91, 96: 92, 145: 144, 153: 151, 154: 152, 170: 169, 172: 171, 179: 178, 181: 180, 213: 212,
}  # fmt: skip


def one_hand(space_group: int) -> int:
    """The space group's number, of an enantiomorphic pair the lower one."""
    return ENANTIOMORPHS.get(space_group, space_group)

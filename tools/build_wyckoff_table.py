"""Build python/crystalnet/crystal/wyckoff.json from PyXtal's list of Wyckoff positions.

    pip download pyxtal --no-deps && unzip pyxtal-*.whl
    python tools/build_wyckoff_table.py pyxtal/database/wyckoff_list.csv

The list is that of International Tables for Crystallography A as the Bilbao Crystallographic Server has it (Aroyo et
al., Z. Kristallogr. 221, 15, 2006), copied from PyXtal 1.1.5 (MIT; Fredericks et al., Comput. Phys. Commun. 261,
107810, 2021). Every orbit is compared with gemmi's operations of the group's reference setting. What is added: how the
origin shifts of the group's normaliser permute the positions.
"""

from __future__ import annotations

import ast
import csv
import json
import re
import sys
from fractions import Fraction
from itertools import product
from pathlib import Path

import gemmi
import numpy as np

OUT = Path(__file__).parents[1] / "python/crystalnet/crystal/wyckoff.json"
STEPS = sorted({Fraction(n, d) for d in (3, 4, 6, 8) for n in range(d)})
Affine = tuple[np.ndarray, np.ndarray]


def main(source: Path) -> None:
    """Write the table."""
    csv.field_size_limit(10**8)
    table = {}
    with source.open() as file:
        rows = [row for row in csv.reader(file) if row[0].isdigit() and int(row[0]) > 0]
    for number, text in rows:
        group = gemmi.get_spacegroup_reference_setting(int(number))
        operations = [np.array(op.float_seitz()) for op in group.operations()]
        positions = [[_affine(triplet) for triplet in orbit] for orbit in ast.literal_eval(text)]
        found = []
        for index, orbit in enumerate(reversed(positions)):
            _check(orbit, operations, number)
            matrix, shift = orbit[0]
            letter = chr(ord("a") + index) if index < 26 else "A"
            used = [column for column in matrix.T.tolist() if any(column)]
            found.append([letter, len(orbit), [round(24 * v) for v in shift], np.rint(used).astype(int).tolist()])
        table[int(number)] = {"positions": found, "shifts": _permutations(positions[::-1], operations)}
        print(number, group.xhm(), len(found), len(table[int(number)]["shifts"]), flush=True)
    OUT.write_text(json.dumps({"source": __doc__.split("\n\n")[2].replace("\n", " "), "groups": table},
                              separators=(",", ":")) + "\n")  # fmt: skip


def _affine(triplet: str) -> Affine:
    matrix, shift = np.zeros((3, 3)), np.zeros(3)
    for i, part in enumerate(triplet.replace(" ", "").split(",")):
        for sign, factor, letter, number in re.findall(r"([+-]?)(\d*)([xyz])|([+-]?\d+(?:/\d+)?)", part):
            if letter:
                matrix[i, "xyz".index(letter)] += float(f"{sign}{factor or 1}")
            else:
                shift[i] += float(Fraction(number))
    return matrix, shift % 1.0


def _check(orbit: list[Affine], operations: list[np.ndarray], number: str) -> None:
    """The orbit of a point under gemmi's operations is the listed one."""
    u = np.array([0.1234, 0.2718, 0.3141])
    listed = np.array([m @ u + t for m, t in orbit])
    images = np.array([op[:3, :3] @ listed[0] + op[:3, 3] for op in operations])
    apart = np.abs((images[:, None] - listed) - np.round(images[:, None] - listed)).max(-1)
    if not (apart.min(1) < 1e-6).all() or not (apart.min(0) < 1e-6).all():
        raise SystemExit(f"space group {number}: the list and gemmi disagree")


def _permutations(positions: list[list[Affine]], operations: list[np.ndarray]) -> list[list[int]]:
    """Each way, once, in which an origin shift that keeps the operations permutes the positions; identity left out."""
    shifts = np.array([[float(v) for v in s] for s in product(STEPS, repeat=3)])
    centring = np.array([op[:3, 3] for op in operations if np.allclose(op[:3, :3], np.eye(3))])
    keeps = np.ones(len(shifts), bool)
    for op in operations:
        moved = (op[:3, :3] - np.eye(3)) @ shifts.T
        apart = moved.T[:, None] - centring
        keeps &= (np.abs(apart - np.round(apart)).max(-1) < 1e-6).any(1)
    found = {tuple(range(len(positions)))}
    u = np.array([0.1234, 0.2718, 0.3141])
    for shift in shifts[keeps]:
        image = []
        for orbit in positions:
            x = orbit[0][0] @ u + orbit[0][1] + shift
            rank = np.linalg.matrix_rank(orbit[0][0])
            alike = (i for i, p in enumerate(positions) if len(p) == len(orbit))
            same = [i for i in alike if np.linalg.matrix_rank(positions[i][0][0]) == rank and _holds(positions[i], x)]
            image.append(same[0])
        found.add(tuple(image))
    found.discard(tuple(range(len(positions))))
    return sorted(map(list, found))


def _holds(orbit: list[Affine], x: np.ndarray) -> bool:
    """Whether a point lies on one of the affine spaces of an orbit, whole numbers apart."""
    whole = np.array(list(product((-2, -1, 0, 1, 2), repeat=3)))
    for matrix, shift in orbit:
        beside = np.eye(3) - matrix @ np.linalg.pinv(matrix)
        if (np.abs((x - shift + whole) @ beside.T).max(1) < 1e-6).any():
            return True
    return False


if __name__ == "__main__":
    main(Path(sys.argv[1]))

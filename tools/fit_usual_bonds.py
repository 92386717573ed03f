"""How far apart atoms of known crystals are, for solving/usual_bonds.json.

    python tools/fit_usual_bonds.py DATA_DIR

Of crystals that may be trained on (`data.splits.may_train`), hydrogen left out, up to 60 atoms. Distances are in the
sum of the covalent radii. Cations: the 2 % quantile of the nearest anion, and the 80 % quantiles of the four nearest,
for each element among hard (oxygen, fluorine) and soft anions. "apart": the 3 % quantile of the nearest pair of
cations, of anions, or of atoms where there are no anions, over all crystals and for each pair of elements that stands
in 15 of them.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections import Counter, defaultdict
from itertools import combinations_with_replacement, product
from pathlib import Path
from typing import Any

import numpy as np

from crystalnet.crystal.chemistry import covalent_radius
from crystalnet.crystal.lattice import nearest_image
from crystalnet.crystal.record_file import read_records
from crystalnet.data.splits import may_train
from crystalnet.ops.relax_sites import NEIGHBOURS
from crystalnet.solving.usual_bonds import anions_of, kind_of

OUT = Path(__file__).parents[1] / "python/crystalnet/solving/usual_bonds.json"
MOST_ATOMS = 60
IMAGES = np.array(list(product((-1, 0, 1), repeat=3)))
SHORT, LONG, TOO_NEAR = 0.02, 0.8, 0.03  # quantiles
FEWEST_SITES, FEWEST_CRYSTALS = 8, 15
ALIKE = 2  # digits of a site's distances that tell it from another of its crystal


def main(data: Path) -> None:
    warnings.simplefilter("ignore")
    sites: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)
    pairs: dict[tuple[str, str, str, bool], list[float]] = defaultdict(list)
    for name in ("structures_other.jsonl.gz", "amcsd_structures.jsonl.gz"):
        for record in read_records(data / name):
            if may_train(record["formula"]) and len(record["species"]) <= MOST_ATOMS:
                note(record, sites, pairs)
    neighbours: dict[str, dict[str, Any]] = defaultdict(dict)
    for (element, kind), rows in sorted(sites.items()):
        if len(rows) >= FEWEST_SITES:
            near = np.array(rows)
            longest = np.quantile(near, LONG, axis=0).round(3).tolist()
            neighbours[kind][element] = {
                "shortest": round(float(np.quantile(near[:, 0], SHORT)), 3),
                "longest": longest,
            }
    apart: dict[str, dict[str, float]] = defaultdict(dict)
    for kind, anion in sorted({key[2:] for key in pairs}):
        role = f"{kind} {'anions' if anion else 'cations'}"
        own = {key[:2]: values for key, values in sorted(pairs.items()) if key[2:] == (kind, anion)}
        apart[role]["any"] = round(float(np.quantile(np.concatenate(list(own.values())), TOO_NEAR)), 3)
        for (one, other), values in own.items():
            if len(values) >= FEWEST_CRYSTALS:
                apart[role][f"{one}-{other}"] = round(float(np.quantile(values, TOO_NEAR)), 3)
    OUT.write_text(json.dumps({"neighbours": neighbours, "apart": apart}) + "\n")


def note(record: dict[str, Any], sites: Any, pairs: Any) -> None:
    """Add the distances of one crystal."""
    seen = [i for i, symbol in enumerate(record["species"]) if symbol not in ("H", "D")]
    species = np.array(record["species"])[seen]
    if len(species) < 2:
        return
    lattice, x = np.array(record["lattice"]), np.array(record["frac_coords"])[seen]
    radii = np.array([covalent_radius(symbol) for symbol in species])
    vectors = (nearest_image(x[None] - x[:, None])[:, :, None] + IMAGES) @ lattice
    distances = np.linalg.norm(vectors, axis=-1)
    distances[distances < 1e-3] = np.inf
    scaled = distances / (radii[:, None] + radii)[..., None]
    anions = anions_of(Counter(species.tolist()))
    kind, anion = kind_of(species.tolist()), np.isin(species, list(anions))
    if anion.any():
        told = set()
        for i in np.flatnonzero(~anion):
            near = np.sort(scaled[i][anion].ravel())[:NEIGHBOURS]
            if (key := (species[i], *near.round(ALIKE))) not in told:
                told.add(key)
                sites[species[i], kind].append(near)
    nearest = scaled.min(axis=-1)
    for one, other in combinations_with_replacement(sorted(set(species)), 2):
        first, second = species == one, species == other
        if anion[first][0] == anion[second][0]:
            least = nearest[np.ix_(first, second)].min()
            pairs[one, other, kind, bool(anion[first][0])].append(float(least))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""The volumes that atoms take in crystals, for crystal/atomic_volumes.json.

    python tools/fit_atomic_volumes.py STRUCTURES.jsonl.gz... OUT.json

Non-negative least squares on the volumes an atom of many crystals; crystals that lie off (open frameworks, high
pressure) lose weight as they do.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections import Counter

import numpy as np
from scipy.optimize import nnls

USUAL, HELD = 15.0, 0.3  # Å³ an atom that elements are held at, with the weight of so many crystals
OFF = 0.15  # relative residual at which a crystal loses half of its weight
ROUNDS = 8


def main(sources: list[str], out: str) -> None:
    shares, volumes = [], []
    for source in sources:
        with gzip.open(source, "rt", encoding="utf-8") as lines:
            for record in map(json.loads, lines):
                if record.get("h_missing"):
                    continue
                count = len(record["species"])
                shares.append({k: v / count for k, v in Counter(record["species"]).items()})
                volumes.append(abs(np.linalg.det(np.array(record["lattice"]))) / count)
    elements = sorted({element for share in shares for element in share})
    amounts = np.array([[share.get(element, 0.0) for element in elements] for share in shares])
    measured = np.array(volumes)
    weight = 1 / measured
    for _ in range(ROUNDS):
        held = HELD * np.eye(len(elements)) / USUAL
        wanted = np.append(measured * weight, HELD * np.ones(len(elements)))
        fitted, _ = nnls(np.vstack([amounts * weight[:, None], held]), wanted)
        residual = np.log(measured / (amounts @ fitted))
        weight = 1 / measured / np.sqrt(1 + (residual / OFF) ** 2)
    print(f"{len(measured)} crystals, standard deviation of log(volume / sum) {residual.std():.3f}")
    table = {
        "what": "Volume in Å³ that an atom of each element takes in a crystal, such that the sums over the atoms are"
        " the volumes of known crystals.",
        "method": "Non-negative least squares of relative volumes with iterated weights"
        f" 1/(1 + (residual/{OFF})²), every element held softly at {USUAL:.0f} Å³; written by"
        " tools/fit_atomic_volumes.py.",
        "source": f"{len(measured):,} ordered crystals: {', '.join(sources)}.",
        "spread": f"standard deviation of ln(volume / sum): {residual.std():.2f}",
        "volumes": {e: round(float(v), 1) for e, v in zip(elements, fitted, strict=True)},
    }
    with open(out, "w", encoding="utf-8") as file:
        json.dump(table, file, indent=1, ensure_ascii=False)


if __name__ == "__main__":
    main(sys.argv[1:-1], sys.argv[-1])

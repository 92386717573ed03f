"""`crystalnet data`: what a data set holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crystalnet.data.store import read_manifest, read_store, read_types


def describe(directory: Path) -> str:
    """What a data set holds, in a few lines."""
    from collections import Counter

    crystals, manifest = read_store(directory), read_manifest(directory)
    atoms = np.diff(crystals.offsets)
    edges = np.linalg.norm(crystals.lattices, axis=2)
    splits = Counter(record["split"] for record in crystals.records)
    types = {record["type"] for record in crystals.records}
    lines = [
        f"{directory}: {len(crystals)} {manifest.get('system', '')} crystals from {manifest['source']}",
        f"  splits       {', '.join(f'{name} {count}' for name, count in sorted(splits.items()))}",
        f"  types        {len(types)}; {len(read_types(directory))} that the package lacks, for solve's catalogue",
        f"  compositions {len({record['formula'] for record in crystals.records})}",
        f"  atoms a cell {atoms.min()} to {atoms.max()}, median {int(np.median(atoms))}",
        f"  cell edges   {edges.min():.1f} to {edges.max():.1f} Å",
        f"  density      {manifest.get('density', 'promolecule')}; made by crystalnet {manifest['crystalnet']}",
    ]
    if (directory / "failures.jsonl").is_file():
        count = len((directory / "failures.jsonl").read_text(encoding="utf-8").splitlines())
        lines.append(f"  left out     {count}; failures.jsonl says why")
    return "\n".join(lines)

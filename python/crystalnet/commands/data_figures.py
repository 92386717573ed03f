"""What a model is fed, in two pictures: how a data set's crystals are distributed, and ten of its maps."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crystalnet.crystal.elements import SYMBOLS
from crystalnet.data.store import SHARD, Crystals, open_maps, read_manifest, read_store
from crystalnet.density.promolecule import GRID, promolecule_density
from crystalnet.runtime.whole_file import PICTURE, is_our_picture, refuse_foreign

if TYPE_CHECKING:
    from matplotlib.axes import Axes


MAPS = 10
BAR, HISTOGRAM = "#4477aa", {"color": "#4477aa", "linewidth": 0}


def write_figures(directory: Path, out: Path) -> list[Path]:
    """distribution.png and maps.png of a data set in `out`; returns their paths."""
    paths = [out / "distribution.png", out / "maps.png"]
    for path in paths:
        refuse_foreign(path, is_our_picture)
    crystals, manifest = read_store(directory), read_manifest(directory)
    out.mkdir(parents=True, exist_ok=True)
    _distribution(crystals, f"{len(crystals)} {manifest.get('system', '')} crystals, {manifest['source']}", paths[0])
    _ten_maps(crystals, open_maps(directory, manifest), paths[1])
    return paths


def _distribution(crystals: Crystals, title: str, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6), layout="constrained")
    axes = figure.subplots(2, 3)
    records = crystals.records
    sizes = np.diff(crystals.offsets)
    edges = np.linalg.norm(crystals.lattices, axis=2)
    volumes = np.abs(np.linalg.det(crystals.lattices)) / sizes
    _bars(axes[0, 0], Counter(str(r["space_group"]) for r in records), "space groups", 15)
    kinds = Counter("random positions" if r["type"].startswith("random-") else r["type"] for r in records)
    _bars(axes[0, 1], kinds, f"structure types ({len({r['type'] for r in records})})", 15)
    _bars(axes[0, 2], Counter(SYMBOLS[z] for z in crystals.atomic_numbers), "atoms of an element", 25)
    axes[1, 0].hist(sizes, bins=np.arange(0.5, sizes.max() + 1.5), **HISTOGRAM)
    axes[1, 0].set_xlabel("atoms in the primitive cell")
    axes[1, 1].hist(edges.min(1), bins=60, label="shortest", **HISTOGRAM)
    axes[1, 1].hist(edges.max(1), bins=60, label="longest", histtype="step", color="#cc6677")
    axes[1, 1].set_xlabel("primitive cell edge, Å")
    axes[1, 1].legend(frameon=False)
    axes[1, 2].hist(volumes, bins=60, **HISTOGRAM)
    axes[1, 2].set_xlabel("volume an atom, Å³")
    for axis in axes[1]:
        axis.set_ylabel("crystals")
    figure.suptitle(title)
    figure.savefig(path, dpi=80, metadata=PICTURE)


def _bars(axis: Axes, counts: Counter[str], title: str, most: int) -> None:
    """The most common ones, the first at the top."""
    names, values = zip(*counts.most_common(most), strict=True)
    axis.barh(range(len(names)), values, color=BAR)
    axis.set_yticks(range(len(names)), names, fontsize=6)
    axis.invert_yaxis()
    axis.set_title(title, fontsize=10)


def _ten_maps(crystals: Crystals, stored: list[np.ndarray], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.4), layout="constrained")
    axes = figure.subplots(2, MAPS // 2).ravel()
    chosen = np.random.default_rng(0).choice(len(crystals), min(MAPS, len(crystals)), replace=False)
    for axis in axes:
        axis.set_axis_off()
    for axis, index in zip(axes, chosen.tolist(), strict=False):
        sites, record = crystals.sites(index), crystals.records[index]
        if stored:
            density = np.asarray(stored[index // SHARD][index % SHARD], dtype=float).reshape(GRID, GRID, GRID)
        else:
            density = promolecule_density(sites.lattice, sites.species, sites.frac_coords)
        # Seen along the third axis; the square root shows light atoms beside heavy ones.
        axis.imshow(np.sqrt(np.clip(density.max(2), 0, None)).T, origin="lower", cmap="magma")
        axis.set_title(f"{record['formula']}  {record['space_group']}", fontsize=8)
    figure.savefig(path, dpi=80, metadata=PICTURE)

"""A data set as training reads it: pattern, composition and density map of each crystal.

The features follow from the crystals alone. They are made once into the folder `features` beside them (maps as
float16: 0.25 MB a crystal) and memory-mapped; making them can be interrupted and goes on where it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from crystalnet.data.store import Crystals, read_manifest, read_store
from crystalnet.density.promolecule import GRID, promolecule_density
from crystalnet.model.inputs import N_ELEMENTS
from crystalnet.ops.powder_pattern import N_BINS, powder_pattern

BLOCK = 64  # crystals between two marks of progress


class CrystalDataset:
    """Features of the crystals in a data set directory (manifest as in `crystalnet.data.store`).

    maps (N, 50³) float16 e/Å³ memory-mapped, patterns (N, 1024) float32, fractions (N, 119) float32,
    train and validation: indices.
    """

    def __init__(self, directory: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        self.crystals, self.manifest = read_store(directory), read_manifest(directory)
        digest = json.dumps(self.manifest["sha256"], sort_keys=True)
        self.maps, self.patterns = _features(self.crystals, digest, directory / "features", progress)
        self.fractions = _fractions(self.crystals)
        split = np.array([record["split"] for record in self.crystals.records])
        self.train, self.validation = np.flatnonzero(split == "train"), np.flatnonzero(split == "validation")

    def __len__(self) -> int:
        return len(self.crystals)

    def density(self, index: int) -> np.ndarray:
        """(50, 50, 50) float32 e/Å³."""
        return np.asarray(self.maps[index], dtype=np.float32).reshape(GRID, GRID, GRID)

    def inputs(self, indices: np.ndarray) -> tuple[Tensor, Tensor]:
        """Patterns (B, 1024) and atom fractions (B, 119)."""
        return torch.from_numpy(self.patterns[indices]), torch.from_numpy(self.fractions[indices])

    def densities_at(self, indices: np.ndarray, voxels: Tensor) -> Tensor:
        """(B, P) float32: densities of crystals at flat voxel indices, (P,) shared or (B, P)."""
        columns = voxels.numpy()
        rows = indices[:, None]
        return torch.from_numpy(self.maps[rows, columns if columns.ndim == 2 else columns[None]].astype(np.float32))


def _fractions(crystals: Crystals) -> np.ndarray:
    counts = np.zeros((len(crystals), N_ELEMENTS), dtype=np.float32)
    owner = np.repeat(np.arange(len(crystals)), np.diff(crystals.offsets))
    np.add.at(counts, (owner, crystals.atomic_numbers), 1.0)
    return counts / counts.sum(1, keepdims=True)


def _features(
    crystals: Crystals, digest: str, cache: Path, progress: Callable[[int, int], None]
) -> tuple[np.ndarray, np.ndarray]:
    cache.mkdir(parents=True, exist_ok=True)
    state_file, n = cache / "state.json", len(crystals)
    state = json.loads(state_file.read_text()) if state_file.exists() else {}
    done = state["done"] if state.get("digest") == digest else 0
    shapes = {"maps": ((n, GRID**3), np.float16), "patterns": ((n, N_BINS), np.float32)}
    mode = "r+" if done else "w+"
    maps, patterns = (
        np.lib.format.open_memmap(cache / f"{name}.npy", mode=mode, dtype=dtype, shape=shape)
        for name, (shape, dtype) in shapes.items()
    )
    for start in range(done, n, BLOCK):
        block = range(start, min(start + BLOCK, n))
        patterns[block.start : block.stop] = pattern_vectors(crystals, block)
        for i in block:
            sites = crystals.sites(i)
            maps[i] = promolecule_density(sites.lattice, sites.species, sites.frac_coords).ravel()
        for array in (maps, patterns):
            array.flush()
        state_file.write_text(json.dumps({"digest": digest, "done": block.stop}))
        progress(block.stop, n)
    return np.load(cache / "maps.npy", mmap_mode="r"), np.load(cache / "patterns.npy")


def pattern_vectors(crystals: Crystals, block: range) -> np.ndarray:
    """(len(block), 1024) pattern vectors of a run of crystals."""
    first, last = crystals.offsets[block.start], crystals.offsets[block.stop]
    vectors = powder_pattern(
        torch.from_numpy(crystals.lattices[block.start : block.stop]),
        torch.from_numpy(crystals.offsets[block.start : block.stop + 1] - first),
        torch.from_numpy(crystals.frac_coords[first:last]),
        torch.from_numpy(crystals.atomic_numbers[first:last].astype(np.int64)),
    )
    return vectors.numpy()

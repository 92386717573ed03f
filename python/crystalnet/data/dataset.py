"""A data set as training reads it: pattern, composition and density map of each crystal.

Patterns, and the maps of promolecule sources, follow from the crystals alone. They are made once into the folder
`features` beside them, in shards as in `crystalnet.data.store` (a map takes 0.25 MB), and memory-mapped; making them
can be killed at any time and goes on where it stopped. DFT maps are read from the data set itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from crystalnet.data.store import SHARD, Crystals, feature_files, open_maps, read_manifest, read_store, shard_name
from crystalnet.density.promolecule import GRID, promolecule_density
from crystalnet.model.inputs import N_ELEMENTS
from crystalnet.ops.powder_pattern import powder_pattern
from crystalnet.records import InputError
from crystalnet.runtime.whole_file import PARTIAL, file_sha256, replacing
from crystalnet.runtime.whole_folder import remove_files

BLOCK = 64  # crystals between two marks of progress


class CrystalDataset:
    """Features of the crystals in a data set directory (manifest as in `crystalnet.data.store`).

    Attributes
    ----------
    maps : list of tensors
        Densities in e/Å³: memory-mapped shards (SHARD, 50, 50, 50) float16.
    patterns : (N, 1024) float32 array
        Pattern vectors.
    fractions : (N, 119) float32 array
        Share of each element among the atoms, by atomic number.
    train, validation : arrays of int
        Indices of the crystals of each split.

    Raises
    ------
    InputError
        A file is damaged; the message names it.
    """

    def __init__(self, directory: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        self.crystals, self.manifest = read_store(directory), read_manifest(directory)
        digest = json.dumps(self.manifest["sha256"], sort_keys=True)
        stored = open_maps(directory, self.manifest)
        kinds = ("patterns",) if stored else ("patterns", "maps")
        made = _features(self.crystals, kinds, digest, directory / "features", progress)
        self.maps = [torch.from_numpy(shard).view(-1, GRID, GRID, GRID) for shard in stored or made["maps"]]
        self.patterns = np.concatenate(made["patterns"])
        self.fractions = _fractions(self.crystals)
        split = np.array([record["split"] for record in self.crystals.records])
        self.train, self.validation = np.flatnonzero(split == "train"), np.flatnonzero(split == "validation")

    def __len__(self) -> int:
        return len(self.crystals)

    def density(self, index: int) -> np.ndarray:
        """(50, 50, 50) float32 e/Å³."""
        shard, row = divmod(index, SHARD)
        density: np.ndarray = self.maps[shard][row].float().numpy()
        return density

    def inputs(self, indices: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Patterns (B, 1024), primitive lattices (B, 3, 3) in Å, atom fractions (B, 119), float32."""
        lattices = self.crystals.lattices[indices].astype(np.float32)
        return (
            torch.from_numpy(self.patterns[indices]),
            torch.from_numpy(lattices),
            torch.from_numpy(self.fractions[indices]),
        )


def _fractions(crystals: Crystals) -> np.ndarray:
    """(N, 119) share of each element among the atoms of each crystal."""
    counts = np.zeros((len(crystals), N_ELEMENTS), dtype=np.float32)
    owner = np.repeat(np.arange(len(crystals)), np.diff(crystals.offsets))
    np.add.at(counts, (owner, crystals.atomic_numbers), 1.0)
    return np.asarray(counts / counts.sum(1, keepdims=True))


def _features(
    crystals: Crystals, kinds: tuple[str, ...], digest: str, cache: Path, progress: Callable[[int, int], None]
) -> dict[str, list[np.ndarray]]:
    """Shards of each kind of feature, memory-mapped; those that the cache lacks are made first."""
    state_file, n = cache / "state.json", len(crystals)
    state = json.loads(state_file.read_text()) if state_file.exists() else {}
    if state.get("digest") != digest or "sha256" not in state:
        remove_files(cache, feature_files(cache))
        cache.mkdir(parents=True, exist_ok=True)
        state = {"digest": digest, "sha256": {}}
    features: dict[str, list[np.ndarray]] = {kind: [] for kind in kinds}
    for number, start in enumerate(range(0, n, SHARD)):
        shard = range(start, min(start + SHARD, n))
        for kind in kinds:
            path = cache / shard_name(kind, number)
            if not path.exists() or path.name not in state["sha256"]:
                values = _make_shard(kind, crystals, shard, progress)
                with _replacing(path) as partial:
                    np.save(partial, values)
                state["sha256"][path.name] = file_sha256(path)
                with _replacing(state_file) as partial:
                    partial.write_text(json.dumps(state, indent=1))
            elif file_sha256(path) != state["sha256"][path.name]:
                raise InputError(f"{path}: damaged (its SHA-256 differs); delete it and it is made again")
            features[kind].append(np.load(path, mmap_mode="c"))  # torch takes writable arrays only
    remove_files(cache, [name for name in feature_files(cache) if PARTIAL in name])  # of a killed run
    return features


def _make_shard(kind: str, crystals: Crystals, shard: range, progress: Callable[[int, int], None]) -> np.ndarray:
    """Patterns or maps of a run of crystals, a row each."""
    parts = []
    for start in range(shard.start, shard.stop, BLOCK):
        block = range(start, min(start + BLOCK, shard.stop))
        parts.append(pattern_vectors(crystals, block) if kind == "patterns" else _promolecules(crystals, block))
        if kind == "maps":
            progress(block.stop, len(crystals))
    return np.concatenate(parts)


def _promolecules(crystals: Crystals, block: range) -> np.ndarray:
    """(len(block), 50³) float16 e/Å³."""
    maps = np.empty((len(block), GRID**3), dtype=np.float16)
    for row, index in enumerate(block):
        sites = crystals.sites(index)
        maps[row] = promolecule_density(sites.lattice, sites.species, sites.frac_coords).ravel()
    return maps


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """`replacing`, of a file that another process may make at the same time."""
    try:
        with replacing(path) as partial:
            yield partial
    except FileNotFoundError:  # another process finished the features meanwhile and cleared up
        if not path.exists():
            raise


def pattern_vectors(crystals: Crystals, block: range) -> np.ndarray:
    """(len(block), 1024) float32 pattern vectors of a run of crystals."""
    first, last = crystals.offsets[block.start], crystals.offsets[block.stop]
    vectors = powder_pattern(
        torch.from_numpy(crystals.lattices[block.start : block.stop]),
        torch.from_numpy(crystals.offsets[block.start : block.stop + 1] - first),
        torch.from_numpy(crystals.frac_coords[first:last]),
        torch.from_numpy(crystals.atomic_numbers[first:last].astype(np.int64)),
    )
    return vectors.numpy().astype(np.float32)

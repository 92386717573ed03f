"""Other answers beside the network's: the nearest known crystal, the composition alone, another solver's CIFs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crystalnet.bragg import N_BINS
from crystalnet.crystal.elements import ATOMIC_NUMBER
from crystalnet.crystal.record_file import Record
from crystalnet.crystal.setting import standard_primitive
from crystalnet.crystal.symmetry import SYMPREC_RELAXED, space_group_of
from crystalnet.crystal.types import types_table
from crystalnet.data.dataset import BLOCK, pattern_vectors
from crystalnet.data.store import SHARD, Crystals, open_maps, read_manifest, read_store
from crystalnet.data.structure_files import read_structure
from crystalnet.density.promolecule import GRID, promolecule, promolecule_density
from crystalnet.evaluation.metrics import aligned, map_scores, structure_scores
from crystalnet.model.checkpoint import Model
from crystalnet.model.guesses import guess_densities
from crystalnet.records import InputError

if TYPE_CHECKING:
    from pymatgen.core import Structure


class Retrieval:
    """The nearest known crystal by the cosine of the pattern vectors; its density is the answer.

    Parameters
    ----------
    system : str
        Whose crystals.
    directory : Path, optional
        A data set whose training crystals are known; without it the package's table of structure types is.

    Raises
    ------
    InputError
        Where the data set is of another system.
    """

    def __init__(self, system: str, directory: Path | None = None) -> None:
        if directory is None:
            self.crystals, self.maps, self.source = _types(system), [], "the package's table of structure types"
            self.rows = np.arange(len(self.crystals))
            self.digest = self.source
        else:
            manifest = read_manifest(directory)
            if manifest.get("system", system) != system:
                raise InputError(f"--retrieval-data {directory}: {manifest['system']} crystals, not {system} ones")
            self.crystals, self.maps = read_store(directory), open_maps(directory, manifest)
            self.source = f"training crystals of a {manifest['source']} data set"
            self.rows = np.flatnonzero([record["split"] == "train" for record in self.crystals.records])
            if not len(self.rows):
                raise InputError(f"--retrieval-data {directory}: it has no training crystals")
            self.digest = str(manifest.get("manifest_sha256", manifest["sha256"]))

    @cached_property
    def vectors(self) -> np.ndarray:
        """Pattern vectors (known, 1024); made where they are first asked for, which is in the worker processes."""
        n = len(self.crystals)
        blocks = (range(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK))
        return np.concatenate([pattern_vectors(self.crystals, block) for block in blocks])[self.rows]

    def nearest(self, vector: np.ndarray, mask: np.ndarray) -> tuple[str, np.ndarray]:
        """Id and density (50, 50, 50) of the crystal most like a pattern vector (1024,) where its mask (1024,) is 1."""
        seen = self.vectors * mask
        cosine = seen @ vector / np.maximum(np.linalg.norm(seen, axis=1), 1e-9)
        row = int(self.rows[cosine.argmax()])
        return str(self.crystals.records[row]["id"]), self._density(row)

    @lru_cache(maxsize=64)  # noqa: B019 (one object a run)
    def _density(self, row: int) -> np.ndarray:
        if self.maps:
            return np.array(self.maps[row // SHARD][row % SHARD], float).reshape((GRID,) * 3)
        sites = self.crystals.sites(row)
        return promolecule_density(sites.lattice, sites.species, sites.frac_coords)


def _types(system: str) -> Crystals:
    """The table of structure types as flat arrays."""
    records = types_table(system)
    return Crystals(
        lattices=np.array([r["lattice"] for r in records], float),
        offsets=np.cumsum([0, *(len(r["species"]) for r in records)]),
        atomic_numbers=np.array([ATOMIC_NUMBER[s] for r in records for s in r["species"]], np.uint8),
        frac_coords=np.concatenate([np.array(r["frac_coords"], float) for r in records]),
        records=records,
    )


class CompositionOnly:
    """The same network with neither pattern nor cell: what it answers from the chemistry alone."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.known: dict[tuple[tuple[tuple[str, float], ...], str], np.ndarray] = {}

    def density(self, composition: Mapping[str, float], level: str) -> np.ndarray:
        """(50, 50, 50) e/Å³, the latent mean's; equal questions are asked once."""
        key = tuple(sorted(composition.items())), level
        if key not in self.known:
            if len(self.known) == SHARD:  # half a gigabyte
                self.known.clear()
            unseen = np.zeros(N_BINS, np.float32)
            self.known[key] = guess_densities(self.model, unseen, unseen, None, composition, level, 1, 0)[0]
        return self.known[key]


class ForeignAnswers:
    """Another solver's CIFs.

    Parameters
    ----------
    directory : Path
        Holds ID.cif or FORMULA.cif for a crystal, or ID-1.cif, ID-2.cif, ... where the solver ranks several answers.
    records : sequence of Record
        The crystals of the run.

    Raises
    ------
    InputError
        Where there is no such folder, or no CIF of any of the crystals in it.
    """

    def __init__(self, directory: Path, records: Sequence[Record]) -> None:
        if not directory.is_dir():
            raise InputError(f"--score-cifs {directory}: no such folder")
        self.files = {path.stem: path for path in sorted(directory.glob("*.cif"))}
        if not any(self._paths(record) for record in records):
            raise InputError(
                f"--score-cifs {directory}: no CIF is named after a crystal of the run"
                f" (such as {records[0].get('id')}.cif, {records[0].get('id')}-1.cif or {records[0]['formula']}.cif)"
            )

    def _paths(self, record: Record) -> list[Path]:
        """The files of one crystal, best first."""
        for name in (str(record.get("id")), str(record["formula"])):
            ranked = [self.files[name]] if name in self.files else []
            number = 1
            while f"{name}-{number}" in self.files:
                ranked.append(self.files[f"{name}-{number}"])
                number += 1
            if ranked:
                return ranked
        return []

    def structures(self, record: Record) -> tuple[list[Structure], list[str]]:
        """Readable answers, best first, and what was wrong with the others."""
        found, problems = [], []
        for path in self._paths(record):
            try:
                found.append(read_structure(path))
            except InputError as error:
                problems.append(str(error))
        return found, problems

    def scores(self, record: Record, truth: Structure, density: np.ndarray, point_group: np.ndarray) -> dict[str, Any]:
        """Scores of the answers to one crystal.

        Parameters
        ----------
        record : Record
            The crystal.
        truth : Structure
            Its structure, canonical primitive cell.
        density : ndarray (50, 50, 50)
            Its density, e/Å³.
        point_group : ndarray (m, 3, 3)
            Its lattice's holohedry.

        Returns
        -------
        dict
            Of the density by "single" and "ranked", of the structure, how many files there are and what is wrong with
            them. Without an answer, SSIM is 0 and the other scores are those of an empty cell.
        """
        found, problems = self.structures(record)
        # An empty cell would have the SSIM of the truth's own voids, up to a half.
        plain = moved = map_scores(density, np.zeros_like(density)) | {"ssim": 0.0}
        try:
            if found:
                answer = promolecule(standard_primitive(found[0], SYMPREC_RELAXED))
                plain = map_scores(density, answer)
                moved = map_scores(density, aligned(density, answer, point_group))
        except InputError as error:
            problems.append(str(error))
        return {
            "files": len(found),
            **{score: {"single": plain[score], "ranked": moved[score]} for score in plain},
            "structure": structure_scores(truth, found, [space_group_of(s, SYMPREC_RELAXED) for s in found]),
            "problems": problems,
        }

"""Embedded crystals: known structure types decorated with other elements.

A type is a real crystal reduced to its canonical primitive cell. A generated crystal keeps the type's space group and
Wyckoff positions; its elements come by chemical similarity (distance on Pettifor's Mendeleev scale), its volume from
pymatgen's DLSVolumePredictor with spread, its free coordinates and axial ratio are jittered within the symmetry.
Crystal number i of a seed is always the same, whatever was generated before it.
"""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np

from crystalnet.data.records_file import Record, read_records, structure_of
from crystalnet.data.splits import may_train
from crystalnet.density.cell import (
    SYMPREC,
    SYMPREC_RELAXED,
    canonical_coordinates,
    canonical_sites,
    symmetry_operations,
)
from crystalnet.density.promolecule import element_table
from crystalnet.records import AtomSites, InputError
from crystalnet.symmetry import one_hand

MAX_SITES = 120  # atoms in a primitive cell; more cannot be told apart on a 50³ grid
SIMILARITY = (2.0, 6.0, 20.0)  # e-folding Mendeleev distance: neighbours, the same chemistry, anything
VOLUME_SPREAD = 0.06  # sd of ln V: DLSVolumePredictor's own error on oxides and intermetallics
AXIAL_SPREAD = 0.03  # sd of ln(c/a) within one structure type
COORDINATE_JITTER = 0.08  # Å, sd of a free coordinate within one structure type
MIN_DISTANCE = 0.62  # of the sum of covalent radii: shorter contacts are no crystal
ATTEMPTS = 8  # decorations tried for one crystal before its number is left out
EXCLUDED = {"He", "Ne", "Ar", "Kr", "Xe", "Rn", "Po", "At", "Fr", "Ra", "Ac", "Pa", "Np", "Pu", "Am", "Cm", "Tc", "Pm"}


@dataclass(frozen=True)
class StructureType:
    """A structure type in its canonical primitive cell.

    rotations (m, 3, 3), translations (m, 3): its symmetry; images (m, N): the atom that operation m makes of atom n;
    count: known crystals of the type.
    """

    label: str
    formula: str
    space_group: int
    sites: AtomSites
    rotations: np.ndarray
    translations: np.ndarray
    images: np.ndarray
    count: int = 1


def make_type(record: Record) -> StructureType:
    """A record as a structure type. InputError where its symmetry cannot be found."""
    sites = canonical_sites(structure_of(record), SYMPREC_RELAXED if record.get("dft_relaxed") else SYMPREC)
    rotations, translations = symmetry_operations(sites.structure())
    x = sites.frac_coords
    moved = np.einsum("mij,nj->mni", rotations, x) + translations[:, None]
    difference = moved[:, :, None] - x
    images = np.linalg.norm((difference - np.round(difference)) @ sites.lattice, axis=-1).argmin(-1)
    return StructureType(
        label=record.get("protostructure_canonical") or record.get("protostructure") or record["id"],
        formula=record["formula"],
        space_group=one_hand(record["space_group"]),
        sites=sites,
        rotations=rotations,
        translations=translations,
        images=images,
        count=record.get("count", 1),
    )


@cache
def types_table(system: str) -> tuple[Record, ...]:
    """The package's table of structure types of one system, each in its canonical primitive cell."""
    with as_file(files("crystalnet.data").joinpath("structure_types.jsonl.gz")) as path:
        return tuple(read_records(path, system))


def embedded_types(system: str) -> list[StructureType]:
    """Every structure type that needs no file."""
    return _usable_types(types_table(system))


def types_of_file(path: Path, system: str) -> list[StructureType]:
    """Types of a file of structure records, compositions reserved for judging left out; one a crystal."""
    return _usable_types([record for record in read_records(path, system) if may_train(record["formula"])])


def _usable_types(records: Sequence[Record]) -> list[StructureType]:
    types = []
    for record in records:
        if len(record["species"]) <= 2 * MAX_SITES and set(record["species"]) <= set(element_table()):
            try:
                found = make_type(record)
            except InputError:
                continue  # a type whose symmetry spglib cannot find cannot be decorated
            if len(found.sites) <= MAX_SITES:
                types.append(found)
    return types


@cache
def _elements() -> tuple[np.ndarray, np.ndarray]:
    """Elements that decorate, and their Mendeleev numbers."""
    from pymatgen.core import Element

    symbols = [e for e in element_table() if e not in EXCLUDED and Element(e).Z <= 92]
    return np.array(symbols), np.array([float(Element(e).mendeleev_no) for e in symbols])


@cache
def covalent_radius(element: str) -> float:
    """Å (Cordero et al., Dalton Trans. 2832, 2008, as in pymatgen)."""
    from pymatgen.analysis.local_env import CovalentRadius

    return float(CovalentRadius.radius.get(element, 1.6))


def _similar_elements(original: list[str], rng: np.random.Generator) -> dict[str, str]:
    """Another element for each, all different."""
    from pymatgen.core import Element

    symbols, numbers = _elements()
    scale = rng.choice(SIMILARITY)
    chosen: dict[str, str] = {}
    for element in original:
        distance = np.abs(numbers - float(Element(element).mendeleev_no))
        weight = np.exp(-distance / scale) * ~np.isin(symbols, list(chosen.values()))
        chosen[element] = str(rng.choice(symbols, p=weight / weight.sum()))
    return chosen


def closest_contact(sites: AtomSites) -> float:
    """Shortest interatomic distance over the sum of the two covalent radii."""
    radii = np.array([covalent_radius(s) for s in sites.species])
    shifts = np.array(np.meshgrid(*[(-1, 0, 1)] * 3)).reshape(3, -1).T
    x = sites.frac_coords
    vectors = (x[:, None] - x[None, :])[None] + shifts[:, None, None]
    distance = np.linalg.norm(vectors @ sites.lattice, axis=-1)
    distance[(shifts == 0).all(1).argmax()][np.diag_indices(len(x))] = np.inf
    return float((distance.min(0) / (radii[:, None] + radii[None, :])).min())


def jitter(kind: StructureType, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The type's lattice (3, 3) with its axial ratio, and coordinates (N, 3), moved within the symmetry."""
    lattice, x = kind.sites.lattice, kind.sites.frac_coords
    metric = lattice @ lattice.T
    if not np.allclose(np.diag(metric), metric[0, 0], rtol=1e-3) or kind.space_group < 195:
        axis = lattice[2] if abs(lattice[0] @ lattice[2]) < 1e-6 else lattice.sum(0)
        axis = axis / np.linalg.norm(axis)
        stretch = np.exp(rng.normal(0, AXIAL_SPREAD))
        lattice = lattice + np.outer(lattice @ axis, axis) * (stretch - 1)
    step = rng.normal(0, COORDINATE_JITTER, x.shape) @ np.linalg.inv(lattice)
    moved = np.zeros_like(x)
    for rotation, image in zip(kind.rotations, kind.images, strict=True):
        np.add.at(moved, image, step @ rotation.T)
    # The symmetric part of a random displacement is the mean over the group; an orbit's M displacements average out
    # by √M, which is put back.
    stabiliser = (kind.images == np.arange(len(x))).sum(0)
    return lattice, x + moved / np.sqrt(len(kind.rotations) * stabiliser)[:, None]


def decorate(kind: StructureType, number: int, seed: int = 0) -> Record | None:
    """Generated crystal `number` of a seed as a structure record in its canonical cell; None where nothing fits."""
    from pymatgen.analysis.structure_prediction.volume_predictor import DLSVolumePredictor

    rng = np.random.default_rng((seed, number))
    original = sorted(set(kind.sites.species))
    for _ in range(ATTEMPTS):
        swap = _similar_elements(list(rng.permutation(original)), rng)
        lattice, x = jitter(kind, rng)
        species = tuple(swap[s] for s in kind.sites.species)
        structure = AtomSites(lattice, species, x).structure()
        formula = structure.composition.reduced_formula
        if not may_train(formula):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                volume = DLSVolumePredictor().predict(structure)
        except Exception:  # the predictor knows no radius for a pair of elements
            continue
        lattice = lattice * np.cbrt(volume * np.exp(rng.normal(0, VOLUME_SPREAD)) / structure.volume)
        sites = AtomSites(lattice, species, x)
        if not closest_contact(sites) > MIN_DISTANCE:
            continue
        x = canonical_coordinates(lattice, np.array(species), x, kind.rotations, kind.translations)
        return {
            "id": f"{kind.label}-{seed}-{number}",
            "formula": formula,
            "space_group": kind.space_group,
            "system": "cubic" if kind.space_group >= 195 else "trigonal",
            "type": kind.label,
            "source": "prototypes",
            "lattice": lattice,
            "species": list(species),
            "frac_coords": x,
        }
    return None


def _original(kind: StructureType) -> Record:
    """The real crystal a type was taken from."""
    return {
        "id": kind.label,
        "formula": kind.formula,
        "space_group": kind.space_group,
        "system": "cubic" if kind.space_group >= 195 else "trigonal",
        "type": kind.label,
        "source": "types",
        "lattice": kind.sites.lattice,
        "species": list(kind.sites.species),
        "frac_coords": kind.sites.frac_coords,
    }


def generate(types: Sequence[StructureType], limit: int, seed: int = 0, jobs: int = 1) -> Iterator[Record]:
    """Up to `limit` different crystals: the trainable originals first, then decorations, types by √count.

    No two are equal by (formula, space group, type). Deterministic in (types, seed), whatever `jobs`.
    """
    seen: set[tuple[str, int, str]] = set()
    emitted = 0
    originals = (_original(kind) for kind in types if may_train(kind.formula))
    for record in _chain(originals, _decorations(types, limit, seed, jobs)):
        key = (record["formula"], record["space_group"], record["type"])
        if key not in seen:
            seen.add(key)
            emitted += 1
            yield record
            if emitted == limit:
                return


def _chain(*sources: Iterator[Record]) -> Iterator[Record]:
    for source in sources:
        yield from source


def _decorations(types: Sequence[StructureType], limit: int, seed: int, jobs: int) -> Iterator[Record]:
    from concurrent.futures import ProcessPoolExecutor
    from itertools import islice

    known, examples = Counter[str](), Counter[str]()
    for kind in types:
        known[kind.label] += kind.count
        examples[kind.label] += 1
    weight = np.array([np.sqrt(known[kind.label]) / examples[kind.label] for kind in types])
    picks = np.random.default_rng(seed).choice(len(types), size=3 * limit, p=weight / weight.sum())
    tasks = ((types[pick], number, seed) for number, pick in enumerate(picks.tolist()))
    if jobs == 1:
        yield from filter(None, map(_decorate_task, tasks))
        return
    with ProcessPoolExecutor(jobs) as pool:
        while batch := list(islice(tasks, 64 * jobs)):
            yield from filter(None, pool.map(_decorate_task, batch, chunksize=16))


def _decorate_task(task: tuple[StructureType, int, int]) -> Record | None:
    return decorate(*task)


def dump_json(record: Record) -> str:
    """One line of a .jsonl file."""
    return json.dumps(record, default=lambda v: np.asarray(v).tolist(), separators=(",", ":"))

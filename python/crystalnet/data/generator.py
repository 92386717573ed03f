"""Embedded crystals: known structure types decorated with other elements.

A type is a real crystal reduced to its canonical primitive cell. A generated crystal keeps the type's space group and
Wyckoff positions; its elements come by chemical similarity (distance on Pettifor's Mendeleev scale), its volume from
pymatgen's DLSVolumePredictor with spread, its free coordinates and axial ratio are jittered within the symmetry.
Oxides and halides balance their charges where their type did. A share of the crystals has random Wyckoff positions
instead of a known type's. Crystal number i of a seed is always the same, whatever was generated before it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain, islice
from pathlib import Path

import numpy as np

from crystalnet.crystal.chemistry import (
    SCALING,
    VOLUME_PER_ATOM,
    _smallest_ratio,
    charge_balances,
    covalent_radius,
    predicted_volume,
    shortest_distances,
)
from crystalnet.crystal.lattice import nearest_image
from crystalnet.crystal.record_file import Record, read_records, structure_of
from crystalnet.crystal.setting import canonical_coordinates, canonical_sites
from crystalnet.crystal.symmetry import SYMPREC, SYMPREC_RELAXED, Symmetry, one_hand, space_group_of
from crystalnet.crystal.types import types_table
from crystalnet.data.random_crystals import random_structure
from crystalnet.data.splits import may_train
from crystalnet.density.promolecule import element_table
from crystalnet.records import AtomSites, InputError
from crystalnet.runtime.journal import Journal
from crystalnet.runtime.pool import workers

MAX_SITES = 120  # atoms in a primitive cell; more cannot be told apart on a 50³ grid
SIMILARITY = (2.0, 6.0, 20.0)  # e-folding Mendeleev distance: neighbours, the same chemistry, anything
VOLUME_SPREAD = 0.06  # sd of ln V: DLSVolumePredictor's own error on oxides and intermetallics
AXIAL_SPREAD = 0.03  # sd of ln(c/a) within one structure type
COORDINATE_JITTER = 0.08  # Å, sd of a free coordinate within one structure type
MIN_DISTANCE = 0.62  # of the sum of covalent radii: shorter contacts are no crystal
ATTEMPTS = 8  # decorations tried for one crystal before its number is left out
# Covalent spheres' share of the volume where positions are random: quartz 0.2, salts 0.5, metals 0.8, perovskites 0.9.
PACKING = (0.25, 1.1)
BATCH = 128  # crystals between two lines of the journal
CHUNK = 8  # crystals that a process takes at a time: a message costs as much as a small one
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


def make_type(record: Record, canonical: bool = False) -> StructureType:
    """A record as a structure type. InputError where its symmetry cannot be found.

    canonical: the record is in its canonical cell already, as those of `types_table` are.
    """
    if canonical:
        sites = AtomSites(np.array(record["lattice"]), tuple(record["species"]), np.array(record["frac_coords"]))
    else:
        sites = canonical_sites(structure_of(record), SYMPREC_RELAXED if record.get("dft_relaxed") else SYMPREC)
    rotations, translations = Symmetry(sites, SYMPREC).one_a_rotation()
    x = sites.frac_coords
    moved = np.einsum("mij,nj->mni", rotations, x) + translations[:, None]
    difference = moved[:, :, None] - x
    images = np.linalg.norm(nearest_image(difference) @ sites.lattice, axis=-1).argmin(-1)
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


def embedded_types(system: str) -> list[StructureType]:
    """Every structure type that needs no file."""
    return _usable_types(types_table(system), canonical=True)


def types_of_file(path: Path, system: str) -> list[StructureType]:
    """Types of a file of structure records, compositions reserved for judging left out; one a crystal."""
    records = read_records(path, system)  # whose own formulas may be spelt otherwise than the reserved ones
    return _usable_types([r for r in records if may_train(structure_of(r).composition.reduced_formula)])


def _usable_types(records: Sequence[Record], canonical: bool = False) -> list[StructureType]:
    types = []
    for record in records:
        if len(record["species"]) <= 2 * MAX_SITES and set(record["species"]) <= set(element_table()):
            try:
                found = make_type(record, canonical)
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


def decorate(
    kind: StructureType,
    number: int,
    seed: int = 0,
    scaling: tuple[float, float] = SCALING,
    packing: tuple[float, float] = (0.0, np.inf),
) -> Record | None:
    """Generated crystal `number` of a seed as a structure record in its canonical cell; None where nothing fits.

    scaling: least and largest volume, relative to the type's; packing: least and largest share of covalent spheres.
    """
    from pymatgen.core import Composition

    rng = np.random.default_rng((seed, number))
    original = sorted(set(kind.sites.species))
    ionic = charge_balances(Counter(kind.sites.species))
    for _ in range(ATTEMPTS):
        swap = _similar_elements(list(rng.permutation(original)), rng)
        lattice, x = jitter(kind, rng)
        sites = AtomSites(lattice, tuple(swap[s] for s in kind.sites.species), x)
        formula = Composition(Counter(sites.species)).reduced_formula
        spread = np.exp(rng.normal(0, VOLUME_SPREAD))
        if not may_train(formula) or (ionic and not charge_balances(Counter(sites.species))):
            continue
        distance = shortest_distances(lattice, x)
        factor = np.clip(predicted_volume(sites, distance) / sites.volume, *scaling) * spread
        sites = AtomSites(lattice * np.cbrt(factor), sites.species, x)
        radii = np.array([covalent_radius(s) for s in sites.species])
        if not _smallest_ratio(distance * np.cbrt(factor), radii) > MIN_DISTANCE:
            continue
        filled = float((radii**3).sum() * 4 / 3 * np.pi / sites.volume)
        sound = VOLUME_PER_ATOM[0] < sites.volume / len(sites) < VOLUME_PER_ATOM[1]
        if not (sound and packing[0] < filled < packing[1]):
            continue
        x = canonical_coordinates(sites.lattice, np.array(sites.species), x, kind.rotations, kind.translations)
        return {
            "id": f"{kind.label}-{seed}-{number}",
            "formula": formula,
            "space_group": kind.space_group,
            "system": _system(kind.space_group),
            "type": kind.label,
            "source": "prototypes",
            "lattice": sites.lattice,
            "species": list(sites.species),
            "frac_coords": x,
        }
    return None


def _system(space_group: int) -> str:
    return "cubic" if space_group >= 195 else "hexagonal" if space_group >= 168 else "trigonal"


def original_crystal(kind: StructureType) -> Record:
    """The real crystal a type was taken from."""
    return {
        "id": kind.label,
        "formula": kind.formula,
        "space_group": kind.space_group,
        "system": _system(kind.space_group),
        "type": kind.label,
        "source": "types",
        "lattice": kind.sites.lattice,
        "species": list(kind.sites.species),
        "frac_coords": kind.sites.frac_coords,
    }


def random_crystal(system: str, number: int, seed: int = 0) -> Record | None:
    """Generated crystal `number` with random Wyckoff positions; None where its geometry is no crystal's."""
    rng = np.random.default_rng((seed, number, 1))
    for _ in range(ATTEMPTS):
        found = random_structure(system, rng)
        if found is None:
            continue
        structure, space_group = found
        try:
            kind = make_type(
                {
                    "id": f"random-{space_group}",
                    "formula": "",
                    "space_group": space_group,
                    "lattice": structure.lattice.matrix,
                    "species": [site.specie.symbol for site in structure],
                    "frac_coords": structure.frac_coords,
                }
            )
        except InputError:
            continue
        if len(kind.sites) > MAX_SITES:
            continue
        orbits = sorted(Counter(kind.sites.species).values())
        kind = replace(kind, label=f"random-{space_group}-{'-'.join(map(str, orbits))}")
        record = decorate(kind, number, seed, scaling=(0.0, np.inf), packing=PACKING)
        if record is not None and space_group_of(structure_of(record)) == space_group:  # jitter may raise it
            return record
    return None


def generate(
    types: Sequence[StructureType],
    limit: int,
    seed: int = 0,
    jobs: int = 1,
    random_share: float = 0.0,
    journal: Path | None = None,
) -> Iterator[Record]:
    """Up to `limit` different crystals: the trainable originals first, then decorations, types by √count.

    No two are equal by (formula, space group, type). Deterministic in (types, seed, random_share), whatever `jobs`.
    journal: a file that keeps what is made, so that after a kill the same call takes it from there.
    """
    seen: set[tuple[str, int, str]] = set()
    emitted = 0
    originals = (original_crystal(kind) for kind in types if may_train(kind.formula))
    for record in chain(originals, _decorations(types, limit, seed, jobs, random_share, journal)):
        key = (record["formula"], record["space_group"], record["type"])
        if key not in seen:
            seen.add(key)
            emitted += 1
            yield record
            if emitted == limit:
                return


def _decorations(
    types: Sequence[StructureType], limit: int, seed: int, jobs: int, random_share: float, journal: Path | None
) -> Iterator[Record]:
    known, examples = Counter[str](), Counter[str]()
    for kind in types:
        known[kind.label] += kind.count
        examples[kind.label] += 1
    weight = np.array([np.sqrt(known[kind.label]) / examples[kind.label] for kind in types])
    rng = np.random.default_rng(seed)
    picks = rng.choice(len(types), size=3 * limit, p=weight / weight.sum())
    random = rng.random(len(picks)) < random_share
    system = _system(types[0].space_group)
    tasks = (
        (system if at_random else types[pick], number, seed)
        for number, (pick, at_random) in enumerate(zip(picks.tolist(), random, strict=True))
    )
    batches = iter(lambda: list(islice(tasks, BATCH)), [])
    made_of = {"types": len(types), "limit": limit, "seed": seed, "random_share": random_share}
    # The caller deletes the journal: what was made is kept until the data set is written.
    with Journal(journal, made_of, keep=True) as kept, workers(jobs if jobs > 1 else None, 1, chunk=CHUNK) as mapped:
        for batch in batches:
            records = kept.next()
            if records is None:
                records = [record for record in mapped(_decorate_task, batch) if record is not None]
                kept.append(records)
            yield from records


def _decorate_task(task: tuple[StructureType | str, int, int]) -> Record | None:
    kind, number, seed = task
    return random_crystal(kind, number, seed) if isinstance(kind, str) else decorate(kind, number, seed)


def dump_json(record: Record | list[Record]) -> str:
    """One line of a .jsonl file."""
    return json.dumps(record, default=lambda v: np.asarray(v).tolist(), separators=(",", ":"))

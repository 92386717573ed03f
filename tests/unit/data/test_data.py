"""Crystals: what may be trained on, how they are generated and stored."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from crystalnet.crystal import types as crystal_types
from crystalnet.crystal.record_file import read_records, structure_of
from crystalnet.data import generator as prototypes
from crystalnet.data.splits import is_dev, may_train, reserved_formulas, split_of
from crystalnet.data.store import read_store, verify_store, write_store
from crystalnet.records import InputError
from crystalnet.training.augment import given_composition, measured_view


@pytest.fixture(scope="module")
def few_types() -> list[prototypes.StructureType]:
    names = {"AB_cF8_225_a_b", "ABC3_cP5_221_a_b_c", "A3B3C4_cI40_220_a_b_c", "AB2_cF24_227_a_d"}
    return [prototypes.make_type(r) for r in crystal_types.types_table("cubic") if r["protostructure"] in names]


def test_dev_rule_is_the_published_one() -> None:
    assert sum(is_dev(f"A{i}B") for i in range(5000)) == pytest.approx(1000, abs=100)
    assert "Zr3Sb4Pt3" in reserved_formulas() and not may_train("Zr3Sb4Pt3")
    assert split_of("NaCl") == split_of("NaCl")


@pytest.mark.parametrize("system", ["cubic", "trigonal", "hexagonal"])
def test_types_table_holds_nothing_reserved(system: str) -> None:
    records = crystal_types.types_table(system)
    assert len(records) > 200
    assert all(may_train(record["formula"]) for record in records)
    assert sum(record["id"].startswith("aflow-") for record in records) >= 35


def test_generated_crystals_keep_their_type(few_types: list[prototypes.StructureType]) -> None:
    records = list(prototypes.generate(few_types, 40))
    keys = {(r["formula"], r["space_group"], r["type"]) for r in records}
    assert len(records) == len(keys) == 40
    for record in records:
        structure = structure_of(record)
        assert may_train(record["formula"])
        assert SpacegroupAnalyzer(structure, 0.01).get_space_group_number() == record["space_group"]
        assert structure.composition.reduced_formula == record["formula"]
        assert 4 < structure.volume / len(structure) < 90


def test_generation_is_deterministic_whatever_the_jobs(few_types: list[prototypes.StructureType]) -> None:
    one, two = (
        [prototypes.dump_json(r) for r in prototypes.generate(few_types, 12, seed=3, jobs=jobs)] for jobs in (1, 2)
    )
    assert one == two
    assert one != [prototypes.dump_json(r) for r in prototypes.generate(few_types, 12, seed=4)]


def test_store_round_trip_and_damage(tmp_path: Path, few_types: list[prototypes.StructureType]) -> None:
    records = list(prototypes.generate(few_types, 10))
    directory = tmp_path / "set"
    assert write_store(directory, records, {"source": "test", "crystalnet": "0"}) == 10
    crystals = read_store(directory)
    for i, record in enumerate(records):
        sites = crystals.sites(i)
        assert list(sites.species) == record["species"]
        assert sites.frac_coords == pytest.approx(np.array(record["frac_coords"]))
    target = directory / "frac_coords.npy"
    content = bytearray(target.read_bytes())
    content[200] ^= 1
    target.write_bytes(bytes(content))
    with pytest.raises(InputError, match="frac_coords.npy: damaged"):
        verify_store(directory)
    target.unlink()
    with pytest.raises(InputError, match="frac_coords.npy: missing"):
        verify_store(directory)
    with pytest.raises(InputError, match="no data set here"):
        verify_store(tmp_path)


def test_nothing_is_left_of_a_write_that_failed(tmp_path: Path) -> None:
    def broken():  # type: ignore[no-untyped-def]
        yield {"lattice": np.eye(3), "species": ["Na"], "frac_coords": [[0, 0, 0]], "formula": "Na"}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_store(tmp_path / "set", broken(), {})
    assert not list(tmp_path.iterdir())


def test_records_accept_both_space_group_keys(tmp_path: Path) -> None:
    row = {"lattice": np.eye(3).tolist(), "species": ["Na"], "frac_coords": [[0, 0, 0]], "system": "cubic"}
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps(row | {"spacegroup": 229}) + "\n" + json.dumps(row | {"space_group": 225}) + "\n")
    assert [r["space_group"] for r in read_records(path)] == [229, 225]
    assert not list(read_records(path, "trigonal"))


def test_measured_view_masks_what_it_hides() -> None:
    import torch

    generator = torch.Generator().manual_seed(0)
    pattern = (torch.rand(64, 1024, generator=generator) < 0.05).float() * torch.rand(64, 1024, generator=generator)
    seen, mask = measured_view(pattern, 1.0, generator)
    assert (seen[mask == 0] == 0).all() and seen.max() <= 1 + 1e-6
    assert 0.05 < float(mask.mean()) < 0.7
    same, every = measured_view(pattern, 0.0, generator)
    assert torch.equal(same, pattern) and (every == 1).all()


def test_levels_of_what_is_told() -> None:
    import torch

    fractions = torch.zeros(400, 119)
    fractions[:, 8], fractions[:, 26] = 0.6, 0.4
    told, level = given_composition(fractions, (0.25, 0.25, 0.25, 0.25), torch.Generator().manual_seed(0))
    rows = {(tuple(t[[8, 26]].tolist()), int(k)) for t, k in zip(told, level, strict=True)}
    approx = {(tuple(round(v, 3) for v in values), k) for values, k in rows}
    assert approx == {((0.6, 0.4), 2), ((0.5, 0.5), 1), ((1.0, 0.0), 1), ((0.0, 1.0), 1), ((0.0, 0.0), 0)}

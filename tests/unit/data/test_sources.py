"""Where crystals come from: chemistry, random positions, files, lists of splits, resampled densities."""

from __future__ import annotations

import gzip
import json
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from monty.json import MontyEncoder
from pymatgen.analysis.structure_prediction.volume_predictor import DLSVolumePredictor
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp import Chgcar, Poscar
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from crystalnet.crystal import chemistry
from crystalnet.crystal import types as crystal_types
from crystalnet.crystal.chemistry import charge_balances, usual_charges
from crystalnet.crystal.record_file import structure_of
from crystalnet.crystal.setting import canonical_sites, standard_primitive
from crystalnet.data.dataset import CrystalDataset
from crystalnet.data.files import fetch_files
from crystalnet.data.generator import generate
from crystalnet.data.random_crystals import random_crystal
from crystalnet.data.splits import RESERVED, Splits, may_train, read_splits, reserved_formulas
from crystalnet.data.store import read_manifest, read_store, read_types
from crystalnet.data.structure_types import make_type
from crystalnet.density import promolecule
from crystalnet.density.chgcar import alignment, canonical_density
from crystalnet.density.grid import in_cell
from crystalnet.density.promolecule import promolecule_density
from crystalnet.records import InputError, Transformation


def quiet(done: int, total: int) -> None:
    """No progress is shown."""


def test_charges() -> None:
    assert all(charge_balances(Counter(c)) for c in ({"Na": 1, "Cl": 1}, {"Fe": 3, "O": 4}, {"Cu": 3, "Au": 1}))
    assert not any(
        charge_balances(Counter(c)) for c in ({"Na": 1, "Cl": 3}, {"Ca": 2, "F": 1, "Na": 4}, {"Ni": 2, "H": 1, "O": 1})
    )


def test_usual_charges_are_the_common_ones() -> None:
    assert all(usual_charges(c) for c in ({"Na": 1, "Cl": 1}, {"Si": 1, "O": 2}, {"Cu": 3, "Au": 1}, {"O": 1}))
    assert all(usual_charges(c) for c in ({"Fe": 2, "O": 3}, {"Ca": 1, "Ti": 1, "O": 3}))
    assert not any(usual_charges(c) for c in ({"Si": 2, "O": 3}, {"Na": 1, "O": 1}, {"K": 1, "N": 1}))


def test_ionic_types_are_decorated_ionically_and_nothing_reserved_comes_out() -> None:
    rows = [
        r
        for r in crystal_types.types_table("cubic")
        if r["protostructure"] == "ABC3_cP5_221_a_b_c" and "O" in r["species"]
    ]
    types = [make_type(r, canonical=True) for r in rows]
    records = list(generate(types, 150, random_share=0.1))
    assert all(charge_balances(Counter(r["species"])) for r in records if not r["type"].startswith("random"))
    assert all(may_train(structure_of(r).composition.reduced_formula) for r in records)
    assert not {r["formula"] for r in records} & reserved_formulas()


@pytest.mark.parametrize("system", ["cubic", "trigonal"])
def test_random_positions_have_the_group_they_say(system: str) -> None:
    records = [r for r in (random_crystal(system, i) for i in range(14)) if r is not None]
    assert len(records) > 6 and len({r["space_group"] for r in records}) > 4
    for record in records:
        structure = structure_of(record)
        assert SpacegroupAnalyzer(structure, 0.01).get_space_group_number() == record["space_group"]
        assert structure.is_valid(0.5) and 3.5 < structure.volume / len(structure) < 75


def test_volumes_are_pymatgens() -> None:
    for record in crystal_types.types_table("trigonal")[:200:20]:
        sites = canonical_sites(structure_of(record))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = DLSVolumePredictor(min_scaling=None, max_scaling=None).predict(sites.structure())
        assert chemistry.predicted_volume(
            sites, chemistry.shortest_distances(sites.lattice, sites.frac_coords)
        ) == pytest.approx(expected)


def test_canonical_cells_stay_as_they_are() -> None:
    """Types in large cells with glide planes, which the low structure factors do not tell apart from their images."""
    formulas = {"UBe13", "Pd17Se15", "Mg3B7ClO13", "Na3MgC2ClO6"}
    for record in (r for r in crystal_types.types_table("cubic") if r["formula"] in formulas):
        sites = canonical_sites(structure_of(record))
        again = canonical_sites(sites.structure())
        one, two = (promolecule_density(s.lattice, s.species, s.frac_coords, 24) for s in (sites, again))
        assert two == pytest.approx(one, abs=1e-6 * one.max())


# --- files --------------------------------------------------------------------------------------------------------


def test_files_are_taken_or_refused_with_reasons(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    salt.to(str(folder / "salt.cif"))
    (folder / "again.cif").write_text((folder / "salt.cif").read_text())
    Structure(Lattice.cubic(3), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]]).to(str(folder / "alloy.cif"))
    Structure(Lattice.cubic(4), ["Cs", "I", "I"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0.55]]).to(
        str(folder / "near.cif")
    )
    hydride = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.9), ["K", "H"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    lines = hydride.to(fmt="cif").splitlines()
    (folder / "hydrogen.cif").write_text("\n".join(line for line in lines if not line.lstrip().startswith("H ")))
    (folder / "words.cif").write_text("no crystal")
    row = {"lattice": (np.eye(3) * 3.1).tolist(), "species": ["Fe", "Al"], "frac_coords": [[0, 0, 0], [0.5, 0.5, 0.5]]}
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(row | {"id": i, "h_missing": i == "x"}) for i in "xy"))
    said_of: list[str] = []
    made = fetch_files({"cubic": tmp_path / "set"}, (folder,), None, {"cubic": Splits()}, quiet, said_of.append)
    assert made == {"cubic": 2}
    (counted,) = said_of
    assert counted.startswith("6 were not taken: 2 without all atoms of the formula, 1 ") and "other" not in counted
    assert {r["formula"] for r in read_store(tmp_path / "set").records} == {"NaCl", "AlFe"}
    rows = map(json.loads, (tmp_path / "set" / "failures.jsonl").read_text().splitlines())
    reasons = {r["id"]: r["reason"] for r in rows}
    assert set(reasons) == {"salt.cif", "alloy.cif", "near.cif", "hydrogen.cif", "words.cif", "x"}
    for name, said in {
        "salt.cif": "already",
        "alloy.cif": "partially occupied",
        "near.cif": "overlap",
        "hydrogen.cif": "H of its formula",
        "words.cif": "cannot be read",
        "x": "hydrogen",
    }.items():
        assert said in reasons[name]
    assert "failures.jsonl" in read_manifest(tmp_path / "set")["sha256"]
    assert not read_types(tmp_path / "set")  # rock salt and CsCl are in the package's table


def test_a_composition_kept_for_judging_is_known_and_not_learnt_from(tmp_path: Path) -> None:
    assert may_train("NaCl") and not may_train("NiTi")  # by the hash of the formula
    for metal, other in (("Na", "Cl"), ("Ti", "Ni")):
        salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.0), [metal, other], [[0, 0, 0], [0.5] * 3])
        salt.to(str(tmp_path / f"{metal}.cif"))
    assert fetch_files({"cubic": tmp_path / "set"}, (tmp_path,), None, {"cubic": Splits()}, quiet) == {"cubic": 2}
    splits = {r["formula"]: r["split"] for r in read_store(tmp_path / "set").records}
    assert splits["TiNi"] == RESERVED and splits["NaCl"] in ("train", "validation")
    data = CrystalDataset(tmp_path / "set")
    assert len(data) == 2 and len(data.train) + len(data.validation) == 1


# --- splits -------------------------------------------------------------------------------------------------------


def test_lists_of_ids_in_every_shape(tmp_path: Path) -> None:
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(json.dumps({"cubic": {"train_stable": {"mp-1": "A"}}}).encode()))
    (tmp_path / "val_data.json").write_text('{"mp-2": "NaCl", "mp-3": "KCl"}')
    (tmp_path / "test.txt").write_text("mp-4\nmp-5, mvc-6")
    splits = read_splits("composition", tuple(sorted(tmp_path.iterdir())), "cubic")
    expected = {"mp-1": "train", "mp-2": "validation", "mp-3": "validation"}
    assert splits.listed == expected | dict.fromkeys(("mp-4", "mp-5", "mvc-6"), "test")
    assert splits.of("mp-2", "NaCl", "") == "validation" and set(splits.describe()["files"]) == set(splits.files)
    (tmp_path / "train.txt").write_text("mp-2")
    with pytest.raises(InputError, match="mp-2 is in"):
        read_splits("composition", tuple(tmp_path.iterdir()), "cubic")
    (tmp_path / "some.txt").write_text("mp-9")
    with pytest.raises(InputError, match="neither train, val nor test"):
        read_splits("composition", (tmp_path / "some.txt",), "cubic")
    (tmp_path / "train.txt").write_text("nothing")
    with pytest.raises(InputError, match="no Materials Project id"):
        read_splits("composition", (tmp_path / "train.txt",), "cubic")
    with pytest.raises(InputError, match="--split"):
        read_splits("phase of the moon", (), "cubic")


# --- densities ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("formula", ["Cr2O3", "perovskite"])
def test_a_density_in_any_cell_becomes_the_canonical_one(formula: str) -> None:
    if formula == "perovskite":
        given = Structure.from_spacegroup(
            "Pm-3m", Lattice.cubic(3.9), ["Sr", "Ti", "O"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]
        )
        given.make_supercell([[1, 1, 0], [-1, 1, 0], [0, 0, 1]])
    else:
        given = Structure.from_spacegroup(
            "R-3c", Lattice.hexagonal(4.95, 13.58), ["Cr", "O"], [[0, 0, 0.348], [0.306, 0, 0.25]]
        )  # three primitive cells
    given.translate_sites(list(range(len(given))), [0.31, 0.12, 0.77])
    canonical = standard_primitive(given)
    setting = alignment(given, canonical, 0.01)
    density = promolecule(given, 80)
    resampled = in_cell(density, setting)
    expected = promolecule(canonical)
    assert resampled == pytest.approx(expected, abs=2e-3 * expected.max())
    electrons = density.mean() * given.volume * len(canonical) / len(given)
    assert resampled.mean() * canonical.volume == pytest.approx(electrons, abs=1e-6)


def test_resampling_agrees_with_pyrho() -> None:
    from pyrho.pgrid import PGrid

    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    density = promolecule(salt, 72)
    theirs = PGrid(density, salt.lattice.matrix).lossy_smooth_compression([50, 50, 50], smear_std=0)
    ours = in_cell(density, Transformation(np.eye(3), np.zeros(3)))
    assert np.abs(ours) == pytest.approx(theirs, abs=1e-9 * density.max())


def test_a_density_of_other_atoms_is_refused() -> None:
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    other = Structure.from_spacegroup("Pm-3m", Lattice.cubic(4.1), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    with pytest.raises(InputError, match="cannot be carried over"):
        alignment(salt, standard_primitive(other), 0.01)


@pytest.mark.parametrize("name", ["SrTiO3", "Al2O3", "Bi2Te3"])
def test_a_calculated_density_from_any_origin(name: str, shared_data: Path) -> None:
    """Real DFT maps, the crystal moved within its cell: the same canonical map, close to the promolecule."""
    file = np.load(shared_data / "dft_densities" / f"{name}.npz")
    structure = Structure(file["lattice"], [str(s) for s in file["species"]], file["frac_coords"])
    system = SpacegroupAnalyzer(structure, 0.1).get_crystal_system()
    maps = []
    for steps in ((0, 0, 0), (7, 31, 3)):  # whole voxels: the moved map is exact
        moved = structure.copy()
        moved.translate_sites(range(len(moved)), np.array(steps) / 50)
        density = np.roll(file["density"], steps, axis=(0, 1, 2))
        document = Chgcar(Poscar(moved), {"total": density * structure.volume}).as_dict()
        record = canonical_density(json.loads(json.dumps(document, cls=MontyEncoder)), system)
        maps.append(record["density"].astype(float))
    assert np.abs(maps[1] - maps[0]).max() < 5e-3 * maps[0].max()
    known = promolecule(Structure(record["lattice"], record["species"], record["frac_coords"]))
    assert np.corrcoef(known.ravel(), maps[0].ravel())[0, 1] > 0.95

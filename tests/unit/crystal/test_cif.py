"""CIFs as programs and people write them: read right, or refused with a reason."""

from __future__ import annotations

import gzip
import warnings
from pathlib import Path

import numpy as np
import pytest
import spglib
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifWriter
from pymatgen.io.vasp import Poscar

from crystalnet.cli import main
from crystalnet.crystal.cif import read_cif
from crystalnet.crystal.setting import standard_primitive
from crystalnet.data.files import fetch_files
from crystalnet.data.splits import Splits
from crystalnet.data.store import read_store
from crystalnet.data.structure_files import read_structure
from crystalnet.records import InputError

HALLS = range(1, 531)
TYPES = {h: spglib.get_spacegroup_type(h) for h in HALLS}
CELL_TAGS = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
SAME = StructureMatcher(ltol=0.01, stol=0.02, angle_tol=1, primitive_cell=False, scale=False)


def quiet(done: int, total: int) -> None:
    """No progress is shown."""


def expanded(x: np.ndarray, hall: int) -> np.ndarray:
    """Images (m, 3) under spglib's operations."""
    operations = spglib.get_symmetry_from_database(hall)
    return np.asarray(operations["rotations"] @ x + operations["translations"])


def crystal(hall: int, lattice: Lattice, **atoms: list[list[float]]) -> Structure:
    """By spglib's operations of a Hall number."""
    species, coordinates = [], np.zeros((0, 3))
    for symbol, x in ((s, np.array(x)) for s, places in atoms.items() for x in places):
        for image in expanded(x, hall):
            if not len(coordinates) or lattice.get_all_distances(image, coordinates).min() > 0.05:
                species.append(symbol)
                coordinates = np.concatenate([coordinates, [image]])
    return Structure(lattice, species, coordinates, to_unit_cell=True)


CUBIC, HEXAGONAL, TETRAGONAL = Lattice.cubic, Lattice.hexagonal, Lattice.tetragonal
CRYSTALS = {
    "MgAl2O4": crystal(526, CUBIC(8.0858), Mg=[[0.125] * 3], Al=[[0.5] * 3], O=[[0.2633] * 3]),
    "Cu2O": crystal(522, CUBIC(4.27), Cu=[[0, 0, 0]], O=[[0.25] * 3]),
    "TiO2": crystal(427, TETRAGONAL(3.785, 9.514), Ti=[[0, 0.25, 0.375]], O=[[0, 0.25, 0.1669]]),
    "PbO": crystal(409, TETRAGONAL(3.976, 5.023), Pb=[[0.25, 0.25, 0.237]], O=[[0.75, 0.25, 0]]),
    "Al2O3": crystal(460, HEXAGONAL(4.759, 12.993), Al=[[0, 0, 0.3522]], O=[[0.3064, 0, 0.25]]),
    "Bi2Te3": crystal(458, HEXAGONAL(4.386, 30.497), Bi=[[0, 0, 0.4001]], Te=[[0, 0, 0], [0, 0, 0.2095]]),
    "FeTiO3": crystal(
        436, HEXAGONAL(5.088, 14.09), Fe=[[0, 0, 0.355]], Ti=[[0, 0, 0.1465]], O=[[0.3174, 0.0233, 0.245]]
    ),
    "CuO": crystal(90, Lattice.monoclinic(4.683, 3.423, 5.129, 99.54), Cu=[[0.25, 0.25, 0]], O=[[0, 0.4184, 0.25]]),
    "ZrO2": crystal(
        81,
        Lattice.monoclinic(5.15, 5.21, 5.317, 99.23),
        Zr=[[0.2754, 0.0395, 0.2083]],
        O=[[0.07, 0.3317, 0.3447], [0.4496, 0.7569, 0.4792]],
    ),
    "CaTiO3": crystal(
        292,
        Lattice.orthorhombic(5.442, 7.64, 5.38),
        Ca=[[0.0365, 0.25, 0.9927]],
        Ti=[[0, 0, 0.5]],
        O=[[0.484, 0.25, 0.071], [0.29, 0.037, 0.711]],
    ),
    "Ce": crystal(523, CUBIC(5.16), Ce=[[0, 0, 0]]),
}
SALT = crystal(523, CUBIC(5.64), Na=[[0, 0, 0]], Cl=[[0.5, 0.5, 0.5]])


def in_setting(structure: Structure, hall: int) -> tuple[Structure, list[tuple[str, np.ndarray]]]:
    """The crystal in another setting, by spglib: the whole cell, and one atom of each orbit."""
    numbers = [site.specie.Z for site in structure]
    symbols = {site.specie.Z: site.specie.symbol for site in structure}
    cell = (structure.lattice.matrix, structure.frac_coords, numbers)
    found = spglib.get_symmetry_dataset(cell, symprec=1e-3, hall_number=hall)
    lattice = Lattice.from_parameters(*Lattice(found.std_lattice).parameters)
    whole = Structure(lattice, [symbols[z] for z in found.std_types], found.std_positions)
    asymmetric: list[tuple[str, np.ndarray]] = []
    seen = np.zeros((0, 3))
    for z, x in zip(found.std_types, found.std_positions, strict=True):
        if len(seen) == 0 or lattice.get_all_distances(x, seen).min() > 0.05:
            asymmetric.append((symbols[z], x))
            seen = np.concatenate([seen, expanded(x, hall)])
    return whole, asymmetric


def text_of(
    lattice: Lattice, atoms: list[tuple[str, np.ndarray]], *head: str, digits: int = 5, name: str = "crystal"
) -> str:
    rows = [f"_cell_{tag} {value:.5f}" for tag, value in zip(CELL_TAGS, lattice.parameters, strict=True)]
    rows += [*head, "loop_", "_atom_site_label", "_atom_site_type_symbol"]
    rows += [f"_atom_site_fract_{axis}" for axis in "xyz"]
    for number, (symbol, x) in enumerate(atoms, 1):
        rows.append(f"{symbol}{number} {symbol} " + " ".join(f"{v:.{digits}f}" for v in x))
    return "\n".join([f"data_{name}", *rows]) + "\n"


def read(tmp_path: Path, text: str, name: str = "x.cif") -> Structure:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return read_structure(tmp_path / name)


def quietly(tmp_path: Path, text: str) -> Structure:
    """Read without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        return read(tmp_path, text)


def symbol_line(symbol: str) -> str:
    return f"_symmetry_space_group_name_H-M '{symbol}'"


def operations_loop(hall: int, tag: str = "_symmetry_equiv_pos_as_xyz", part: slice = slice(None)) -> list[str]:
    import gemmi

    rows = [operation.triplet() for operation in gemmi.symops_from_hall(TYPES[hall].hall_symbol)]
    return ["loop_", tag, *(f"'{row}'" for row in rows[part])]


# --- settings -------------------------------------------------------------------------------------------------------


def test_every_setting_by_its_full_symbol(tmp_path: Path) -> None:
    """One atom in general position, in each of spglib's 530 settings, against spglib's operations."""
    wrong = []
    for hall, kind in TYPES.items():
        if "/e" in kind.international_full or "e" in kind.international.split("=")[0].split()[1:]:
            continue  # e glides: one symbol for two settings
        rotations = spglib.get_symmetry_from_database(hall)["rotations"]
        some = Lattice.from_parameters(38.3, 45.9, 53.7, 81, 97, 104).matrix
        metric = np.mean([r.T @ some @ some.T @ r for r in rotations], axis=0)
        lattice = Lattice(np.linalg.cholesky(metric))
        x = np.array([0.117, 0.323, 0.071])
        ending = f":{kind.choice[0]}" if kind.choice[:1] in ("1", "2", "H", "R") else ""
        found = quietly(tmp_path, text_of(lattice, [("F", x)], symbol_line(kind.international_full + ending)))
        images = expanded(x, hall)
        apart = found.lattice.get_all_distances(found.frac_coords, images)
        if len(found) != len(images) or apart.min(1).max() > 0.01:
            wrong.append(kind.international_full + ending)
    assert not wrong


SETTINGS = [
    (formula, hall)
    for formula, structure in CRYSTALS.items()
    for hall in HALLS
    if TYPES[hall].number == structure.get_space_group_info()[1]
]


@pytest.mark.parametrize(("formula", "hall"), SETTINGS)
def test_real_crystals_in_every_setting(formula: str, hall: int, tmp_path: Path) -> None:
    """By Hall symbol, by operations under either tag, and by Hermann-Mauguin symbol with and without its ending."""
    whole, atoms = in_setting(CRYSTALS[formula], hall)
    kind = TYPES[hall]
    composition = whole.composition.reduced_composition
    stated = [
        f"_chemical_formula_sum '{composition.formula}'",
        f"_cell_formula_units_Z {len(whole) / composition.num_atoms:.0f}",
    ]
    symbol = kind.international.split("=")[-1].strip()
    ending = f":{kind.choice[0]}" if kind.choice[:1] in ("1", "2", "H", "R") else ""
    heads = {
        "Hall": [f"_space_group_name_Hall '{kind.hall_symbol}'"],
        "operations": operations_loop(hall),
        "new tag": [symbol_line(symbol), *operations_loop(hall, "_space_group_symop_operation_xyz")],
        "dots": operations_loop(hall, "_space_group_symop.operation_xyz"),
        "symbol": [symbol_line(symbol + ending)],
        "no spaces": [symbol_line((symbol + ending).replace(" ", ""))],
        "bare symbol and formula": [symbol_line(symbol), *stated],
        "old symbol": [symbol_line((symbol + ending).replace("-3", "3") if kind.number >= 200 else symbol + ending)],
    }
    if kind.choice in ("", "1", "2", "H", "R", "b1"):
        heads["number and formula"] = [f"_symmetry_Int_Tables_number {kind.number}", *stated]
    for way, head in heads.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = read(tmp_path, text_of(whole.lattice, atoms, *head))
        assert found.composition == whole.composition, way
        assert SAME.fit(found, whole), way


@pytest.mark.parametrize(
    ("symbol", "hall"),
    [
        *((s, 525) for s in ("F d -3 m :1", "Fd-3m:1", "F d -3 m S", "F d -3 m (origin 1)", "F d 3 m :1")),
        *((s, 526) for s in ("F d -3 m :2", "Fd-3mZ", "F d -3 m, origin choice 2", "F 41/d -3 2/m :2", "F_d_-3_m_:2")),
    ],
)  # fmt: skip
def test_endings_of_a_symbol(symbol: str, hall: int, tmp_path: Path) -> None:
    whole, atoms = in_setting(CRYSTALS["MgAl2O4"], hall)
    assert SAME.fit(quietly(tmp_path, text_of(whole.lattice, atoms, symbol_line(symbol))), whole)


def test_coordinate_system_code(tmp_path: Path) -> None:
    whole, atoms = in_setting(CRYSTALS["MgAl2O4"], 525)
    head = ["_space_group_IT_coordinate_system_code 1", "_space_group_name_H-M_alt 'F d -3 m'"]
    assert SAME.fit(quietly(tmp_path, text_of(whole.lattice, atoms, *head)), whole)


def test_what_no_fact_decides_is_refused_with_both_named(tmp_path: Path) -> None:
    lattice = CUBIC(20.0)
    with pytest.raises(InputError, match=r"F d -3 m:1 or F d -3 m:2"):
        read(tmp_path, text_of(lattice, [("La", np.array([0.117, 0.323, 0.071]))], symbol_line("F d -3 m")))


def test_an_explicit_origin_that_the_formula_contradicts(tmp_path: Path) -> None:
    whole, atoms = in_setting(CRYSTALS["MgAl2O4"], 526)
    head = [symbol_line("F d -3 m :1"), "_chemical_formula_sum 'Mg Al2 O4'"]
    with pytest.warns(UserWarning, match=r"read in F d -3 m:2, because in F d -3 m:1"):
        assert SAME.fit(read(tmp_path, text_of(whole.lattice, atoms, *head)), whole)


def test_symbol_and_number_that_disagree(tmp_path: Path) -> None:
    whole = CRYSTALS["Cu2O"]
    atoms = [("Cu", np.zeros(3)), ("O", np.full(3, 0.25))]
    head = [symbol_line("P n -3 m :2"), "_symmetry_Int_Tables_number 221"]
    with pytest.warns(UserWarning, match="P n -3 m:2"):
        assert SAME.fit(read(tmp_path, text_of(whole.lattice, atoms, *head, "_chemical_formula_sum 'Cu2 O'")), whole)


def test_incomplete_operations(tmp_path: Path) -> None:
    """Without centring, generators only, or only x,y,z: with the symbol they are completed."""
    atoms = [("Na", np.zeros(3)), ("Cl", np.full(3, 0.5))]
    for part in (slice(0, 48), slice(0, 1)):
        head = [symbol_line("F m -3 m"), *operations_loop(523, part=part)]
        with pytest.warns(UserWarning, match="F m -3 m is listed"):
            assert SAME.fit(read(tmp_path, text_of(SALT.lattice, atoms, *head)), SALT)
    with pytest.warns(UserWarning, match="completed"):
        head = ["loop_", "_symmetry_equiv_pos_as_xyz", "x,y,z", "-x,-y,z", "-x,y,-z", "z,x,y", "y,x,-z", "-x,-y,-z"]
        assert len(read(tmp_path, text_of(SALT.lattice, atoms, *head))) == 2


def test_every_atom_listed_under_the_true_symbol(tmp_path: Path) -> None:
    atoms = [(site.specie.symbol, site.frac_coords) for site in SALT]
    for head in ([], [*operations_loop(1)], [*operations_loop(523)]):
        assert SAME.fit(quietly(tmp_path, text_of(SALT.lattice, atoms, symbol_line("F m -3 m"), *head)), SALT)


def test_no_symmetry_at_all_is_said(tmp_path: Path) -> None:
    atoms = [(site.specie.symbol, site.frac_coords) for site in SALT]
    with pytest.warns(UserWarning, match="no symmetry is stated"):
        assert SAME.fit(read(tmp_path, text_of(SALT.lattice, atoms)), SALT)
    head = ["_chemical_formula_sum 'Na Cl'", "_cell_formula_units_Z 4", "_exptl_crystal_density_diffrn 2.16"]
    with pytest.warns(UserWarning, match="read in F 1, because in P 1 the cell holds 1 formula units"):
        assert SAME.fit(read(tmp_path, text_of(SALT.lattice, [atoms[0], atoms[-1]], *head)), SALT)
    with pytest.raises(InputError, match=r"holds 1 formula units, the file says 3; the density is 0\.54"):
        text = text_of(SALT.lattice, [atoms[0], atoms[-1]], *head).replace("Z 4", "Z 3").replace("2.16", "1.62")
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ([symbol_line("P m q m")], "P m q m"),
        ([symbol_line("P m -3 m"), "_chemical_formula_sum 'Sr2 Ti O4'"], "the formula is Sr2TiO4"),
        ([symbol_line("P m -3 m"), "_chemical_formula_sum 'Sr Ti O3 Cl'"], "Cl of its formula has no site"),
        ([symbol_line("P m -3 m"), "_chemical_formula_sum 'Sr O3'"], "Ti is not in its formula"),
        ([symbol_line("P 6/m m m")], "metric"),
        (["loop_", "_symmetry_equiv_pos_as_xyz", "x,y,what"], "x,y,what"),
        ([symbol_line("P 1"), "_cell_modulation_dimension 1"], "modulated"),
    ],
)
def test_contradictions_are_refused(head: list[str], said: str, tmp_path: Path) -> None:
    atoms = [("Sr", np.full(3, 0.5)), ("Ti", np.zeros(3)), ("O", np.array([0.5, 0, 0]))]
    with pytest.raises(InputError, match="x.cif") as refused:
        read(tmp_path, text_of(CUBIC(3.905), atoms, *head))
    assert said in str(refused.value) and "\n" not in str(refused.value)


# --- atoms ----------------------------------------------------------------------------------------------------------

PEROVSKITE = crystal(517, CUBIC(3.905), Sr=[[0.5] * 3], Ti=[[0, 0, 0]], O=[[0.5, 0, 0]])


def perovskite(columns: str, rows: list[str], *head: str) -> str:
    tags = "\n".join(f"_atom_site_{name}" for name in columns.split())
    cell = text_of(PEROVSKITE.lattice, [], symbol_line("P m 3 m"), *head).partition("loop_")[0]
    return f"{cell}loop_\n{tags}\n" + "\n".join(rows) + "\n"


@pytest.mark.parametrize("occupancies", [("1", "1", "."), ("?", "1.0", "1"), ("1.000(5)", "1", "?"), (".", ".", ".")])
def test_occupancies_not_said_are_one(occupancies: tuple[str, ...], tmp_path: Path) -> None:
    places = ("Sr1 Sr 0.5 0.5 0.5", "Ti1 Ti 0 0 0", "O1 O 0.5 0 0")
    rows = [f"{place} {occupancy}" for place, occupancy in zip(places, occupancies, strict=True)]
    found = quietly(tmp_path, perovskite("label type_symbol fract_x fract_y fract_z occupancy", rows))
    assert SAME.fit(found, PEROVSKITE)


@pytest.mark.parametrize(
    "labels",
    [("Sr1", "Ti", "O(2)"), ("Sr2+", "Ti4+", "O2-"), ("SR1", "TI1", "O1A"), ("Sr", "Ti_1", "O'"), ("Sr1", "Ti1", "OW")],
)
def test_species_from_labels(labels: tuple[str, ...], tmp_path: Path) -> None:
    rows = [f'"{label}" {x}' for label, x in zip(labels, ("0.5(1) .5 0.5", "0 0 0", "1/2 0 0.0(2)"), strict=True)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert SAME.fit(read(tmp_path, perovskite("label fract_x fract_y fract_z", rows)), PEROVSKITE)


def test_capitals_are_decided_by_the_formula(tmp_path: Path) -> None:
    rows = ["CA1 0 0 0", "CO1 0.5 0.5 0.5"]
    for formula in ("Ca Co", "C Ca"):
        text = perovskite("label fract_x fract_y fract_z", rows, f"_chemical_formula_sum '{formula}'")
        assert set(quietly(tmp_path, text).symbol_set) == set(formula.split())
    with pytest.warns(UserWarning, match="CA1 is read as Ca"):
        read(tmp_path, perovskite("label fract_x fract_y fract_z", rows))


def test_one_element_that_shares_a_place_is_whole_and_two_are_disorder(tmp_path: Path) -> None:
    columns = "label type_symbol fract_x fract_y fract_z occupancy"
    shared = [
        "Sr1 Sr 0.5 0.5 0.5 1",
        "Ti1 Ti3+ 0 0 0 0.5",
        "Ti2 Ti4+ 0 0 0 0.5",
        "O1 O2- 0.5 0 0 1",
        "O2 O 0.3 0.3 0.3 0",
    ]
    assert SAME.fit(quietly(tmp_path, perovskite(columns, shared)), PEROVSKITE)
    for row in ("Ti2 Zr4+ 0 0 0 0.5", "Ti2 Ti4+ 0 0 0 0.4", "Ti2 Ti4+ 0.1 0 0 0.5"):
        with pytest.raises(InputError, match="partially occupied sites.*Ti1 0.5"):
            read(tmp_path, perovskite(columns, [*shared[:2], row, shared[3]]))
    with pytest.raises(InputError, match="Zr and Ti overlap|Ti and Zr overlap"):
        read(tmp_path, perovskite(columns, [shared[0], "A Ti 0 0 0 1", "B Zr 0 0 0 1", shared[3]]))


@given(st.sampled_from([2, 3, 4, 5]), st.booleans(), st.sampled_from([458, 488, 462]))
def test_rounded_special_positions(
    tmp_path_factory: pytest.TempPathFactory, digits: int, truncated: bool, hall: int
) -> None:
    """0.33, 0.666, 0.1667 on three- and sixfold axes are one atom, exactly in place, listed once or twice."""
    places = np.array([[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]])
    lattice = HEXAGONAL(6.3, 10.1) if hall != 462 else HEXAGONAL(6.3, 14.1)
    step = 10.0**digits
    written = np.floor(places * step + 1e-9) / step if truncated else np.round(places, digits)
    folder = tmp_path_factory.mktemp("rounded")
    ending = ":H" if TYPES[hall].choice == "H" else ""
    head = symbol_line(TYPES[hall].international_full + ending)
    counts = set()
    for listed in (1, 2):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = read(folder, text_of(lattice, [("La", x) for x in written[:listed]], head, digits=digits))
        exact = read(folder, text_of(lattice, [("La", x) for x in places[:listed]], head, digits=9))
        assert len(found) == len(exact)
        assert found.lattice.get_all_distances(found.frac_coords, exact.frac_coords).min(1).max() < 1e-6
        counts.add(len(found))
    assert counts


def test_hydrogen_deuterium_and_water(tmp_path: Path) -> None:
    columns = "label type_symbol fract_x fract_y fract_z"
    deuteride = ["Li1 Li 0 0 0", "D1 D 0.5 0.5 0.5"]
    head = "_chemical_formula_sum 'D Li'"
    text = perovskite(columns, deuteride, head).replace("P m 3 m", "F m 3 m")
    assert quietly(tmp_path, text).composition.reduced_formula == "LiH"
    brucite = text_of(
        HEXAGONAL(3.142, 4.766),
        [("Mg", np.zeros(3)), ("O", np.array([1 / 3, 2 / 3, 0.22]))],
        symbol_line("P -3 m 1"),
        "_chemical_formula_sum 'H2 Mg O2'",
    )
    with pytest.warns(UserWarning, match="H of its formula has no site"):
        assert len(read(tmp_path, brucite)) == 3
    with pytest.warns(UserWarning, match="Wat is read as the oxygen of water"):
        read(tmp_path, brucite.replace("O2 O ", "Wat1 Wat "))
    with pytest.raises(InputError, match="H of its formula has no site"):
        fetch_files({"trigonal": tmp_path / "set"}, (tmp_path / "x.cif",), None, {"trigonal": Splits()}, quiet)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["Sr1 Sr 0.5 0.5 0.5", "M1 Qq 0 0 0"], "Qq"),
        (["Sr1 Sr 0.5 0.5 0.5", "Ti1 Ti ? ? ?"], "no coordinates"),
        (["Sr1 Sr 0.5 0.5 half"], "half"),
        (["X1 X 0.5 0.5 0.5"], "X is no element"),
    ],
)
def test_sites_that_are_none(rows: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        read(tmp_path, perovskite("label type_symbol fract_x fract_y fract_z", rows))
    assert said in str(refused.value)


@pytest.mark.parametrize("lost", ["_atom_site_fract_y", "_cell_length_b", "_atom_site_label"])
def test_columns_that_lack(lost: str, tmp_path: Path) -> None:
    text = text_of(PEROVSKITE.lattice, [("Sr", np.zeros(3))], symbol_line("P m -3 m")).replace(lost, "_other")
    if lost == "_atom_site_label":
        assert len(quietly(tmp_path, text)) == 1  # the type symbol is enough
    else:
        with pytest.raises(InputError, match="not whole|no _cell_length_b"):
            read(tmp_path, text)


# --- files ----------------------------------------------------------------------------------------------------------


def test_several_crystals_in_a_file(tmp_path: Path) -> None:
    """One is read; of several the names are given; a data set takes each."""
    one = text_of(SALT.lattice, [("Na", np.zeros(3)), ("Cl", np.full(3, 0.5))], symbol_line("F m 3 m"), name="salt")
    other = text_of(CUBIC(4.11), [("Cs", np.zeros(3)), ("Cl", np.full(3, 0.5))], symbol_line("P m 3 m"), name="caesium")
    measured = "data_pattern\nloop_\n_pd_proc_point_id\n_pd_proc_intensity_total\n1 20\n2 30\n"
    assert SAME.fit(quietly(tmp_path, measured + one), SALT)
    with pytest.raises(InputError, match=r"holds 2 crystals \(salt, caesium\)"):
        read(tmp_path, measured + one + other)
    assert fetch_files({"cubic": tmp_path / "set"}, (tmp_path / "x.cif",), None, {"cubic": Splits()}, quiet) == {
        "cubic": 2
    }
    assert {r["id"] for r in read_store(tmp_path / "set").records} == {"x.cif:salt", "x.cif:caesium"}


def test_writing_of_the_file(tmp_path: Path) -> None:
    """Capitals in tags, symbols without quotes, a byte-order mark, Windows line ends, compression, decimal commas."""
    atoms = [(s, x) for s, x in zip(("Sr", "Ti", "O"), ([0.5] * 3, [0.0] * 3, [0.5, 0, 0]), strict=True)]
    text = text_of(PEROVSKITE.lattice, [(s, np.array(x)) for s, x in atoms], symbol_line("P m -3 m"))
    variants = {
        "capitals": text.replace("_cell_length", "_CELL_LENGTH").replace("_symmetry", "_Symmetry"),
        "quotes": text.replace("'", ""),
        "mark": "\ufeff" + text,
        "lines": text.replace("\n", "\r\n"),
        "comma": text.replace("0.50000", "0,50000"),
        "dots": text.replace("_cell_", "_cell.").replace("_atom_site_", "_atom_site."),
    }
    for way, variant in variants.items():
        assert SAME.fit(quietly(tmp_path, variant), PEROVSKITE), way
    (tmp_path / "x.cif.gz").write_bytes(gzip.compress(text.encode()))
    assert SAME.fit(read_structure(tmp_path / "x.cif.gz"), PEROVSKITE)


@pytest.mark.parametrize("formula", CRYSTALS)
@pytest.mark.parametrize("symprec", [None, 0.01])
def test_pymatgens_own_files(formula: str, symprec: float | None, tmp_path: Path) -> None:
    CifWriter(CRYSTALS[formula], symprec=symprec).write_file(tmp_path / "x.cif")
    found = quietly(tmp_path, (tmp_path / "x.cif").read_text())
    assert StructureMatcher(scale=False).fit(found, CRYSTALS[formula])
    assert len(standard_primitive(found)) == len(standard_primitive(CRYSTALS[formula]))


def test_positions_without_elements_are_refused(tmp_path: Path) -> None:
    lines = Poscar(PEROVSKITE).get_str().splitlines()
    bare = [line for number, line in enumerate(lines) if number != 5]
    (tmp_path / "POSCAR").write_text("\n".join(["crystal", *(" ".join(line.split()[:3]) for line in bare[1:])]) + "\n")
    with pytest.raises(InputError, match="names no elements"):
        read_structure(tmp_path / "POSCAR")


def test_warnings_reach_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    spinel = crystal(526, CUBIC(13.1), Sr=[[0.125] * 3], La=[[0.5] * 3], Te=[[0.2633] * 3])
    whole, atoms = in_setting(spinel, 526)
    head = [symbol_line("F d -3 m"), "_chemical_formula_sum 'Sr La2 Te4'"]
    Path("spinel.cif").write_text(text_of(whole.lattice, atoms, *head))
    for arguments in (
        ["simulate", "spinel.cif", "--out", "x.xy"],
        ["density", "spinel.cif", "--grid", "8", "--out", "x.npz"],
        ["fetch", "--source", "files", "--system", "cubic", "--out", "set", "spinel.cif"],
    ):
        monkeypatch.setattr("sys.argv", ["crystalnet", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        assert not stop.value.code
        said = capsys.readouterr().err
        assert "crystalnet: spinel.cif: read in F d -3 m:2, because in F d -3 m:1" in said


CASES = {"c4_spinel_o1": ("MgAl2O4", 14), "c3_Bi_R": ("Bi", 2), "c5_Pm3m": ("SrTiO3", 5), "c12_occ_dot": ("SrTiO3", 5)}


@pytest.mark.parametrize("name", CASES)
def test_reported_files(name: str, shared_data: Path) -> None:
    path = shared_data.parent / "cases" / "cif" / f"{name}.cif"
    if not path.is_file():
        pytest.skip(f"no {path.name}")
    primitive = standard_primitive(read_structure(path))
    assert (primitive.composition.reduced_formula, len(primitive)) == CASES[name]


def test_names_of_blocks(tmp_path: Path) -> None:
    text = text_of(PEROVSKITE.lattice, [("Po", np.zeros(3))], symbol_line("P m -3 m"), name="po")
    (tmp_path / "x.cif").write_text(text)
    assert [c.name for c in read_cif(tmp_path / "x.cif")] == ["po"]

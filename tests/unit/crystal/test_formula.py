"""Compositions as people write them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Composition

from crystalnet.crystal.formula import JOINTS, ideal_formula, parse_elements, parse_formula, stated_composition
from crystalnet.records import InputError

# Each line: what it is, and ways to write it.
SAME = {
    "CaSO6H4": "CaSO4.2H2O|CaSO4·2H2O|CaSO4 . 2 H2O|CaSO4 2H2O|CaSO4 x 2H2O|CaSO4x2H2O|CaSO4 × 2 H2O|CaSO₄·2H₂O"
    r"|CaSO4.2D2O|CaSO$_4\cdot$2H$_2$O|\ce{CaSO4.2H2O}|CaSO<sub>4</sub>·2H<sub>2</sub>O|CaSO4⋅2(H2O)|CaSO4.2OH2|H2O.CaSO4.H2O",
    "CuSO9H10": "CuSO4·5H2O|CuSO4.5H2O|CuSO4*5H2O|CuSO4 • 5 H2O|CuSO4∙5H2O",
    "MgSO11H14": "MgSO4*7H2O|MgSO4.7H2O",
    "KAlS2O20H24": "KAl(SO4)2.12H2O|KAl(SO4)2·12H2O|KAl[SO4]2.12H2O",
    "Na2CO13H20": "Na2CO3.10H2O|Na2CO3·10 H2O",
    "Ca2S2O9H2": "(CaSO4)2.H2O|2CaSO4.H2O|(CaSO4)2·H2O",
    "Ca3Al2O12H12": "3CaO.Al2O3.6H2O|3CaO·Al2O3·6H2O|Ca3Al2(OH)12",
    "Al2Si2O9H4": "Al2O3.2SiO2.2H2O|Al2Si2O5(OH)4|Al2O3·2SiO2·2H2O",
    "CoCl2N6H18": "CoCl2.6NH3|[Co(NH3)6]Cl2|Co(NH₃)₆Cl₂",
    "Na2Al22O34": "Na2O.11Al2O3|Na2Al22O34",
    "MgAl2O4": "MgO.Al2O3|MgO·Al2O3|Mg$_{}$Al$_{2}$O$_{4}$|Mg²⁺Al³⁺₂O²⁻₄"
    "|Mg^{2+}Al2O4|Mg(II)Al(III)2O4|Mg Al2 O4|Mg 1 Al 2 O 4",
    "Zr3Sb4Pt3": r"Zr3Sb4Pt3|Zr₃Sb₄Pt₃|Zr$_3$Sb$_4$Pt$_3$|Zr_3Sb_4Pt_3|\mathrm{Zr_3Sb_4Pt_3}|Zr3 Sb4 Pt3"
    "|Zr~3~Sb~4~Pt~3~",
    "NaCl": "NaCl|Na+Cl-|Na⁺Cl⁻|Na Cl|ClNa",
    "PbI2": "Pb(I)2|PbI2",
    "Li2CoNiO4": "LiCo0.5Ni0.5O2|LiCo.5Ni.5O2|LiCo0,5Ni0,5O2|Li(Co0.5Ni0.5)O2",
    "Fe7S8": "Fe0.875S",
    "Li3CoNiMnO6": "LiCo0.33Ni0.33Mn0.33O2|LiCo0.333Ni0.333Mn0.333O2",
}


@pytest.mark.parametrize(("meant", "written"), [(m, w) for m, ways in SAME.items() for w in ways.split("|")])
def test_one_compound_in_many_ways(meant: str, written: str) -> None:
    expected, found = Composition(meant), parse_formula(written)
    assert {s: n / sum(found.values()) for s, n in found.items()} == pytest.approx(
        {s: n / expected.num_atoms for s, n in expected.get_el_amt_dict().items()}
    )


@pytest.mark.parametrize(
    ("hydrate", "water"),
    [
        ("CaSO4.0.5H2O", 0.5),
        ("CaSO4 • 1/2 H2O", 0.5),
        ("CaSO4·½H2O", 0.5),
        ("CaSO4.1.5H2O", 1.5),
        ("CaSO4.1/2H2O", 0.5),
    ],
)
def test_broken_amounts_of_water(hydrate: str, water: float) -> None:
    assert parse_formula(hydrate) == {"Ca": 1, "S": 1, "O": 4 + water, "H": 2 * water}


@given(
    st.sampled_from(
        ["CaSO4", "KAl(SO4)2", "Na2CO3", "NiCl2", "LiOH", "Ba(OH)2", "Fe3(PO4)2", "NaAlSi2O6", "La2(C2O4)3"]
    ),
    st.integers(2, 24),
    st.sampled_from([*JOINTS, "."]),
    st.sampled_from(["", " "]),
)
def test_the_rule_of_the_dot_on_hydrates(salt: str, waters: int, joint: str, space: str) -> None:
    expected = Composition(salt) + waters * Composition("H2O")
    assert parse_formula(f"{salt}{space}{joint}{space}{waters}H2O") == expected.get_el_amt_dict()


@given(
    st.sampled_from(["Mg", "Fe", "Ca", "La", "Ni"]),
    st.integers(0, 3),
    st.sampled_from([5, 25, 75]),
    st.sampled_from(["Si", "Ti", "Zr"]),
)
def test_the_rule_of_the_dot_on_decimals(metal: str, whole: int, decimals: int, other: str) -> None:
    amounts = parse_formula(f"{metal}{whole}.{decimals}{other}O4")
    assert amounts == {metal: float(f"{whole}.{decimals}"), other: 1, "O": 4}
    assert parse_formula(f"{other}{metal}O{whole + 2}.{decimals}")["O"] == float(f"{whole + 2}.{decimals}")
    assert parse_formula(f"{metal}O1.5{other}2O5")["O"] == 6.5  # nobody writes a subscript 1


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Fe0.95O", "(FeO) or --elements Fe,O"),
        ("La0.7Sr0.3MnO3", "(LaMnO3) or --elements La,Mn,O"),
        ("YBa2Cu3O6.9", "(YBa2Cu3O7)"),
        ("Mg1.9Fe0.1SiO4", "(Mg2SiO4) or --elements Mg,Si,O"),
        ("Mg1.8Fe.2SiO4", "(Mg2SiO4)"),
        ("(Mg0.9Fe0.1)2SiO4", "(Mg2SiO4)"),
        ("Ba0.4Sr0.4Ca0.2TiO3", "--elements Ba,Sr,Ca,Ti,O"),
        ("(Mg,Fe)2SiO4", "--elements Mg,Fe,Si,O"),
        ("CuSO4.nH2O", "(n); give numbers, or --elements Cu,S,O,H"),
        ("CuSO4·xH2O", "(x)"),
        ("Li1-xCoO2", "(x); give numbers, or --elements Li,Co,O"),
        ("La1-xSrxMnO3", "--elements La,Sr,Mn,O"),
        ("CeO2-δ", "(δ)"),
        ("La2NiO4+d", "(d)"),
        ("SO42-", "charge"),
        ("NH4+", "charge"),
        ("NaCl 2 H2O", "can belong to NaCl or to H2O"),
        ("Fe2O3.3SO3", "decimal point or join"),
        ("Xx2", "Xx"),
        ("Fe0O", "Fe0O"),
        ("", "empty"),
        ("zr3sb4", "zr3sb4"),
        ("Zr3((", "Zr3(("),
        ("Na99999999Cl", "too large"),
        ("1" * 400, "400 characters"),
    ],
)
def test_what_is_asked_about(written: str, said: str) -> None:
    with pytest.raises(InputError, match="^--formula") as refused:
        parse_formula(written)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_ideal_formulas() -> None:
    assert ideal_formula({"Fe": 0.95, "O": 1}) == "FeO"
    assert ideal_formula({"Ba": 0.4, "Sr": 0.4, "Ca": 0.2, "Ti": 1, "O": 3}) is None


def test_formulas_of_files_may_have_any_amounts() -> None:
    assert stated_composition("(Mg1.81 Fe.19) Si O4") == {"Mg": 1.81, "Fe": 0.19, "Si": 1, "O": 4}


@pytest.mark.parametrize(
    ("written", "symbols"),
    [
        *((w, "Ce O") for w in ("ce,o", "CE,O", "Ce;O", "Ce/O", "ce o", "Ce-O", "Ce–O", "Ce，O")),
        *((w, "Ce O") for w in ("CeO", "CeO2", "Ce & O", "Ce, Ce, O")),
        *((w, "La B") for w in ("LaB6", "La B", "La-B", "la/b", "LA B6", "LaB₆", "La and B")),
        *((w, "Co O") for w in ("co,o", "CO,O", "Co O", "CoO")),
        *((w, "Zr Sb Pt") for w in ("Zr,Sb,Pt", "Zr3Sb4Pt3", "ZrSb,Pt", "zr sb pt", "Zr3Sb4Pt3,")),
        *((w, "H O") for w in ("D2O", "D,O", "H D T O")),
        ("CO2", "C O"), ("Co", "Co"), ("fe", "Fe"), ("Fe3+,O2-", "Fe O"), ("CaSO4.2H2O", "Ca S O H"), ("NaN", "Na N"),
    ],
)  # fmt: skip
def test_lists_of_elements(written: str, symbols: str) -> None:
    assert parse_elements(written) == tuple(symbols.split())


@pytest.mark.parametrize(
    ("written", "said"),
    [
        *(("co", "Co or C,O"), ("CO", "Co or C,O"), ("ni", "Ni or N,I")),
        *(("Zr,Qq", "'Qq'"), ("Xx", "'Xx'"), ("X", "'X'"), (",", "empty")),
    ],
)
def test_lists_that_are_asked_about(written: str, said: str) -> None:
    with pytest.raises(InputError, match="^--elements") as refused:
        parse_elements(written)
    assert said in str(refused.value)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="CaOHSNxyn0123456789.,·*+-^()[]{}$_\\ /²₂δ½", max_size=60) | st.text(max_size=40))
def test_any_text_is_read_or_refused_at_once(text: str) -> None:
    started = time.perf_counter()
    for parse in (parse_formula, parse_elements):
        try:
            found = parse(text)
        except InputError as error:
            assert "\n" not in str(error)
        else:
            assert found
    assert time.perf_counter() - started < 1

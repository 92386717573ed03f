"""What pattern files say about their radiation, in the spellings of vendors, programs and people."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalnet.records import InputError, Radiation
from crystalnet.xrd.emission_lines import RARE_TUBES, TUBES, WAVELENGTH_RANGE
from crystalnet.xrd.header.cif import radiation_of_cif
from crystalnet.xrd.header.decision import decided
from crystalnet.xrd.header.facts import Facts, read_line
from crystalnet.xrd.header.sources import radiation_of_fields, radiation_of_header, radiation_of_xml

CU = (1.540593, 1.544427)
CO = (1.788996, 1.792835)
MO = (0.709317, 0.713607)
DOUBLET = (1.5406, 1.544434)  # a number of Kα1, the tube's split beside it


def assert_is(radiation: Radiation | None, lines, known: bool, polarisation: float) -> None:
    assert radiation is not None
    assert tuple(w for w, _ in radiation.lines) == pytest.approx(lines, abs=2e-6)
    assert radiation.kalpha2_known is known
    assert radiation.polarisation == pytest.approx(polarisation, abs=2e-3)
    assert not radiation.assumed


# header, wavelengths, whether Kα2 is settled, polarisation
NUMBERS = [
    ("wavelength,1.54", CU, False),
    ("Wavelength = 0.4127", (0.4127,), True),
    ("# lambda: 1.5406 A", DOUBLET, False),
    ("# λ=1.5406Å", DOUBLET, False),
    ("lambda1 = 1.54056, lambda2 = 1.54439, ratio = 0.5", (1.54056, 1.54439), False),
    ("Lambda1 Lambda2: 1.54056 1.54439", (1.54056, 1.54439), False),
    ("Wavelength: 1.54056/1.54439", (1.54056, 1.54439), False),
    ("*WAVE_LENGTH1\t=  1.54059\n*WAVE_LENGTH2\t=  1.54441\n*TARGET = 29", (1.54059, 1.54441), False),
    ("WAVE_LENGTH1 1.5406", DOUBLET, False),
    ("_WL_UNIT='A'\n_WL1=1.540600\n_WL2=1.544390\n_WL3=1.392220\n_WLRATIO=0.5\n_ANODE='Cu'", (1.5406, 1.54439), False),
    ("_WL1=1.5406\n_WL2=0.0", (1.5406,), True),
    ("_WL1=1.5406\n_WL2=0", (1.5406,), True),
    ("_WL1=1.5406\n_WL2=1.54439\n_WLRATIO=0.0", (1.5406,), True),
    ("K-Alpha1 wavelength,1.540598", (1.540598, 1.544432), False),
    (
        "Anode material,Cu\nK-Alpha1 wavelength,1.540598\nK-Alpha2 wavelength,1.544426\nRatio K-Alpha2/K-Alpha1,0.5\n"
        "Divergence slit,Fixed 0.38\nMonochromator used,NO\nGenerator voltage,45\nScan range,3.000000,60.000000",
        (1.540598, 1.544426),
        False,
    ),
    (
        "K-Beta wavelength: 1.39225\nK-Alpha wavelength: 1.541874\nK-Alpha1 wavelength: 1.540598",
        (1.540598, 1.544432),
        False,
    ),
    ("Wavelength average 1.5418\nK-Alpha1 1.54056", (1.54056, 1.544394), False),
    ("Wavelengths: K-Beta 1.39225 K-Alpha1 1.54060 K-Alpha2 1.54443", (1.5406, 1.54443), False),
    ("Wavelength (Angstrom): 1.39222 1.54056 1.54439", (1.54056, 1.54439), False),
    (
        "LabdaAlpha1, 1.54060 ,/\nLabdaAlpha2, 1.54439 ,/\nRatioAlpha21, 0.50000 ,/\nAnode, Cu ,/",
        (1.5406, 1.54439),
        False,
    ),
    (
        '*HW_XG_TARGET_NAME "Cu"\n*HW_XG_WAVE_LENGTH_ALPHA1 "1.540593"\n*HW_XG_WAVE_LENGTH_ALPHA2 "1.544414"\n'
        '*HW_XG_WAVE_LENGTH_BETA "1.392246"\n*HW_XG_WAVE_LENGTH_UNIT "Angstrom"',
        (1.540593, 1.544414),
        False,
    ),
    ("KAlpha1 = 1.540598\nKAlpha2 = 1.544426", (1.540598, 1.544426), False),
    ("CuKa radiation (lambda = 1.5418 Å), 40 kV, 40 mA", CU, False),
    ("Wavelength: Cu Ka1 = 1.54056", (1.54056,), True),
    ("Anode: Cu\nwavelength = 0.7093", (0.7093, 0.71359), False),  # the number is the more specific
    ("Wellenlänge: 1,5406", DOUBLET, False),
    ("Wavelength;1,5406", DOUBLET, False),
    ('"Wavelength","1.5406","Angstrom"', DOUBLET, False),
    ('{"dist": 0.1, "wavelength": 1.5406e-10, "poni1": 0.1}', DOUBLET, False),
    ("wavelength_angstrom: 1.5406", DOUBLET, False),
    ("wavelength (nm): 0.15406", DOUBLET, False),
    ("lambda=0.15406", DOUBLET, False),
    ("Wavelength [nm] 0.04127", (0.4127,), True),
    ("_WL_UNIT='nm'\n_WL1=0.15406", DOUBLET, False),
    ("Wavelength: 154.06 pm", DOUBLET, False),
    ("# Wavelength: 4.127e-11 m", (0.4127,), True),
    ("wavelength 1.54056e-10", (1.54056, 1.544394), False),
    ("# Wavelength 0.7293 A", (0.7293,), True),
    ("Energy = 30.0 keV", (0.413281,), True),
    ("E (eV): 17000", (0.729319,), True),
    ("beam energy, keV = 60", (0.20664,), True),
    ('"energy": 30000.0', (0.413281,), True),
    ("E = 15 keV", (0.826561,), True),
    ("Incident BeamEnergy=25.0", (0.495937,), True),
    ("KBeta=1.39222\nKAlpha=1.54184", CU, False),
    ("alpha2 = 0\nalpha1 = 1.5406", (1.5406,), True),
    ("Intensity (counts), wavelength 1.5406", DOUBLET, False),
    ("2theta range 10 - 90, wavelength 1.5406, step 0.02", DOUBLET, False),
]
NAMES = [
    ("*XG_TARGET Cu", CU, False),
    ("Target: Co", CO, False),
    ("*TARGET = 27", CO, False),
    ("Anode: Fe", (1.936041, 1.939973), False),
    ("Anode material,Cu", CU, False),
    ("copper tube", CU, False),
    ("Radiation: Mo", MO, False),
    ("XRaySource=Mo", MO, False),
    ("Anode: Cu, Filter: Ni", CU, False),
    ("Cu radiation, Ni filtered", CU, False),
    ("Mo radiation, Zr filter", MO, False),
    ("Fe-filtered Co Kα", CO, True),
    ("Copper K-alpha", CU, True),
    ("Molybdenum Kα1", MO[:1], True),
    ("Cu Kβ filter, Anode Cu", CU, False),
    ("Cu K-alpha1", CU[:1], True),
    ("# Co Kα1 radiation", CO[:1], True),
    ("*XRAY_CHAR = K-ALPHA1\n*TARGET = 29", CU[:1], True),
    ("MoK\\a~1~", MO[:1], True),
    ("CoKα", CO, True),
    ("Cu Kα1,2 radiation", CU, True),
    ("CuKα1+2", CU, True),
    ("Cu Kα1/Kα2", CU, True),
    ("Sample Co3O4, Cu K\\a radiation", CU, True),
    ("10.0000 0.0197448 70.0044 LaB6 Cu Ka D8 22-01-2018", CU, True),
    ("Cu Kβ radiation", (1.392234,), True),
    ("W La1", (1.476311,), True),
    ("Ga Kα metal jet", (1.340127, 1.344026), True),
    ("# Cu Ka, Ka2 stripped with EVA", CU[:1], True),
    ("Cu Ka; Kalpha2 removed", CU[:1], True),
    ("CuKa, rachinger", CU[:1], True),
    ("CuKa, without Ka2", CU[:1], True),
    ("CuKa (Kα2 not stripped)", CU, True),
    ("Ka2 stripping: no\nCu Ka", CU, True),
    ("# Ka2 stripped\nwavelength = 1.5418", CU[:1], True),
]
OPTICS = [
    ("Cu Ka, graphite monochromator", CU, True, 0.8001),
    ("Mo Ka\nmonochromator: pyrolytic graphite", MO, True, 0.9558),
    ("Anode: Cu\nMonochromator: Ge(111)", CU, False, 0.8888),
    ("Cu Ka\nMonochromator: Si 220", CU, False, 0.6780),
    ("CuKa\nmonochromator angle: 26.4", CU, True, 0.8023),
    ("CuKa; 2theta monochromator = 26.6 deg", CU, True, 0.7995),
    ("CuKa; CTHM = 0.7998", CU, True, 0.7998),
    ("CuKa\nMonochromator: none", CU, True, 1.0),
    ("_MONOCHROMATOR=1\n_WL1=1.5406", DOUBLET, False, 1.0),
    ("Synchrotron, lambda = 1.5406", (1.5406,), True, 0.0),
    ("ESRF beamline ID22, Si(111) monochromator\nwavelength 0.3543", (0.3543,), True, 0.0),
]
NOTHING = [
    *(
        "",
        "Wavelength range 1-2",
        "Wavelength range: 1.0 2.0",
        "Wavelength calibrated 2.05.2020",
        "wavelength counts 1.5",
    ),
    *(
        "Measured 2020-05-12 10:31, 40 kV 30 mA",
        "Beta filter: Ni",
        "# Threshold energy: 8 keV",
        "ThresholdEnergy=8.0 keV",
        "min wavelength 0.5",
        "target temperature 29",
    ),
    *(
        "Wavelength: unknown",
        "wavelength step 0.5",
        "sample: CoFe2O4",
        "Energy resolution 0.8 keV",
        "2theta 1.5406 count",
    ),
    *("Wavelength: 0.0", "wavelength = nan", "Wavelength 3 of 4", "alpha = 90.0 beta = 1.2", "Synchrotron powder data"),
]


@pytest.mark.parametrize(("text", "lines", "known"), NUMBERS + NAMES)
def test_every_spelling(text, lines, known):
    polarisation = 1.0 if abs(lines[0] - 1.5) < 0.5 or len(lines) == 2 or lines in (CU[:1], MO[:1]) else 0.0
    assert_is(radiation_of_header(text.split("\n")), lines, known, polarisation)


@pytest.mark.parametrize(("text", "lines", "known", "polarisation"), OPTICS)
def test_polarisation_of_the_optics(text, lines, known, polarisation):
    assert_is(radiation_of_header(text.split("\n")), lines, known, polarisation)


@pytest.mark.parametrize("text", NOTHING)
def test_what_is_no_wavelength(text):
    assert radiation_of_header(text.split("\n")) is None


NAMED = st.sampled_from(
    ["wavelength", "Wavelength", "lambda", "WAVE_LENGTH1", "_WL1", "K-Alpha1 wavelength", "λ", "Lambda1"]
)
SEPARATOR = st.sampled_from([",", ";", "\t", " ", " = ", "=", ": ", ":", '","', " (A): ", ": ["])


@given(st.sampled_from(["", "# ", "*", "!", "; "]), NAMED, SEPARATOR, st.integers(4, 6), st.booleans())
def test_any_name_any_separator(comment, name, separator, digits, decimal_comma):
    number = f"{0.4126789:.{digits}f}"
    line = comment + name + separator + (number.replace(".", ",") if decimal_comma else number)
    found = radiation_of_header([line, "# measured at 300 K"])
    assert found is not None and found.lines == ((float(number), 1.0),)


@given(
    st.sampled_from(sorted(TUBES | RARE_TUBES)), st.sampled_from(["{} Ka", "{}Kα", "{} K-alpha", "{} kalpha", "{}-Ka"])
)
def test_any_tube(tube, spelling):
    found = radiation_of_header(["# " + spelling.format(tube) + " radiation"])
    assert found is not None and found.wavelength == (TUBES | RARE_TUBES)[tube][0]


@given(st.lists(st.text(max_size=80), max_size=5))
def test_no_text_breaks_it(lines):
    found = radiation_of_header(lines)
    assert found is None or WAVELENGTH_RANGE[0] <= found.wavelength <= WAVELENGTH_RANGE[1]


WORDS = [
    "wavelength",
    "1.54",
    "1",
    "-",
    ",",
    "k",
    "α",
    "ka1",
    "energy",
    "kev",
    "nm",
    "cu",
    "monochromator",
    "ge",
    "_",
    "~",
    "\\",
]


@given(st.lists(st.sampled_from(WORDS), max_size=30), st.sampled_from(["", " "]))
def test_no_arrangement_of_its_own_words_breaks_it(words, between):
    found = radiation_of_header([between.join(words)])
    assert found is None or WAVELENGTH_RANGE[0] <= found.wavelength <= WAVELENGTH_RANGE[1]


@pytest.mark.parametrize("unit", ["1", "a", "1 ", "wavelength ", "k_", "wavelength 1.", "ka1,2", "-", "1.5e", "α ~"])
def test_time_grows_with_the_length_only(unit):
    line = "wavelength ka " + unit * (1_000_000 // len(unit))
    started = time.perf_counter()
    radiation_of_header([line])
    assert time.perf_counter() - started < 2  # measured: below 0.1 s


@pytest.mark.parametrize(
    ("fields", "lines", "known", "polarisation"),
    [
        ({"wavelength": "1.540598", "wavelength_alpha2": "1.544426", "anode": "Cu"}, (1.540598, 1.544426), False, 1),
        ({"wavelength": "1.541838", "wavelength_alpha2": "1.54439", "anode": "Cu"}, CU, False, 1),  # RAW4: the mean
        (
            {"wavelength": "1.5418", "wavelength_alpha1": "1.5406", "wavelength_alpha2": "1.54439"},
            (1.5406, 1.54439),
            False,
            1,
        ),
        ({"wavelength": "1.5406", "wavelength_alpha2": "0.0"}, (1.5406,), True, 1),
        ({"wavelength": "0.4133", "wavelength_alpha2": "0.4133"}, (0.4133,), True, 0),
        ({"wavelength": "0", "anode": "MO"}, MO, False, 1),
        ({"anode": "Co", "sample": "CuKa test", "source_file": "wavelength 0.5.raw"}, CO, False, 1),
        ({"wavelength": "1.5406", "title": "quartz, Ge(111) monochromator"}, DOUBLET, False, 0.8888),
    ],
)
def test_fields_of_vendors(fields, lines, known, polarisation):
    assert_is(radiation_of_fields(fields), lines, known, polarisation)


def test_fields_without_a_radiation():
    assert radiation_of_fields({}) is None
    assert radiation_of_fields({"wavelength": "0", "anode": "Unknown", "temperature_k": "1.54"}) is None


XML = (
    '<x xmlns="http://www.xrdml.com/XRDMeasurement/1.5"><usedWavelength intended="K-Alpha 1"><kAlpha1 unit="Angstrom">'
    '1.5405980</kAlpha1><kAlpha2 unit="Angstrom">1.5444260</kAlpha2><kBeta unit="Angstrom">1.3922500</kBeta>'
    "<ratioKAlpha2KAlpha1>0.5000</ratioKAlpha2KAlpha1></usedWavelength><anodeMaterial>Cu</anodeMaterial>{}</x>"
)


def test_xml_of_panalytical():
    assert_is(radiation_of_xml(XML.format("")), (1.540598, 1.544426), False, 1.0)
    crystal = '<monochromator name="Diffracted beam"><crystal><type>Graphite</type></crystal></monochromator>'
    assert_is(radiation_of_xml(XML.format(crystal)), (1.540598, 1.544426), False, 0.8001)
    for broken in ("", "<x", "<a>" * 100_000, "<x/>"):
        assert radiation_of_xml(broken) is None


@pytest.mark.parametrize(
    ("tags", "lines", "known", "polarisation"),
    [
        ("_diffrn_radiation_wavelength 0.4137", (0.4137,), True, 0),
        ("_diffrn_radiation_wavelength 1.54060(1)", DOUBLET, False, 1),
        ("_diffrn_radiation_wavelength 1.5418", CU, False, 1),
        ("_diffrn_radiation_wavelength ?\n_diffrn_radiation_type 'Cu K\\a'", CU, True, 1),
        ("_diffrn_radiation_type 'CuK\\a~1~'\n_diffrn_radiation_wavelength 1.54056", (1.54056,), True, 1),
        ("_diffrn_radiation_wavelength 1.5406\n_diffrn_source synchrotron", (1.5406,), True, 0),
        ("_diffrn_radiation_wavelength 1.5406\n_diffrn_radiation_monochromator graphite", DOUBLET, False, 0.8001),
        ("_diffrn_radiation_wavelength 1.5406\n_pd_instr_2theta_monochr_post 26.4", DOUBLET, False, 0.8023),
        ("_diffrn_radiation_wavelength 1.5406\n_diffrn_radiation_polarisn_ratio 1.25", DOUBLET, False, 0.8),
        ("_diffrn_radiation_wavelength 1.5406\n_diffrn_radiation_polarisn_ratio 0.5", DOUBLET, False, 1.0),
        (
            "loop_\n_diffrn_radiation_wavelength\n_diffrn_radiation_wavelength_wt\n1.5444274 0.48\n1.5405929 1.0",
            (1.5405929, 1.5444274),
            False,
            1,
        ),
    ],
)
def test_cif(tags, lines, known, polarisation):
    assert_is(radiation_of_cif("a.cif", "data_a\n" + tags + "\n"), lines, known, polarisation)


@pytest.mark.parametrize("tag", ["_diffrn_radiation_probe neutron", "_diffrn_radiation_type 'neutron'"])
def test_neutrons_are_refused(tag):
    with pytest.raises(InputError, match="neutron"):
        radiation_of_cif("a.cif", f"data_a\n{tag}\n_diffrn_radiation_wavelength 1.54\n")


def test_cif_without_a_radiation():
    assert radiation_of_cif("a.cif", "data_a\n_cell_length_a 5.4\n") is None


def test_facts_are_read_before_anything_is_decided():
    facts = Facts()
    for line in ("K-Alpha1 wavelength,1.540598", "K-Alpha2 wavelength,1.544426", "Anode: Co", "# Ka2 stripped"):
        read_line(line, facts)
    assert [value for value, _ in facts.alpha1] == [1.540598]
    assert [value for value, _ in facts.alpha2] == [1.544426]
    assert facts.anode == "Co" and facts.stripped and facts.monochromator is None
    assert decided(facts).lines == ((1.540598, 1.0),)  # numbers weigh more than the anode's name

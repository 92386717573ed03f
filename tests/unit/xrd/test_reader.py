"""Pattern files of many formats and of none."""

from __future__ import annotations

import json
import struct
import zipfile
import zlib

import numpy as np
import pytest

from crystalnet.records import InputError
from crystalnet.xrd.esd import counting_esd
from crystalnet.xrd.radiation import parse_wavelength
from crystalnet.xrd.reader import read_pattern

X = np.round(np.arange(10, 60, 0.05), 4)
Y = np.round(100 + 900 * np.exp(-(((X - 30) / 0.2) ** 2)) + 10 * np.sin(37 * X))
ROWS = list(zip(X, Y, strict=True))
XY = "\n".join(f"{x:.4f} {y:.2f}" for x, y in ROWS)


def columns(separator=" ", comma=False, extra=""):
    text = "\n".join(f"{x:.4f}{separator}{y:.2f}{extra}" for x, y in ROWS)
    return text.replace(".", ",") if comma else text


def xrdml(values=Y, tail=True):
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<xrdMeasurements xmlns="http://www.xrdml.com/XRDMeasurement/1.3" status="Completed">\n'
        '<xrdMeasurement measurementType="Scan" status="Completed">\n'
        '<usedWavelength intended="K-Alpha"><kAlpha1 unit="Angstrom">1.5405980</kAlpha1>'
        '<kAlpha2 unit="Angstrom">1.5444260</kAlpha2><kBeta unit="Angstrom">1.3922500</kBeta>'
        "<ratioKAlpha2KAlpha1>0.5000</ratioKAlpha2KAlpha1></usedWavelength>\n"
        '<scan appendNumber="0" mode="Continuous" scanAxis="Gonio" status="Completed"><dataPoints>\n'
        f'<positions axis="2Theta" unit="deg"><startPosition>{X[0]}</startPosition>'
        f"<endPosition>{X[-1]}</endPosition></positions>\n"
        '<commonCountingTime unit="seconds">1.0</commonCountingTime>\n'
        f'<intensities unit="counts">{" ".join(f"{v:.0f}" for v in values)}</intensities>\n'
    )
    return text + ("</dataPoints></scan></xrdMeasurement></xrdMeasurements>" if tail else "")


def ras():
    body = "\n".join(f"{x:.4f} {y:.4f} 1.0000" for x, y in ROWS)
    return (
        '*RAS_DATA_START\n*RAS_HEADER_START\n*HW_XG_TARGET_NAME "Cu"\n*HW_XG_WAVE_LENGTH_ALPHA1 "1.540593"\n'
        '*HW_XG_WAVE_LENGTH_ALPHA2 "1.544414"\n*MEAS_SCAN_AXIS_X "TwoThetaTheta"\n*MEAS_SCAN_UNIT_Y "counts"\n'
        f"*RAS_HEADER_END\n*RAS_INT_START\n{body}\n*RAS_INT_END\n*RAS_DATA_END\n"
    )


def fxye():
    body = "\n".join(f"{100 * x:15.4f}{y:15.4f}{np.sqrt(y):15.4f}" for x, y in ROWS)
    return f"title\nBANK 1 {len(X)} {len(X)} CONS {100 * X[0]:.1f} 5.0 0 0 FXYE\n{body}\n"


def udf():
    values = [f"{y:.0f}" for y in Y]
    lines = [", ".join(values[i : i + 8]) + "," for i in range(0, len(values), 8)]
    lines[-1] = lines[-1].rstrip(",") + "/"
    return (
        f"SampleIdent,test,/\nAnode,Cu,/\nLabdaAlpha1, 1.54060,/\nLabdaAlpha2, 1.54439,/\nRatioAlpha21, 0.50000,/\n"
        f"DataAngleRange, {X[0]:.4f}, {X[-1]:.4f},/\nScanStepSize, 0.0500,/\nScanType,CONTINUOUS,/\n"
        "ScanStepTime, 1.00,/\nRawScan\n" + "\n".join(lines) + "\n"
    )


def pdcif(wavelengths="_diffrn_radiation_wavelength 0.41370"):
    body = "\n".join(f"{x:.4f} {y:.0f}" for x, y in ROWS)
    return f"data_scan\n{wavelengths}\nloop_\n_pd_meas_2theta_scan\n_pd_meas_counts_total\n{body}\n"


FORMATS = {
    "plain.xy": XY,
    "bom.xy": "\ufeff" + XY,
    "comments.dat": "# hello\n! foo\n; x\n' y\nTitle line 3\n" + XY,
    "tabs.txt": columns("\t"),
    "table.csv": "2theta,intensity\n" + columns(","),
    "quoted.csv": '"2Theta","I"\n' + "\n".join(f'"{x:.4f}","{y:.2f}"' for x, y in ROWS),
    "trailing.csv": columns(", ", extra=", "),
    "semicolon.csv": "Angle;Counts\n" + columns(";"),
    "decimal_comma.csv": columns(";", comma=True),
    "decimal_comma.txt": columns("\t", comma=True),
    "decimal_comma_space.xy": columns(" ", comma=True),
    "fortran.dat": "\n".join(f"{x:.6E} {y:.6E}".replace("E", "D") for x, y in ROWS),
    "extra.csv": "2theta,Iobs,Icalc,bkg\n" + columns(",", extra=",5,100"),
    "indexed.csv": "n,2theta,I\n" + "\n".join(f"{i},{x:.4f},{y}" for i, (x, y) in enumerate(ROWS)),
    "unnamed_index.csv": "\n".join(f"{i} {x:.4f} {y}" for i, (x, y) in enumerate(ROWS)),
    "unsorted.xy": "\n".join(XY.split("\n")[::-1]),
    "nan.xy": XY + "\n61.0 nan\nnan 5\n62.0 inf",
    "start_step_stop.dat": f"{X[0]} 0.05 {X[-1]:.2f}\n"
    + "\n".join(" ".join(f"{v:.0f}" for v in Y[i : i + 10]) for i in range(0, len(Y), 10)),
    "panalytical.csv": "[Measurement conditions]\nSample,abc\n[Scan points]\nAngle,Intensity\n" + columns(","),
    "fit2d.chi": f"title\n2-Theta Angle (Degrees)\nIntensity\n   {len(X)}\n" + XY,
    "scan.xrdml": xrdml(),
    "scan.ras": ras(),
    "scan.fxye": fxye(),
    "scan.gsa": fxye(),
    "scan.udf": udf(),
    "scan.cif": pdcif(),
}


@pytest.mark.parametrize("name", FORMATS)
def test_formats(name, tmp_path):
    (tmp_path / name).write_text(FORMATS[name], encoding="utf-8")
    pattern = read_pattern(tmp_path / name)
    np.testing.assert_allclose(pattern.two_theta, X, atol=2e-3)
    np.testing.assert_allclose(pattern.intensity, Y, atol=0.006)
    assert np.all(pattern.sigma > 0)
    assert pattern.file == str(tmp_path / name)


def test_encodings(tmp_path):
    for encoding, header in (("utf-16", "# 2θ in °\n"), ("cp1252", "# angle in °\n")):
        (tmp_path / "a.xy").write_text(header + XY, encoding=encoding)
        assert len(read_pattern(tmp_path / "a.xy").two_theta) == len(X)


@pytest.mark.parametrize(
    ("header", "convert"),
    [
        ("q (1/A) I", lambda d: 2 * np.pi / d),
        ("# q_A^-1    I", lambda d: 2 * np.pi / d),
        ("q_nm^-1 I", lambda d: 20 * np.pi / d),
        ("Q,intensity", lambda d: 2 * np.pi / d),
        ("d (A) counts", lambda d: d),
        ("d-spacing\tI", lambda d: d),
        ("title\nQ (1/A)\nIntensity\n 1000", lambda d: 2 * np.pi / d),
    ],
)
def test_d_and_q_axes(header, convert, tmp_path):
    d = 1.3 / (2 * np.sin(np.radians(X / 2)))
    separator = "," if "," in header else "\t" if "\t" in header else " "
    rows = "\n".join(f"{v:.8f}{separator}{y}" for v, y in zip(convert(d), Y, strict=True))
    (tmp_path / "a.txt").write_text(f"{header}\n{rows}\n")
    pattern = read_pattern(tmp_path / "a.txt", parse_wavelength(1.3))
    np.testing.assert_allclose(pattern.two_theta, X, atol=1e-4)
    np.testing.assert_allclose(pattern.intensity, Y)


def test_third_column_is_the_esd_only_where_it_can_be(tmp_path):
    rng = np.random.default_rng(0)
    y = rng.poisson(Y * 4) / 4
    esd = np.sqrt(np.maximum(y, 1) / 4)

    def third(values):
        (tmp_path / "a.xye").write_text(
            "\n".join(f"{a:.4f} {b:.3f} {c:.4f}" for a, b, c in zip(X, y, values, strict=True))
        )
        return read_pattern(tmp_path / "a.xye").sigma

    np.testing.assert_allclose(third(esd), esd, atol=1e-4)
    assert not np.allclose(third(y * 1.02), y * 1.02, rtol=0.1)  # a calculated pattern
    assert not np.allclose(third(np.full(len(X), 3000.0)), 3000.0)  # a monitor
    with_zeros = np.where(np.arange(len(X)) % 100 == 0, 0.0, esd)
    assert np.all(third(with_zeros) > 0)
    assert np.allclose(read_pattern(_write(tmp_path / "b.fxye", fxye())).sigma, np.sqrt(Y), atol=1e-3)


def _write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_duplicates_are_averaged_and_angles_below_zero_dropped(tmp_path):
    text = f"-1.0 5\n0.0 7\n{XY}\n{X[-1]:.4f} {Y[-1] + 10:.2f}"
    pattern = read_pattern(_write(tmp_path / "a.xy", text))
    assert len(pattern.two_theta) == len(X)
    assert pattern.intensity[-1] == pytest.approx(Y[-1] + 5)


@pytest.mark.parametrize(
    ("name", "content", "lines", "known"),
    [
        ("a.xrdml", xrdml(), (1.540598, 1.544426), False),
        # What PANalytical writes for every scan: of 20 such files with a nickel filter 7 show Kα2 plainly.
        ("b.xrdml", xrdml().replace('"K-Alpha"', '"K-Alpha 1"'), (1.540598, 1.544426), False),
        ("a.ras", ras(), (1.540593, 1.544414), False),
        ("a.udf", udf(), (1.5406, 1.54439), False),
        ("a.cif", pdcif(), (0.4137,), True),
        (
            "b.cif",
            pdcif(
                "loop_\n_diffrn_radiation_wavelength_id\n_diffrn_radiation_wavelength\n_diffrn_radiation_wavelength_wt\n"
                "1 1.5405929 1.0\n2 1.5444274 0.48\n"
            ),
            (1.5405929, 1.5444274),
            False,
        ),
        ("a.xy", "# Wavelength: 0.4127 A\n" + XY, (0.4127,), True),
        ("pyfai.dat", "# Wavelength: 4.127e-11 m\n" + XY, (0.4127,), True),
        ("b.xy", "# Co Kα1 radiation\n" + XY, (1.788996,), True),
        ("a.csv", "Anode material,Mo\n2theta,I\n" + columns(","), (0.709317, 0.713607), False),
    ],
)
def test_wavelength_from_the_file(name, content, lines, known, tmp_path):
    radiation = read_pattern(_write(tmp_path / name, content)).radiation
    assert tuple(w for w, _ in radiation.lines) == pytest.approx(lines)
    assert radiation.kalpha2_known is known and not radiation.assumed


def test_argument_over_file_over_assumed_copper(tmp_path):
    path = _write(tmp_path / "a.xy", "# wavelength = 0.4127\n" + XY)
    assert read_pattern(path, parse_wavelength("MoKa")).radiation == parse_wavelength("MoKa")
    silent = read_pattern(_write(tmp_path / "b.xy", XY)).radiation
    assert silent.assumed and silent.wavelength == 1.540593


def test_brml_and_bruker_raw_do_not_crash(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.brml", "w") as archive:
        archive.writestr("Experiment0/RawData0.xml", "<RawData><broken")
    (tmp_path / "a.raw").write_bytes(b"RAW1.01\x00" + struct.pack("<20i", *range(20)))
    for name in ("a.brml", "a.raw"):
        with pytest.raises(InputError, match=name):
            read_pattern(tmp_path / name)


def fake_zip():
    return b"PK\x03\x04" + zlib.compress(b"x" * 3000)[:200]


BAD = {
    "empty.xy": (b"", "empty"),
    "blank.xy": (b" \n \n", "no columns"),
    "words.xy": ("lorem ipsum\n" * 100, "no columns"),
    "one_column.txt": ("\n".join(str(v) for v in Y), "one column"),
    "peak_list.txt": ("28.4 100\n47.3 60\n56.1 30\n", "3 points"),
    "49_points.xy": ("\n".join(XY.split("\n")[:49]), "49 points"),
    "constant.xy": ("\n".join(f"{x:.4f} 7" for x in X), "everywhere"),
    "zeros.xy": ("\n".join(f"{x:.4f} 0" for x in X), "everywhere"),
    "negative_counts.xy": ("\n".join(f"{x:.4f} {-1 - i}" for i, x in enumerate(X)), "not a diffraction"),
    "nan.xy": ("\n".join(f"{x:.4f} nan" for x in X), "NaN"),
    "negative.xy": ("\n".join(f"{-x:.4f} {y}" for x, y in ROWS), "positive"),
    "centidegrees.xy": ("\n".join(f"{100 * x:.4f} {y}" for x, y in ROWS), "beyond 180"),
    "huge.xy": ("\n".join(f"{x * 1e9:.1f} {y}" for x, y in ROWS), "beyond 180"),
    "overflow.xy": ("\n".join(f"{x:.4f} {1e305 + i * 1e303:g}" for i, x in enumerate(X)), "not a diffraction"),
    "tiny.xy": ("\n".join(f"{x:.4f} {1e-300 * y:g}" for x, y in ROWS), "not a diffraction"),
    "misnamed.txt": ("q (1/A) I\n" + XY, "names a column q"),
    "short.xy": ("\n".join(f"{20 + i * 0.01:.2f} {i}" for i in range(300)), "covers"),
    "same_angle.xy": ("\n".join(f"30.0 {i}" for i in range(300)), "1 point "),
    "image.png": (b"\x89PNG\r\n\x1a\n" + bytes(500), "PNG"),
    "photo.jpg": (b"\xff\xd8\xff\xe0" + bytes(500), "JPEG"),
    "detector.tif": (b"II*\x00" + bytes(500), "TIFF"),
    "paper.pdf": (b"%PDF-1.7\n" + bytes(500), "PDF"),
    "pattern.xy.gz": (b"\x1f\x8b" + bytes(500), "gzip"),
    "junk.raw": (np.random.default_rng(1).bytes(5000), "junk.raw"),
    "junk.xy": (np.random.default_rng(2).bytes(5000), "junk.xy"),
    "nulls.dat": (bytes(5000), "nulls.dat"),
    "truncated.xrdml": (xrdml(tail=False)[:4000], "truncated.xrdml"),
    "empty_scan.xrdml": (xrdml(values=[]), "empty_scan.xrdml"),
    "deep.xrdml": ("<xrdMeasurements>" + "<a>" * 100_000, "deep.xrdml"),
    "truncated.ras": (ras()[:3000], "truncated.ras"),
    "truncated.brml": (fake_zip(), "truncated.brml"),
    "structure.cif": (
        "data_a\n_cell_length_a 5.4\nloop_\n_atom_site_label\n_atom_site_fract_x\nSi 0.0\n",
        "structure.cif",
    ),
    "neutrons.cif": (pdcif("_diffrn_radiation_probe neutron\n_diffrn_radiation_wavelength 1.54"), "neutron"),
    "odd.fxye": (fxye()[:400], "odd.fxye"),
    "page.html": ("<html><body>" + "<p>404</p>" * 200 + "</body></html>", "no columns"),
    "data.json": ('{"x": [1, 2, 3]}', "no columns"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_in_one_line(name, tmp_path):
    content, fragment = BAD[name]
    with pytest.raises(InputError) as refusal:
        read_pattern(_write(tmp_path / name, content))
    message = str(refusal.value)
    assert fragment in message and name in message
    assert "\n" not in message and len(message) < 400


def test_a_plain_table_needs_no_library(tmp_path, monkeypatch):
    """Numbers and "#" remarks are read at once; a line of anything else asks the libraries what the file is."""
    asked = []
    monkeypatch.setattr("crystalnet.xrd.reader.known_format", lambda path: asked.append(path.name))
    rows = "\n".join(f"{10 + 0.02 * i:.2f} {100 + i % 7}" for i in range(600))
    heads = {"bare.xy": "", "remarks.xy": "# a, b\n\n", "words.xy": "SampleIdent,x\n", "star.xy": "*RAS\n"}
    for name, head in heads.items():
        (tmp_path / name).write_text(head + rows)
        read_pattern(tmp_path / name)
    assert asked == ["words.xy", "star.xy"]


def test_missing_file_folder_and_oversize(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_pattern(tmp_path / "none.xy")
    with pytest.raises(InputError, match="folder"):
        read_pattern(tmp_path)
    with open(tmp_path / "big.xy", "wb") as sparse:
        sparse.truncate(300_000_000)
    with pytest.raises(InputError, match="300 MB"):
        read_pattern(tmp_path / "big.xy")


def test_mutated_files_never_raise_anything_else(tmp_path):
    rng = np.random.default_rng(3)
    sources = [xrdml(), ras(), fxye(), udf(), pdcif(), XY]
    for trial in range(60):
        raw = bytearray(sources[trial % 6].encode()[: int(rng.integers(100, 9000))])
        for _ in range(int(rng.integers(1, 30))):
            raw[int(rng.integers(len(raw)))] = int(rng.integers(256))
        path = _write(tmp_path / ("m" + [".xrdml", ".ras", ".fxye", ".udf", ".cif", ".xy"][trial % 6]), bytes(raw))
        try:
            assert len(read_pattern(path).two_theta) >= 50
        except InputError as refusal:
            assert "\n" not in str(refusal)


def test_counting_esd_follows_the_scatter():
    rng = np.random.default_rng(4)
    mean = 200 + 5000 * np.exp(-(((X - 30) / 0.3) ** 2))
    counts = rng.poisson(mean).astype(float)
    np.testing.assert_allclose(counting_esd(counts), np.sqrt(counts))
    for factor in (0.01, 3.7):  # normalised, counts per second
        ratio = counting_esd(counts * factor) / (factor * np.sqrt(mean))
        assert np.median(ratio) == pytest.approx(1, abs=0.2)
    level = counting_esd((counts - mean.min()) * 0.01)[mean < 201]  # background removed
    assert np.median(level) == pytest.approx(0.01 * np.sqrt(200), rel=0.3)
    assert np.all(counting_esd(mean) > 0)  # noise-free


def test_shared_patterns(shared_data):
    for record in json.loads((shared_data / "index.json").read_text())[::6]:
        pattern = read_pattern(shared_data / record["pattern"])
        assert len(pattern.two_theta) == record["n_points"]
        assert pattern.two_theta[0] == pytest.approx(record["two_theta_min"], abs=0.01)
        assert pattern.radiation.assumed

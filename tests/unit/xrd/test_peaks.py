"""Lines found in synthetic patterns of known lines and in measured ones."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from crystalnet.records import InputError, Pattern, Radiation
from crystalnet.xrd import kalpha2 as module
from crystalnet.xrd.esd import counting_esd
from crystalnet.xrd.kalpha2 import kalpha2_remark
from crystalnet.xrd.peaks import find_peaks
from crystalnet.xrd.radiation import assumed_cu, parse_wavelength
from crystalnet.xrd.reader import read_pattern

# NaCl with Cu Kα: a = 5.6402 Å, relative areas of the rock-salt lines.
HKL2 = np.array([3, 4, 8, 11, 12, 16, 19, 20, 24])
AREAS = np.array([8.0, 100, 60, 2, 18, 7, 1.5, 13, 10])
A = 5.6402


def synthetic(
    radiation: Radiation, *, peak=20000.0, background=150.0, fwhm=0.12, step=0.02, seed=0, scale=1.0, lines=slice(None)
) -> tuple[Pattern, np.ndarray]:
    """(pattern of the lines with Poisson noise on a decaying background, true Kα1 positions)."""
    x = np.arange(8, 90, step)
    d = A / np.sqrt(HKL2[lines])
    weight = sum(w for _, w in radiation.lines)
    y = background * (1 + 4 * np.exp(-(x - 8) / 6))
    for spacing, area in zip(d, AREAS[lines], strict=True):
        for wavelength, w in radiation.lines:
            t = (x - 2 * np.degrees(np.arcsin(wavelength / 2 / spacing))) / (fwhm / 2)
            y += peak * area / 100 * w / weight * (0.5 / (1 + t**2) + 0.5 * np.exp(-np.log(2) * t**2))
    y = np.random.default_rng(seed).poisson(y) * scale
    truth = 2 * np.degrees(np.arcsin(radiation.wavelength / 2 / d))
    return Pattern(x, y, counting_esd(y), radiation), truth


@pytest.mark.parametrize("source", ["CuKa", "CuKa1", "CoKa"])
def test_every_line_once_and_no_other(source):
    pattern, truth = synthetic(parse_wavelength(source))
    truth = truth[truth < 89]
    peaks = find_peaks(pattern)
    assert len(peaks) == len(truth)
    np.testing.assert_allclose(peaks.two_theta, truth, atol=0.01)
    strong = AREAS[: len(truth)] > 5
    assert np.abs(peaks.two_theta - truth)[strong].max() < 0.003
    np.testing.assert_allclose(peaks.d_spacing[strong], (A / np.sqrt(HKL2))[: len(truth)][strong], rtol=3e-4)
    np.testing.assert_allclose((peaks.area / peaks.area.max())[strong], AREAS[: len(truth)][strong] / 100, rtol=0.08)
    np.testing.assert_allclose(peaks.fwhm[strong], 0.12, rtol=0.15)
    assert peaks.background.shape == pattern.two_theta.shape
    assert (peaks.two_theta_min, peaks.two_theta_max) == (pattern.two_theta[0], pattern.two_theta[-1])


@pytest.mark.parametrize("scale", [0.001, 50.0])
def test_the_unit_of_intensity_does_not_matter(scale):
    pattern, truth = synthetic(parse_wavelength("CuKa"), scale=scale)
    np.testing.assert_allclose(find_peaks(pattern).two_theta, truth, atol=0.01)


@pytest.mark.parametrize(("source", "doublet"), [("CuKa", True), ("CuKa1", False)])
@pytest.mark.parametrize("fwhm", [0.07, 0.15])
def test_the_data_decide_on_kalpha2(source, doublet, fwhm):
    pattern, truth = synthetic(parse_wavelength(source), fwhm=fwhm)
    peaks = find_peaks(replace(pattern, radiation=replace(parse_wavelength(1.540593), assumed=True)))
    assert (len(peaks.radiation.lines) == 2) is doublet
    assert peaks.radiation.kalpha2_known and peaks.radiation.assumed
    np.testing.assert_allclose(peaks.two_theta, truth, atol=0.01)


def test_broad_lines_leave_the_doublet():
    pattern, _ = synthetic(parse_wavelength("CuKa"), fwhm=1.2, background=20)
    assert len(find_peaks(replace(pattern, radiation=assumed_cu())).radiation.lines) == 2


@pytest.mark.parametrize("tube", ["Cu", "Co"])
@pytest.mark.parametrize("fwhm", [0.07, 0.12, 0.15])
@pytest.mark.parametrize("peak", [3000.0, 50_000.0])
@pytest.mark.parametrize(("measured", "said"), [("Ka", "Ka"), ("Ka", "Ka1"), ("Ka1", "Ka"), ("Ka1", "Ka1")])
def test_clear_lines_overrule_what_was_said_and_only_then(tube, fwhm, peak, measured, said):
    pattern, truth = synthetic(parse_wavelength(tube + measured), fwhm=fwhm, peak=peak)
    given = parse_wavelength(tube + said)
    peaks = find_peaks(replace(pattern, radiation=given))
    assert peaks.radiation.lines == parse_wavelength(tube + measured).lines
    remark = kalpha2_remark(given, peaks.radiation)
    assert (remark is not None) is (measured != said)
    if remark:
        assert "\n" not in remark and "Kα2" in remark and f"{given.wavelength:.4f}" in remark
    strong = AREAS[: len(truth)] > 5
    near = np.abs(peaks.two_theta[:, None] - truth[None]).min(0)
    assert near[(truth < 89) & strong].max() < 0.01


@pytest.mark.parametrize(("measured", "said"), [("CuKa", "CuKa1"), ("CuKa1", "CuKa")])
def test_what_was_said_holds_where_broad_lines_cannot_tell(measured, said):
    pattern, _ = synthetic(parse_wavelength(measured), fwhm=1.2, background=20)
    given = parse_wavelength(said)
    found = find_peaks(replace(pattern, radiation=given)).radiation
    assert found == given and kalpha2_remark(given, found) is None


def test_one_line_alone_overrules_nobody(monkeypatch):
    pattern, _ = synthetic(parse_wavelength("CuKa"))
    given = parse_wavelength("CuKa")
    for gains, lines in (([-3.0], 2), ([-3.0, -3.0], 1)):
        monkeypatch.setattr(module, "_kalpha2_gains", lambda *_, gains=gains: gains)
        assert len(find_peaks(replace(pattern, radiation=given)).radiation.lines) == lines
    monkeypatch.setattr(module, "_kalpha2_gains", lambda *_: [-3.0])
    assert len(find_peaks(replace(pattern, radiation=assumed_cu())).radiation.lines) == 1  # nobody said anything


def test_a_rounded_wavelength_finds_what_the_tubes_name_finds():
    pattern, _ = synthetic(parse_wavelength("CuKa"))
    named, rounded = (find_peaks(replace(pattern, radiation=parse_wavelength(w))) for w in ("CuKa", "1.54"))
    np.testing.assert_array_equal(named.two_theta, rounded.two_theta)
    assert named.radiation == rounded.radiation


def test_a_doublet_at_no_tube_is_no_kalpha2():
    synchrotron = Radiation(((1.5406, 1.0),), polarisation=0.0)
    pattern, _ = synthetic(parse_wavelength("CuKa"))
    assert find_peaks(replace(pattern, radiation=synchrotron)).radiation == synchrotron


def test_monochromator_and_assumption_survive_the_decision():
    pattern, _ = synthetic(parse_wavelength("CuKa1"))
    for said in (assumed_cu(), replace(parse_wavelength("CuKa"), polarisation=0.8)):
        found = find_peaks(replace(pattern, radiation=said)).radiation
        assert len(found.lines) == 1 and found.kalpha2_known
        assert (found.assumed, found.polarisation) == (said.assumed, said.polarisation)


def test_noise_and_background_are_no_lines():
    flat, _ = synthetic(parse_wavelength("CuKa"), peak=0.0)
    with pytest.raises(InputError, match="Bragg peaks above the noise"):
        find_peaks(flat)
    bump = flat.intensity + 800 * np.exp(-(((flat.two_theta - 25) / 6) ** 2))
    glass = np.random.default_rng(5).poisson(bump).astype(float)
    with pytest.raises(InputError, match="Bragg peaks above the noise"):
        find_peaks(replace(flat, intensity=glass, sigma=np.sqrt(glass)))


@pytest.mark.parametrize(
    "scatter",
    [
        lambda x: 5000 * np.exp(-(x - 5) / 3),
        lambda x: 50_000 * np.exp(-(x - 5) / 2),
        lambda x: 800 * np.exp(-(((x - 22) / 6) ** 2)),
        lambda x: 3000 - 30 * x,
    ],
    ids=["air scatter", "direct beam", "glass", "slope"],
)
def test_the_background_follows_what_is_smooth(scatter):
    x = np.arange(5, 90, 0.02)
    smooth = 50 + scatter(x)
    lines = sum(
        h * np.exp(-4 * np.log(2) * ((x - c) / 0.12) ** 2)
        for c, h in ((22.7, 80), (32.4, 1000), (39.9, 250), (46.4, 500), (57.8, 400), (67.8, 300), (77.1, 150))
    )
    counts = np.random.default_rng(0).poisson(smooth + lines).astype(float)
    peaks = find_peaks(Pattern(x, counts, np.sqrt(np.maximum(counts, 1)), Radiation(((1.5406, 1.0),))))
    off = (peaks.background - smooth) / np.sqrt(smooth)
    assert np.sqrt(np.mean(off**2)) < 0.5 and np.abs(off).max() < 5


def test_weak_lines_are_kept_where_the_noise_allows():
    pattern, truth = synthetic(parse_wavelength("CuKa1"), peak=100_000)
    assert len(find_peaks(pattern)) == len(truth)
    pattern, truth = synthetic(parse_wavelength("CuKa1"), peak=600)
    few = find_peaks(pattern)
    assert 4 <= len(few) < len(truth)
    assert all(np.abs(truth - x).min() < 0.05 for x in few.two_theta)


def test_overlapping_lines_are_separated():
    x = np.arange(10, 60, 0.02)
    centres = np.array([20.0, 30.0, 30.25, 40.0, 50.0, 50.3])
    y = 100 + sum(5000 * np.exp(-4 * np.log(2) * ((x - c) / 0.15) ** 2) for c in centres)
    y = np.random.default_rng(0).poisson(y).astype(float)
    peaks = find_peaks(Pattern(x, y, np.sqrt(y), parse_wavelength(1.0)))
    np.testing.assert_allclose(peaks.two_theta, centres, atol=0.01)


def test_uneven_steps_and_gaps():
    pattern, truth = synthetic(parse_wavelength("CuKa"))
    near = np.min(np.abs(pattern.two_theta[:, None] - truth[None]), axis=1) < 1.0
    keep = near & ((pattern.two_theta > 50) | (np.arange(len(near)) % 2 == 0))
    stitched = Pattern(pattern.two_theta[keep], pattern.intensity[keep], pattern.sigma[keep], pattern.radiation)
    np.testing.assert_allclose(find_peaks(stitched).two_theta, truth, atol=0.01)


def test_direct_beam_is_no_line():
    pattern, truth = synthetic(parse_wavelength("CuKa"))
    x = np.concatenate([np.arange(0.1, 8, 0.02), pattern.two_theta])
    beam = 1e6 * np.exp(-x / 0.4)
    y = np.random.default_rng(1).poisson(
        beam + np.concatenate([np.full(len(x) - len(pattern.intensity), 700.0), pattern.intensity])
    )
    peaks = find_peaks(Pattern(x, y.astype(float), np.sqrt(np.maximum(y, 1)), pattern.radiation))
    assert peaks.two_theta.min() > 20
    assert len(peaks) >= len(truth) - 1


def test_measured_doublets_are_left_alone(shared_data):
    """Every sixth laboratory pattern with a documented doublet: none loses it, whether it was said or not."""
    index = json.loads((shared_data / "index.json").read_text())
    # The lines of these two show no Kα2, though their CIFs list it.
    single = ("AlPO4_P63mc_593K", "LaTi2Al9O19")
    lab = [r for r in index if r["kind"] == "lab" and len(r["radiation"]) == 2 and r["name"] not in single]
    wrong = []
    for record in lab[::6]:
        pattern = read_pattern(shared_data / record["pattern"], parse_wavelength(record["wavelength"]))
        for said in (pattern.radiation, replace(pattern.radiation, kalpha2_known=True)):
            found = find_peaks(replace(pattern, radiation=said)).radiation
            wrong += [record["name"]] * (len(found.lines) != 2)
    assert not wrong


@pytest.mark.parametrize("name", ["LaB6_660b_lab", "CeO2_674b_11BM", "RockJock_QUARTZ"])
def test_measured_patterns(shared_data, name):
    record = next(r for r in json.loads((shared_data / "index.json").read_text()) if r["name"] == name)
    lines = tuple((line["wavelength"], line["weight"]) for line in record["radiation"])
    peaks = find_peaks(read_pattern(shared_data / record["pattern"], Radiation(lines)))
    a, c = record["a"], record["c"]
    if record["system"] == "cubic":
        sums = np.arange(1, 400)
        possible = a / np.sqrt(sums)
    else:
        h, k, m = np.meshgrid(range(9), range(9), range(12))
        q = (4 / 3 * (h * h + h * k + k * k) / a**2 + m * m / c**2).ravel()
        possible = 1 / np.sqrt(q[q > 0])
    sine = record["wavelength"] / 2 / possible
    angles = 2 * np.degrees(np.arcsin(sine[sine < 1]))
    strong = peaks.area > 0.02 * peaks.area.max()
    off = np.array([(x - angles)[np.abs(x - angles).argmin()] for x in peaks.two_theta[strong]])
    assert strong.sum() >= 10
    assert np.median(np.abs(off - np.median(off))) < 0.02
    assert np.abs(off).max() < 0.2

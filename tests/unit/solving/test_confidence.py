"""Calibration: what the numbers mean."""

from dataclasses import replace

import numpy as np
import pytest

from crystalnet.crystal.chemistry import contact_misfit
from crystalnet.crystal.lattice import Cell
from crystalnet.records import BELIEVED, AtomSites, Peaks, Radiation
from crystalnet.solving import confidence
from crystalnet.solving.confidence import (
    AGAINST,
    CONTRADICTED,
    FEATURES,
    WEIGHED,
    _weights,
    calibration_error,
    evidence,
    explained_share,
    is_contradicted,
    probability,
)


def test_calibration_error_is_zero_where_shares_equal_probabilities():
    p = np.repeat([0.25, 0.75], 8)
    right = np.array([True] * 2 + [False] * 6 + [True] * 6 + [False] * 2)
    error, bins = calibration_error(p, right)
    assert error == pytest.approx(0)
    assert bins == [(0.25, 0.25, 8), (0.75, 0.75, 8)]


def test_calibration_error_weighs_bins_by_their_answers():
    error, _ = calibration_error(np.array([0.9, 0.9, 0.9, 0.1]), np.array([True, True, False, False]))
    assert error == pytest.approx(0.75 * (0.9 - 2 / 3) + 0.25 * 0.1)


def test_no_answers_have_no_error():
    assert calibration_error(np.zeros(0), np.zeros(0, bool)) == (0.0, [])


CELL = Cell("cubic", "F", 5.64, 5.64, figure_of_merit=100.0, n_indexed=8, n_lines=8)
SALT = AtomSites(CELL.primitive_lattice, ("Na", "Cl"), np.array([[0, 0, 0], [0.5, 0.5, 0.5]]))
SOUND = {
    "excess": 0.1,
    "residual": 0.05,
    "score": 0.02,
    "rival": 0.04,
    "exchanged": 0.05,
    "parameters": 2,
    "volume_ratio": 1.1,
}


def lines(*foreign: tuple[float, float]) -> Peaks:
    """Those of rock salt at Cu Kα1, equally strong, and foreign ones (2θ, area)."""
    d = CELL.a / np.sqrt([3, 4, 8, 11, 12, 16, 19, 20])
    own = [(2 * np.degrees(np.arcsin(1.5406 / 2 / x)), 1.0) for x in d]
    two_theta, area = np.array(sorted([*own, *foreign])).T
    nothing = np.zeros(0)
    source = Radiation(((1.5406, 1.0),))
    return Peaks(
        two_theta, 1.5406 / 2 / np.sin(np.radians(two_theta / 2)), area, 0.1 + 0 * area, nothing, 10.0, 100.0, source
    )


def found(peaks: Peaks | None = None, sites: AtomSites = SALT, sources: tuple[str, ...] = ("network",), **changes):
    told = {"cell": CELL, "formula_given": False, "wavelength_lead": 2.0} | SOUND | changes
    return evidence(sites=sites, peaks=peaks or lines(), sources=set(sources), **told)


def test_evidence_of_a_candidate():
    plain = found()
    assert set(plain) == set(FEATURES)
    expected = {
        **{"log_excess": np.log(0.1), "log_misfit": np.log(0.05), "lead": np.log(2), "log_merit": np.log(100)},
        **{"explained": 1.0, "lines_per_parameter": np.log(4), "exchange": 0.0, "agreed": 0.0},
        **{"type_known": 0.0, "balanced": 1.0, "contact": contact_misfit(SALT)},
        **{"complete": 1.0, "volume": np.log(1.1), "contradicted": 0.0, "wavelength": 2.0, "formula_given": 0.0},
    }
    assert plain == pytest.approx(expected)
    assert found(formula_given=True)["formula_given"] == 1.0
    assert found(sources=("network", "catalogue"))["agreed"] == 1.0
    assert found(sources=("search", "catalogue"))["type_known"] == found(sources=("known",))["type_known"] == 1.0
    assert found(sources=("search", "network"))["type_known"] == 0.0
    assert found(exchanged=0.025)["exchange"] == pytest.approx(np.log(2))
    assert found(exchanged=0.5)["exchange"] == 0.0  # another element suits worse
    assert found(sites=replace(SALT, species=("Na", "X")))["complete"] == 0.0
    assert found(sites=AtomSites(np.eye(3), ("Na",) * 3 + ("Cl",), np.zeros((4, 3))))["balanced"] == 0.0
    assert found(rival=None)["lead"] == pytest.approx(np.log(3)) and found(rival=9.0)["lead"] == pytest.approx(
        np.log(3)
    )
    assert found(rival=0.01)["lead"] == pytest.approx(-np.log(2))
    assert found(volume_ratio=None)["volume"] == 0.5 and found(volume_ratio=None)["contradicted"] == 0.0
    assert found(cell=replace(CELL, figure_of_merit=float("nan")))["log_merit"] == pytest.approx(np.log(20))
    assert found(wavelength_lead=0.3)["wavelength"] == 0.3


@pytest.mark.parametrize(("ratio", "contradicted"), [(0.7, 1.0), (0.75, 0.0), (1.8, 0.0), (1.9, 1.0)])
def test_a_volume_that_no_such_atoms_have_is_not_believed(ratio: float, contradicted: float):
    evident = found(volume_ratio=ratio, excess=0.02, residual=0.01, formula_given=True)
    assert evident["contradicted"] == contradicted
    assert probability(evident) <= CONTRADICTED < BELIEVED or not contradicted


@pytest.mark.parametrize(("exchanged", "believed"), [(0.0105, False), (0.012, True)])
def test_lines_that_ask_for_another_element_are_not_believed(
    exchanged: float, believed: bool, monkeypatch: pytest.MonkeyPatch
):
    """Whatever the regression says of the rest."""
    monkeypatch.setattr(confidence, "_weights", lambda: {**dict.fromkeys(WEIGHED, 0.0), "constant": 5.0})
    evident = found(residual=0.0225, exchanged=exchanged)
    assert is_contradicted(evident) is not believed
    assert (probability(evident) > CONTRADICTED) is believed


def test_intensity_off_the_lines_of_the_cell_is_not_explained():
    assert explained_share(CELL, lines()) == 1.0
    assert explained_share(CELL, lines((40.0, 2.0))) == pytest.approx(0.8)
    assert explained_share(replace(CELL, a=5.0, c=5.0), lines()) < 0.3


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"excess": 0.05}, {"excess": 0.5}),
        ({"exchanged": 0.05}, {"exchanged": 0.012}),
        ({"volume_ratio": 1.0}, {"volume_ratio": 1.5}),
        ({"rival": 0.06}, {"rival": 0.02}),
        ({"wavelength_lead": 2.0}, {"wavelength_lead": 0.1}),
        ({"sources": ("network", "catalogue")}, {"sources": ("network",)}),
        ({"parameters": 2}, {"parameters": 12}),
    ],
)
def test_what_speaks_for_a_candidate_raises_its_probability(better, worse):
    assert 0 < probability(found(**worse)) < probability(found(**better)) < 1


def test_no_evidence_speaks_the_wrong_way():
    weights = _weights()
    assert set(weights) == {*WEIGHED, "constant"} and set(WEIGHED) > AGAINST
    assert all(weights[name] <= 0 if name in AGAINST else weights[name] >= 0 for name in WEIGHED)


@pytest.mark.parametrize("unexplained", [{"excess": 0.62}, {"residual": 0.42, "exchanged": 0.42}])
def test_what_explains_hardly_anything_is_not_believed(unexplained):
    sure = {"excess": 0.02, "residual": 0.01, "formula_given": True, "sources": ("network", "catalogue")}
    assert probability(found(**sure)) > 0.9
    assert probability(found(**(sure | unexplained))) <= CONTRADICTED


def test_a_good_fit_is_believed_and_a_poor_one_is_not():
    assert probability(found(sources=("network", "catalogue"), excess=0.04, residual=0.02)) > 0.9
    assert probability(found(excess=0.6, residual=0.4, exchanged=0.2, rival=0.021, volume_ratio=1.6)) < 0.1


def test_the_reliability_diagram_has_six_bins_and_the_sure_are_in_the_last():
    p = np.array([0.16, 0.17, 0.7, 0.84, 1.0])
    _, bins = calibration_error(p, p > 0.5)
    assert [n for _, _, n in bins] == [1, 1, 1, 2] and bins[-1][0] == pytest.approx(0.92)


def test_evidence_is_bounded():
    for merit, value in ((0.2, 0.0), (5000.0, np.log(1000))):
        assert found(cell=replace(CELL, figure_of_merit=merit))["log_merit"] == pytest.approx(value)
    assert found(cell=replace(CELL, n_indexed=0))["lines_per_parameter"] == pytest.approx(np.log(1 / 2))
    assert found(parameters=0)["lines_per_parameter"] == pytest.approx(np.log(8))
    assert found(excess=1e-4)["log_excess"] == found(residual=1e-4, exchanged=1.0)["log_misfit"] == np.log(0.01)
    assert found(residual=0.02, exchanged=1e-4)["exchange"] == pytest.approx(np.log(2))
    assert found(rival=1e-9, score=1e-9)["lead"] == 0.0

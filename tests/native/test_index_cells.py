"""The compiled search for cells: the rating against numpy, the refinement and the search against known cells."""

from __future__ import annotations

import numpy as np
import pytest

from crystalnet.bragg import two_theta_of_inverse_d
from crystalnet.ops import index_cells
from crystalnet.ops.index_cells import CELL, LATTICE_ROWS, LinesOfPattern, rated, reference_rating, search

CU = 1.540593
# Conventional cells, one of each lattice type, in the order of the table: A … F in 1/Å² from edges and angles.
CELLS = (
    (4.157, 4.157, 4.157, 90, 90, 90),
    (8.9, 8.9, 8.9, 90, 90, 90),
    (9.41, 9.41, 9.41, 90, 90, 90),
    (4.913, 4.913, 5.405, 90, 90, 120),
    (4.759, 4.759, 12.993, 90, 90, 120),
    (4.594, 4.594, 2.959, 90, 90, 90),
    (5.243, 5.243, 11.376, 90, 90, 90),
    (8.48, 5.40, 6.96, 90, 90, 90),
    (9.80, 8.95, 5.28, 90, 90, 90),
    (6.31, 8.53, 9.77, 90, 90, 90),
    (8.91, 10.44, 15.17, 90, 90, 90),
    (5.145, 5.208, 5.311, 90, 99.23, 90),
    (9.845, 9.024, 5.245, 90, 104.86, 90),
    (7.07, 7.32, 7.93, 95.4, 103.4, 98.2),
)


def metric(a: float, b: float, c: float, alpha: float, beta: float, gamma: float) -> np.ndarray:
    x, y, z = np.cos(np.radians([alpha, beta, gamma]))
    g = np.linalg.inv([[a * a, a * b * z, a * c * y], [a * b * z, b * b, b * c * x], [a * c * y, b * c * x, c * c]])
    return np.array([g[0, 0], g[1, 1], g[2, 2], 2 * g[1, 2], 2 * g[0, 2], 2 * g[0, 1]])


def cell(row: int, **changes: float) -> np.ndarray:
    state = np.zeros(1, CELL)
    state["lattice"], state["metric"] = row, metric(*CELLS[row])
    for name, value in changes.items():
        state[name] = value
    return state


def positions(row: int, top: float = 100.0) -> np.ndarray:
    """2θ of the distinct lines of a cell up to `top`, at least 0.04° apart."""
    system, centring, _ = LATTICE_ROWS[row]
    _, q = index_cells._calculated(system, centring, metric(*CELLS[row]), (2 / CU * np.sin(np.radians(top / 2))) ** 2)
    two_theta = two_theta_of_inverse_d(np.sqrt(q), CU)
    return two_theta[np.diff(two_theta, prepend=0.0) > 0.04]


def lines(two_theta: np.ndarray, tolerance: float = 0.015, zero: float = 0.3) -> LinesOfPattern:
    n = len(two_theta)
    return LinesOfPattern(two_theta, np.full(n, tolerance), np.full(n, 0.02), CU, 5.0, zero)


def seen(row: int, seed: int, most: int = 30) -> np.ndarray:
    """The first lines of a cell, a quarter of them missing, with errors of 0.004°."""
    rng = np.random.default_rng(seed)
    every = positions(row)
    kept = every[np.sort(rng.permutation(len(every))[: max(6, 3 * len(every) // 4)])][:most]
    return kept + rng.normal(0, 0.004, len(kept))


@pytest.mark.parametrize("row", range(len(LATTICE_ROWS)))
@pytest.mark.parametrize("seed", range(3))
def test_rating_is_that_of_the_reference(row: int, seed: int) -> None:
    rng = np.random.default_rng(100 * row + seed)
    two_theta = np.sort(np.append(seen(row, seed, 25), rng.uniform(12, 60, 2)))
    tolerance = rng.uniform(0.008, 0.03, len(two_theta))
    spurious = rng.uniform(0.02, 0.4, len(two_theta))
    state = cell(row, zero=rng.normal(0, 0.02), displacement=rng.normal(0, 0.02))
    if seed == 2:  # a cell that is not the crystal's
        state["metric"] *= 1.013
    found = rated(LinesOfPattern(two_theta, tolerance, spurious, CU, 5.0, 0.3), state, rounds=0)[0]
    score, merit, met, possible = reference_rating(two_theta, tolerance, spurious, CU, 5.0, state[0])
    assert (found["found"], found["possible"]) == (met, possible)
    assert found["score"] == pytest.approx(score, abs=1e-6)
    assert found["merit"] == pytest.approx(merit, rel=1e-6)


@pytest.mark.parametrize("row", range(len(LATTICE_ROWS)))
def test_refinement_finds_metric_and_zero(row: int) -> None:
    two_theta = positions(row)[:30]
    start = cell(row)
    start["metric"] *= 1.002
    found = rated(lines(two_theta + 0.03), start, slack=0.04)[0]
    calculated = two_theta_of_inverse_d(1 / np.sqrt(1 / found["metric"][0]), CU)
    assert calculated == pytest.approx(two_theta_of_inverse_d(np.sqrt(cell(row)["metric"][0][0]), CU), abs=0.02)
    assert found["zero"] == pytest.approx(0.03, abs=0.02)
    assert found["found"] == len(two_theta)


@pytest.mark.parametrize("row", range(len(LATTICE_ROWS)))
def test_search_finds_the_cell_among_all_lattices(row: int) -> None:
    two_theta = seen(row, 1)
    cells = search(lines(two_theta + 0.05), np.ones(len(LATTICE_ROWS), bool))
    assert (np.diff(cells["score"]) <= 0).all()
    volume = index_cells._volume(metric(*CELLS[row])) / index_cells._POINTS[LATTICE_ROWS[row][1]]
    volumes = [
        index_cells._volume(one["metric"]) / index_cells._POINTS[LATTICE_ROWS[one["lattice"]][1]] for one in cells[:4]
    ]
    assert np.min(np.abs(np.array(volumes) / volume - 1)) < 0.01


def test_only_the_lattices_chosen_are_searched() -> None:
    chosen = np.zeros(len(LATTICE_ROWS), bool)
    chosen[[5, 6]] = True
    assert set(search(lines(seen(5, 0)), chosen)["lattice"]) <= {5, 6}


def test_threads_find_the_same() -> None:
    two_theta, every = seen(11, 0), np.ones(len(LATTICE_ROWS), bool)
    one, two = (search(lines(two_theta), every, threads) for threads in (1, 2))
    assert np.allclose(np.sort(one["score"])[-20:], np.sort(two["score"])[-20:])


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_lines_give_nothing(count: int) -> None:
    assert len(search(lines(np.array([30.0])[:count]), np.ones(len(LATTICE_ROWS), bool))) == 0


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="one length"):
        LinesOfPattern(np.ones(3), np.ones(2), np.ones(3), CU, 5.0, 0.3)
    with pytest.raises(ValueError, match="lattice types"):
        search(lines(seen(0, 0)), np.ones(3, bool))
    with pytest.raises(ValueError, match="no such lattice"):
        rated(lines(seen(0, 0)), cell(0, lattice=99))
    with pytest.raises(ValueError, match="128 lines"):
        search(lines(np.linspace(10, 90, 200)), np.ones(len(LATTICE_ROWS), bool))
    flat = cell(13)
    flat["metric"][0, 5] = 10.0
    assert rated(lines(seen(13, 0)), flat)[0]["score"] == -np.inf

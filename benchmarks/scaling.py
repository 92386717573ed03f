"""How the cost of an operation grows with its size and falls with threads and processes, as docs/kernels.md has it.

    python benchmarks/scaling.py

Takes two minutes of an idle machine. Prints Markdown: a row for each operation and what it grows with, the
seconds at each size, and the exponent between the two largest sizes (1: twice the size takes twice as long); then each
operation on one thread and on all; then whole solves of the example by one process and by one a processor.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from crystalnet.bench.modules import network_that_saw_data
from crystalnet.bench.timing import interleaved
from crystalnet.crystal.free_sites import FreeSites
from crystalnet.density.promolecule import GRID
from crystalnet.model.base import grid_points
from crystalnet.model.config import SMALL
from crystalnet.ops.film_decode import film_decode
from crystalnet.ops.fit_sites import fit_sites
from crystalnet.ops.powder_pattern import powder_pattern
from crystalnet.ops.sampling import stratified_sample
from crystalnet.ops.ssim import ssim3d_rotations
from crystalnet.records import AtomSites
from crystalnet.runtime.pool import cpus
from crystalnet.solving.screen import Screen
from crystalnet.xrd.peaks import find_peaks
from crystalnet.xrd.profile import calculated_peaks, simulate_profile
from crystalnet.xrd.radiation import parse_wavelength

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "Zr3Sb4Pt3.xy"
SILICON = 14
PATTERNS = 8  # solved by one process and by several
CLI = (sys.executable, "-c", "from crystalnet.cli import main; main()")

Call = Callable[[], object]


def silicon(atoms: int, seed: int = 0) -> np.ndarray:
    """(atoms, 3) fractional coordinates."""
    return np.random.default_rng(seed).random((atoms, 3))


def patterns(crystals: int, atoms: int, edge: float) -> Call:
    """Pattern vectors of cubic cells."""
    lattices = torch.tensor(edge * np.eye(3)).expand(crystals, 3, 3).contiguous()
    coords = torch.tensor(np.concatenate([silicon(atoms, seed) for seed in range(crystals)]))
    offsets = torch.arange(crystals + 1) * atoms
    return partial(powder_pattern, lattices, offsets, coords, torch.full((crystals * atoms,), SILICON))


def decoding(crystals: int, edge: int) -> Call:
    """The small preset's density maps, float32."""
    network = network_that_saw_data(SMALL)
    points = grid_points(edge, "cpu")
    with torch.inference_mode():
        conditions = network.condition(torch.randn(crystals, 2 * SMALL.model.latent))
        decoder = network.decoder()
    amplitude = conditions[1] if len(conditions) > 1 else None
    return torch.inference_mode()(partial(film_decode, points, decoder, conditions[0], amplitude, False))


def sampling(crystals: int, samples: int) -> Call:
    """Points of maps in half precision."""
    maps = [torch.rand(crystals, GRID, GRID, GRID).half()]
    return partial(stratified_sample, maps, torch.arange(crystals), samples, 7)


def similarity(guesses: int, edge: int) -> Call:
    """SSIM and PSNR under 24 rotations."""
    return partial(ssim3d_rotations, torch.rand(edge, edge, edge), torch.rand(guesses, edge, edge, edge))


def fitting(crystals: int, atoms: int, edge: float = 8.0) -> Call:
    """Ten rounds on atoms without symmetry, with the lines of a cubic cell to d = 0.85 Å."""
    true = AtomSites(edge * np.eye(3), ("Si",) * atoms, silicon(atoms))
    peaks = calculated_peaks(true, parse_wavelength("0.711", exact=True), np.array([3.0, 50.0]))
    targets = Screen(true.lattice, 0.0, peaks).targets()
    assert targets is not None
    free = np.broadcast_to(np.eye(3), (atoms, 3, 3))
    columns = np.arange(3 * atoms, dtype=np.int32).reshape(atoms, 3)
    rotations = np.eye(3, dtype=np.int64)[None]
    moved = [
        FreeSites(true.lattice, true.species, silicon(atoms, 1 + seed), free, columns, rotations)
        for seed in range(crystals)
    ]
    numbers = [np.full(atoms, SILICON)] * crystals
    return lambda: fit_sites(targets, moved, numbers, rounds=10, threads=torch.get_num_threads())


def peak_search(points: int) -> Call:
    """Lines of a laboratory pattern of so many points, 10 to 90°."""
    source = parse_wavelength("CuKa")
    quartz_like = AtomSites(7.0 * np.eye(3), ("Si",) * 8, silicon(8))
    shown = simulate_profile(quartz_like, source, np.linspace(10, 90, points), measured_like=True)
    return partial(find_peaks, shown)


# (operation, grows with, sizes, the call of a size)
GROWTH: tuple[tuple[str, str, Sequence[int], Callable[[int], Call]], ...] = (
    ("`powder_pattern`", "atoms in a cell of 8 Å", (8, 32, 128), lambda n: patterns(16, n, 8.0)),
    ("`powder_pattern`", "edge of the cell, Å (8 atoms)", (5, 10, 20), lambda a: patterns(4, 8, a)),
    ("`powder_pattern`", "crystals", (16, 64, 256), lambda n: patterns(n, 8, 5.0)),
    ("`film_decode` small", "points an edge (points: its cube)", (16, 32, 64), lambda n: decoding(1, n)),
    ("`film_decode` small", "crystals", (1, 4, 16), lambda n: decoding(n, 32)),
    ("`stratified_sample`", "crystals, 10³ points each", (64, 256, 1024), lambda n: sampling(n, 10)),
    ("`ssim3d_rotations`", "points an edge (points: its cube)", (25, 50, 100), lambda n: similarity(1, n)),
    ("`ssim3d_rotations`", "guesses", (1, 4, 16), lambda n: similarity(n, GRID)),
    ("`fit_sites`", "crystals of 8 atoms", (8, 32, 128), lambda n: fitting(n, 8)),
    ("`fit_sites`", "atoms, 3 free coordinates each", (8, 16, 32), lambda n: fitting(16, n)),
    ("peak search", "points of the pattern", (2000, 8000, 32000), peak_search),
)
# (operation, the call) for threads
THREADED: tuple[tuple[str, Callable[[], Call]], ...] = (
    ("`powder_pattern`, 64 crystals", lambda: patterns(64, 8, 5.0)),
    ("`film_decode` small, 5 maps of 50³", lambda: decoding(5, GRID)),
    ("`stratified_sample`, 128 × 10³", lambda: sampling(128, 10)),
    ("`ssim3d_rotations`, 24", lambda: similarity(1, GRID)),
    ("`fit_sites`, 64 crystals of 8 atoms", lambda: fitting(64, 8)),
)


def shown(seconds: float) -> str:
    """Three figures, in s, ms or µs."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size or unit == "µs":
            return f"{seconds / size:.3g} {unit}"
    raise AssertionError


def growth() -> None:
    """Seconds at three sizes, and the exponent between the last two."""
    print("| operation | grows with | | | | exponent |\n|---|---|---|---|---|---|")
    for name, what, sizes, call_of in GROWTH:
        calls = {size: call_of(size) for size in sizes}
        seconds = interleaved({size: calls[size] for size in sizes}, 3)
        last, before = seconds[sizes[-1]], seconds[sizes[-2]]
        exponent = math.log(last / before) / math.log(sizes[-1] / sizes[-2])
        cells = " | ".join(f"{size}: {shown(seconds[size])}" for size in sizes)
        print(f"| {name} | {what} | {cells} | {exponent:.2f} |", flush=True)


def threads() -> None:
    """One thread and all."""
    most = cpus()
    print(f"\n| operation | 1 thread | {most} threads | |\n|---|---|---|---|")
    for name, make in THREADED:
        call = make()

        def with_threads(count: int, call: Call = call) -> object:
            torch.set_num_threads(count)
            return call()

        seconds = interleaved({count: partial(with_threads, count) for count in (1, most)}, 3)
        torch.set_num_threads(most)
        print(
            f"| {name} | {shown(seconds[1])} | {shown(seconds[most])} | {seconds[1] / seconds[most]:.2f}× |", flush=True
        )


def processes() -> None:
    """Patterns a minute by one process and by one a processor, start and imports included."""
    print("\n| `solve`, processes | patterns a minute | |\n|---|---|---|")
    rates: list[float] = []
    for jobs in (1, cpus()):
        with tempfile.TemporaryDirectory() as folder:
            sheet = Path(folder) / "samples.csv"
            rows = [f'{EXAMPLE},"Zr,Sb,Pt",{number}\n' for number in range(PATTERNS)]
            sheet.write_text("pattern,elements,name\n" + "".join(rows))
            started = time.perf_counter()
            command = (*CLI, "solve", sheet, "--jobs", str(jobs), "--out", Path(folder) / "out")
            alone = dict(os.environ, OMP_NUM_THREADS="1") if jobs > 1 else None
            subprocess.run(command, check=True, capture_output=True, env=alone)
            rates.append(60 * PATTERNS / (time.perf_counter() - started))
        print(f"| {jobs} | {rates[-1]:.1f} | {rates[-1] / rates[0]:.2f}× |", flush=True)


def main() -> None:
    print(f"{cpus()} processors, torch {torch.__version__}\n")
    growth()
    threads()
    processes()


if __name__ == "__main__":
    main()

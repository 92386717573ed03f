"""How often indexing finds the cell of known crystals, from their lines.

    python tools/measure_indexing.py DATA_DIR random OUT.jsonl --count 1000
    python tools/measure_indexing.py DATA_DIR perfect|lab|measured OUT.jsonl [--count 100] [--share 0/2] [--elements]
                                     [--foreign 2] [--zero 0.2] [--without-low 3] [--program rietx|COMMAND]

perfect: all lines at Cu Kα1 up to 120°; lab: those that peak search finds in a profile as `simulate --measured-like`
gives it; both of the development split, up to 20 atoms, --count a crystal system. measured: the patterns of
DATA_DIR/index.json. random: --count lists of 20 lines at random angles, which have no cell. A cell is right where its
reduced edges are within 1% of the true ones and its volume within 2%. --foreign adds so many lines of 5 to 15% at
random places, --zero shifts all, --without-low takes away the weakest of the ten lines of lowest angle. --program
rietx asks rietx.index_pattern (all its engines, its preset) about the same lines; any other name is a command that
reads them, "d sigma intensity" in Å, and prints cells, "score a b c alpha beta gamma centring", best first. A line a
crystal is noted in OUT with the rank of the right cell among 20 and the processor time on one thread (of another
program: of all its threads); called again, it goes on. Ends with a table. "Determined" leaves out crystals whose lines
all lie on a smaller lattice, which positions cannot tell from the crystal's own, and those of fewer than 10 lines.
"""

from __future__ import annotations

import argparse
import gzip
import json
import resource
import shlex
import subprocess
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gemmi
import numpy as np

from crystalnet.bragg import d_of_two_theta
from crystalnet.crystal.systems import SYSTEMS
from crystalnet.data.splits import is_dev
from crystalnet.records import AtomSites, Peaks
from crystalnet.xrd.indexing.index import Indexed, indexed
from crystalnet.xrd.indexing.lattices import LATTICES
from crystalnet.xrd.indexing.related import reduced
from crystalnet.xrd.peaks import find_peaks
from crystalnet.xrd.profile import calculated_peaks, simulate_profile
from crystalnet.xrd.radiation import parse_wavelength
from crystalnet.xrd.reader import read_pattern

MOST_ATOMS, FEWEST_LINES, LISTED = 20, 10, 20
EDGE, VOLUME = 0.01, 0.02  # relative: what counts as the right cell
LOOSE_EDGE, LOOSE_ANGLE = 0.05, 3.0  # of the published comparison: primitive cell, edges and angles in degrees
PERFECT_AXIS = np.arange(5, 120, 0.02)
POSITION_ESD = 0.05  # of a line's position, as a share of its width, where another program asks for one
RANDOM_LINES, RANDOM_RANGE = 20, (10.0, 70.0)  # degrees 2θ, Cu Kα1


def crystals(data: Path, kind: str, count: int) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(name, system, record) in the order of the files, at most `count` a system."""
    taken: dict[str, int] = defaultdict(int)
    if kind == "measured":
        for record in json.loads((data / "index.json").read_text()):
            yield record["name"], record["system"], record
        return
    with gzip.open(data / "structures_other.jsonl.gz", "rt", encoding="utf-8") as lines:
        for record in map(json.loads, lines):
            system = record["system"]
            if not record.get("dft_relaxed") or not is_dev(record["formula"]) or record["nsites"] > MOST_ATOMS:
                continue
            taken[system] += 1
            if taken[system] <= count:
                yield record["id"], system, {**record, "seed": taken[system]}


def random_lists(count: int) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Names of lists that are no crystal's."""
    for seed in range(count):
        yield f"random {seed}", "random", {"seed": seed}


def random_lines(seed: int) -> Peaks:
    """RANDOM_LINES lines at random angles, as sharp as a laboratory's."""
    rng = np.random.default_rng(seed)
    two_theta = np.sort(rng.uniform(*RANDOM_RANGE, RANDOM_LINES))
    radiation, width = parse_wavelength("CuKa1"), np.full(RANDOM_LINES, 0.1)
    area, spacing = rng.lognormal(0, 1, RANDOM_LINES), d_of_two_theta(two_theta, radiation.wavelength)
    return Peaks(two_theta, spacing, area, width, np.zeros(2), *RANDOM_RANGE, radiation)


def lines_of(data: Path, kind: str, record: dict[str, Any]) -> Peaks:
    """The lines as they are measured."""
    if kind == "random":
        return random_lines(record["seed"])
    if kind == "measured":
        return find_peaks(read_pattern(data / record["pattern"], parse_wavelength(record["wavelength"])))
    sites = AtomSites(np.array(record["lattice"]), tuple(record["species"]), np.array(record["frac_coords"]))
    if kind == "perfect":
        return calculated_peaks(sites, parse_wavelength("CuKa1"), PERFECT_AXIS)
    profile = simulate_profile(sites, parse_wavelength("CuKa"), measured_like=True, seed=record["seed"])
    return find_peaks(profile)


def true_cell(record: dict[str, Any]) -> np.ndarray:
    """Niggli cell and volume."""
    if "lattice" in record:
        return reduced(np.array(record["lattice"]))
    cell = gemmi.UnitCell(*(record[name] for name in ("a", "b", "c", "alpha", "beta", "gamma")))
    return niggli(cell, gemmi.find_spacegroup_by_number(record["spacegroup"]).hm[0])


def niggli(cell: gemmi.UnitCell, centring: str) -> np.ndarray:
    """Reduced edges and angles, and the volume."""
    vector = gemmi.GruberVector(cell, centring)
    vector.niggli_reduce()
    parameters = vector.cell_parameters()
    return np.array([*parameters, gemmi.UnitCell(*parameters).volume])


def by_rietx(peaks: Peaks) -> list[np.ndarray]:
    """The reduced cells that rietx finds in the same lines: all its engines, its preset."""
    from rietx import index_pattern
    from rietx.schemas.indexing import ObservedPeak, PeakList

    q = 1 / peaks.d_spacing**2
    esd = POSITION_ESD * peaks.fwhm  # of 1/d²: 2 cot θ dθ of it
    q_esd = q / np.tan(np.radians(peaks.two_theta / 2)) * np.radians(esd)
    columns = {
        "two_theta": peaks.two_theta,
        "two_theta_esd": esd,
        "intensity": peaks.area,
        "intensity_esd": 0.05 * peaks.area,
        "q": q,
        "q_esd": q_esd,
        "fwhm": peaks.fwhm,
    }
    fixed = {"eta": 0.5, "n_in_group": 1, "chi2_red": 1.0}
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    observed = [ObservedPeak(**dict(zip(columns, row, strict=True)), **fixed, group=n) for n, row in enumerate(rows)]
    ends = peaks.two_theta_min, peaks.two_theta_max
    listed = PeakList(
        peaks=observed, wavelength=peaks.radiation.wavelength, two_theta_min=ends[0], two_theta_max=ends[1]
    )
    return [niggli(gemmi.UnitCell(*c.cell), c.centring) for c in index_pattern(listed, validate=False).candidates]


def by_command(command: str, peaks: Peaks) -> list[np.ndarray]:
    """The reduced cells that another program prints for the same lines."""
    sigma = peaks.d_spacing / np.tan(np.radians(peaks.two_theta / 2)) * np.radians(POSITION_ESD * peaks.fwhm) / 2
    rows = zip(peaks.d_spacing, sigma, peaks.area, strict=True)
    asked = "".join(f"{d:.6f} {esd:.6f} {area:.4g}\n" for d, esd, area in rows)
    answer = subprocess.run(shlex.split(command), input=asked, capture_output=True, text=True, check=True).stdout
    printed = [line.split() for line in answer.splitlines() if line.strip() and not line.startswith("#")]
    return [niggli(gemmi.UnitCell(*map(float, words[1:7])), words[7]) for words in printed]


def outcome_of_another(found: list[np.ndarray], true: np.ndarray) -> dict[str, Any]:
    return {
        "rank": next((k for k, cell in enumerate(found[:LISTED], 1) if same(cell, true)), None),
        "published": bool(found and as_published(found[0], true)),
        "hidden": False,
    }


def spoilt(peaks: Peaks, foreign: int, zero: float, without_low: int, seed: int) -> Peaks:
    """With foreign lines, a zero shift, or without the weakest lines of lowest angle."""
    rng = np.random.default_rng(seed)
    two_theta, area, fwhm = peaks.two_theta, peaks.area, peaks.fwhm
    if without_low:
        low = np.arange(len(two_theta)) < 10
        weakest = np.argsort(np.where(low, area, np.inf))[:without_low]
        keep = np.setdiff1d(np.arange(len(two_theta)), weakest)
        two_theta, area, fwhm = two_theta[keep], area[keep], fwhm[keep]
    if foreign:
        top = two_theta[min(len(two_theta), 30) - 1]
        two_theta = np.append(two_theta, rng.uniform(two_theta[0] * 0.9, top, foreign))
        area = np.append(area, area.max() * rng.uniform(0.05, 0.15, foreign))
        fwhm = np.append(fwhm, np.full(foreign, np.median(fwhm)))
    order = np.argsort(two_theta)
    two_theta = two_theta[order] + zero
    d_spacing = d_of_two_theta(two_theta, peaks.radiation.wavelength)
    return replace(peaks, two_theta=two_theta, d_spacing=d_spacing, area=area[order], fwhm=fwhm[order])


def same(found: np.ndarray, true: np.ndarray) -> bool:
    """Whether a reduced cell is the true one."""
    return bool(abs(found[6] / true[6] - 1) < VOLUME and np.all(np.abs(found[:3] / true[:3] - 1) < EDGE))


def as_published(found: np.ndarray, true: np.ndarray) -> bool:
    """Edges within 5% and angles within 3°."""
    edges = np.all(np.abs(found[:3] / true[:3] - 1) < LOOSE_EDGE)
    return bool(edges and np.all(np.abs(found[3:6] - true[3:6]) < LOOSE_ANGLE))


def outcome(found: list[Indexed], true: np.ndarray, lines: int) -> dict[str, Any]:
    rank = next((k for k, one in enumerate(found, 1) if same(one.reduced, true)), None)
    hidden = bool(rank != 1 and found and all_on_smaller(found[0], true, lines))
    first = found[0] if found else None
    return {
        "rank": rank,
        "published": bool(first is not None and as_published(first.reduced, true)),
        "hidden": hidden,
        "first": None if first is None else LATTICES[int(first.state["lattice"])].lattice_system,
        "score": None if first is None else round(first.score, 2),
        "met": None if first is None else int(first.state["found"]),
    }


def all_on_smaller(first: Indexed, true: np.ndarray, lines: int) -> bool:
    """Whether the first cell is a smaller one (by 2, 3, ...) that meets every line."""
    times = true[6] / first.reduced[6]
    return bool(round(times) >= 2 and abs(times - round(times)) < VOLUME * times and first.state["found"] == lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("kind", choices=("perfect", "lab", "measured", "random"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--share", default="0/1")
    parser.add_argument("--elements", action="store_true", help="give the elements of the sample")
    parser.add_argument("--foreign", type=int, default=0)
    parser.add_argument("--zero", type=float, default=0.0)
    parser.add_argument("--without-low", type=int, default=0)
    parser.add_argument("--program", default="own", help="own, rietx or a command")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    done = (
        {json.loads(line)["name"] for line in options.out.read_text().splitlines()} if options.out.exists() else set()
    )
    part, parts = map(int, options.share.split("/"))
    with options.out.open("a") as out:
        random = options.kind == "random"
        known = random_lists(options.count) if random else crystals(options.data, options.kind, options.count)
        for place, (name, system, record) in enumerate(known):
            if place % parts != part or name in done:
                continue
            try:
                peaks = lines_of(options.data, options.kind, record)
            except ValueError as error:  # no lines
                print(f"{name}: {error}")
                continue
            peaks = spoilt(peaks, options.foreign, options.zero, options.without_low, place)
            elements = None if random else record.get("elements") or sorted(set(record["species"]))
            start = processor_seconds()
            said = {"name": name, "system": system, "batch": record.get("batch", 1), "lines": len(peaks)}
            if options.program == "own":
                found = indexed(peaks, SYSTEMS, LISTED, elements if options.elements else None)
                cells = [one.reduced for one in found]
            else:
                cells = by_rietx(peaks) if options.program == "rietx" else by_command(options.program, peaks)
            seconds = processor_seconds() - start
            if random:
                said["cells"] = len(cells)
            elif options.program == "own":
                said |= outcome(found, true_cell(record), min(len(peaks), 30))
            else:
                said |= outcome_of_another(cells, true_cell(record))
            said["seconds"] = round(seconds, 3)
            out.write(json.dumps(said) + "\n")
            out.flush()
    said_of_all = [json.loads(line) for line in options.out.read_text().splitlines()]
    if options.kind == "random":
        none, seconds = sum(not one["cells"] for one in said_of_all), [one["seconds"] for one in said_of_all]
        print(
            f"no cell: {none} of {len(said_of_all)} lists; seconds {np.mean(seconds):.2f}, at worst {max(seconds):.2f}"
        )
    else:
        print_table(said_of_all)


def processor_seconds() -> float:
    """Of this process and of those that it waited for."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in spent)


def print_table(said: list[dict[str, Any]]) -> None:
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for one in said:
        for key in (one["system"], "all", f"batch {one['batch']}"):
            groups[key].append(one)
    print(f"{'':13s}    n  first   four twenty  published | determined: n  first   four | seconds mean  worst")
    for key in (*SYSTEMS, "all", "batch 1", "batch 2"):
        if not (rows := groups[key]):
            continue
        determined = [one for one in rows if not one["hidden"] and one["lines"] >= FEWEST_LINES]
        seconds = [one["seconds"] for one in rows]
        print(
            f"{key:13s} {len(rows):4d} {_among(rows, 1):6d} {_among(rows, 4):6d} {_among(rows, LISTED):6d}"
            f" {sum(one['published'] for one in rows):10d} | {len(determined):13d} {_among(determined, 1):6d}"
            f" {_among(determined, 4):6d} | {np.mean(seconds):12.2f} {max(seconds):6.2f}"
        )


def _among(rows: list[dict[str, Any]], most: int) -> int:
    return sum(one["rank"] is not None and one["rank"] <= most for one in rows)


if __name__ == "__main__":
    main()

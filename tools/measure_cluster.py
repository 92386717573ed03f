"""Many patterns through `solve --cluster`, one of whose two workers is killed on the way.

    python tools/measure_cluster.py DATA_DIR FOLDER [--count 1000]

The patterns are of the development crystals of structures_other.jsonl.gz with the fewest atoms, as `simulate
--measured-like` shows them; their elements are given, and no crystal is searched for. A Dask scheduler and two workers
are started as docs/many.md says. When a third of the patterns is solved, the process of one worker is killed (SIGKILL);
its nanny begins another. Prints how many patterns have their row and their folder, how many were solved again, and the
time. FOLDER must be new; a thousand patterns take 10 GB there.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
from measure_indexing import crystals

from crystalnet.records import AtomSites
from crystalnet.report.solution_file import DOCUMENT
from crystalnet.xrd.profile import simulate_profile
from crystalnet.xrd.radiation import parse_wavelength

ALL = 10**9  # crystals a system that are looked at
CRYSTALNET = (sys.executable, "-c", "from crystalnet.cli import main; main()")
DASK = (sys.executable, "-m", "dask")
QUICK = ("--candidates", "known,catalogue")
SPAWNED = "--multiprocessing-fork"  # in the command of a worker's process, which its nanny began
WORKERS = 2
LOOK = 1.0  # seconds between two looks at what is solved; none is solved twice within it


def write_patterns(data: Path, folder: Path, count: int) -> Path:
    """A file a crystal, and the sheet that lists them with their elements."""
    records = [record for _, _, record in crystals(data, "lab", ALL)]
    records = sorted(records, key=lambda record: (record["nsites"], record["id"]))[:count]
    folder.mkdir(parents=True)
    sheet = folder / "samples.csv"
    with sheet.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("pattern", "elements", "wavelength"))
        for number, record in enumerate(records):
            sites = AtomSites(np.array(record["lattice"]), tuple(record["species"]), np.array(record["frac_coords"]))
            shown = simulate_profile(sites, parse_wavelength("CuKa"), measured_like=True, seed=number)
            name = f"{number:04d}.xye"
            np.savetxt(folder / name, np.column_stack([shown.two_theta, shown.intensity, shown.sigma]), "%.6g")
            table.writerow((name, ",".join(sorted(set(record["species"]))), "CuKa"))
    return sheet


@contextmanager
def two_workers(folder: Path) -> Iterator[tuple[str, list[psutil.Process]]]:
    """(scheduler's address, the nannies of the workers); their words go to FOLDER/cluster.log."""
    place = folder / "scheduler.json"
    with (folder / "cluster.log").open("w") as log:
        scheduler = (*DASK, "scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", place)
        worker = (*DASK, "worker", "--scheduler-file", place, "--nworkers", "1", "--nthreads", "1", "--no-dashboard")
        begun = [subprocess.Popen(scheduler, stdout=log, stderr=log)]
        try:
            while not (place.exists() and place.read_text()):
                time.sleep(LOOK)
            begun += [subprocess.Popen(worker, cwd=folder, stdout=log, stderr=log) for _ in range(WORKERS)]
            yield json.loads(place.read_text())["address"], [psutil.Process(process.pid) for process in begun[1:]]
        finally:
            for process in reversed(begun):
                process.terminate()
                process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=1000)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # of libraries, on the crystals
    sheet = write_patterns(options.data, options.folder, options.count)
    out = options.folder / "out"
    written: dict[str, set[int]] = defaultdict(set)  # folder → times at which its answer was written
    killed = None
    started = time.monotonic()
    with two_workers(options.folder) as (address, nannies), (options.folder / "solve.log").open("w") as log:
        asked = (*CRYSTALNET, "solve", sheet, "--out", out, "--cluster", address, *QUICK)
        solving = subprocess.Popen(asked, stdout=log, stderr=log)
        while solving.poll() is None:
            time.sleep(LOOK)
            for answer in out.glob(f"*/{DOCUMENT}"):
                written[answer.parent.name].add(answer.stat().st_mtime_ns)
            if killed is None and len(written) >= options.count / 3:
                (killed,) = [child for child in nannies[0].children() if SPAWNED in child.cmdline()]
                killed.kill()
                print(f"worker {killed.pid} killed after {len(written)} patterns", flush=True)
    minutes = (time.monotonic() - started) / 60
    with (out / "summary.csv").open(newline="") as file:
        rows = Counter(row["pattern"] for row in csv.DictReader(file))
    with sheet.open(newline="") as file:
        missing = {str(sheet.parent / row["pattern"]) for row in csv.DictReader(file)} - rows.keys()
    again = sum(len(times) - 1 for times in written.values())
    print(
        f"exit code {solving.returncode}, {minutes:.1f} min: {len(rows)} patterns in {rows.total()} rows,"
        f" {len(missing)} missing, {len(written)} folders; {again} solved again"
    )


if __name__ == "__main__":
    main()

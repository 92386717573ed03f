"""`fetch --source prototypes`: a data set of embedded crystals."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

from crystalnet import __version__
from crystalnet.crystal.record_file import Record
from crystalnet.data.decoration import original_crystal
from crystalnet.data.further_types import FurtherTypes
from crystalnet.data.generator import generate
from crystalnet.data.splits import Splits
from crystalnet.data.store import write_store
from crystalnet.data.structure_types import embedded_types, types_of_file
from crystalnet.runtime.pool import cpus
from crystalnet.runtime.whole_file import file_sha256
from crystalnet.runtime.whole_folder import beside

DEFAULT_LIMIT = 10_000  # crystals a system: minutes to make, enough for a first model
RANDOM_SHARE = 0.1  # crystals with random Wyckoff positions, for geometry that no known type has
Progress = Callable[[int, int], None]


def fetch_prototypes(
    system: str,
    out: Path,
    limit: int = DEFAULT_LIMIT,
    types_files: tuple[Path, ...] = (),
    seed: int = 0,
    jobs: int | None = None,
    splits: Splits | None = None,
    progress: Progress = lambda done, total: None,
    cluster: str | None = None,
) -> int:
    """Generate crystals of one system into a data set directory.

    A journal beside the directory keeps what is made, so that after a kill the same call goes on from there.

    Parameters
    ----------
    system : str
        Crystal system.
    out : Path
        Directory of the data set.
    limit : int
        Number of crystals at most.
    types_files : tuple of Path
        Files of structure records whose types are used beside the package's.
    seed : int
        Other seeds give other crystals.
    jobs : int or None
        Processes that work at a time; None for one on each processor. The crystals do not depend on it.
    splits : Splits or None
        The division into train and validation; None divides by composition.
    progress : callable
        Called with the number of crystals made and `limit`.
    cluster : str or None
        As `runtime.pool.workers` takes it.

    Returns
    -------
    int
        Number of crystals in the data set.

    Raises
    ------
    InputError
        A file of types cannot be read, or the directory holds something else.
    """
    splits = splits or Splits()
    types = embedded_types(system)
    further = FurtherTypes(system)
    for path in types_files:
        given = types_of_file(path, system)
        types += given
        for kind in given:
            further.show(original_crystal(kind))
    about = {
        "crystalnet": __version__,
        "source": "prototypes",
        "system": system,
        "seed": seed,
        "limit": limit,
        "types": len({kind.label for kind in types}),
        "types_files": {path.name: file_sha256(path) for path in types_files},
        "random_share": RANDOM_SHARE,
        "density": "promolecule",
        "split": splits.describe(),
    }
    request = sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    journal = beside(out, f".{request[:12]}.journal")

    def records() -> Iterator[Record]:
        made = generate(types, limit, seed, jobs or cpus(), RANDOM_SHARE, journal, cluster)
        for done, record in enumerate(made, 1):
            progress(done, limit)
            yield record | {"split": splits.of(record["id"], record["formula"], record["type"])}

    count = write_store(out, records(), about, types=further.records)
    journal.unlink(missing_ok=True)  # the types themselves may have been enough
    return count

"""Nothing of the user's is lost: foreign files in every output folder of every command survive, byte for byte."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from crystalnet.cli import main
from crystalnet.crystal import types as crystal_types
from crystalnet.crystal.record_file import dump_json
from crystalnet.data.dataset import CrystalDataset
from crystalnet.data.fetch import fetch_prototypes
from crystalnet.data.generator import generate
from crystalnet.data.store import verify_store, write_store
from crystalnet.data.structure_types import make_type
from crystalnet.records import AtomSites, Candidate, DensityGrid, Fit, InputError, Pattern, Peaks, Radiation, Solution
from crystalnet.runtime.whole_folder import claimed, refilling

CIF = Path(__file__).parents[2] / "examples" / "Zr3Sb4Pt3.cif"
ALL_TYPES = crystal_types.types_table("cubic")
# What a user may keep anywhere: a folder of work, hidden files, names like those that earlier versions deleted.
BESIDE = ("thesis/chapter1.tex", ".notes", "candidate-9.cif", "old.partial", "items/mp-1.txt", "features/mine.npy")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty working directory, and sources, solutions and training that take no time."""
    rows = tuple(r for r in ALL_TYPES if r["protostructure"] == "AB_cF8_225_a_b")
    monkeypatch.setattr("crystalnet.data.structure_types.types_table", lambda system: rows)
    monkeypatch.setattr("crystalnet.data.further_types.types_table", lambda system: rows)
    monkeypatch.setattr("crystalnet.commands.fetch.materials_project_key", lambda: None)
    monkeypatch.setattr("crystalnet.commands.fetch.LEARNT", ("cubic",))
    monkeypatch.setattr("crystalnet.solving.solve.solve", lambda pattern, **options: rock_salt(Path(pattern).name))
    monkeypatch.setattr("crystalnet.report.figure.write_figure", lambda *arguments: arguments[-1].touch())
    monkeypatch.setattr("crystalnet.commands.solve.helped", lambda modules: nullcontext(map))
    monkeypatch.setattr(
        "crystalnet.training.train._loop", lambda run, dataset, out, *rest: run.save(out / "last.safetensors")
    )
    for kind in ("a", "b"):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "scan.xy").write_text("10 1\n")
    (tmp_path / "scan.xy").write_text("10 1\n")
    (tmp_path / "other.xy").write_text("10 1\n")
    (tmp_path / "records.jsonl").write_text("".join(dump_json(row) + "\n" for row in rows))
    write_set(tmp_path / "set", "files")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_set(directory: Path, source: str, count: int = 3) -> None:
    rows = [r for r in ALL_TYPES if r["protostructure"] == "AB_cF8_225_a_b"]
    made = generate([make_type(r) for r in rows], count)
    write_store(directory, made, {"source": source, "crystalnet": "0", "system": "cubic"})


def rock_salt(name: str) -> Solution:
    """A solution of one candidate, without a look at the pattern."""
    two_theta = np.linspace(10, 90, 400)
    flat = np.ones(400)
    sites = AtomSites(np.eye(3) * 5.64, ("Na", "Cl"), np.array([[0.0] * 3, [0.5] * 3]))
    radiation = Radiation(((1.540593, 1.0),), assumed=False)
    candidate = Candidate(
        "catalogue", "NaCl", 221, "Pm-3m", sites,
        ({"element": "Na", "x": 0, "y": 0, "z": 0, "wyckoff": "a", "multiplicity": 1},),
        Fit(sites, 0.1, flat, flat, np.array([27.0])), 1.0, DensityGrid(np.ones((8, 8, 8)), sites.lattice), 0.9,
    )  # fmt: skip
    one = np.array([27.0])
    peaks = Peaks(one, one / 10, one, one / 100, flat, 10.0, 90.0, radiation)
    return Solution(
        Pattern(two_theta, flat, flat, radiation, name), peaks, {"elements": ["Na", "Cl"]}, {}, None, (candidate,),
        np.ones((1, 8, 8, 8)), np.array([1]), np.zeros((8, 8, 8)), sites.lattice,
    )  # fmt: skip


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["crystalnet", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def plant(folder: Path, *names: str) -> dict[Path, bytes]:
    """Files of the user's; those that are there already are left out."""
    planted = {}
    for name in names:
        path = folder / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"the user's {name}".encode())
            planted[path] = path.read_bytes()
    return planted


def survives(planted: dict[Path, bytes]) -> bool:
    return all(path.is_file() and path.read_bytes() == content for path, content in planted.items())


FETCH = ("fetch", "--source", "prototypes", "--system", "cubic", "--limit", "3")
# Every command that writes into a folder, and names that it must write there.
INTO_FOLDERS = {
    "fetch": ((*FETCH, "--out"), ("manifest.json", "records.jsonl", "lattices.npy", "types.jsonl.gz")),
    "fetch of all systems": (("fetch", "--limit", "3", "--out"), ("cubic/manifest.json", "cubic/lattices.npy")),
    "solve": (("solve", "scan.xy", "--out"), ("solution.json", "report.html", "candidate-1.cif", "density.npz")),
    "solve of several": (
        ("solve", "scan.xy", "other.xy", "--out"),
        ("summary.csv", "scan.crystalnet/figure.png", "other.crystalnet/candidate-5.cube"),
    ),
    "train": (
        ("train", "--data", "set", "--device", "cpu", "--out"),
        ("last.safetensors", "model.safetensors", "log.csv"),
    ),
    "evaluate": (
        ("evaluate", "records.jsonl", "--split", "all", "--figures"),
        ("figure-2-cubic.png", "figure-3-cubic.png", "figure-5-cubic.png"),
    ),
    "data info": (("data", "info", "set", "--figures"), ("maps.png", "distribution.png")),
}
COLLISIONS = [(command, name) for command, (_, names) in INTO_FOLDERS.items() for name in names]


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("command", [c for c in INTO_FOLDERS if c != "evaluate"])
def test_what_lies_beside_survives(
    command: str, times: int, small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Into a folder of the user's, and into one of ours that the user has put files into."""
    arguments, _ = INTO_FOLDERS[command]
    if times == 2:
        run(monkeypatch, *arguments, "out")
    neighbours = plant(small, "out.old/thesis.tex", "out.partial/thesis.tex", "out.txt")
    planted = plant(small / "out", *BESIDE)
    capsys.readouterr()
    code = run(monkeypatch, *arguments, "out")
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("crystalnet: ")]
    assert code in (0, 1) or (code == 2 and len(said) == 1)
    assert survives(planted | neighbours)
    if times == 2 and command not in ("train", "fetch of all systems"):
        assert code != 2
    if command == "fetch" and times == 1:
        assert code == 2  # a data set has a folder of its own


@pytest.mark.parametrize(("command", "name"), COLLISIONS)
def test_a_foreign_file_by_a_name_of_ours_stops_the_command_first(
    command: str, name: str, small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, _ = INTO_FOLDERS[command]
    planted = plant(small / "out", name)
    before = {path for path in (small / "out").rglob("*")}
    several = command == "solve of several" and name != "summary.csv"
    assert run(monkeypatch, *arguments, "out") == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("crystalnet: ")]
    assert len(lines) == 1 and survives(planted)
    assert several or {path for path in (small / "out").rglob("*")} == before


FILES = {
    "density x.npz": ("density", CIF, "--grid", "8", "--out", "x.npz"),
    "density x.cube": ("density", CIF, "--grid", "8", "--out", "x.cube"),
    "density CHGCAR": ("density", CIF, "--grid", "8", "--out", "CHGCAR"),
    "density Zr3Sb4Pt3.npz": ("density", CIF, "--grid", "8"),
    "simulate x.xy": ("simulate", CIF, "--out", "x.xy"),
    "simulate p.xy": ("simulate", CIF, "--measured-like", "--out", "p.xy"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_is_written_over_only_where_it_is_ours(
    case: str, small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = case.split()[1]
    planted = plant(small, name)
    assert run(monkeypatch, *FILES[case]) == 2 and survives(planted)
    assert len(capsys.readouterr().err.splitlines()) == 1
    (small / name).unlink()
    assert run(monkeypatch, *FILES[case]) == 0
    written = (small / name).read_bytes()
    assert run(monkeypatch, *FILES[case]) == 0
    assert len((small / name).read_bytes()) == len(written)


@pytest.mark.parametrize("command", ["density", "simulate"])
@pytest.mark.parametrize("name", ["x.cif", "x.cube", "CHGCAR", "x.xy"])
def test_the_input_is_never_written_over(command: str, name: str, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = {small / name: CIF.read_bytes()}
    (small / name).write_bytes(CIF.read_bytes())
    (small / "link.npz").symlink_to(small / name)
    for out in (name, small / name, f"./{name}", "link.npz"):
        assert run(monkeypatch, command, name, "--out", out) == 2 and survives(planted)


RESULTS = ("scores.json", "scores.md", "scores.json.partial", "scores.json.cubic.formula.partial")
# An empty journal holds nothing: a run may go on from it.
OWN_RESULTS = [(name, text) for name in RESULTS for text in ("mine", "mine\n", '{"mine": 1}\n')]
OWN_RESULTS += [(name, "") for name in RESULTS[:2]]


@pytest.mark.parametrize(("name", "text"), OWN_RESULTS)
def test_evaluate_writes_over_nothing(
    name: str, text: str, small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = ("--table", "1", "--system", "cubic") if name.endswith("md") or "cubic" in name else ()
    monkeypatch.setattr(
        "crystalnet.evaluation.evaluate.Evaluation.score", lambda *_, **__: pytest.fail("work has begun")
    )
    monkeypatch.setattr("crystalnet.commands.evaluate.workers", lambda *_, **__: nullcontext(map))
    (small / name).write_text(text)
    assert run(monkeypatch, "evaluate", "records.jsonl", "--split", "all", "--out", "scores.json", *table) == 2
    assert (small / name).read_text() == text
    assert len([line for line in capsys.readouterr().err.splitlines() if line.startswith("crystalnet: ")]) == 1


@pytest.mark.parametrize("command", [*INTO_FOLDERS, *FILES])
def test_the_working_directory_as_out(
    command: str, small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It works, or one line says why not."""
    if command == "evaluate":
        arguments: tuple[object, ...] = ("evaluate", "records.jsonl", "--split", "all", "--out", ".")
    else:
        arguments = (*INTO_FOLDERS[command][0], ".") if command in INTO_FOLDERS else (*FILES[command][:2], "--out", ".")
    inputs = {path: path.read_bytes() for path in small.rglob("*") if path.is_file()}
    code = run(monkeypatch, *arguments)
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("crystalnet: ")]
    assert (code in (0, 1) or (code == 2 and len(said) == 1)) and survives(inputs)
    if command in ("solve", "solve of several", "train", "fetch of all systems"):
        assert code == 0


def test_a_data_set_in_the_working_directory(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (small / "empty").mkdir()
    monkeypatch.chdir(small / "empty")
    for _ in range(2):
        assert run(monkeypatch, *FETCH, "--out", ".") == 0
        assert verify_store(Path("."))["count"] == 3
    assert {p.name for p in small.iterdir()} == {"a", "b", "scan.xy", "other.xy", "records.jsonl", "set", "empty"}


def test_a_linked_folder_is_written_through_and_nothing_behind_links_is_deleted(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = small / "big"
    write_set(big, "files")
    planted = plant(small / "elsewhere", "state.json", "maps-00000.npy", "lattices.npy")
    (big / "features").symlink_to(small / "elsewhere")
    (big / "lattices.npy").unlink()
    (big / "lattices.npy").symlink_to(small / "elsewhere" / "lattices.npy")
    (small / "link").symlink_to(big)
    assert run(monkeypatch, *FETCH, "--out", "link") == 0
    assert (small / "link").is_symlink() and verify_store(big)["source"] == "prototypes" and survives(planted)


def test_manifests_that_name_files_elsewhere(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from crystalnet.data.store import _manifest_digest

    planted = plant(small, "mine.txt", "set/deep/mine.txt")
    manifest = json.loads((small / "set" / "manifest.json").read_text())
    manifest["sha256"] |= dict.fromkeys(("../mine.txt", "deep/mine.txt", str(small / "mine.txt"), "..", ""), "0")
    manifest["manifest_sha256"] = _manifest_digest(manifest)
    (small / "set" / "manifest.json").write_text(json.dumps(manifest))
    assert run(monkeypatch, *FETCH, "--out", "set") == 0 and survives(planted)


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"format": 1}', '{"format": 9}', '{"name": "my web app"}'])
def test_another_programs_manifest(text: str, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = plant(small / "out", "manifest.json", "index.html")
    (small / "out" / "manifest.json").write_text(text)
    planted[small / "out" / "manifest.json"] = text.encode()
    assert run(monkeypatch, *FETCH, "--out", "out") == 2 and survives(planted)


@pytest.mark.parametrize("there", ["materials-project", "files", "prototypes"])
def test_a_source_that_was_not_asked_for_replaces_embedded_crystals_only(
    there: str, small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_set(small / "out" / "cubic", there)
    planted = {p: p.read_bytes() for p in (small / "out" / "cubic").iterdir()}
    assert run(monkeypatch, "fetch", "--limit", "2", "--out", "out") == 0  # no key: embedded ones instead
    assert survives(planted) == (there != "prototypes")
    assert ("replaces" if there == "prototypes" else "keeps") in capsys.readouterr().out
    assert run(monkeypatch, "fetch", "--source", "prototypes", "--limit", "2", "--out", "out") == 0
    assert verify_store(small / "out" / "cubic")["source"] == "prototypes"


def test_the_second_solution_says_that_it_replaces_the_first(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "solve", "scan.xy", "--out", "o") == 0
    assert "replaces" not in capsys.readouterr().err
    assert run(monkeypatch, "solve", "other.xy", "--out", "o") == 0
    assert "other.xy: replaces the earlier solution of scan.xy in o" in capsys.readouterr().err
    (small / "o" / "candidate-1.cif").write_text("refined by hand")  # an answer that the user has worked on
    assert run(monkeypatch, "solve", "scan.xy", "--out", "o") == 2
    assert (small / "o" / "candidate-1.cif").read_text() == "refined by hand"
    assert "candidate-1.cif" in capsys.readouterr().err


@pytest.mark.parametrize("options", [(), ("--out", "o"), ("--out", "o", "--jobs", "2")])
@pytest.mark.parametrize("pair", [("a/scan.xy", "b/scan.xy"), ("scan.xy", "a/scan.xy"), ("scan.xy", "SCAN.xye")])
def test_patterns_of_one_name_never_share_a_folder(
    pair: tuple[str, str], options: tuple[str, ...], small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(monkeypatch, "solve", *pair, *options) == 2
    assert not list(small.rglob("*.crystalnet"))


def test_one_crashed_pattern_of_a_batch_costs_itself(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fragile(pattern: Path, **options: object) -> Solution:
        if pattern.name == "scan.xy":
            raise ZeroDivisionError("two\nlines")
        return rock_salt(pattern.name)

    monkeypatch.setattr("crystalnet.solving.solve.solve", fragile)
    assert run(monkeypatch, "solve", "scan.xy", "other.xy", "--out", "o") == 70
    said = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert len(said) == 1 and "scan.xy: internal fault (ZeroDivisionError" in said[0]
    rows = (small / "o" / "summary.csv").read_text().splitlines()
    assert "internal fault" in rows[1] and "NaCl" in rows[2]
    assert (small / "o" / "other.crystalnet" / "report.html").is_file() and not (
        small / "o" / "scan.crystalnet"
    ).exists()


HOLDER = """
import sys, time
from pathlib import Path
from crystalnet.runtime.whole_folder import claimed
with claimed(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def held(small: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[str]]:
    """Another process at work in the folder `out`."""
    monkeypatch.setattr("crystalnet.runtime.whole_folder.PATIENCE", 0.2)
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(small / "out")], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("command", ["fetch", "solve", "solve of several", "train"])
def test_two_runs_at_once(
    command: str, held: subprocess.Popen[str], small: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    arguments, _ = INTO_FOLDERS[command]
    assert run(monkeypatch, *arguments, "out") == 2
    assert "another run of crystalnet is writing there" in capsys.readouterr().err
    held.kill()
    held.wait()
    assert run(monkeypatch, *arguments, "out") == 0


STEPS = ("os.rename", "os.replace", "pathlib.Path.unlink", "pathlib.Path.rmdir")


def killed_at(number: int, work: Callable[[], object]) -> bool:
    """Run the work in a process that is killed before its number-th change of a folder; whether it was."""
    child = os.fork()
    if not child:
        patch, count = pytest.MonkeyPatch(), 0

        def dying(call: Callable[..., object]) -> Callable[..., object]:
            def step(*arguments: object, **options: object) -> object:
                nonlocal count
                count += 1
                if count == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*arguments, **options)

            return step

        for name, call in zip(STEPS, (os.rename, os.replace, Path.unlink, Path.rmdir), strict=True):
            patch.setattr(name, dying(call))
        try:
            work()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_a_kill_between_any_two_steps_leaves_the_old_set_or_the_new_one(small: Path) -> None:
    folder = small / "set"
    kills, found = 0, set()
    for number in range(1, 200):
        write_set(folder, "files", 4)
        CrystalDataset(folder)
        planted = plant(folder, "thesis.tex", "features/mine.npy")
        if not killed_at(number, lambda: fetch_prototypes("cubic", folder, 2, jobs=1)):
            break
        kills += 1
        found.add(verify_store(folder)["source"])  # reading finishes what was begun
        assert survives(planted)
        for path in planted:
            path.unlink()
        fetch_prototypes("cubic", folder, 2, jobs=1)
        assert verify_store(folder)["source"] == "prototypes"
        assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]
    assert kills > 10 and found == {"files", "prototypes"}


def test_a_file_that_appears_meanwhile_is_not_written_over(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="b.txt"), refilling(tmp_path, (), "b.txt") as scratch:
        (scratch / "a.txt").write_text("ours")
        (scratch / "b.txt").write_text("ours")
        (tmp_path / "b.txt").write_text("mine")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"b.txt": "mine"}


def test_a_folder_that_was_made_for_nothing_is_taken_away(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), claimed(tmp_path / "a" / "b"):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_downloads_are_kept_apart_from_the_users_files(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from crystalnet.data.materials_project import _Fetch
    from crystalnet.data.splits import Splits

    fetch = _Fetch("k" * 32, "cubic", small / "out", None, Splits(), lambda done, total: None, print)
    planted = plant(fetch.folder, "thesis.tex")
    with pytest.raises(InputError, match="no downloads of ours"):
        fetch._kept_listing(fetch.folder / "listing.json")
    (fetch.folder / "listing.json").write_text(json.dumps({"request": {}, "database": "", "materials": []}))
    plant(fetch.folder, "items/mp-1.npz", "items/mp-2.json")
    planted |= plant(fetch.folder, "items/thesis.tex")
    fetch._clear()
    assert survives(planted) and len(list(fetch.folder.rglob("*.*"))) == 2

"""The folder of an exported project, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from crystalnet import __version__
from crystalnet.export.fullprof import fullprof
from crystalnet.export.gsas2 import gsas2
from crystalnet.export.jana import jana
from crystalnet.export.project import Project
from crystalnet.export.topas import topas
from crystalnet.export.vesta import vesta
from crystalnet.runtime.whole_file import file_sha256
from crystalnet.runtime.whole_folder import heal, refilling, refuse_names, unchanged

MANIFEST = "export.json"  # lists the files with their SHA-256: a later export replaces these alone
PROGRAMS: dict[str, Callable[[Project], dict[str, str]]] = {
    "gsas2": gsas2,
    "fullprof": fullprof,
    "topas": topas,
    "jana": jana,
    "vesta": vesta,
}


def write_project(project: Project, program: str, out: Path) -> list[str]:
    """Write the files of one program into a folder; returns their names.

    Parameters
    ----------
    project : Project
    program : str
        A key of PROGRAMS.
    out : Path
        The folder, made where it is absent. What an earlier export left there, and nobody changed since, is replaced.

    Raises
    ------
    InputError
        `out` cannot be written, or holds a file of the user's by one of the names.
    """
    files = PROGRAMS[program](project)
    heal(out)
    owned = _exported(out)
    refuse_names(out, {MANIFEST, *files}, owned)
    with refilling(out, owned, MANIFEST) as scratch:
        for name, text in files.items():
            (scratch / name).write_text(text, encoding="utf-8")
        content = {
            "crystalnet": __version__,
            "program": program,
            "candidate": project.title,
            "files": {name: file_sha256(scratch / name) for name in sorted(files)},
        }
        (scratch / MANIFEST).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return sorted(files)


def _exported(out: Path) -> set[str]:
    """Names of the files that an earlier export wrote and that are as it left them."""
    try:
        content = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
        return {MANIFEST, *unchanged(out, content["files"])} if content["program"] in PROGRAMS else set()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # none, or another program's
        return set()

"""A candidate as a project of another program: GSAS-II, FullProf, TOPAS, Jana2020 or VESTA.

`project` collects once what all of them are told (`Project`), in the setting that they all take a space group's bare
symbol for (`setting`); a module each writes it in the words of one program; `files` puts the files into a folder.
"""

from __future__ import annotations

from crystalnet.export.files import PROGRAMS, write_project
from crystalnet.export.project import read_project

__all__ = ["PROGRAMS", "read_project", "write_project"]

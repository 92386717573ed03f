"""Options with few values: for --help, completion, and the answer to a misspelling.

Written out, because the rooms that define them import what a --help should not wait for; a test compares.
"""

from __future__ import annotations

from typing import Literal

System = Literal["cubic", "hexagonal", "trigonal", "tetragonal", "orthorhombic", "monoclinic", "triclinic"]
AnySystem = Literal["auto", System]
Systems = Literal["auto", "all", System]
Learnt = Literal["cubic", "trigonal"]
Axis = Literal["auto", "two-theta", "q", "d"]
Source = Literal["materials-project", "prototypes", "files"]
Split = Literal["composition", "type"]
Evaluated = Literal[Split, "all"]
Given = Literal["formula", "elements", "drop-one", "none"]
LeaveOut = Literal["composition", "type", "none"]
Preset = Literal["small", "base", "paper"]
Device = Literal["auto", "cpu", "cuda"]
OfDensity = Literal["primitive", "as-given"]

"""CrystalNet: from a measured powder pattern to electron density, cell and atoms."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crystalnet.records import InputError, Pattern, Solution
    from crystalnet.solving.solve import solve
    from crystalnet.xrd.reader import read_pattern

__all__ = ["InputError", "Pattern", "Solution", "__version__", "read_pattern", "solve"]
_DOORS = {
    "solve": "crystalnet.solving.solve",
    "read_pattern": "crystalnet.xrd.reader",
    **dict.fromkeys(("InputError", "Pattern", "Solution"), "crystalnet.records"),
}

try:
    __version__ = version("crystalnet")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"


def __getattr__(name: str) -> Any:
    """What __all__ names, `crystalnet.xrd` and `crystalnet.density`: torch and pymatgen are imported at first use."""
    if name in _DOORS:
        thing = getattr(import_module(_DOORS[name]), name)
        if isinstance(thing, type):
            return thing
        globals()[name] = spoken = import_module("crystalnet.runtime.faults").speaking_python(thing)
        spoken.__module__, spoken.__qualname__ = __name__, name  # where pickle finds it
        return spoken
    if name in ("density", "xrd"):
        return import_module(f"crystalnet.{name}")
    raise AttributeError(f"module 'crystalnet' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "density", "xrd"]

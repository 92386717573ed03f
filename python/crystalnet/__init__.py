"""CrystalNet: from a measured powder pattern to electron density, cell and atoms."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crystalnet.solving.solve import solve

__all__ = ["__version__", "solve"]

try:
    __version__ = version("crystalnet")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"


def __getattr__(name: str) -> Any:
    """`crystalnet.solve`, `crystalnet.xrd`, `crystalnet.density`: torch and pymatgen are imported at first use."""
    if name == "solve":
        from crystalnet.solving.solve import solve

        return solve
    if name in ("density", "xrd"):
        from importlib import import_module

        return import_module(f"crystalnet.{name}")
    raise AttributeError(f"module 'crystalnet' has no attribute {name!r}")

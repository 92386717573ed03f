"""The formats of pattern files: one row of `FORMATS` each for the text formats read here.

rietx and geddes read the vendors' binary and XML files (`vendor`). Here stand the text formats that they decline or
read as columns, and the powder CIF. `unread` lists the kinds of files that are not read.
"""

from crystalnet.xrd.formats.base import Format
from crystalnet.xrd.formats.jade import Jade
from crystalnet.xrd.formats.pdcif import PowderCif
from crystalnet.xrd.formats.rigaku import RigakuText
from crystalnet.xrd.formats.sietronics import Sietronics
from crystalnet.xrd.formats.uxd import Uxd

__all__ = ["FORMATS", "Format"]

FORMATS: tuple[Format, ...] = (RigakuText(), Sietronics(), Jade(), Uxd(), PowderCif())

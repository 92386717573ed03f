"""Kinds of files that are not read, and what to do with each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from crystalnet.records import InputError
from crystalnet.xrd.scans import EXPORT


@dataclass(frozen=True)
class Other:
    """A kind of file that is not read: what it is, what to do with it, and how it begins or is named.

    sure: no text of another kind begins so; else only binary files are taken for it.
    """

    what: str
    instead: str
    magic: tuple[bytes, ...] = ()
    endings: tuple[str, ...] = ()
    sure: bool = False


_POWDLL = "convert it with PowDLL, or export the scan from the vendor's program as two columns of text (.xy)"
_INTEGRATE = "integrate the image with pyFAI or GSAS-II and give the result (.xye or .dat)"
OTHERS: tuple[Other, ...] = (
    Other("a PNG image", EXPORT, (b"\x89PNG",)),
    Other("a JPEG image", EXPORT, (b"\xff\xd8\xff",)),
    Other("a GIF image", EXPORT, (b"GIF8",)),
    Other("a bitmap image", EXPORT, (b"BM",), (".bmp",)),
    Other("a TIFF image", _INTEGRATE, (b"II*\x00", b"MM\x00*"), (".tif", ".tiff")),
    Other("a CBF detector image", _INTEGRATE, (b"###CBF",), (".cbf",), sure=True),
    Other(
        "an EDF detector image",
        _INTEGRATE,
        (b"{\nEDF_", b"{\nHeaderID", b"{\r\nEDF_", b"\n{\r\nEDF_"),
        (".edf",),
        sure=True,
    ),
    Other("an SMV detector image", _INTEGRATE, (b"{\nHEADER_BYTES",), (".img",), sure=True),
    Other("a detector image", _INTEGRATE, (b"FORMAT :",), (".mccd", ".gfrm", ".sfrm", ".mar3450")),
    Other("a PDF document", EXPORT, (b"%PDF-",), (".pdf",), sure=True),
    Other("a gzip archive", "unpack it first", (b"\x1f\x8b",), (".gz", ".tgz")),
    Other("a 7z archive", "unpack it first", (b"7z\xbc\xaf",), (".7z",)),
    Other("an xz or bzip2 archive", "unpack it first", (b"\xfd7zXZ", b"BZh"), (".xz", ".bz2")),
    Other("a zip archive", "unpack it first", (), (".zip",)),
    Other("a RAR archive", "unpack it first", (b"Rar!",), (".rar",)),
    Other("a program", EXPORT, (b"\x7fELF", b"MZ")),
    Other(
        "an HDF5 or NeXus file",
        "export the integrated scan as text, from DAWN, pyFAI or h5py (.dat or .xy)",
        (b"\x89HDF",),
        (".h5", ".hdf5", ".hdf", ".nxs", ".nexus"),
    ),
    Other("an Office document", "export it as CSV", (b"\xd0\xcf\x11\xe0",), (".xls", ".doc")),
    Other("a workbook", "export the sheet as CSV", (), (".xlsx", ".ods", ".xlsm")),
    Other("a NumPy array", "write it as two columns of text (numpy.savetxt)", (b"\x93NUMPY",), (".npy", ".npz")),
    Other("a GSAS-II project", "export the histogram from GSAS-II as .xye or CSV", (), (".gpx",)),
    Other("a GSAS project", "give the data file (.gsas, .raw, .fxye) that it was made with", (), (".exp",)),
    Other("a refinement's listing", "give the measured scan", (), (".lst", ".out", ".pcr", ".inp")),
    Other("a FullProf plot file", "give the measured scan, or export it as .xy", (), (".prf",)),
    Other("a Bruker RAW file of version 1 or 2", _POWDLL, (b"RAW2", b"RAW ")),
    Other("a STOE raw file", f"export it from WinXPOW as .xy, or {_POWDLL}", (b"RAW_",)),
    Other("a Rigaku binary raw file", f"export it from the Rigaku program as .ras or .txt, or {_POWDLL}", (b"FI",)),
    Other("a Philips PC-APD file", _POWDLL, (b"V3RD", b"V5RD", b"V3DI", b"V5DI"), (".rd", ".sd", ".di")),
    Other("a Scintag file", _POWDLL, (), (".ard", ".nda")),
    Other("a Bruker container", "export the scan from DIFFRAC.EVA as .xy", (), (".bsml", ".eva", ".dql")),
    Other("a binary raw file (STOE, Rigaku, Scintag and Shimadzu each have their own)", _POWDLL, (), (".raw",)),
    Other("a list of peaks", "give the measured profile", (), (".dif", ".pks", ".udi", ".hkl", ".peak")),
    Other("a STOE file", f"export it from WinXPOW as .xy, or {_POWDLL}", (), (".pow", ".pwd")),
)


def other_by_content(raw: bytes) -> Other | None:
    """What a binary file is by its first bytes, None for text and for kinds that are read or not known."""
    return next((other for other in OTHERS if other.magic and raw.startswith(other.magic)), None)


def other_by_name(path: Path) -> Other | None:
    """What a file is by the ending of its name."""
    return next((other for other in OTHERS if path.suffix.lower() in other.endings), None)


def refusal(name: str, other: Other) -> InputError:
    return InputError(f"{name}: is {other.what}, which is not a powder pattern that can be read here; {other.instead}")

"""The radiation in comments, in the fields of a vendor's file, and in PANalytical's XML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from crystalnet.records import Radiation
from crystalnet.xrd.header.decision import decided
from crystalnet.xrd.header.facts import MAX_LINE, Facts, read_line

_IGNORED_FIELDS = frozenset(("source_file", "format", "block", "sample", "x_label", "scan_axis", "scan", "scan_count"))


def radiation_of_header(lines: Sequence[str]) -> Radiation | None:
    """The radiation in the comment and header lines of a text file; None where they say nothing.

    Parameters
    ----------
    lines : sequence of str
        Everything that is no row of data, in any dialect: titles, `name: value`, `*KEY value`, `_KEY=value`,
        `KEY<tab>value`, `name,value`, JSON.

    Examples
    --------
    >>> radiation_of_header(["Anode material,Cu", "K-Alpha1 wavelength,1.540598"]).wavelength
    1.540598
    >>> radiation_of_header(["# Cu Ka, Ka2 stripped"]).lines
    ((1.540593, 1.0),)
    >>> radiation_of_header(["# Energy = 30.0 keV"]).wavelength.__round__(4)
    0.4133
    """
    facts = Facts()
    for line in lines:
        read_line(line[:MAX_LINE], facts)
    return decided(facts)


def radiation_of_fields(fields: Mapping[str, str]) -> Radiation | None:
    """The radiation in the fields that a library read from a vendor's file; None where they say nothing.

    A file of a tube lists both lines of its doublet whatever the optics. The data decide on Kα2, unless it is given
    as 0.

    Parameters
    ----------
    fields : mapping of str to str
        rietx's metadata (`wavelength`, `wavelength_alpha2`, `anode`, ...), or the vendor's own names.
    """
    return radiation_of_header([f"{name} = {value}" for name, value in fields.items() if name not in _IGNORED_FIELDS])


def radiation_of_xml(text: str) -> Radiation | None:
    """The radiation in PANalytical's XML: wavelengths, anode, monochromator; None where it says nothing.

    `usedWavelength intended="K-Alpha 1"` is what their programs write for every scan, filters and all, not that Kα2
    was taken away: the data decide.
    """
    from xml.etree import ElementTree

    names = {"kAlpha1": "alpha1 wavelength", "kAlpha2": "alpha2 wavelength", "kBeta": "beta wavelength"}
    names |= {"ratioKAlpha2KAlpha1": "alpha2 ratio", "anodeMaterial": "anode"}
    said: dict[str, str] = {}
    try:
        root = ElementTree.fromstring(text.encode())
    except (ElementTree.ParseError, ValueError):
        return None
    for element in root.iter():
        tag = element.tag.rpartition("}")[2]
        if tag in names:
            said.setdefault(names[tag], (element.text or "").strip())
        elif tag == "monochromator":
            words = [element.get("name", ""), *(child.text for child in element.iter() if child.text)]
            said.setdefault("monochromator", " ".join(" ".join(words).split()))
    return radiation_of_fields(said)

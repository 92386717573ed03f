"""What a crystal monochromator does to a tube's radiation."""

from __future__ import annotations

import math
import unicodedata
from dataclasses import replace

from crystalnet.bragg import reflection_angle, sine_of_d
from crystalnet.records import InputError, Radiation
from crystalnet.xrd.units import in_angstrom, number_and_unit

# Crystals of monochromators: spacing in Å, and whether they are perfect (dynamical theory: |cos 2θ_M|) or mosaic
# (cos²2θ_M): International Tables C, 6.2.2. Spacings from a = 5.6579 (Ge), 5.4310 (Si), 4.0270 (LiF) and 3.5671 Å (C).
MONOCHROMATORS: dict[str, tuple[float, bool]] = {
    "graphite": (3.354, False),  # 002
    "Ge": (3.2666, True),  # 111
    "Ge220": (2.0004, True),
    "Si": (3.1356, True),  # 111
    "Si220": (1.9201, True),
    "LiF": (2.0135, False),  # 200
    "quartz": (3.3434, True),  # 10-11
    "diamond": (2.0595, True),  # 111
}


def behind_monochromator(radiation: Radiation, monochromator: str | float) -> Radiation:
    """The tube's radiation with the polarisation that a crystal monochromator leaves, before or behind the sample.

    Parameters
    ----------
    radiation : Radiation
        Of the tube alone.
    monochromator : str or float
        A crystal (graphite, Ge, Ge220, Si, Si220, LiF, quartz, diamond), its 2θ_M in degrees, or "none".

    Returns
    -------
    Radiation
        Its polarisation is K = cos²2θ_M for a mosaic crystal and for an angle, |cos 2θ_M| for a perfect one. A perfect
        crystal may have taken away Kα2: the data decide.

    Raises
    ------
    InputError
        For another crystal, an angle outside 0 to 180°, or a wavelength out of the crystal's reach.

    References
    ----------
    International Tables C, 6.2.2.

    Examples
    --------
    >>> from crystalnet.xrd.radiation import parse_wavelength
    >>> round(behind_monochromator(parse_wavelength("CuKa"), "graphite").polarisation, 3)
    0.8
    """
    plain = unicodedata.normalize("NFKC", str(monochromator)).strip().rstrip("°").strip()
    if plain.lower() in ("none", "no"):
        return radiation
    crystal = crystal_named(plain)
    perfect = crystal is not None and MONOCHROMATORS[crystal][1]
    if crystal is not None:
        spacing = MONOCHROMATORS[crystal][0]
        if sine_of_d(spacing, radiation.wavelength) >= 1:
            raise InputError(f"a {crystal} monochromator (d = {spacing:g} Å) cannot reflect {radiation.wavelength:g} Å")
        angle = reflection_angle(spacing, radiation.wavelength)
    else:
        number, unit = number_and_unit(plain)
        if number is None or unit is not None:
            known = ", ".join(MONOCHROMATORS)
            raise InputError(f"monochromator {monochromator!r} is not known: give {known}, its 2θ in degrees, or none")
        angle = in_angstrom(number, "å")[0]
    if not 0 < angle < 180:
        raise InputError(f"monochromator angle {angle:g}: give 2θ of the crystal, between 0 and 180 degrees")
    cosine = abs(math.cos(math.radians(angle)))
    open_question = perfect and len(radiation.lines) > 1
    return replace(
        radiation,
        polarisation=cosine if perfect else cosine**2,
        kalpha2_known=radiation.kalpha2_known and not open_question,
    )


def monochromated(radiation: Radiation, given: str | None, own: str | None) -> Radiation:
    """The radiation with the monochromator given for this pattern, else the file's, else the user's own.

    Parameters
    ----------
    radiation : Radiation
        As given, or as the file has it.
    given, own : str or None
        As `behind_monochromator` takes them: for this pattern, and of the user's diffractometer (from the settings).

    Raises
    ------
    InputError
        Where one is given for what is no tube, and as `behind_monochromator`.
    """
    if given is None:
        said_by_file = radiation.polarisation != 1.0
        return radiation if own is None or said_by_file else behind_monochromator(radiation, own)
    if radiation.polarisation == 0:
        raise InputError(
            f"--monochromator is for an X-ray tube, and {radiation.wavelength:g} Å is a synchrotron's wavelength,"
            " polarised already; leave it out, or check --wavelength"
        )
    return behind_monochromator(replace(radiation, polarisation=1.0), given)


def crystal_named(text: str) -> str | None:
    """The key of MONOCHROMATORS for "Ge(111)", "pyrolytic graphite", "HOPG", "silicon 220" ...; None for none."""
    compact = "".join(c for c in text.lower() if c.isalnum())
    names = {"pyrolyticgraphite": "graphite", "hopg": "graphite", "pg": "graphite", "germanium": "Ge", "silicon": "Si"}
    names |= {"lithiumfluoride": "LiF", "sio2": "quartz"}
    name, plane = compact.rstrip("0123456789"), compact.lstrip("abcdefghijklmnopqrstuvwxyz")
    name = names.get(name, next((key for key in MONOCHROMATORS if key.lower() == name), ""))
    own = {"graphite": ("002", "0002", "2"), "Ge": ("111", "1"), "Si": ("111", "1"), "LiF": ("200",)}
    own |= {"quartz": ("101", "1011"), "diamond": ("111",)}
    if plane in ("", *own.get(name, ())):
        return name or None
    return name + plane if name + plane in MONOCHROMATORS else None

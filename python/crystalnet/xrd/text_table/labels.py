"""What the name above a column says of it: an abscissa, an intensity, an esd, a weight."""

from __future__ import annotations

import re

import numpy as np

from crystalnet.bragg import Q_OF_STOL
from crystalnet.xrd.scans import TWO_THETA, Axis

LONGEST_LABEL = 60  # characters; a longer text names no column
_DEGREES = r"(?:/?(?:°|o|in°|deg|degs|degree|degrees|indeg|indegrees))?"
_RADIANS = r"/?(?:in)?rad(?:ian)?s?"
_TWO = (
    r"(?:pos|position|x|scan|angle|xaxis|°)*(?:2theta|2th|twotheta|twoth|ttheta|tth|2t|2q)"
    r"(?:angle|axis|scan|meas|obs|theta|/theta|corrected|corr|positions?|omega|values?)*"
)
_INVERSE_A = r"(?:/?(?:1/a|a\^?1|inva|perinva|pera|/a|inverseangstroms?|a))?"
_INVERSE_NM = r"/?(?:1/nm|nm\^?1|invnm|pernm|inversenm|inversenanometers?|nm)"
_Q = r"(?:q|qspace|qvector|qvalues?|qmod|absq|momentumtransferq?|scatteringvectorq?|wavevectortransfer|qtransfer)"
_D = r"(?:d|ds|dspacings?|dvalues?|dhkl|dspac)"
_AXES: tuple[tuple[re.Pattern[str], Axis], ...] = (
    (re.compile(_TWO + _RADIANS), Axis("2theta", 180 / np.pi)),
    (re.compile(_TWO + _DEGREES), TWO_THETA),
    (re.compile(r"(?:diffraction|scattering|bragg)?angle" + _DEGREES), TWO_THETA),
    (re.compile(r"(?:angle)?(?:theta|th|braggangletheta)(?:angle|obs)?" + _RADIANS), Axis("2theta", 360 / np.pi)),
    (re.compile(r"(?:angle)?(?:theta|th|braggangletheta)(?:angle|obs)?" + _DEGREES), Axis("2theta", 2.0)),
    (re.compile(_Q + _INVERSE_NM), Axis("q", 0.1)),
    (re.compile(_Q + _INVERSE_A), Axis("q")),
    (re.compile(r"(?:1/d|dstar|d\*)" + _INVERSE_A), Axis("q", 2 * np.pi)),
    (re.compile(r"(?:sinthet?a?/lambda|sinth/lambda|stol)" + _INVERSE_A), Axis("q", Q_OF_STOL)),
    (re.compile(_D + r"/?(?:in)?nm"), Axis("d", 10.0)),
    (re.compile(_D + r"(?:/?(?:in)?(?:a|angstroms?))?"), Axis("d")),
    (re.compile(r"(?:r|radius|radial|radialdistance)/?mm"), Axis("radius")),
    (re.compile(r"(?:r|radius|radial|radialdistance)/?m"), Axis("radius", 1000.0)),
    (re.compile(r"(?:r|radius|radialdistance|distance)/?(?:px|pix|pixels?)|pixels?|channels?"), Axis("a pixel number")),
    (re.compile(r"(?:photon)?energy/?(?:kev|ev)?|kev"), Axis("an energy")),
    (re.compile(r"r/?(?:a|nm)?"), Axis("a distance r, as of a pair distribution function")),
    (re.compile(r"tof|timeofflight(?:us|microseconds?)?"), Axis("a time of flight")),
    (re.compile(r"chi/?(?:deg|°)?|azimuth(?:alangle)?/?(?:deg|°)?"), Axis("an azimuth")),
)
_INTENSITY = (
    *("int", "count", "cps", "cts", "obs", "meas", "signal", "det", "psd", "mean", "value", "yobs", "ymeas"),
    *("iobs", "imeas", "totalcounts", "rawcounts", "y/", "i/"),
)
_CALCULATED = ("calc", "bkg", "bck", "back", "diff", "fit", "mon", "time", "resid", "width", "model")
_SIGMA = re.compile(r"sig|esd|err|std|unc|dev\b|σ|^su$|^s\.u|^e\.s\.d|^dy$|^di$|^ey$|^ei$")
_WEIGHT = re.compile(r"^(?:w|wt|weights?|lsweight)$")
_SKIPPED = str.maketrans("", "", " _-.[](){}\"'#:,\t")


def plain_label(label: str) -> str:
    """A column's name without case, blanks and brackets, θ and Å spelled out: "2θ (°)" is 2theta°, "q_A^-1" qa^1."""
    label = label.lower()
    for sign, word in (
        ("θ", "theta"),
        ("ϑ", "theta"),
        ("ångström", "a"),
        ("angstrom", "a"),
        ("å", "a"),
        ("\u212b", "a"),
    ):
        label = label.replace(sign, word)
    label = label.replace("⁻¹", "^-1").replace("º", "°").replace("λ", "lambda")
    return label.translate(_SKIPPED)


def axis_of(label: str) -> Axis | None:
    """What a column of this name holds, where it can be an abscissa."""
    if not 0 < len(label) <= LONGEST_LABEL:
        return None
    plain = plain_label(label)
    return next((axis for pattern, axis in _AXES if pattern.fullmatch(plain)), None)


def is_intensity(label: str) -> bool:
    """Is it what was measured, and not a calculated curve, a background or an esd?"""
    plain = plain_label(label)
    if any(word in plain for word in _CALCULATED) or is_sigma(label):
        return False
    return plain in ("i", "y", "iau", "ycounts", "icounts", "icps") or plain.startswith(_INTENSITY)


def is_sigma(label: str) -> bool:
    """Is it an esd?"""
    return len(label) <= LONGEST_LABEL and bool(_SIGMA.search(label.lower().strip(" _")))


def is_weight(label: str) -> bool:
    """Is it a least-squares weight, 1/σ²?"""
    return bool(_WEIGHT.match(plain_label(label)))


def is_other(label: str) -> bool:
    """Is it a clock, a monitor, a calculated curve: anything but what was measured?"""
    plain = plain_label(label)
    words = (*_CALCULATED, "epoch", "sec", "date", "temp", "i0", "index", "point", "weight", "live", "dead", "current")
    return plain in ("n", "no", "nr", "t", "h", "k", "l") or any(word in plain for word in words)

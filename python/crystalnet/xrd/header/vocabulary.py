"""The words by which files speak of their radiation, in small letters."""

from __future__ import annotations

from crystalnet.xrd.emission_lines import RARE_TUBES, TUBES

# Words that show at a glance whether a line can say anything about the radiation.
HINTS = (
    *("wave", "wellen", "lambda", "labda", "λ", "wl", "energy", "kev", "ev)"),
    *("anode", "target", "tube", "radiation", "source"),
    *("ka", "kα", "kb", "kβ", "k-", "k_", "k a", "k α", "k b", "k\\", "alpha", "α", "xg", "monochr", "rachinger"),
    *("synchrotron", "undulator", "wiggler", "bending magnet", "beamline", "cthm", "w l", "ratio", "photon"),
)
WAVELENGTH = frozenset(("wavelength", "wavelengths", "wave", "lambda", "labda", "λ", "wl", "lamda", "wellenlänge"))
ENERGY = frozenset(("energy", "photon", "kev", "ev"))
ALPHA = frozenset(("kalpha", "ka", "kα"))
ALPHA1 = frozenset(("alpha1", "ka1", "kα1", "α1", "kalpha1", "a1"))
ALPHA2 = frozenset(("alpha2", "ka2", "kα2", "α2", "kalpha2", "a2"))
BETA = frozenset(("beta", "beta1", "kb", "kb1", "kβ", "kβ1", "β", "β1", "kbeta", "kbeta1", "wl3"))
# A number after these words is no wavelength, though the word "wavelength" stands there.
NO_QUANTITY = frozenset(
    (
        *("range", "date", "time", "min", "max", "minimum", "maximum", "step", "steps", "start", "stop", "end", "scan"),
        *("temperature", "count", "counts", "points", "number", "error", "esd", "sigma", "uncertainty", "resolution"),
        *("filter", "bandwidth", "spread", "threshold", "window", "edge", "voltage", "current", "distance", "offset"),
        *("dispersive", "dispersion", "gain", "discriminator", "lower", "upper", "theta", "angle", "file", "version"),
        *("code", "index", "id", "polarization", "polarisation", "pixel", "exposure", "thickness", "width", "fwhm"),
    )
)
# Nor is it one behind these: "min wavelength", "threshold energy".
NO_ADJECTIVE = frozenset(
    ("min", "max", "minimum", "maximum", "lower", "upper", "start", "end", "stop", "threshold", "edge", "cutoff")
)
MEAN = frozenset(("average", "mean", "avg", "averaged", "weighted"))
OTHER_UNITS = frozenset(
    ("mm", "cm", "um", "µm", "μm", "kv", "ma", "deg", "s", "sec", "c", "kw", "w", "px", "pixel", "°", "%")
)
ANODE = frozenset(
    (
        *("anode", "target", "tube", "radiation", "source", "anodematerial", "targetname", "tubematerial"),
        *("röntgenröhre", "tubeanode", "xraysource", "xrays"),
    )
)
# May stand between these and the element: "anode material: Cu", "X-ray source, sealed tube".
FILLERS = frozenset(
    (
        *("material", "element", "type", "name", "metal", "x", "ray", "xray"),
        *("is", "of", "the", "used", "sealed", "rotating"),
    )
)
ELEMENT_NAMES = {
    **{element.lower(): element for element in (*TUBES, *RARE_TUBES)},
    **{"copper": "Cu", "molybdenum": "Mo", "cobalt": "Co", "iron": "Fe", "chromium": "Cr", "silver": "Ag"},
    **{"gallium": "Ga", "nickel": "Ni", "zinc": "Zn", "manganese": "Mn", "kupfer": "Cu", "molybdän": "Mo"},
    **{"24": "Cr", "25": "Mn", "26": "Fe", "27": "Co", "28": "Ni", "29": "Cu", "30": "Zn", "31": "Ga"},
    **{"42": "Mo", "47": "Ag"},  # Rigaku's *TARGET is an atomic number
}
SYNCHROTRON = frozenset(("synchrotron", "undulator", "wiggler", "beamline"))
STRIPPED = frozenset(
    (
        *("stripped", "stripping", "strip", "removed", "removal", "subtracted", "subtraction"),
        *("eliminated", "elimination", "rachinger"),
    )
)
DENIED = frozenset(("not", "no", "off", "false", "none", "nein", "unstripped", "never"))
CRYSTALS = frozenset(("graphite", "hopg", "ge", "germanium", "si", "silicon", "lif", "quartz", "diamond"))

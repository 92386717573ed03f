"""Numbers as a crystallographer writes them: 5.4624(13), the esd in units of the last digits."""

from __future__ import annotations

import math

ESD_DIGITS = 2
MOST_DECIMALS = 9


def with_esd(value: float | None, esd: float | None = None, decimals: int = 4, least: int = 0) -> str:
    """A value with its esd in parentheses, two digits of it; a dash where there is no value.

    Parameters
    ----------
    value, esd : float or None
        In one unit. An esd that is not known (None, nan) or 0 is left out.
    decimals : int
        Of a value without esd.
    least : int
        Decimals at least, where the value is read by programs: the esd has more digits then.

    Examples
    --------
    >>> with_esd(5.462400, 0.000133), with_esd(0.0629, 0.0148, least=5), with_esd(0.25), with_esd(1234.5, 98.7)
    ('5.46240(13)', '0.06290(1480)', '0.2500', '1234(99)')
    """
    if value is None or not math.isfinite(value):
        return "–"
    if esd is None or not (math.isfinite(esd) and esd > 0):
        return f"{_no_minus_zero(value, decimals):.{decimals}f}"
    shown = ESD_DIGITS - 1 - math.floor(math.log10(float(f"{esd:.{ESD_DIGITS - 1}e}")))
    places = min(max(shown, least, 0), MOST_DECIMALS)
    return f"{_no_minus_zero(value, places):.{places}f}({max(1, round(esd * 10**places))})"


def _no_minus_zero(value: float, decimals: int) -> float:
    return round(value, decimals) + 0.0

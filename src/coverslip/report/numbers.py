"""Numbers as people read them: sensible digits, a unit, and a dash where there is none."""

from __future__ import annotations

import math
from datetime import UTC, datetime

NONE = "–"
"""What stands where there is no number."""

NARROW = "\N{NARROW NO-BREAK SPACE}"
"""Between thousands, and between a number and its unit."""

Number = float | int | None


def known(value: Number) -> bool:
    """Say whether there is a finite number.

    Examples
    --------
    >>> known(0), known(None), known(float("nan"))
    (True, False, False)
    """
    return value is not None and math.isfinite(value)


def number(value: Number, digits: int = 3) -> str:
    """Write a number with `digits` significant digits, thousands apart; whole numbers keep all of theirs.

    Examples
    --------
    >>> number(0.49931), number(142.371), number(None)
    ('0.499', '142', '–')
    >>> number(46000).replace(NARROW, " ")
    '46 000'
    """
    if value is None or not math.isfinite(value):
        return NONE
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{min(decimals, 9)}f}"
    if "." in text and isinstance(value, int):
        text = text.partition(".")[0]
    return text.replace(",", NARROW).replace("-", "\N{MINUS SIGN}")


def plain(value: float) -> str:
    """Write a round number as an axis shows it.

    Examples
    --------
    >>> plain(0.5), plain(20.0), plain(20000).replace(NARROW, " ")
    ('0.5', '20', '20 000')
    """
    text = f"{value:,.6f}".rstrip("0").rstrip(".")
    return text.replace(",", NARROW).replace("-", "\N{MINUS SIGN}")


def quantity(value: Number, unit: str, digits: int = 3) -> str:
    """Write a number and its unit.

    Examples
    --------
    >>> quantity(0.499, "µm/px").replace(NARROW, " ")
    '0.499 µm/px'
    >>> quantity(None, "mm²")
    '–'
    """
    return f"{number(value, digits)}{NARROW}{unit}" if known(value) and unit else number(value, digits)


def counted(count: int, one: str, many: str | None = None) -> str:
    """Write how many of something there are.

    Examples
    --------
    >>> counted(1, "piece"), counted(2, "piece"), counted(0, "class", "classes")
    ('1 piece', '2 pieces', '0 classes')
    """
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def percent(share: Number) -> str:
    """Write a share of one in per cent; what is there but tiny is not written as nothing.

    Examples
    --------
    >>> [percent(share).replace(NARROW, " ") for share in (0.8213, 0.9996, 0.0401, 0.0002, 0, None)]
    ['82 %', '99.9 %', '4.0 %', '< 0.1 %', '0 %', '–']
    """
    if share is None or not math.isfinite(share):
        return NONE
    hundred = 100 * share
    if hundred == 0:
        return f"0{NARROW}%"
    if 0 < hundred < 0.1:
        return f"<{NARROW}0.1{NARROW}%"
    if 99 < hundred < 100:
        return f"{math.floor(hundred * 10) / 10:.1f}{NARROW}%"
    return f"{hundred:.{1 if hundred < 10 else 0}f}{NARROW}%"


def length(um: Number) -> str:
    """Write a length in µm or mm, whichever reads better.

    Examples
    --------
    >>> length(250).replace(NARROW, " "), length(2500).replace(NARROW, " ")
    ('250 µm', '2.5 mm')
    """
    if um is None or not math.isfinite(um):
        return NONE
    return f"{um / 1000:g}{NARROW}mm" if um >= 1000 else f"{um:g}{NARROW}µm"


def seconds(value: Number) -> str:
    """Write a duration.

    Examples
    --------
    >>> [seconds(value).replace(NARROW, " ") for value in (0.034, 8.26, 95, 4000)]
    ['34 ms', '8.3 s', '1 min 35 s', '1 h 6 min']
    """
    if value is None or not math.isfinite(value):
        return NONE
    if value < 1:
        return f"{1000 * value:.0f}{NARROW}ms"
    if value < 60:
        return f"{value:.1f}{NARROW}s"
    if value < 3600:
        return f"{int(value // 60)}{NARROW}min {int(value % 60)}{NARROW}s"
    return f"{int(value // 3600)}{NARROW}h {int(value % 3600 // 60)}{NARROW}min"


def moment(stamp: str | None) -> str:
    """Write an ISO 8601 time to the minute.

    Examples
    --------
    >>> moment("2026-11-20T17:41:14+00:00"), moment(None)
    ('2026-11-20 17:41 UTC', '–')
    """
    if not stamp:
        return NONE
    try:
        return datetime.fromisoformat(stamp).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    except ValueError:
        return stamp


def nice_step(span: float, parts: int = 5) -> float:
    """Return a step of 1, 2 or 5 times a power of ten that cuts `span` into about `parts`.

    Examples
    --------
    >>> nice_step(1.0), nice_step(37), nice_step(0)
    (0.2, 5.0, 1.0)
    """
    if not (span > 0 and math.isfinite(span)):
        return 1.0
    power = 10.0 ** math.floor(math.log10(span / parts))
    lead = span / parts / power
    return float(f"{power * (1 if lead < 1.5 else 2 if lead < 3.5 else 5 if lead < 7.5 else 10):.6g}")

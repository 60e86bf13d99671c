"""Summaries of groups, as ``count, mean(area_um2), share(class == 'tumour')``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from coverslip.core import unknown
from coverslip.store.query.expression import Parser, Sql, Type, quoted
from coverslip.store.query.tokens import mistake

OF_NUMBERS = {
    "mean": "avg({})",
    "median": "median({})",
    "sd": "stddev_samp({})",
    "min": "min({})",
    "max": "max({})",
    "sum": "sum({})",
}
KNOWN = ("count", "share", "p<percent>", *OF_NUMBERS)
_PERCENT = re.compile(r"p(\d{1,2}(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class Summary:
    """One column of the answer: its name as it was written, and its SQL."""

    name: str
    sql: Sql


def summaries(text: str, columns: Mapping[str, Type]) -> tuple[Summary, ...]:
    """Parse a list of summaries.

    Parameters
    ----------
    text
        ``count``; ``mean``, ``median``, ``sd`` (n − 1), ``min``, ``max``, ``sum`` and percentiles such as
        ``p90`` of a value; ``share`` of a condition.

    Raises
    ------
    UsageError
        When it does not parse.
    UnknownNameError
        For an unknown summary or column.

    Examples
    --------
    >>> [s.sql.text for s in summaries("count, p90(area / 2)", {"area": "number"})]
    ['count(*)', 'quantile_cont(("area" / ?), 0.9)']
    """
    parser = Parser(text, columns)
    found = [_one(parser)]
    while parser.take(","):
        found.append(_one(parser))
    if parser.now.kind != "end":
        raise parser.wrong("expected a comma or the end")
    return tuple(found)


def _one(parser: Parser) -> Summary:
    begin = parser.now
    if begin.kind != "name":
        raise parser.wrong("expected a summary, as mean(area_um2)")
    name = parser.step().value
    if name == "count":
        if parser.take("("):
            parser.expect(")")
        return Summary("count", Sql("count(*)", (), "number"))
    make = _maker(name)
    parser.expect("(")
    inner = parser.either() if name == "share" else parser.sum()
    end = parser.now.at
    parser.expect(")")
    wanted = "truth" if name == "share" else "number"
    if inner.type != wanted:
        needed = "a condition" if name == "share" else "a number"
        raise mistake(parser.text, begin.at, f"{name} takes {needed}, not {inner.type}")
    return Summary(parser.text[begin.at : end + 1], Sql(make(inner.text), inner.values, "number"))


def _maker(name: str) -> Callable[[str], str]:
    if name == "share":
        return lambda inner: f"avg(case when {inner} then 1.0 else 0.0 end)"
    if percent := _PERCENT.fullmatch(name):
        return lambda inner: f"quantile_cont({inner}, {float(percent[1]) / 100:.6g})"
    if name not in OF_NUMBERS:
        raise unknown("summary", name, KNOWN)
    return OF_NUMBERS[name].format


def named(summary: Summary) -> str:
    """Return the SQL of a summary under its name."""
    return f"{summary.sql.text} as {quoted(summary.name)}"

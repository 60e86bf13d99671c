"""The words of an expression, each with its place, so that an error can point at it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from coverslip.core.errors import UsageError

KEYWORDS = ("and", "or", "not", "in", "between", "null")

_PATTERN = re.compile(
    r"""\s*(?:
        (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![A-Za-z_])
      | (?P<name>[^\W\d][\w.]*|`[^`]+`)
      | (?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
      | (?P<sign>==|!=|<=|>=|<|>|\+|-|\*|/|\(|\)|\[|\]|,)
    )""",
    re.VERBOSE,
)
_HINTS = {
    "=": "write == to compare",
    "&": "write and",
    "|": "write or",
    "!": "write != or not",
    "'": "close the quote",
    '"': "close the quote",
}


@dataclass(frozen=True, slots=True)
class Token:
    """One word: its kind (number, name, text, sign, end), its value, and where it begins."""

    kind: str
    value: str
    at: int


def tokens_of(text: str) -> list[Token]:
    """Split an expression.

    Raises
    ------
    UsageError
        At a character that means nothing here.

    Examples
    --------
    >>> [token.value for token in tokens_of("area_um2 >= 80 and class != 'x'")]
    ['area_um2', '>=', '80', 'and', 'class', '!=', 'x', '']
    """
    found, at = [], 0
    while text[at:].strip():
        match = _PATTERN.match(text, at)
        if match is None:
            start = at + len(text[at:]) - len(text[at:].lstrip())
            raise mistake(text, start, f"{text[start]!r} has no meaning here", _HINTS.get(text[start]))
        kind = str(match.lastgroup)
        value = match[kind]
        if kind == "text":
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        elif value.startswith("`"):
            value = value[1:-1]
        elif kind == "name" and value.lower() in KEYWORDS:
            kind, value = "sign", value.lower()
        found.append(Token(kind, value, match.start(match.lastgroup or 0)))
        at = match.end()
    return [*found, Token("end", "", len(text))]


def mistake(text: str, at: int, what: str, mend: str | None = None) -> UsageError:
    """Make the error for an expression, with a mark under the place."""
    return UsageError(f"{what}\n  {text}\n  {' ' * at}^", mend=mend or "see coverslip query --help")

"""Expressions over columns, as ``area_um2 > 80 and class == 'tumour'``, made into SQL that cannot do harm.

An expression is parsed here, never handed on: names must be columns, values become parameters, and only the
operators and functions below come out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from coverslip.core import unknown
from coverslip.store.query.tokens import Token, mistake, tokens_of

Type = Literal["number", "text", "truth", "null"]
Value = float | str

COMPARE = {
    "==": "({} is not distinct from {})",
    "!=": "({} is distinct from {})",
    "<": "coalesce({} < {}, false)",
    "<=": "coalesce({} <= {}, false)",
    ">": "coalesce({} > {}, false)",
    ">=": "coalesce({} >= {}, false)",
}
"""As in Python, a comparison is true or false: with a value that is missing it is false, and != is true."""
FUNCTIONS = {"abs": "abs", "sqrt": "sqrt", "log": "ln", "log10": "log10", "exp": "exp", "round": "round"}
DEEPEST = 40
"""Parentheses within each other; more are a mistake, or an attack on the stack."""


@dataclass(frozen=True, slots=True)
class Sql:
    """A piece of SQL with ``?`` for each of its parameters, and what it yields."""

    text: str
    values: tuple[Value, ...]
    type: Type


def quoted(name: str) -> str:
    """Return a name as SQL writes it.

    Examples
    --------
    >>> quoted('a"b')
    '"a""b"'
    """
    return '"' + name.replace('"', '""') + '"'


def condition(text: str, columns: Mapping[str, Type]) -> Sql:
    """Parse what is true or false of a row.

    Parameters
    ----------
    columns
        Type of each column that may be named.

    Raises
    ------
    UsageError
        When it does not parse, compares a number with text, or yields no truth; with a mark at the place.
    UnknownNameError
        When it names no column; the nearest match is in the message.

    Examples
    --------
    >>> condition("area > 80 and class in ('a', 'b')", {"area": "number", "class": "text"}).text
    '(coalesce("area" > ?, false) and coalesce("class" in (?, ?), false))'
    """
    parser = Parser(text, columns)
    found = parser.whole()
    if found.type != "truth":
        raise mistake(text, 0, "that is no condition", "compare it, as in area_um2 > 80")
    return found


class Parser:
    """Recursive descent over the tokens of one text."""

    def __init__(self, text: str, columns: Mapping[str, Type]) -> None:
        self.text, self._columns = text, columns
        self._tokens, self._at, self._depth = tokens_of(text), 0, 0

    # ------------------------------------------------------------------ tokens
    @property
    def now(self) -> Token:
        """The next token."""
        return self._tokens[self._at]

    def take(self, *values: str) -> Token | None:
        """Step over one of these signs, if it is next."""
        token = self.now
        if token.kind == "sign" and token.value in values:
            self._at += 1
            return token
        return None

    def expect(self, value: str) -> None:
        """Step over this sign.

        Raises
        ------
        UsageError
            When something else is next.
        """
        if self.take(value) is None:
            raise self.wrong(f"expected {value!r}")

    def step(self) -> Token:
        """Step over any token."""
        self._at += 1
        return self._tokens[self._at - 1]

    def wrong(self, what: str, mend: str | None = None) -> Exception:
        """Make the error for the next token."""
        got = "the end" if self.now.kind == "end" else repr(self.now.value)
        return mistake(self.text, self.now.at, f"{what}, got {got}", mend)

    # ------------------------------------------------------------------ grammar
    def whole(self) -> Sql:
        """Parse all of the text."""
        found = self.either()
        if self.now.kind != "end":
            raise self.wrong("expected and, or, a comparison or the end")
        return found

    def either(self) -> Sql:
        """Parse ``a or b``."""
        return self._joined(self._both, "or")

    def _both(self) -> Sql:
        return self._joined(self._denied, "and")

    def _joined(self, inner: Callable[[], Sql], word: str) -> Sql:
        found = inner()
        while self.take(word):
            found = self._combined(found, word, inner())
        return found

    def _combined(self, left: Sql, word: str, right: Sql) -> Sql:
        for part in (left, right):
            if part.type != "truth":
                raise self.wrong(f"{word} joins conditions", "compare both sides, as in a > 1 and b > 2")
        return Sql(f"({left.text} {word} {right.text})", left.values + right.values, "truth")

    def _denied(self) -> Sql:
        if not self.take("not"):
            return self._compared()
        self._deeper()
        inner = self._denied()
        self._depth -= 1
        if inner.type != "truth":
            raise self.wrong("not denies a condition")
        return Sql(f"(not {inner.text})", inner.values, "truth")

    def _compared(self) -> Sql:
        left = self.sum()
        if word := self._spread():
            return word(left)
        found: Sql | None = None
        while token := self.take(*COMPARE):
            right = self.sum()
            link = self._comparison(left, token, right)
            found = link if found is None else self._combined(found, "and", link)
            left = right
        return left if found is None else found

    def _comparison(self, left: Sql, token: Token, right: Sql) -> Sql:
        if "null" in (left.type, right.type):
            return self._missing(left, token, right)
        self._same(left, right, token)
        text = COMPARE[token.value].format(left.text, right.text)
        return Sql(text, left.values + right.values, "truth")

    def _missing(self, left: Sql, token: Token, right: Sql) -> Sql:
        if token.value not in {"==", "!="} or left.type == right.type:
            raise mistake(self.text, token.at, "null can only be compared by == and !=")
        known = left if right.type == "null" else right
        word = "is" if token.value == "==" else "is not"
        return Sql(f"({known.text} {word} null)", known.values, "truth")

    def _same(self, left: Sql, right: Sql, token: Token) -> None:
        if left.type != right.type or left.type == "truth":
            told = f"cannot compare {left.type} and {right.type}"
            hint = "put text in quotes, and numbers not" if "text" in (left.type, right.type) else None
            raise mistake(self.text, token.at, told, hint)

    def _spread(self) -> Callable[[Sql], Sql] | None:
        """Step over ``in``, ``between`` and their denials, and return what makes the condition."""
        start = self._at
        denied = "(not {})" if self.take("not") else "{}"
        token, make = self.now, {"in": self._within, "between": self._between}
        if self.take(*make):
            return lambda left: make[token.value](left, denied, token)
        self._at = start
        return None

    def _within(self, left: Sql, denied: str, token: Token) -> Sql:
        close = ")" if self.take("(") else "]"
        if close == "]":
            self.expect("[")
        items = [self.sum()]
        while self.take(","):
            items.append(self.sum())
        self.expect(close)
        for item in items:
            self._same(left, item, token)
        inside = ", ".join(item.text for item in items)
        values = sum((item.values for item in items), left.values)
        return Sql(denied.format(f"coalesce({left.text} in ({inside}), false)"), values, "truth")

    def _between(self, left: Sql, denied: str, token: Token) -> Sql:
        low = self.sum()
        self.expect("and")
        high = self.sum()
        self._same(left, low, token)
        self._same(left, high, token)
        values = left.values + low.values + high.values
        text = f"coalesce({left.text} between {low.text} and {high.text}, false)"
        return Sql(denied.format(text), values, "truth")

    # ------------------------------------------------------------------ numbers
    def sum(self) -> Sql:
        """Parse a value: columns, numbers, text, and arithmetic with them."""
        return self._chain(self._product, "+", "-")

    def _product(self) -> Sql:
        return self._chain(self._signed, "*", "/")

    def _chain(self, inner: Callable[[], Sql], *signs: str) -> Sql:
        found = inner()
        while token := self.take(*signs):
            right = inner()
            self._numbers(token, found, right)
            found = Sql(f"({found.text} {token.value} {right.text})", found.values + right.values, "number")
        return found

    def _numbers(self, token: Token, *parts: Sql) -> None:
        for part in parts:
            if part.type != "number":
                raise mistake(self.text, token.at, f"{token.value} takes numbers, not {part.type}")

    def _signed(self) -> Sql:
        if (token := self.take("-")) is None:
            return self._atom()
        self._deeper()
        inner = self._signed()
        self._depth -= 1
        self._numbers(token, inner)
        return Sql(f"(-{inner.text})", inner.values, "number")

    def _atom(self) -> Sql:
        if self.take("null"):
            return Sql("null", (), "null")
        if self.take("("):
            self._deeper()
            found = self.either()
            self.expect(")")
            self._depth -= 1
            return found
        if self.now.kind not in {"number", "text", "name"}:
            raise self.wrong("expected a column, a number or text")
        token = self.step()
        if token.kind == "number":
            return Sql("?", (float(token.value),), "number")
        if token.kind == "text":
            return Sql("?", (token.value,), "text")
        return self._called(token) if self.take("(") else self._column(token)

    def _called(self, token: Token) -> Sql:
        if token.value not in FUNCTIONS:
            raise unknown("function", token.value, FUNCTIONS)
        self._deeper()
        inner = self.sum()
        self._depth -= 1
        self.expect(")")
        self._numbers(token, inner)
        return Sql(f"{FUNCTIONS[token.value]}({inner.text})", inner.values, "number")

    def _column(self, token: Token) -> Sql:
        if token.value not in self._columns:
            raise unknown("column", token.value, self._columns)
        return Sql(quoted(token.value), (), self._columns[token.value])

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise self.wrong(f"more than {DEEPEST} levels of parentheses")

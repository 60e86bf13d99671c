"""Passwords: kept as Argon2id; an unknown name takes as long to refuse as a wrong password."""

from __future__ import annotations

from functools import cache
from typing import Any

from coverslip.core.errors import MissingExtraError, UsageError

LEAST, MOST = 12, 256
"""Characters of a password; no other rule makes one harder to guess (NIST SP 800-63B)."""

COMMON = ("password", "passwort", "coverslip", "123456789012", "qwertyuiopas", "letmeinplease")
"""Beginnings that everybody tries first."""


@cache
def _hasher() -> Any:
    try:
        from argon2 import PasswordHasher
    except ImportError as error:
        raise MissingExtraError.of("argon2-cffi", "server") from error
    return PasswordHasher()  # the library's defaults follow RFC 9106, second recommendation


@cache
def _nobodys() -> str:
    return str(_hasher().hash("nobody has this password"))


def check_password(password: str, name: str) -> None:
    """Refuse a password that is quickly guessed.

    Raises
    ------
    UsageError
        With what to do.
    """
    low = password.lower()
    if not LEAST <= len(password) <= MOST:
        raise UsageError(
            f"the password has {len(password)} characters",
            mend=f"take {LEAST} to {MOST}; a few words do well",
        )
    if len(set(password)) < 5 or low.startswith(COMMON) or (len(name) > 3 and name.lower() in low):
        raise UsageError(
            "this password is among the first that are guessed", mend="take a few unrelated words"
        )


def hashed(password: str) -> str:
    """Return what is kept of a password."""
    return str(_hasher().hash(password))


def fits(password: str, kept: str | None) -> bool:
    """Say whether a password is the one of which `kept` was kept; None takes as long and fits nothing."""
    from argon2.exceptions import InvalidHashError, VerificationError

    if len(password) > MOST:
        return False
    try:
        return bool(_hasher().verify(kept or _nobodys(), password)) and kept is not None
    except (VerificationError, InvalidHashError):
        return False


def is_outdated(kept: str) -> bool:
    """Say whether the password should be hashed anew, since the library's defaults became harder."""
    return bool(_hasher().check_needs_rehash(kept))

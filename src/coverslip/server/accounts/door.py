"""The door of a group: a session's cookie, or a program's token, known again without asking the database."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping
from threading import Lock
from typing import Any

from coverslip.server.access import Door, Person, Unsure, bearer_of, cookie_of
from coverslip.server.accounts.people import digest_of_code
from coverslip.server.accounts.sessions import Sessions

SURE_S = 10.0
"""How long a session is taken for good without asking the database: a block elsewhere works after that."""

KNOWN = 4096
"""Sessions that are remembered."""


class AccountsDoor(Door):
    """Lets in people of the accounts.

    Parameters
    ----------
    sessions
        Knows whose session a token is.
    secure
        True where browsers come by TLS: the cookie then goes back by TLS alone, and to this host alone.
    """

    is_for_one = False

    def __init__(self, sessions: Sessions, *, secure: bool) -> None:
        self.sessions, self.secure = sessions, secure
        self._known: OrderedDict[str, tuple[Person, float]] = OrderedDict()
        self._lock = Lock()

    def cookie(self, scope: Mapping[str, Any]) -> str:  # noqa: ARG002 - one name, wherever it is asked
        """Return the name of the cookie."""
        return "__Host-coverslip" if self.secure else "coverslip-login"

    def token(self, scope: Mapping[str, Any]) -> str:
        """Return what a request shows, or an empty text."""
        return cookie_of(scope, self.cookie(scope)) or bearer_of(scope)

    def at_once(self, scope: Mapping[str, Any]) -> Person | Unsure | None:
        """Return who a request comes from where that is fresh in memory."""
        token = self.token(scope)
        if not token:
            return None
        with self._lock:
            found = self._known.get(digest_of_code(token))
        return found[0] if found is not None and found[1] > time.monotonic() else Unsure.UNSURE

    def admit(self, scope: Mapping[str, Any]) -> Person | None:
        """Return who a request comes from, by the database."""
        known = self.at_once(scope)
        if known is not Unsure.UNSURE:
            return known
        token = self.token(scope)
        person, digest = self.sessions.find(token), digest_of_code(token)
        with self._lock:
            self._known.pop(digest, None)
            if person is not None:
                self._known[digest] = (person, time.monotonic() + SURE_S)
            while len(self._known) > KNOWN:
                self._known.popitem(last=False)
        return person

    def forget(self) -> None:
        """Ask the database for everybody again: somebody left, or may do something else now."""
        with self._lock:
            self._known.clear()

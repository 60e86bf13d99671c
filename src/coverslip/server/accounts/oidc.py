"""Login by OpenID Connect: authorisation code with PKCE, state and nonce, by Authlib."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from coverslip.core.errors import MissingExtraError, StoreError, UsageError
from coverslip.server.access import LOOPBACK, Role

BEGUN_S = 600.0
"""How long somebody may take to log in at the provider."""

BEGUN = 2000
"""Logins that are under way; the oldest must begin anew when there are more."""

PATIENCE_S = 10.0
"""How long the provider may take to answer."""

ALGORITHMS = ("RS256", "PS256", "ES256", "ES384", "EdDSA")
"""Of signatures that are believed; ``none`` and those with a shared secret are not."""

LEEWAY_S = 60
"""By which clocks may differ."""


@dataclass(frozen=True)
class Begun:
    """A login that is under way."""

    verifier: str
    nonce: str
    then: str
    until: float


@dataclass
class Provider:
    """Somebody else's login, asked by OpenID Connect.

    Attributes
    ----------
    issuer
        Its address; ``/.well-known/openid-configuration`` below it says the rest.
    client_id, client_secret
        Under which it knows this server; no secret for a public client.
    redirect
        Our address that it sends browsers back to.
    name
        On the button.
    admit
        Role of whoever it vouches for and nobody added here; None lets in people who were added alone.
    scope
        What it is asked for.
    """

    issuer: str
    client_id: str
    client_secret: str | None
    redirect: str
    name: str = "single sign-on"
    admit: Role | None = None
    scope: str = "openid profile email"
    _begun: OrderedDict[str, Begun] = field(default_factory=OrderedDict, repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False)
    _found: dict[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        at = urlsplit(self.issuer)
        if at.scheme != "https" and not (at.scheme == "http" and at.hostname in LOOPBACK):
            raise UsageError(
                f"the issuer {self.issuer!r} is not reached by TLS", mend="give its https:// address"
            )

    def begin(self, then: str) -> tuple[str, str]:
        """Return the address to send a browser to, and the state that its cookie must bring back."""
        from authlib.common.security import generate_token

        state, nonce, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(24), generate_token(64)
        with self._client() as client:
            address, _ = client.create_authorization_url(
                self._metadata()["authorization_endpoint"], state=state, code_verifier=verifier, nonce=nonce
            )
        with self._lock:
            self._begun[state] = Begun(verifier, nonce, then, time.monotonic() + BEGUN_S)
            while len(self._begun) > BEGUN:
                self._begun.popitem(last=False)
        return address, state

    def finish(self, asked: Mapping[str, str], state: str) -> tuple[dict[str, Any], str]:
        """Return what the provider vouches for, and where the browser wanted to go.

        Parameters
        ----------
        asked
            The question with which the browser came back.
        state
            What its cookie holds: another browser's login is not taken over.

        Raises
        ------
        UsageError
            When the login is not the one that was begun, or the provider's word does not hold.
        StoreError
            When the provider does not answer.
        """
        with self._lock:
            begun = self._begun.pop(asked.get("state", ""), None)
        if (
            begun is None
            or begun.until < time.monotonic()
            or not secrets.compare_digest(state, asked["state"])
        ):
            raise UsageError("this login was not begun here, or too long ago", mend="log in again")
        if "code" not in asked:
            said = str(asked.get("error_description") or asked.get("error") or "nothing")[:200]
            raise UsageError(
                f"{self.name} did not let you in: {said}", mend="log in again, or ask who runs it"
            )
        token = self._token(asked["code"], begun.verifier)
        return self._claims(token, begun.nonce), begun.then

    # ------------------------------------------------------------------ asking the provider
    def _client(self) -> Any:
        try:
            from authlib.integrations.httpx_client import OAuth2Client
        except ImportError as error:
            raise MissingExtraError.of("Authlib", "server") from error
        return OAuth2Client(
            self.client_id, self.client_secret, redirect_uri=self.redirect, scope=self.scope,
            code_challenge_method="S256", timeout=PATIENCE_S, trust_env=False,
            token_endpoint_auth_method="client_secret_basic" if self.client_secret else "none",
        )  # fmt: skip

    def _metadata(self) -> dict[str, Any]:
        if "metadata" not in self._found:
            found = self._get(self.issuer.rstrip("/") + "/.well-known/openid-configuration")
            if found.get("issuer") != self.issuer:
                raise StoreError(
                    f"{self.issuer} calls itself {found.get('issuer')}",
                    mend="state the issuer as it calls itself",
                )
            self._found["metadata"] = found
        return dict(self._found["metadata"])

    def _get(self, address: str) -> dict[str, Any]:
        import httpx

        try:
            answer = httpx.get(address, timeout=PATIENCE_S, trust_env=False)
            answer.raise_for_status()
            return dict(answer.json())
        except (httpx.HTTPError, ValueError, TypeError) as error:
            raise self._away(address, error) from error

    def _token(self, code: str, verifier: str) -> dict[str, Any]:
        import httpx
        from authlib.common.errors import AuthlibBaseError

        endpoint = self._metadata()["token_endpoint"]
        try:
            with self._client() as client:
                token = client.fetch_token(
                    endpoint, grant_type="authorization_code", code=code, code_verifier=verifier,
                    redirect_uri=self.redirect,
                )  # fmt: skip
        except AuthlibBaseError as error:
            raise UsageError(f"{self.name} refused the login: {error}", mend="log in again") from error
        except (httpx.HTTPError, ValueError) as error:
            raise self._away(endpoint, error) from error
        return dict(token)

    def _claims(self, token: Mapping[str, Any], nonce: str) -> dict[str, Any]:
        """Return the claims of an ID token whose signature and content hold."""
        from authlib.oidc.core import CodeIDToken
        from joserfc import jwt
        from joserfc.errors import JoseError

        wanted = {
            "iss": {"essential": True, "value": self.issuer},
            "aud": {"essential": True, "value": self.client_id},
        }
        asked = {"nonce": nonce, "client_id": self.client_id, "access_token": token.get("access_token")}
        try:
            read = jwt.decode(
                str(token.get("id_token", "")), self._keys(fresh=False), algorithms=list(ALGORITHMS)
            )
        except (JoseError, ValueError):
            try:  # the provider may have changed its keys
                read = jwt.decode(
                    str(token.get("id_token", "")), self._keys(fresh=True), algorithms=list(ALGORITHMS)
                )
            except (JoseError, ValueError) as error:
                raise self._no_word(error) from error
        try:
            CodeIDToken(read.claims, read.header, wanted, asked).validate(leeway=LEEWAY_S)
        except JoseError as error:
            raise self._no_word(error) from error
        return dict(read.claims)

    def _keys(self, *, fresh: bool) -> Any:
        from joserfc.jwk import KeySet

        if fresh or "keys" not in self._found:
            self._found["keys"] = KeySet.import_key_set(self._get(self._metadata()["jwks_uri"]))  # type: ignore[arg-type]
        return self._found["keys"]

    def _no_word(self, error: Exception) -> UsageError:
        return UsageError(
            f"the word of {self.name} does not hold: {error}", mend="log in again, or ask who runs it"
        )

    def _away(self, address: str, error: Exception) -> StoreError:
        return StoreError(f"{self.name} does not answer at {address}: {error}", mend="try again in a moment")

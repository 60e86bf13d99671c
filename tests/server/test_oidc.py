"""Login by OpenID Connect, against a provider that answers over HTTP."""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

import httpx
import pytest
import uvicorn
from fastapi.testclient import TestClient
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse
from starlette.routing import Route

from coverslip.core.errors import UsageError
from coverslip.server import Library
from coverslip.server.accounts import People
from coverslip.server.accounts.oidc import Provider
from coverslip.server.accounts.settings import Oidc, Settings
from coverslip.server.app import make_app
from coverslip.server.db import Database, Record
from coverslip.server.opening import group_site

URL = "https://testserver"


# ---------------------------------------------------------------------- a provider on loopback
CLIENT, SECRET = "coverslip", "s3cret"


@dataclass
class RunningProvider:
    """The provider's memory, and what tests make it do wrong."""

    issuer: str = ""
    user: dict[str, Any] = field(default_factory=dict)
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, auto_kid=True))
    signs_with: RSAKey | None = None
    claims: dict[str, Any] = field(default_factory=dict)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    token_requests: list[dict[str, str]] = field(default_factory=list)

    def configuration(self, _request: Request) -> JSONResponse:
        return JSONResponse(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
            }
        )

    def keys(self, _request: Request) -> JSONResponse:
        return JSONResponse({"keys": [self.key.as_dict(private=False)]})

    def authorize(self, request: Request) -> RedirectResponse:
        """Log the user in at once and send the browser back with a code."""
        asked = dict(request.query_params)
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT
        assert asked["code_challenge_method"] == "S256"
        if not self.user:
            back = {"error": "access_denied", "state": asked["state"]}
        else:
            code = secrets.token_urlsafe(12)
            self.codes[code] = asked
            back = {"code": code, "state": asked["state"]}
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(back)}", 302)

    async def token(self, request: Request) -> JSONResponse:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        self.token_requests.append(form)
        given = base64.b64decode(request.headers["authorization"].split()[1]).decode()
        asked = self.codes.pop(form["code"], None)
        challenge = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        fits = asked is not None and asked["code_challenge"] == (
            base64.urlsafe_b64encode(challenge).decode().rstrip("=")
        )
        if not fits or given != f"{CLIENT}:{SECRET}" or form["redirect_uri"] != asked["redirect_uri"]:
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        key = self.signs_with or self.key
        token = jwt.encode({"alg": "RS256", "kid": key.kid}, {**claims, **self.user, **self.claims}, key)
        return JSONResponse(
            {"access_token": "a", "token_type": "Bearer", "expires_in": 300, "id_token": token}
        )

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self.configuration),
                Route("/keys", self.keys),
                Route("/authorize", self.authorize),
                Route("/token", self.token, methods=["POST"]),
            ]
        )


def started() -> tuple[RunningProvider, Any]:
    """Return a provider that answers, and what ends it."""
    provider = RunningProvider()
    server = uvicorn.Server(uvicorn.Config(provider.app(), port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    provider.issuer = f"http://127.0.0.1:{port}"

    def stop() -> None:
        server.should_exit = True
        thread.join()

    return provider, stop


@pytest.fixture(scope="module")
def running() -> Iterator[Any]:
    provider, stop = started()
    yield provider
    stop()


@pytest.fixture
def provider(running: Any) -> Any:
    running.user = {"sub": "u1", "name": "Ada", "email": "ada@lab.example", "email_verified": True}
    running.claims, running.signs_with = {}, None
    running.token_requests.clear()
    return running


@pytest.fixture
def people(database: Database) -> People:
    made = People(database, Record(database))
    made.add("test", "Root", "admin")
    return made


def client_of(library: Library, database: Database, provider: Any, folder: Path, **more: Any) -> TestClient:
    (folder / "secret").write_text(f"{SECRET}\n")
    oidc = Oidc(issuer=provider.issuer, client_id=CLIENT, client_secret_file=folder / "secret", **more)
    settings = Settings(url=URL, proxy="127.0.0.1", oidc=oidc, passwords=False)
    return TestClient(
        make_app(group_site(library, database, settings)), base_url=URL, raise_server_exceptions=False
    )


@pytest.fixture
def client(
    library: Library, database: Database, provider: Any, people: People, tmp_path: Path
) -> Iterator[TestClient]:
    with client_of(library, database, provider, tmp_path) as made:
        yield made


def through(client: TestClient, then: str = "/") -> Any:
    """Go to the provider and back, as a browser does."""
    sent = client.get("/login/oidc", params={"then": then}, follow_redirects=False)
    assert sent.status_code == 303, sent.text
    back = httpx.get(sent.headers["location"], trust_env=False)
    return client.get(back.headers["location"].removeprefix(URL), follow_redirects=False)


def test_who_was_added_comes_in(client: TestClient, people: People, provider: Any) -> None:
    people.add("Root", "Ada Lovelace", "annotator", email="ada@lab.example")
    answer = through(client, "/?slide=7")
    assert answer.status_code == 200
    assert 'content="0;url=/?slide=7"' in answer.text
    me = client.get("/api/me").json()
    assert (me["name"], me["role"]) == ("Ada Lovelace", "annotator")
    assert people.get("Ada Lovelace").comes_by == ("oidc",)
    (request,) = provider.token_requests
    assert len(request["code_verifier"]) >= 43
    provider.user = {"sub": "u1", "email": "other@lab.example", "email_verified": True}
    assert through(client).status_code == 200, "known by issuer and subject from now on"


def test_nobody_added_them(client: TestClient, people: People, provider: Any) -> None:
    refused = through(client)
    assert refused.status_code == 403
    assert "nobody added you" in refused.text
    assert client.get("/api/me").status_code == 401
    people.add("Root", "Ada", "annotator", email="ada@lab.example")
    provider.user["email_verified"] = False
    assert through(client).status_code == 403, "an address that nobody verified vouches for nobody"
    provider.user["email_verified"] = True
    assert through(client).status_code == 200
    people.change("Root", "Ada", blocked=True)
    assert through(client).status_code == 403


def test_everybody_of_the_provider_may_be_admitted(
    library: Library, database: Database, provider: Any, people: People, tmp_path: Path
) -> None:
    people.add("Root", "Ada", "admin")  # another Ada: her name, not her account
    with client_of(library, database, provider, tmp_path, admit="reader") as client:
        assert through(client).status_code == 200
        me = client.get("/api/me").json()
    assert (me["name"], me["role"]) == ("Ada (2)", "reader")


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"nonce": "another"}, "nonce"),
        ({"aud": "somebody else"}, "aud"),
        ({"iss": "https://evil.example"}, "iss"),
        ({"exp": 1}, "expired"),
        ({"azp": "somebody else"}, "azp"),
    ],
)
def test_a_word_that_does_not_hold(
    client: TestClient, people: People, provider: Any, claims: dict[str, Any], said: str
) -> None:
    people.add("Root", "Ada", "annotator", email="ada@lab.example")
    provider.claims = claims
    answer = through(client)
    assert answer.status_code == 403
    assert "does not hold" in answer.text
    assert said in answer.text
    assert client.get("/api/me").status_code == 401


def test_a_foreign_signature(client: TestClient, people: People, provider: Any) -> None:
    people.add("Root", "Ada", "annotator", email="ada@lab.example")
    provider.signs_with = RSAKey.generate_key(2048, {"kid": provider.key.kid})
    assert "does not hold" in through(client).text
    provider.signs_with = None
    provider.key = RSAKey.generate_key(2048, auto_kid=True)
    assert through(client).status_code == 200, "keys that the provider changed are fetched anew"


def test_only_the_browser_that_began_comes_back(client: TestClient, people: People) -> None:
    people.add("Root", "Ada", "annotator", email="ada@lab.example")
    sent = client.get("/login/oidc", follow_redirects=False)
    cookie = sent.headers["set-cookie"]
    for part in ("HttpOnly", "Secure", "SameSite=lax"):
        assert part in cookie
    back = httpx.get(sent.headers["location"], trust_env=False).headers["location"].removeprefix(URL)
    other = TestClient(client.app, base_url=URL)
    assert other.get(back).status_code == 403, "a link with somebody's code logs nobody else in"
    assert client.get(back).status_code == 403, "and is used up"
    assert client.get("/login/callback?code=x&state=y").status_code == 403
    assert client.get("/login/callback").status_code == 403


def test_the_provider_says_no(client: TestClient, provider: Any) -> None:
    provider.user = {}
    answer = through(client)
    assert answer.status_code == 403
    assert "access_denied" in answer.text


def test_passwords_are_off(client: TestClient, people: People) -> None:
    people.accept(people.add("Root", "Ada", "reader")[1], "seven quiet herons")
    page = client.get("/login").text
    assert "Log in with single sign-on" in page
    assert 'type="password"' not in page
    assert client.post("/login", data={"name": "Ada", "password": "seven quiet herons"}).status_code == 403


def test_a_provider_that_is_away(
    library: Library, database: Database, people: People, tmp_path: Path
) -> None:
    class Away:
        issuer = "http://127.0.0.1:9"

    with client_of(library, database, Away(), tmp_path) as client:
        answer = client.get("/login/oidc", follow_redirects=False)
    assert answer.status_code == 502
    assert "does not answer" in answer.text
    assert "Traceback" not in answer.text


def test_an_issuer_without_tls_is_refused() -> None:
    with pytest.raises(UsageError, match="not reached by TLS"):
        Provider("http://login.example", "c", None, "https://x/login/callback")

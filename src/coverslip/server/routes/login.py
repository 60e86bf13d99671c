"""Coming in and going out: pages without script, so that they work where nothing else does yet."""

# FastAPI reads the annotations of these functions at run time, so they are no strings
from functools import cache
from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from coverslip.core.errors import CoverslipError, UsageError
from coverslip.server.access import cookie_of, csrf_of
from coverslip.server.accounts import Account, AccountsDoor
from coverslip.server.app_state import people_of, person_of, site_of

router = APIRouter(tags=["login"])

STATE = "coverslip-oidc"
"""Cookie of a login at the provider that is under way."""

FORM = 64 << 10
"""Bytes of a form."""


@router.get("/login", response_class=HTMLResponse, include_in_schema=False)
def login_page(request: Request, then: str = "/") -> Response:
    """Ask for name and password, or send to the login provider."""
    return _login(request, then)


@router.post("/login", response_class=HTMLResponse, include_in_schema=False)
async def login(request: Request) -> Response:
    """Let in who has name and password."""
    from coverslip.server.routes.shapes import in_thread

    form = await _form(request)
    return await in_thread(_log_in, request, form)  # hashing a password takes a while


@router.get("/login/oidc", include_in_schema=False)
def by_provider(request: Request, then: str = "/") -> Response:
    """Send a browser to the login provider."""
    provider, door = site_of(request).provider, _door(request)
    if provider is None:
        return _login(request, then, "There is no login provider here.", 404)
    try:
        address, state = provider.begin(_ours(then))
    except CoverslipError as error:
        return _login(request, then, f"{error.message}. To mend: {error.mend}.", 502)
    answer = RedirectResponse(address, 303)
    # Lax: it must come back with the redirect from the provider's site
    answer.set_cookie(
        STATE, state, max_age=600, httponly=True, samesite="lax", secure=door.secure, path="/login"
    )
    return answer


@router.get("/login/callback", include_in_schema=False)
def back_from_provider(request: Request) -> Response:
    """Take what the login provider says of who comes back from it."""
    provider = site_of(request).provider
    if provider is None:
        return _login(request, "/", "There is no login provider here.", 404)
    try:
        claims, then = provider.finish(dict(request.query_params), cookie_of(request.scope, STATE))
    except CoverslipError as error:
        return _login(request, "/", f"{error.message}. To mend: {error.mend}.", 403)
    who = people_of(request).by_oidc(claims, admit=provider.admit)
    if who is None:
        said = f"{provider.name} knows you, but nobody added you here. Ask an administrator."
        return _login(request, then, said, 403)
    return _let_in(request, who, then, "oidc")


@router.get("/login/invitation", response_class=HTMLResponse, include_in_schema=False)
def invitation(request: Request, code: str = "") -> Response:
    """Ask who was invited for a password."""
    return _invitation(request, code)


@router.post("/login/invitation", response_class=HTMLResponse, include_in_schema=False)
async def accept(request: Request) -> Response:
    """Take the password of who was invited, and let them in."""
    from coverslip.server.routes.shapes import in_thread

    form = await _form(request)
    return await in_thread(_accept, request, form)


@router.get("/login/done", response_class=HTMLResponse, include_in_schema=False)
def done() -> HTMLResponse:
    """Say that the login is done, in a window that was opened for it."""
    return _page("You are logged in", said="Close this window; the page that you left goes on.")


@router.post("/api/logout", status_code=204)
def logout(request: Request) -> Response:
    """End this login."""
    door = site_of(request).door
    answer = Response(status_code=204)
    answer.delete_cookie(door.cookie(request.scope), path="/", httponly=True, samesite="strict")
    if isinstance(door, AccountsDoor):
        door.sessions.end(door.token(request.scope), person_of(request).name)
        door.forget()
    return answer


@router.get("/api/me")
def me(request: Request) -> JSONResponse:
    """Say who you are, and what to send as ``X-Coverslip-CSRF`` with every change."""
    person, door = person_of(request), site_of(request).door
    token = cookie_of(request.scope, door.cookie(request.scope))
    told = {
        "id": person.id, "name": person.name, "role": person.role, "csrf": csrf_of(token) if token else None,
        "accounts": not door.is_for_one,
    }  # fmt: skip
    return JSONResponse(told, headers={"Cache-Control": "no-store"})


# ---------------------------------------------------------------------- inside
def _door(request: Request) -> AccountsDoor:
    door = site_of(request).door
    if not isinstance(door, AccountsDoor):
        raise UsageError("this server has no accounts", mend="open the address that `coverslip view` printed")
    return door


def _log_in(request: Request, form: dict[str, str]) -> Response:
    _door(request)
    then, name = form.get("then", "/"), form.get("name", "").strip()
    wait = _attempt(request, name)
    if wait:
        said = f"Too many attempts. Wait {wait:.0f} seconds."
        return _login(request, then, said, 429, headers={"Retry-After": f"{wait:.0f}"})
    who = people_of(request).by_password(name, form.get("password", "")) if _passwords(request) else None
    if who is None:
        return _login(request, then, "Name or password are wrong.", 403)
    return _let_in(request, who, then, "password")


def _accept(request: Request, form: dict[str, str]) -> Response:
    _door(request)
    code = form.get("code", "")
    wait = _attempt(request, "")
    if wait:
        return _invitation(request, code, f"Too many attempts. Wait {wait:.0f} seconds.", 429)
    if form.get("password") != form.get("again"):
        return _invitation(request, code, "The two passwords differ.", 422)
    try:
        who = people_of(request).accept(code, form.get("password", ""))
    except UsageError as error:
        return _invitation(request, code, f"{error.message}. To mend: {error.mend}.", 422)
    return _let_in(request, who, "/", "invitation")


def _let_in(request: Request, who: Account, then: str, way: str) -> Response:
    door = _door(request)
    token = door.sessions.begin(who, way=way)
    # a page of our own sends the browser on: a redirect that another site began leaves a Strict cookie behind
    answer = _page("You are logged in", target=_ours(then))
    answer.set_cookie(
        door.cookie(request.scope), token, httponly=True, samesite="strict", secure=door.secure, path="/",
        max_age=int(door.sessions.spans.longest.total_seconds()),
    )  # fmt: skip
    answer.delete_cookie(STATE, path="/login")
    return answer


def _attempt(request: Request, name: str) -> float:
    """Return the seconds until somebody may try again."""
    limits = site_of(request).limits
    if limits is None:
        return 0.0
    address = "" if request.client is None else request.client.host
    by_name = limits.names.wait(name.lower()) if name else 0.0
    return max(limits.logins.wait(address), by_name)


def _passwords(request: Request) -> bool:
    return site_of(request).passwords


def _ours(then: str) -> str:
    """Return an address of this server, whatever somebody wrote into a link."""
    plain = then.startswith("/") and not then.startswith("//") and "\\" not in then and then.isprintable()
    return then if plain else "/"


async def _form(request: Request) -> dict[str, str]:
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > FORM:
            raise UsageError("the form is too large", mend="fill it in by hand")
    try:
        return {name: values[-1] for name, values in parse_qs(data.decode(), keep_blank_values=True).items()}
    except (UnicodeDecodeError, ValueError) as error:
        raise UsageError("the form cannot be read", mend="use the page of this server") from error


def _login(
    request: Request, then: str, wrong: str = "", status: int = 200, headers: Any = None
) -> HTMLResponse:
    site = site_of(request)
    if site.door.is_for_one:
        return _page("Coverslip", status=401, said="Open the address that `coverslip view` printed.")
    provider = None if site.provider is None else site.provider.name
    shown = {"wrong": wrong, "then": _ours(then), "provider": provider, "passwords": site.passwords}
    return _page("Log in", status=status, headers=headers, **shown)


def _invitation(request: Request, code: str, wrong: str = "", status: int = 200) -> HTMLResponse:
    try:
        _door(request)
        who = people_of(request).invited(code)
    except UsageError as error:
        return _page("Invitation", status=404, wrong=f"{error.message}. To mend: {error.mend}.")
    said = "Choose a password: a few unrelated words, 12 characters or more."
    return _page(f"Welcome, {who.name}", status=status, said=said, wrong=wrong, guest=who.name, code=code)


@cache
def _template() -> Any:
    from jinja2 import Environment, PackageLoader

    loader = PackageLoader("coverslip.server", "pages")
    return Environment(loader=loader, autoescape=True, trim_blocks=True).get_template("login.html")


def _page(title: str, *, status: int = 200, headers: Any = None, **shown: Any) -> HTMLResponse:
    page = _template().render(title=title, **shown)
    return HTMLResponse(page, status, {"Cache-Control": "no-store", **(headers or {})})

"""A file that says how a group's server is set up."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, FilePath, ValidationError, field_validator, model_validator

from coverslip.core.errors import UsageError
from coverslip.server.access import LOOPBACK, Role

if TYPE_CHECKING:
    from coverslip.server.accounts.oidc import Provider
    from coverslip.server.accounts.sessions import Spans

CALLBACK = "/login/callback"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Tls(_Part):
    """Certificate and key, as PEM files."""

    certificate: FilePath
    key: FilePath


class Oidc(_Part):
    """A login provider."""

    issuer: str
    client_id: str
    client_secret_file: Path | None = None
    name: str = "single sign-on"
    admit: Role | None = None
    scope: str = "openid profile email"


class Span(_Part):
    """How long a login lasts."""

    idle_minutes: float = Field(60, gt=0, le=24 * 60)
    longest_hours: float = Field(12, gt=0, le=24 * 31)


class Settings(_Part):
    """How a group's server is set up.

    Attributes
    ----------
    url
        Under which browsers find it.
    db
        Where people, shapes and readings are kept; by default in the first run.
    tls
        For a server that speaks TLS itself.
    proxy
        Address of the machine in front that speaks TLS and says in ``X-Forwarded-…`` who asks.
    plain
        ``"closed network"`` says that nobody listens: logins go over the network as they are.
    oidc
        A login provider.
    session
        How long a login lasts.
    passwords
        False lets in by the provider alone.
    """

    url: str
    db: str | None = None
    tls: Tls | None = None
    proxy: str | None = None
    plain: Literal["closed network"] | None = None
    oidc: Oidc | None = None
    session: Span = Span()
    passwords: bool = True

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        at = urlsplit(url)
        if at.scheme not in ("http", "https") or not at.hostname or at.path.strip("/") or at.query:
            message = "expected scheme, host and, if need be, port: https://slides.example.org"
            raise UsageError(message)
        return url.rstrip("/")

    @model_validator(mode="after")
    def _is_safe(self) -> Settings:
        at = urlsplit(self.url)
        if at.scheme == "http" and at.hostname not in LOOPBACK and self.plain is None:
            message = (
                "logins would cross the network for all to read: give an https:// url with tls or proxy, "
                "or write 'plain: closed network'"
            )
            raise UsageError(message)
        if at.scheme == "https" and self.tls is None and self.proxy is None:
            message = (
                "an https:// url needs tls (certificate, key) or proxy (address of the machine in front)"
            )
            raise UsageError(message)
        if not self.passwords and self.oidc is None:
            message = "without passwords there must be oidc"
            raise UsageError(message)
        return self

    @property
    def is_secure(self) -> bool:
        """True where browsers come by TLS."""
        return self.url.startswith("https:")

    @property
    def hosts(self) -> frozenset[str]:
        """Names under which it may be asked."""
        return LOOPBACK | {str(urlsplit(self.url).hostname)}

    def spans(self) -> Spans:
        """Return how long sessions last."""
        from coverslip.server.accounts.sessions import Spans

        return Spans(
            timedelta(minutes=self.session.idle_minutes), timedelta(hours=self.session.longest_hours)
        )

    def provider(self) -> Provider | None:
        """Return the login provider, if there is one.

        Raises
        ------
        UsageError
            When its secret cannot be read.
        """
        from coverslip.server.accounts.oidc import Provider

        if self.oidc is None:
            return None
        given = self.oidc.model_dump(exclude={"client_secret_file"})
        secret = None if self.oidc.client_secret_file is None else _text(self.oidc.client_secret_file).strip()
        return Provider(**given, client_secret=secret, redirect=self.url + CALLBACK)


def read_settings(path: str) -> Settings:
    """Read a file of settings.

    Raises
    ------
    UsageError
        When it cannot be read, or something in it cannot be; says where.
    """
    import yaml

    try:
        given: Any = yaml.safe_load(_text(Path(path)))
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is no YAML: {error}", mend="see docs/how-to/accounts.md") from error
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        said = "; ".join(
            f"{'.'.join(map(str, one['loc'])) or 'file'}: {one['msg']}" for one in error.errors()
        )
        raise UsageError(f"{path}: {said}", mend="see docs/how-to/accounts.md") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}", mend="check its name and rights") from error

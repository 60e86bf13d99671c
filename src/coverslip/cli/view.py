"""``coverslip view``: slides and results in a browser."""

from __future__ import annotations

from typing import Any

import click

from coverslip.cli.info import json_option


@click.command()
@click.argument("places", nargs=-1, required=True, metavar="RUN|SLIDE…")
@click.option("--mpp", help="Microns per pixel of level 0, over what the files say; or 20x.")
@click.option("--db", metavar="URL", help="Where shapes and readings are kept; by default in the first run.")
@click.option("--accounts", metavar="FILE", help="Serve a group: its address, TLS and login, as YAML.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of this machine to listen at.")
@click.option("--port", default=0, show_default="a free one", help="Port to listen at.")
@click.option("--browser/--no-browser", default=True, help="Open the page in the browser.")
@json_option
def view(places: tuple[str, ...], mpp: str | None, db: str | None, accounts: str | None, **how: Any) -> None:
    """Open runs, slides or folders of slides in a browser.

    The page is reached from this machine alone, with the token in the address that is printed. With
    --accounts a group logs in, and other machines may reach it.
    """
    from coverslip.core import parse_mpp
    from coverslip.core.errors import MissingExtraError
    from coverslip.server import Library

    try:
        from coverslip.server.opening import open_site
        from coverslip.server.serve import serve
    except ImportError as error:
        raise MissingExtraError.of(str(error.name), "server") from error

    def ready(url: str) -> None:
        _announce(url, in_json=how["in_json"])
        if how["browser"]:
            click.launch(url)

    library = Library.of(places, mpp=None if mpp is None else parse_mpp(mpp))
    serve(open_site(library, db=db, accounts=accounts), host=how["host"], port=how["port"], ready=ready)


def _announce(url: str, *, in_json: bool) -> None:
    import json
    import sys

    click.echo(json.dumps({"url": url}) if in_json else f"{url}\nCtrl-C ends it.")
    sys.stdout.flush()  # who started us in a pipe waits for this line

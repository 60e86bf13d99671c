"""The reference of the addresses, as one plain page: no script, nothing from a network."""

from html import escape
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from coverslip.server.roles import ROLES

router = APIRouter(prefix="/api", tags=["docs"])

STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b2430}"
    "h2{font:600 15px ui-monospace,monospace;margin:2rem 0 .2rem}p{margin:.2rem 0;white-space:pre-line}"
    "table{border-collapse:collapse;margin:.4rem 0}td{padding:.1rem 1rem .1rem 0;vertical-align:top}"
    "small{color:#5b6675}"
)


@router.get("/docs", response_class=HTMLResponse, include_in_schema=False)
def docs(request: Request) -> str:
    """Return the reference as HTML."""
    schema = request.app.openapi()
    roles = {(method, path): role for method, path, role in ROLES}
    parts = [
        _operation(method.upper(), path, operation, roles)
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
    ]
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Coverslip: addresses</title>"
        f"<style>{STYLE}</style><h1>Addresses</h1><p>The same as data: "
        f'<a href="openapi.json">openapi.json</a></p>{"".join(parts)}'
    )


def _operation(method: str, path: str, operation: dict[str, Any], roles: dict[tuple[str, str], Any]) -> str:
    role = roles.get((method, path), "")
    rows = "".join(
        f"<tr><td><code>{escape(one['name'])}</code><td>{escape(one['in'])}"
        f"<td>{escape(str(one['schema'].get('type', '')))}<td>"
        f"{'' if one.get('required') else 'default ' + escape(str(one['schema'].get('default')))}"
        for one in operation.get("parameters", ())
    )
    return (
        f"<h2>{method} {escape(path)} <small>{escape(str(role))}</small></h2>"
        f"<p>{escape(operation.get('description', ''))}</p><table>{rows}</table>"
    )

"""From values to HTML: templates that escape everything, and a policy that forbids the network."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from typing import TYPE_CHECKING, Any

from coverslip import __version__
from coverslip.report import numbers, palette, plots

if TYPE_CHECKING:
    from jinja2 import Environment


@cache
def environment() -> Environment:
    """Return the templates; values are escaped, and a name that is not given is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    env = Environment(
        loader=PackageLoader("coverslip.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.policies["json.dumps_kwargs"] = {"sort_keys": False}
    for function in (
        numbers.number,
        numbers.quantity,
        numbers.percent,
        numbers.seconds,
        numbers.moment,
        plots.figure,
    ):
        env.filters[function.__name__] = function
    env.filters["words"] = palette.words
    env.globals.update(version=__version__, policy=_policy(env))
    return env


def render(template: str, **values: Any) -> str:
    """Fill a template; the result is one file that needs no other."""
    return environment().get_template(template).render(**values)


def _policy(env: Environment) -> str:
    """Allow the page's own script and data URIs and nothing else: no name in it can ever run or call."""
    script = env.get_template("script.js").render()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )

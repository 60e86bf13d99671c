"""A recipe pins the model that it was written with: by the digest of its weights."""

from __future__ import annotations

from typing import Any

from coverslip.core.errors import StoreError


def pin(stage: Any, field: str, found: str, *, what: str) -> None:
    """Fill in a stage's field with the digest of its model, or check what the recipe says there.

    Parameters
    ----------
    stage
        A frozen dataclass under construction.
    field
        Name of the field that holds the digest, or None until it is filled in.
    found
        Digest of the model that lies there, ``sha256:…``.
    what
        The model, as an error names it.

    Raises
    ------
    StoreError
        When the recipe names another.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> stage = SimpleNamespace(model_digest=None)
    >>> pin(stage, "model_digest", "sha256:ab", what="my-model")
    >>> stage.model_digest
    'sha256:ab'
    >>> pin(stage, "model_digest", "sha256:cd", what="my-model")
    Traceback (most recent call last):
    coverslip.core.errors.StoreError: my-model has sha256:cd, but the recipe names sha256:ab...
    """
    said = getattr(stage, field)
    if said not in (None, found):
        raise StoreError(
            f"{what} has {found}, but the recipe names {said}",
            mend=f"give the model that was meant, or leave {field} out",
        )
    object.__setattr__(stage, field, found)

"""Where a result comes from, and the fingerprint that says whether it still holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Self

from coverslip._version import __version__

FINGERPRINT_HEX = 32
"""128 bits: enough that no two results of a lifetime share one by chance."""


@dataclass(frozen=True, slots=True)
class SlideRoot:
    """What identifies the slide that a result was made of; the root of all its fingerprints.

    Attributes
    ----------
    digest
        Of the content, see `coverslip.slides.digest`.
    width, height
        Of level 0.
    mpp
        Microns per pixel of level 0, or None.
    mpp_source
        ``"file"``, ``"user"``, or None.
    """

    digest: str
    width: int
    height: int
    reader: str
    mpp: float | None
    mpp_source: str | None


@dataclass(frozen=True, slots=True)
class Provenance:
    """What was done, with what, to what.

    Attributes
    ----------
    fingerprint
        Hash of stage, stage version, parameters, input fingerprints and slide root. Equal fingerprints mean
        equal results; resuming a run compares nothing else.
    inputs
        Fingerprint by artefact key.
    slide
        None for results of a whole run.
    time
        When it was made, UTC, ISO 8601. Not part of the fingerprint.
    """

    fingerprint: str
    stage: str
    stage_version: int
    parameters: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    slide: SlideRoot | None = None
    coverslip: str = __version__
    time: str = ""

    @classmethod
    def make(
        cls,
        stage: str,
        version: int,
        *,
        parameters: Mapping[str, Any],
        inputs: Mapping[str, str],
        slide: SlideRoot | None,
    ) -> Self:
        """Make the provenance of a result that is about to be made.

        Examples
        --------
        >>> root = SlideRoot("d1", 100, 80, "tiff", 0.5, "file")
        >>> one = Provenance.make("tiles", 1, parameters={"size": 256}, inputs={}, slide=root)
        >>> two = Provenance.make("tiles", 1, parameters={"size": 512}, inputs={}, slide=root)
        >>> one.fingerprint == two.fingerprint
        False
        """
        parameters, inputs = _plain(parameters), dict(inputs)
        mark = fingerprint(stage, version, parameters, inputs, None if slide is None else asdict(slide))
        made = cls(mark, stage, version, parameters=parameters, inputs=inputs, slide=slide)
        return made.now()

    def now(self) -> Self:
        """Return the same, made now."""
        return replace(self, time=datetime.now(UTC).isoformat(timespec="seconds"))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild from `to_dict`; what a later version added is ignored."""
        known = {name: values[name] for name in cls.__dataclass_fields__ if name in values}
        slide = known.get("slide")
        if slide is not None:
            known["slide"] = SlideRoot(**{k: slide[k] for k in SlideRoot.__dataclass_fields__})
        return cls(**known)


def fingerprint(*parts: object) -> str:
    """Hash plain values (JSON types) in a way that does not depend on the order of mappings.

    Examples
    --------
    >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    True
    """
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:FINGERPRINT_HEX]


def _plain(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Turn tuples into lists, so that parameters compare equal after a trip through JSON."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(parameters)))
    return plain

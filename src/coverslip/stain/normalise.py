"""Give a slide the colours of another: fitted once on the slide, applied to every tile.

>>> import numpy as np
>>> from coverslip.stain import RUIFROK_JOHNSTON, fit, load_target, recombine
>>> amounts = np.random.default_rng(0).exponential(0.3, (4096, 2)).astype(np.float32)
>>> pixels = recombine(amounts, RUIFROK_JOHNSTON["H&E"])             # a sample over the slide's tissue
>>> normaliser = Normaliser.to_target("macenko", fit("macenko", pixels), load_target("cmu-1"))
>>> normaliser.apply(pixels.reshape(64, 64, 3)).shape
(64, 64, 3)
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core.errors import StainError
from coverslip.stain.chain import ColourMap
from coverslip.stain.methods import method
from coverslip.stain.targets import StainTarget


@dataclass(frozen=True, slots=True)
class Normaliser:
    """A slide's colours moved to a target's.

    Parameters
    ----------
    name
        Method.
    source, target
        What `fit` found on the slide and on the target.
    target_name
        For the record.

    Raises
    ------
    StainError
        When source or target are of another method.

    Examples
    --------
    >>> from coverslip.stain import load_target
    >>> target = load_target("cmu-1").fitted("macenko")
    >>> normaliser = Normaliser("macenko", target, target, "cmu-1")
    >>> Normaliser.from_json(normaliser.to_json()) == normaliser
    True
    """

    name: str
    source: Any
    target: Any
    target_name: str = ""
    _map: ColourMap = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        kind = method(self.name).fitted
        if not isinstance(self.source, kind) or not isinstance(self.target, kind):
            got = f"{type(self.source).__name__} and {type(self.target).__name__}"
            raise StainError(f"the normaliser {self.name} works with {kind.__name__}, not with {got}")
        object.__setattr__(self, "_map", method(self.name).transfer(self.source, self.target))

    @classmethod
    def to_target(cls, name: str, source: Any, target: StainTarget) -> Normaliser:
        """Make the normaliser from what `fit` found to a `StainTarget`."""
        return cls(name, source, target.fitted(name), target.name)

    def apply(self, rgb: NDArray[np.uint8], out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Return `rgb`, uint8 (…, 3), in the target's colours; safe from several threads.

        Parameters
        ----------
        rgb
            One tile, a batch of tiles, or any other pixels of the slide.
        out
            Where to write; may be `rgb` itself.

        Raises
        ------
        UsageError
            When `rgb` is not uint8 (…, 3), or `out` is of another shape or not contiguous.
        """
        return self._map(rgb, out)

    def to_json(self) -> str:
        """Return the normaliser as JSON text."""
        values = {
            "method": self.name,
            "source": self.source.to_dict(),
            "target_name": self.target_name,
            "target": self.target.to_dict(),
        }
        return json.dumps(values, indent=2)

    @classmethod
    def from_json(cls, text: str) -> Normaliser:
        """Rebuild from `to_json`.

        Raises
        ------
        StainError
            When the text holds no normaliser.
        UnknownNameError
            When its method is not there.
        """
        try:
            values = json.loads(text)
            kind = method(values["method"]).fitted
            source, target = kind.from_dict(values["source"]), kind.from_dict(values["target"])
            return cls(values["method"], source, target, str(values["target_name"]))
        except StainError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise StainError(f"this is no stain normaliser: {error!r}", mend="fit the slide again") from error

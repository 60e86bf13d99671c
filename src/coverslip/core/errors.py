"""Everything Coverslip raises on purpose, as one tree.

::

    CoverslipError
    ├── SlideError (OSError)
    │   ├── SlideNotFoundError (FileNotFoundError)
    │   ├── UnsupportedSlideError          no reader can make pixels of it
    │   ├── CorruptSlideError              a reader knows the format, the content is damaged
    │   └── CorruptTileError               one block of pixels cannot be decoded; the rest is fine
    ├── MppError (ValueError)
    │   ├── MissingMppError                a scale is needed and the file states none
    │   └── ImplausibleMppError            the scale stated cannot be one
    ├── StainError (ValueError)            the stage needs another stain or illumination
    ├── NoTissueError (ValueError)         nothing on the slide to work on
    ├── GeometryError (ValueError)         a box, grid or polygon that cannot be
    ├── RecipeError (ValueError)           a recipe, stage or parameter that cannot run
    ├── StoreError (OSError)               a result on disk is missing, partial or of another version
    │   └── ExistsError (FileExistsError)  refused to overwrite silently
    ├── UsageError (ValueError)            an argument that cannot be served
    ├── ConflictError (ValueError)         somebody else has changed what is to be changed
    ├── WithheldError (ValueError)         not to be seen yet: somebody reads the slide alone
    ├── UnknownNameError (LookupError)     a name that no table holds
    └── MissingExtraError (ImportError)    an optional dependency is not installed

An error says what was wrong, the value got, what was expected and, in `mend`, what to do now.
"""

from __future__ import annotations


class CoverslipError(Exception):
    """Base of all errors raised on purpose.

    Parameters
    ----------
    message
        What was wrong, with the value got and what was expected.
    mend
        What the user can do now, as a sentence or a command.

    Examples
    --------
    >>> str(MissingMppError("slide.tif states no mpp", mend="give it: --mpp 0.5"))
    'slide.tif states no mpp; to mend: give it: --mpp 0.5'
    """

    def __init__(self, message: str, *, mend: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.mend = mend

    def __str__(self) -> str:
        return f"{self.message}; to mend: {self.mend}" if self.mend else self.message

    def __reduce__(self) -> tuple[object, ...]:
        # the default would lose `mend` on the way back from a worker process
        return _rebuild, (type(self), self.message, self.mend)


def _rebuild(kind: type[CoverslipError], message: str, mend: str | None) -> CoverslipError:
    return kind(message, mend=mend)


class SlideError(CoverslipError, OSError):
    """A slide cannot be opened or read."""


class SlideNotFoundError(SlideError, FileNotFoundError):
    """The path leads to no file."""


class UnsupportedSlideError(SlideError):
    """No reader can make pixels of this file."""


class CorruptSlideError(SlideError):
    """The format is known, but the content is damaged or truncated."""


class CorruptTileError(SlideError):
    """One block of pixels cannot be decoded; the rest of the slide may be fine."""


class MppError(CoverslipError, ValueError):
    """Something is wrong with the microns per pixel."""


class MissingMppError(MppError):
    """A scale is needed and neither file nor user states one."""


class ImplausibleMppError(MppError):
    """The microns per pixel stated cannot be those of a microscope."""


class StainError(CoverslipError, ValueError):
    """The slide has another stain or illumination than the stage can work on."""


class NoTissueError(CoverslipError, ValueError):
    """There is no tissue to work on."""


class GeometryError(CoverslipError, ValueError):
    """A box, grid or polygon that cannot be."""


class RecipeError(CoverslipError, ValueError):
    """A recipe, a stage or a parameter that cannot run."""


class StoreError(CoverslipError, OSError):
    """A result on disk is missing, partial or of another version."""


class ExistsError(StoreError, FileExistsError):
    """A result is there already and would be overwritten."""


class UsageError(CoverslipError, ValueError):
    """An argument that cannot be served."""


class ConflictError(CoverslipError, ValueError):
    """Somebody else, or another window, has changed what is to be changed."""


class WithheldError(CoverslipError, ValueError):
    """What a model says is not shown to somebody who reads the slide alone."""


class UnknownNameError(CoverslipError, LookupError):
    """A name that no table holds."""


class MissingExtraError(CoverslipError, ImportError):
    """An optional dependency is not installed."""

    @classmethod
    def of(cls, package: str, extra: str) -> MissingExtraError:
        """Make the error for `package`, which the extra `extra` brings."""
        return cls(f"{package} is not installed", mend=f'pip install "coverslip[{extra}]"')

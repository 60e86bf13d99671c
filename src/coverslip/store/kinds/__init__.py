"""The kinds of artefacts, one module each: how a value becomes a file and a value again.

A kind is a table row of `coverslip.store.layout`: a name, a version, and two functions on paths. It writes to
temporary paths that `RunFolder` gives it and never decides where a file lies.
"""

from coverslip.store.kinds.base import Kind

__all__ = ["Kind"]

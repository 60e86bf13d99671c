"""From Arrow's columns to numpy's arrays, without what neither of them needs.

``to_numpy`` of pyarrow imports pandas where that is installed, which takes half a second of a process.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def as_numpy(column: Any) -> NDArray[Any]:
    """Return a column of a table as an array of its own, shape (n,).

    Examples
    --------
    >>> import pyarrow as pa
    >>> as_numpy(pa.chunked_array([[1.5, 2.5], [3.5]])).tolist()
    [1.5, 2.5, 3.5]
    """
    import pyarrow as pa

    numbers = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    if numbers and not column.null_count:
        parts = [np.from_dlpack(part) for part in column.chunks if len(part)]
        return np.concatenate(parts) if parts else np.empty(0, column.type.to_pandas_dtype())
    if pa.types.is_binary(column.type):
        values = np.empty(len(column), object)
        values[:] = column.to_pylist()
        return values
    found: NDArray[Any] = column.to_numpy()
    return found


def valid(part: Any) -> NDArray[np.bool_]:
    """Return which values of an array are there, shape (n,)."""
    import pyarrow as pa

    return np.from_dlpack(part.is_valid().cast(pa.int8())).astype(bool)


def raw(part: Any) -> NDArray[Any]:
    """Return the numbers of an array as they lie in memory, anything where one is missing; shape (n,)."""
    values = np.frombuffer(part.buffers()[1], part.type.to_pandas_dtype())
    return values[part.offset : part.offset + len(part)]

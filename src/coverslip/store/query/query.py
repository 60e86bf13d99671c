"""Ask a run about its objects: filter, group and summarise them over all slides, through DuckDB."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverslip.core import unknown
from coverslip.core.errors import StoreError, UsageError
from coverslip.core.files import atomic
from coverslip.store.folder import RunFolder
from coverslip.store.kinds.objects import Objects
from coverslip.store.query.expression import Sql, Type, condition, quoted
from coverslip.store.query.summary import Summary, named, summaries

HIDDEN = ("geometry", "bbox", "filename", "file_row_number")
TEXT = ("slide", "class")
ALL = Sql("true", (), "truth")


@dataclass(frozen=True)
class Query:
    """A question about the objects of a run.

    Attributes
    ----------
    run
        The run.
    objects
        Name of the objects, ``objects/<name>``; None where the run has but one.
    where
        A condition, see `coverslip.store.query.expression.condition`; None for all.
    by
        Columns to group by; the answer is sorted by them.
    summarise
        See `coverslip.store.query.summary.summaries`; ``count`` when there is only `by`.
    slides
        Ids of the slides asked; None for all that have such objects.

    Raises
    ------
    UsageError
        When an expression does not parse, or no slide has such objects.
    UnknownNameError
        When a name is not there; the nearest match is in the message.

    Examples
    --------
    >>> Query(RunFolder("RUN"), where="area_um2 > 80", by=("class",)).rows()  # doctest: +SKIP
    [{'class': 'tumour', 'count': 81234}]
    """

    run: RunFolder
    objects: str | None = None
    where: str | None = None
    by: tuple[str, ...] = ()
    summarise: str | None = None
    slides: tuple[str, ...] | None = None
    limit: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        for name in self.by:
            if name not in self.columns:
                raise unknown("column", name, self.columns)
        if self.limit is not None and self.limit < 0:
            raise UsageError(f"a limit of {self.limit} rows: expected 0 or more")
        _ = self.name, self.files, self._condition, self._summaries

    # ------------------------------------------------------------------ what there is
    @cached_property
    def name(self) -> str:
        """Name of the objects."""
        names = sorted({key.partition("/")[2] for slide in self._asked for key in self._keys(slide)})
        if self.objects is not None and self.objects not in names:
            raise unknown("objects", self.objects, names)
        if not names:
            raise UsageError(
                f"{self.run.path} has no objects", mend="run a recipe that finds some, e.g. nuclei"
            )
        if self.objects is None and len(names) > 1:
            raise UsageError(
                f"{self.run.path} has objects {', '.join(names)}: say which", mend=f"--objects {names[0]}"
            )
        return self.objects or names[0]

    @cached_property
    def files(self) -> dict[str, Path]:
        """File of each slide's objects, by slide id."""
        having = [slide for slide in self._asked if self._key in self._keys(slide)]
        found = {slide: self.run.path_of(slide, self._key) for slide in having}
        old = [slide for slide in found if not isinstance(self.run.get(slide, self._key), Objects)]
        if old:
            raise StoreError(
                f"{self._key} of {old[0]} was written by an older release and holds no polygons",
                mend="run the recipe again",
            )
        return found

    @cached_property
    def columns(self) -> dict[str, Type]:
        """Columns that may be named, with their types; those of all slides together."""
        from pyarrow import parquet

        found: dict[str, Type] = {"slide": "text"}
        for path in self.files.values():
            for name in parquet.read_schema(path).names:
                if name not in HIDDEN:
                    found.setdefault(name, "text" if name in TEXT else "number")
        return found

    @property
    def _key(self) -> str:
        return f"objects/{self.name}"

    def _keys(self, slide: str) -> list[str]:
        return [key for key in self.run.keys(slide) if key.startswith("objects/")]

    @cached_property
    def _asked(self) -> tuple[str, ...]:
        known = self.run.slides()
        for slide in self.slides or ():
            if slide not in known:
                raise unknown("slide", slide, known)
        return known if self.slides is None else self.slides

    @cached_property
    def _condition(self) -> Sql:
        return ALL if self.where is None else condition(self.where, self.columns)

    @cached_property
    def _summaries(self) -> tuple[Summary, ...]:
        text = self.summarise or ("count" if self.by else None)
        return () if text is None else summaries(text, self.columns)

    @property
    def summarises(self) -> bool:
        """Whether the answer is of groups and not of objects."""
        return bool(self._summaries)

    # ------------------------------------------------------------------ answers
    def arrow(self) -> Any:
        """Return the answer as an Arrow table."""
        return self._table(self._select(geometry=False), self._values)

    def rows(self) -> list[dict[str, Any]]:
        """Return the answer as plain values; NaN as None."""
        rows: list[dict[str, Any]] = self.arrow().to_pylist()
        return [{key: None if value != value else value for key, value in row.items()} for row in rows]  # noqa: PLR0124

    def count(self) -> int:
        """Return how many objects the condition holds for."""
        sql = f"select count(*) from o where {self._condition.text}"  # noqa: S608 - made by us
        return int(self._table(sql, self._condition.values)[0][0].as_py())

    def masks(self) -> dict[str, NDArray[np.bool_]]:
        """Return which objects of each slide the condition holds for, by slide id, shape (n,) each."""
        import pyarrow as pa
        from pyarrow import compute

        sql = f"select slide, file_row_number from o where {self._condition.text}"  # noqa: S608 - made by us
        found = self._table(sql, self._condition.values)
        numbers = compute.index_in(found["slide"], value_set=pa.array(self.files)).to_numpy()
        rows = found["file_row_number"].to_numpy()
        masks = {}
        for number, (slide, path) in enumerate(self.files.items()):
            masks[slide] = np.zeros(len(Objects(path)), bool)
            masks[slide][rows[numbers == number]] = True
        return masks

    def selected(self) -> dict[str, Objects]:
        """Return the objects of each slide that the condition holds for; slides without any are left out."""
        if self.where is None:
            return {slide: Objects(path) for slide, path in self.files.items()}
        masks = self.masks()
        return {s: Objects(p).where(masks[s]) for s, p in self.files.items() if masks[s].any()}

    def write(self, path: str | Path) -> None:
        """Write the answer as CSV or Parquet, by the ending; Parquet of objects keeps their polygons.

        Raises
        ------
        UsageError
            For another ending.
        """
        target = Path(path)
        ways = {".csv": "(format csv, header)", ".parquet": self._parquet()}
        if target.suffix.lower() not in ways:
            raise UsageError(f"{target} ends in {target.suffix!r}: expected {' or '.join(ways)}")
        inner = self._select(geometry=target.suffix.lower() == ".parquet")
        with atomic(target) as partial:
            way = ways[target.suffix.lower()]
            copy = f"copy ({inner}) to {_literal(str(partial))} {way}"
            self._asking(lambda connection: connection.execute(copy, list(self._values)))

    def _parquet(self) -> str:
        if self.summarises:
            return "(format parquet, compression zstd)"
        import json

        from coverslip.store.kinds.object_parts import geo

        told = _literal(json.dumps(geo(None, [])))
        return f"(format parquet, compression zstd, kv_metadata {{geo: {told}}})"

    # ------------------------------------------------------------------ SQL
    def _select(self, *, geometry: bool) -> str:
        by = [quoted(name) for name in self.by]
        if self._summaries:
            what = ", ".join([*by, *map(named, self._summaries)])
            group = f" group by {', '.join(by)}" if by else ""
        else:
            names = [quoted(name) for name in self.columns]
            what, group = ", ".join([*names, *(("geometry", "bbox") if geometry else ())]), ""
        order = f" order by {', '.join(by)}" if by else ""
        limit = "" if self.limit is None else f" limit {int(self.limit)}"
        # every part is a quoted column, a parameter or one of our words
        return f"select {what} from o where {self._condition.text}{group}{order}{limit}"  # noqa: S608

    @property
    def _values(self) -> tuple[Any, ...]:
        """Parameters in the order in which `_select` uses them."""
        return sum((s.sql.values for s in self._summaries), ()) + self._condition.values

    def _table(self, sql: str, values: Sequence[Any]) -> Any:
        return self._asking(lambda connection: connection.sql(sql, params=list(values)).to_arrow_table())

    def _asking(self, ask: Callable[[Any], Any]) -> Any:
        """Return what `ask` gets from a connection in which `o` is all objects."""
        import duckdb

        if not self.files:
            raise UsageError(f"no slide of {self.run.path} has {self._key}")
        paths = [str(path) for path in self.files.values()]
        listed = ", ".join(_literal(_plain(path)) for path in paths)
        source = f"read_parquet([{listed}], union_by_name = true, filename = true, file_row_number = true)"
        view = f"create view o as select * from {source} join slides using (filename)"  # noqa: S608 - made by us
        with duckdb.connect(config={"threads": 2}) as connection:
            connection.execute("create table slides (slide varchar, filename varchar)")
            pairs = [list(pair) for pair in zip(self.files, paths, strict=True)]
            connection.executemany("insert into slides values (?, ?)", pairs)
            try:
                connection.execute(view)
                return ask(connection)
            except duckdb.Error as error:
                raise StoreError(f"the objects of {self.run.path} cannot be queried: {error}") from error


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _plain(path: str) -> str:
    """Return a path in which DuckDB sees no pattern."""
    return re.sub(r"([*?\[])", r"[\1]", path)

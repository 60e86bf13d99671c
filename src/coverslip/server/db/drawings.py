"""Shapes that people draw: kept as soon as they are acknowledged, and never overwritten unseen."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from coverslip.annotations import Annotations, Shape
from coverslip.annotations.shape import KINDS
from coverslip.core.errors import ConflictError, GeometryError, UnknownNameError, UsageError
from coverslip.server.access import Person
from coverslip.server.db.database import Database
from coverslip.server.db.record import Record, now
from coverslip.server.db.schema import shapes

MOST_VERTICES = 200_000
"""Vertices of one shape; more are a mistake."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class Drawn:
    """A shape on a slide, with its history in short.

    Attributes
    ----------
    id
        Given by who draws it, so that a request may be repeated.
    geometry
        GeoJSON in level-0 pixels.
    version
        Counts changes from 1; a change names the version that it was made of.
    origin
        The finding of a model that it corrects or confirms, as `coverslip.server.corrections` says it; None
        for what a person drew afresh.
    """

    id: str
    slide: str
    kind: str
    class_name: str | None
    geometry: Mapping[str, Any]
    author: str
    created: str
    changed_by: str
    changed: str
    version: int
    origin: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


class Drawings:
    """The shapes of a database.

    Parameters
    ----------
    database, record
        Where they and their history are kept.
    """

    def __init__(self, database: Database, record: Record) -> None:
        self._database, self._record = database, record

    def of(self, slide: str) -> list[Drawn]:
        """Return the shapes of a slide, oldest first."""
        from sqlalchemy import select

        wanted = select(shapes).where(shapes.c.slide == slide, shapes.c.removed.is_(False))
        with self._database.reading() as connection:
            rows = connection.execute(wanted.order_by(shapes.c.created, shapes.c.id)).mappings().all()
        return [_drawn(row) for row in rows]

    def add(self, person: Person, slide: str, shape: Mapping[str, Any]) -> Drawn:
        """Keep a new shape. The same shape again, by the same person, is the same shape.

        Raises
        ------
        UsageError
            When its id or kind cannot be one.
        GeometryError
            When its geometry is none.
        ConflictError
            When another shape has its id.
        """
        made = self._made(person, slide, shape)
        with self._database.writing() as connection:
            before = _row(connection, made.id)
            if before is not None:
                if before["author"] == made.author and before["slide"] == slide and not before["removed"]:
                    return _drawn(before)
                raise ConflictError(f"there is a shape {made.id} already", mend="draw it under another id")
            connection.execute(shapes.insert().values(**_columns(made)))
            self._record.add(connection, person.name, "draw", f"{slide}/{made.id}", _short(made))
        return made

    def change(self, person: Person, slide: str, shape: Mapping[str, Any]) -> Drawn:
        """Replace a shape by what was made of its version.

        Raises
        ------
        UnknownNameError
            When there is no such shape on the slide.
        ConflictError
            When somebody has changed or removed it in between; says who, and when.
        """
        made = self._made(person, slide, shape)
        with self._database.writing() as connection:
            before = self._current(connection, slide, made.id, shape.get("version"))
            new = Drawn(**{**asdict(made), "author": before.author, "created": before.created,
                           "version": before.version + 1,
                           "origin": made.origin or redone(before, made)})  # fmt: skip
            connection.execute(shapes.update().where(shapes.c.id == made.id).values(**_columns(new)))
            details = {"before": before.to_dict(), "after": _short(new)}
            self._record.add(connection, person.name, "change", f"{slide}/{made.id}", details)
        return new

    def remove(self, person: Person, slide: str, shape_id: str, version: int) -> None:
        """Take a shape away; the record keeps it.

        Raises
        ------
        UnknownNameError, ConflictError
            As `change`.
        """
        with self._database.writing() as connection:
            before = self._current(connection, slide, shape_id, version)
            gone = {
                "removed": True,
                "changed_by": person.name,
                "changed": now(),
                "version": before.version + 1,
            }
            connection.execute(shapes.update().where(shapes.c.id == shape_id).values(**gone))
            self._record.add(connection, person.name, "remove", f"{slide}/{shape_id}", before.to_dict())

    def correct(self, person: Person, slide: str, shape: Mapping[str, Any]) -> Drawn:
        """Keep a person's word on a model's finding; it takes the place of an earlier one.

        Raises
        ------
        ConflictError
            When somebody else has spoken of the same finding since; says who, and when.
        """
        made = self._made(person, slide, shape)
        with self._database.writing() as connection:
            before = _row(connection, made.id)
            if before is None:
                connection.execute(shapes.insert().values(**_columns(made)))
            else:
                stands = not before["removed"] and before["version"] != shape.get("version")
                if stands and before["changed_by"] != person.name:
                    raise ConflictError(
                        f"{before['changed_by']} corrected this at {before['changed']}",
                        mend="look at it, then correct it again",
                    )
                made = replace(made, version=before["version"] + 1)
                connection.execute(shapes.update().where(shapes.c.id == made.id).values(**_columns(made)))
            self._record.add(connection, person.name, "correct", f"{slide}/{made.id}", _short(made))
        return made

    def add_all(self, person: Person, slide: str, many: Sequence[Mapping[str, Any]]) -> int:
        """Keep many new shapes: all of them or none."""
        made = [self._made(person, slide, shape) for shape in many]
        with self._database.writing() as connection:
            if made:
                connection.execute(shapes.insert(), [_columns(one) for one in made])
            self._record.add(connection, person.name, "import", slide, {"shapes": len(made)})
        return len(made)

    # ------------------------------------------------------------------ inside
    @staticmethod
    def _made(person: Person, slide: str, shape: Mapping[str, Any]) -> Drawn:
        shape_id, kind = str(shape.get("id", "")), str(shape.get("kind", ""))
        if not _ID.fullmatch(shape_id):
            raise UsageError(
                f"{shape_id!r} is no id of a shape", mend="use letters, digits, - and _, up to 64"
            )
        if kind not in KINDS:
            raise UsageError(f"kind {kind!r} is none", mend=f"expected {', '.join(KINDS)}")
        check_geometry(shape.get("geometry"))
        name = shape.get("class_name")
        time = now()
        return Drawn(
            shape_id, slide, kind, None if name is None else str(name)[:256], shape["geometry"], person.name,
            time, person.name, time, 1, shape.get("origin"),
        )  # fmt: skip

    @staticmethod
    def _current(connection: Any, slide: str, shape_id: str, version: Any) -> Drawn:
        row = _row(connection, shape_id)
        if row is None or row["slide"] != slide:
            raise UnknownNameError(f"there is no shape {shape_id} on {slide}", mend="load the slide anew")
        if row["removed"] or row["version"] != version:
            verb = "removed" if row["removed"] else "changed"
            raise ConflictError(
                f"{row['changed_by']} {verb} this shape at {row['changed']}",
                mend="load it anew, then make your change again",
            )
        return _drawn(row)


def redone(before: Drawn, made: Drawn) -> Mapping[str, Any] | None:
    """Return the origin of a shape that was changed by hand: what was corrected is corrected anew."""
    if before.origin is None or before.origin["verdict"] == "reject":
        return before.origin
    if json.dumps(before.geometry) != json.dumps(made.geometry) or before.origin["verdict"] == "reshape":
        return {**before.origin, "verdict": "reshape"}
    same = made.class_name == before.origin["predicted"]
    return {**before.origin, "verdict": "accept" if same else "relabel"}


def check_geometry(geometry: Any) -> None:
    """Refuse what is no GeoJSON geometry of reasonable size.

    Raises
    ------
    GeometryError
        With what is wrong.
    """
    import numpy as np
    import shapely
    from shapely.errors import ShapelyError

    try:
        shape = shapely.from_geojson(json.dumps(geometry))
    except (ShapelyError, TypeError, ValueError) as error:
        raise GeometryError(f"a shape is no GeoJSON geometry: {error}", mend="send a Polygon") from error
    points = shapely.get_coordinates(shape)
    if not len(points) or not np.isfinite(points).all():
        raise GeometryError("a shape has no vertices, or some that are no numbers", mend="draw it again")
    if len(points) > MOST_VERTICES:
        raise GeometryError(
            f"a shape has {len(points):,} vertices; {MOST_VERTICES:,} are the most", mend="simplify it"
        )


def _row(connection: Any, shape_id: str) -> Any:
    from sqlalchemy import select

    return connection.execute(select(shapes).where(shapes.c.id == shape_id)).mappings().first()


def _drawn(row: Mapping[str, Any]) -> Drawn:
    rest = {name: row[name] for name in ("id", "slide", "kind", "author", "created", "changed_by", "changed")}
    return Drawn(
        **rest, class_name=row["class"], geometry=json.loads(row["geometry"]), version=int(row["version"]),
        origin=None if row["origin"] is None else json.loads(row["origin"]),
    )  # fmt: skip


def _columns(drawn: Drawn) -> dict[str, Any]:
    origin = None if drawn.origin is None else json.dumps(drawn.origin)
    values = {**asdict(drawn), "geometry": json.dumps(drawn.geometry), "removed": False, "origin": origin}
    values["class"] = values.pop("class_name")
    return values


def _short(drawn: Drawn) -> dict[str, Any]:
    said = {"kind": drawn.kind, "class": drawn.class_name, "geometry": drawn.geometry}
    return said if drawn.origin is None else {**said, "origin": drawn.origin}


def as_annotations(drawn: Sequence[Drawn]) -> Annotations:
    """Return shapes as `coverslip.annotations` knows them, with author and time."""
    import shapely

    return Annotations(
        tuple(
            Shape(
                one.id,
                one.kind,
                shapely.from_geojson(json.dumps(one.geometry)),
                one.class_name,
                author=one.author,
                time=one.created,
                properties={} if one.origin is None else {"origin": dict(one.origin)},
            )
            for one in drawn
        )
    )

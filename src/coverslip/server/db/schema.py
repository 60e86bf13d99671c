"""Tables, as the newest migration leaves them."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Float, ForeignKey, Index, Integer, MetaData, String, Table, Text

metadata = MetaData()

shapes = Table(
    "shapes",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("slide", String(512), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("class", String(256), nullable=True),
    Column("geometry", Text, nullable=False),  # GeoJSON in level-0 pixels, as it was drawn
    Column("author", String(256), nullable=False),
    Column("created", String(40), nullable=False),  # ISO 8601, UTC
    Column("changed_by", String(256), nullable=False),
    Column("changed", String(40), nullable=False),
    Column("version", Integer, nullable=False),
    Column("removed", Boolean, nullable=False, default=False),
)
Index("shapes_of_slide", shapes.c.slide, shapes.c.removed)

readings = Table(
    "readings",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("slide", String(512), nullable=False),
    Column("reader", String(256), nullable=False),
    Column("opened", String(40), nullable=False),
    Column("finding", JSON, nullable=True),
    Column("locked", String(40), nullable=True),
    Column("digest", String(64), nullable=True),  # of slide, reader, finding and time, once locked
    Column("seconds_alone", Float, nullable=True),
    Column("suggestion", JSON, nullable=True),  # what the reader was shown
    Column("shown", String(40), nullable=True),
    Column("decision", String(16), nullable=True),
    Column("reason", Text, nullable=True),
    Column("final", JSON, nullable=True),
    Column("decided", String(40), nullable=True),
    Column("seconds_after", Float, nullable=True),
)
Index("readings_of_slide", readings.c.slide)

record = Table(
    "record",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("time", String(40), nullable=False),
    Column("person", String(256), nullable=False),
    Column("action", String(64), nullable=False),
    Column("subject", String(600), nullable=False),
    Column("details", Text, nullable=False),  # JSON
    Column("previous", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
)

people = Table(
    "people",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(256), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("password", String(256), nullable=True),  # scrypt; none for people who come by OIDC
    Column("subject", String(512), nullable=True, unique=True),  # issuer and subject of OIDC
    Column("created", String(40), nullable=False),
    Column("blocked", Boolean, nullable=False, default=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("digest", String(64), primary_key=True),  # of the cookie's value, which is kept nowhere
    Column("person", String(64), ForeignKey("people.id"), nullable=False),
    Column("ends", String(40), nullable=False),
)

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
    Column("origin", Text, nullable=True),  # JSON: the finding of a model that it corrects or confirms
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
    Column("password", String(256), nullable=True),  # Argon2id; none for people who come by OIDC
    Column("subject", String(512), nullable=True, unique=True),  # issuer and subject of OIDC
    Column("created", String(40), nullable=False),
    Column("blocked", Boolean, nullable=False, default=False),
    Column("email", String(320), nullable=True, unique=True),  # by which OIDC finds who was added here
    Column("invitation", String(64), nullable=True, unique=True),  # digest of a code that works once
    Column("invitation_ends", String(40), nullable=True),
)

sessions = Table(
    "sessions",
    metadata,
    Column("digest", String(64), primary_key=True),  # of the cookie's value, which is kept nowhere
    Column("person", String(64), ForeignKey("people.id"), nullable=False),
    Column("kind", String(16), nullable=False),  # "browser", or "program": a token without idle end
    Column("begun", String(40), nullable=False),
    Column("seen", String(40), nullable=False),
    Column("ends", String(40), nullable=False),
)
Index("sessions_of_person", sessions.c.person)

projects = Table(
    "projects",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(256), nullable=False, unique=True),
    Column("created", String(40), nullable=False),
)

project_people = Table(
    "project_people",
    metadata,
    Column("project", String(64), ForeignKey("projects.id"), primary_key=True),
    Column("person", String(64), ForeignKey("people.id"), primary_key=True),
)

project_slides = Table(
    "project_slides",
    metadata,
    Column("project", String(64), ForeignKey("projects.id"), primary_key=True),
    Column("pattern", String(512), primary_key=True),  # of a slide's id, or of run/id
)

reports = Table(
    "reports",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("subject", String(512), nullable=False),  # the case
    Column("author", String(256), nullable=False),
    Column("created", String(40), nullable=False),
)
Index("reports_of_subject", reports.c.subject)

report_versions = Table(
    "report_versions",
    metadata,
    Column("report", String(64), ForeignKey("reports.id"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("edit", Integer, nullable=False),  # counts what was saved within a version
    Column("content", Text, nullable=False),  # JSON
    Column("saved_by", String(256), nullable=False),
    Column("saved", String(40), nullable=False),
    Column("signed_by", String(256), nullable=True),
    Column("signed", String(40), nullable=True),
    Column("digest", String(64), nullable=True),  # of report, version, content, signer and time
)

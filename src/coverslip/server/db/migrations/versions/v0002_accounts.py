"""Invitations, sessions that end when idle, projects, and reports that cannot be changed once signed."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TIME = sa.String(40)
EVERYTHING = "everything"


def upgrade() -> None:
    """Add to the tables; people who are there already keep seeing all slides."""
    with op.batch_alter_table("people") as people:
        people.add_column(sa.Column("email", sa.String(320), nullable=True))
        people.add_column(sa.Column("invitation", sa.String(64), nullable=True))
        people.add_column(sa.Column("invitation_ends", TIME, nullable=True))
        people.create_unique_constraint("people_email", ["email"])
        people.create_unique_constraint("people_invitation", ["invitation"])
    op.drop_table("sessions")  # until now none was ever written
    op.create_table(
        "sessions",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("person", sa.String(64), sa.ForeignKey("people.id"), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("begun", TIME, nullable=False),
        sa.Column("seen", TIME, nullable=False),
        sa.Column("ends", TIME, nullable=False),
    )
    op.create_index("sessions_of_person", "sessions", ["person"])
    _projects()
    _reports()


def _projects() -> None:
    projects = op.create_table(
        "projects",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(256), nullable=False, unique=True),
        sa.Column("created", TIME, nullable=False),
    )
    op.create_table(
        "project_people",
        sa.Column("project", sa.String(64), sa.ForeignKey("projects.id"), primary_key=True),
        sa.Column("person", sa.String(64), sa.ForeignKey("people.id"), primary_key=True),
    )
    slides = op.create_table(
        "project_slides",
        sa.Column("project", sa.String(64), sa.ForeignKey("projects.id"), primary_key=True),
        sa.Column("pattern", sa.String(512), primary_key=True),
    )
    op.bulk_insert(
        projects, [{"id": EVERYTHING, "name": EVERYTHING, "created": "1970-01-01T00:00:00.000+00:00"}]
    )
    op.bulk_insert(slides, [{"project": EVERYTHING, "pattern": "*"}])
    op.execute(f"INSERT INTO project_people (project, person) SELECT '{EVERYTHING}', id FROM people")  # noqa: S608


def _reports() -> None:
    op.create_table(
        "reports",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("subject", sa.String(512), nullable=False),
        sa.Column("author", sa.String(256), nullable=False),
        sa.Column("created", TIME, nullable=False),
    )
    op.create_index("reports_of_subject", "reports", ["subject"])
    op.create_table(
        "report_versions",
        sa.Column("report", sa.String(64), sa.ForeignKey("reports.id"), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("edit", sa.Integer, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("saved_by", sa.String(256), nullable=False),
        sa.Column("saved", TIME, nullable=False),
        sa.Column("signed_by", sa.String(256), nullable=True),
        sa.Column("signed", TIME, nullable=True),
        sa.Column("digest", sa.String(64), nullable=True),
    )
    _seal()


def _seal() -> None:
    """Have the database itself refuse to change or remove a version that somebody signed."""
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER signed_no_{verb.lower()} BEFORE {verb} ON report_versions "
                "WHEN OLD.signed IS NOT NULL BEGIN SELECT RAISE(ABORT, 'a signed report stays as it is'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION signed_is_sealed() RETURNS trigger AS $$ "
        "BEGIN RAISE EXCEPTION 'a signed report stays as it is'; END $$ LANGUAGE plpgsql"
    )
    op.execute(
        "CREATE TRIGGER signed_sealed BEFORE UPDATE OR DELETE ON report_versions "
        "FOR EACH ROW WHEN (OLD.signed IS NOT NULL) EXECUTE FUNCTION signed_is_sealed()"
    )


def downgrade() -> None:
    """Refuse: what people left behind is not thrown away."""
    raise NotImplementedError("a database is not taken back to before it held anything")

"""Shapes, readings, people, sessions, and a record that cannot be changed."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TIME = sa.String(40)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "shapes",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("slide", sa.String(512), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("class", sa.String(256), nullable=True),
        sa.Column("geometry", sa.Text, nullable=False),
        sa.Column("author", sa.String(256), nullable=False),
        sa.Column("created", TIME, nullable=False),
        sa.Column("changed_by", sa.String(256), nullable=False),
        sa.Column("changed", TIME, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("removed", sa.Boolean, nullable=False),
    )
    op.create_index("shapes_of_slide", "shapes", ["slide", "removed"])
    _readings()
    _people()
    op.create_table(
        "record",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("time", TIME, nullable=False),
        sa.Column("person", sa.String(256), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(600), nullable=False),
        sa.Column("details", sa.Text, nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
    )
    _seal()


def _readings() -> None:
    op.create_table(
        "readings",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("slide", sa.String(512), nullable=False),
        sa.Column("reader", sa.String(256), nullable=False),
        sa.Column("opened", TIME, nullable=False),
        sa.Column("finding", sa.JSON, nullable=True),
        sa.Column("locked", TIME, nullable=True),
        sa.Column("digest", sa.String(64), nullable=True),
        sa.Column("seconds_alone", sa.Float, nullable=True),
        sa.Column("suggestion", sa.JSON, nullable=True),
        sa.Column("shown", TIME, nullable=True),
        sa.Column("decision", sa.String(16), nullable=True),
        sa.Column("reason", sa.Text, nullable=True),
        sa.Column("final", sa.JSON, nullable=True),
        sa.Column("decided", TIME, nullable=True),
        sa.Column("seconds_after", sa.Float, nullable=True),
    )
    op.create_index("readings_of_slide", "readings", ["slide"])


def _people() -> None:
    op.create_table(
        "people",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(256), nullable=False, unique=True),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("password", sa.String(256), nullable=True),
        sa.Column("subject", sa.String(512), nullable=True, unique=True),
        sa.Column("created", TIME, nullable=False),
        sa.Column("blocked", sa.Boolean, nullable=False),
    )
    op.create_table(
        "sessions",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("person", sa.String(64), sa.ForeignKey("people.id"), nullable=False),
        sa.Column("ends", TIME, nullable=False),
    )


def _seal() -> None:
    """Have the database itself refuse to change or remove a line of the record."""
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER record_no_{verb.lower()} BEFORE {verb} ON record "
                "BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION record_is_sealed() RETURNS trigger AS $$ "
        "BEGIN RAISE EXCEPTION 'the record is append-only'; END $$ LANGUAGE plpgsql"
    )
    op.execute(
        "CREATE TRIGGER record_sealed BEFORE UPDATE OR DELETE OR TRUNCATE ON record "
        "FOR EACH STATEMENT EXECUTE FUNCTION record_is_sealed()"
    )


def downgrade() -> None:
    """Refuse: what people left behind is not thrown away."""
    raise NotImplementedError("a database is not taken back to before it held anything")

"""Which finding of a model a shape corrects or confirms."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("shapes", sa.Column("origin", sa.Text, nullable=True))


def downgrade() -> None:
    """Take it away again."""
    op.drop_column("shapes", "origin")

"""Run by Alembic: brings the database at hand to the newest form."""

from alembic import context

from coverslip.server.db.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
context.run_migrations()

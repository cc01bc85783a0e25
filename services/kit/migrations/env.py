"""What Alembic runs a service's migrations in: the transaction that `Database.upgrade` has begun."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
context.run_migrations()

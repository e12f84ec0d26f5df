"""Postgres, the one database: a server of its own for development, yours in production."""

"""The database: everything that is SQL."""

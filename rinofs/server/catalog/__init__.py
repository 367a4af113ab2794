"""The database: every row, statement, query and migration, behind functions and dataclasses.

Nothing else imports SQLAlchemy. It imports `blobs.store` for what a content is, and serves `auth` and `api`.
"""

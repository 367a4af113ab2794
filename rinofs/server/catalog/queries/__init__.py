"""The query language as SQL: conditions, fields, values, searches, and what only SQLite has, in `dialect`.

It imports `rinofs.protocol`, the tables and the errors of the server, and serves the catalog.
"""

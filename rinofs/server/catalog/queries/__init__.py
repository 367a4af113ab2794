"""The query language as SQL: conditions, fields, values, words, searches, indexes on fields.

It imports `rinofs.protocol`, tables and errors of the server, and `functions` of the databases' rooms, which
import its `query_dialect` alone. It serves the catalog.
"""

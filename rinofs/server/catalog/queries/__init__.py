"""The query language as SQL: conditions, fields, values, searches.

It imports `rinofs.protocol`, `catalog.sqlite`, tables and errors of the server. It serves the catalog.
"""

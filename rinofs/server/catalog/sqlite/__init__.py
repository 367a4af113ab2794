"""Everything specific to SQLite: connections, commits, non-waiting reads, SQL functions, integrity checks.

It imports `rinofs.protocol` and the interface of query dialects, and serves the catalog. Other databases have
packages of their own beside this one.
"""

"""All that only SQLite has: connections, commits, reads that never wait, functions in SQL, integrity checks.

It imports `rinofs.protocol` and what queries need of each database, and serves the catalog: another database
is a room beside this one.
"""

"""Rinocloud: its filesystem and backend, versions, metadata and queries.

May import `rinofs.fs`, `rinofs.http` and `rinofs.protocol`. Serves `rinofs.RinoFileSystem` and the command
line.
"""

"""Rinocloud: the filesystem, its backend, and what only this service has: versions, metadata and queries.

It imports `rinofs.fs`, `rinofs.http` and `rinofs.protocol`, and serves users, by `rinofs.RinoFileSystem`,
and the command line.
"""

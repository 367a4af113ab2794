"""Queries for objects by their properties and metadata; the entry point is `search.Queries`.

May import `rinofs.protocol`, `rinofs.fs` and the client of Rinocloud. Serves the filesystem of Rinocloud.
"""

"""Finding objects by what is known about them: `search.Queries`, and what it needs.

It imports `rinofs.protocol`, `rinofs.fs` and the client of Rinocloud, and serves its filesystem.
"""

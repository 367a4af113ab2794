"""The server: both HTTP APIs over a catalog in SQL and a store of contents.

`app` answers requests, `runner` runs it in a process; it imports `rinofs.protocol` and `rinofs.datapack`,
never the client. It serves `rinofs.cli` and `rinofs.testing`.
"""

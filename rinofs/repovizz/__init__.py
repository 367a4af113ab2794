"""repovizz2: the filesystem of datapacks, whose containers are folders and data nodes files, and its backend.

It imports `rinofs.fs`, `rinofs.http`, `rinofs.protocol` and `rinofs.datapack`, and serves users, by
`rinofs.RepovizzFileSystem`, and the command line.
"""

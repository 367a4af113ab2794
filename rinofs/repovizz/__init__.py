"""repovizz2: the filesystem of datapacks, whose containers are folders and whose data nodes are files; its backend.

It imports `rinofs.fs`, `rinofs.http`, `rinofs.protocol` and `rinofs.datapack`, and serves users, by
`rinofs.RepovizzFileSystem`, and the command line.
"""

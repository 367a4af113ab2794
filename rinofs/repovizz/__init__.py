"""repovizz2: its filesystem, where containers are folders and data nodes are files, and its backend.

May import `rinofs.fs`, `rinofs.http`, `rinofs.protocol` and `rinofs.datapack`. Serves
`rinofs.RepovizzFileSystem` and the command line.
"""

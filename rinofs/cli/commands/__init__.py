"""The commands of `rinofs`, one module per group, imported when a command is used.

They use the modules of `rinofs.cli` and the public parts of the filesystems, datapacks and the server.
"""

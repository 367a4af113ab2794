"""The command line `rinofs`: URLs, output, errors and progress, shared by all commands.

The commands are in `commands`.
"""
